"""What the hidden units of one MLP answer to a set of inputs, whole or in factors.

The answers of a projection are ``inputs @ weight.T + bias``. The inputs are narrower than the answers (a
third to an eighth) and are the same for gate and up. Similarities of units can be computed from these
factors without making the answers. So the factors are captured and kept, wherever a projection is a plain
linear map whose weight can be read from the checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

Projection = Literal["gate", "up"]
PROJECTIONS: tuple[Projection, Projection] = ("gate", "up")


@dataclass(frozen=True)
class MLPShape:
    """One MLP of a block: what it is called among them, and its width."""

    label: str
    units: int


@dataclass(frozen=True)
class MLPActivations:
    """What an MLP's gate and up projections put out, each (tokens, units), one dtype and device.

    A plain MLP has no gate; its first linear map is `up`. ``down`` and ``activation`` are as `MLPFactors`
    has them, and known where weight rows stand for activations.
    """

    gate: torch.Tensor | None
    up: torch.Tensor
    down: Callable[[], torch.Tensor] | None = None
    activation: str = ""

    def dense(self) -> MLPActivations:
        """Itself."""
        return self

    def live(self) -> torch.Tensor:
        """Indices of units that vary over the tokens in up and, where there is one, gate, (k,) int64."""
        varies = self.up.amax(dim=0) > self.up.amin(dim=0)
        if self.gate is not None:
            varies &= self.gate.amax(dim=0) > self.gate.amin(dim=0)
        return varies.nonzero().squeeze(1)


@dataclass(frozen=True)
class LinearMap:
    """A projection: ``weight``, (units, hidden), and ``bias``, (units,) or None."""

    weight: torch.Tensor
    bias: torch.Tensor | None = None

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """What the units answer to inputs, (tokens, hidden): (tokens, units)."""
        answers: torch.Tensor = inputs @ self.weight.T
        return answers if self.bias is None else answers + self.bias

    def converted(self, convert: Callable[[torch.Tensor], torch.Tensor]) -> LinearMap:
        """The projection with its weight and its bias converted."""
        return LinearMap(convert(self.weight), None if self.bias is None else convert(self.bias))


@dataclass(frozen=True, eq=False)
class Mixing:
    """What the inputs of `MLPFactors` were mixed of: what the MLP is fed, and the way back.

    Attributes
    ----------
    fed : Tensor
        (tokens, hidden): what the MLP is fed.
    back : Tensor
        (tokens, tokens) float32. Times the inputs it is ``fed`` less its mean.
    """

    fed: torch.Tensor
    back: torch.Tensor


@dataclass(frozen=True)
class MLPFactors:
    """What an MLP is fed, (tokens, hidden), and its projections; one dtype and device.

    A plain MLP has no gate. ``down`` reads its way out, (units, hidden), and is called only where what the
    units add to the residual stream is asked for. ``activation`` is what a trace calls it.

    Where units are to be told apart by mixtures of what the MLP is fed, ``inputs`` are these mixtures, and
    ``mixing`` says what they were made of: the activation sees that.
    """

    inputs: torch.Tensor
    gate: LinearMap | None
    up: LinearMap
    down: Callable[[], torch.Tensor] | None = None
    activation: str = ""
    mixing: Mixing | None = None

    @property
    def fed(self) -> torch.Tensor:
        """What the MLP is fed, (tokens, hidden)."""
        return self.inputs if self.mixing is None else self.mixing.fed

    def dense(self) -> MLPActivations:
        """The projections' outputs."""
        gate = None if self.gate is None else self.gate(self.inputs)
        return MLPActivations(gate, self.up(self.inputs))


MLPUnits: TypeAlias = MLPActivations | MLPFactors


def joined(mlps: Sequence[object]) -> MLPUnits | None:
    """One MLP with the units of several, in their order.

    Returns
    -------
    MLPActivations or MLPFactors or None
        Answers where the MLPs take different inputs. None where they are of another kind.
    """
    import torch

    factors = [mlp for mlp in mlps if isinstance(mlp, MLPFactors)]
    if factors and len(factors) == len(mlps):
        first = factors[0]
        if not all(_equal(mlp.inputs, first.inputs) for mlp in factors):
            return joined([mlp.dense() for mlp in factors])
        up = _stacked([mlp.up for mlp in factors])
        gates = [mlp.gate for mlp in factors if mlp.gate is not None]
        gate = _stacked(gates) if len(gates) == len(factors) else None
        return replace(first, gate=gate, up=up, down=_ways_out(factors))
    answers = [mlp for mlp in mlps if isinstance(mlp, MLPActivations)]
    if not answers or len(answers) < len(mlps) or len({len(mlp.up) for mlp in answers}) > 1:
        return None
    ups = torch.cat([mlp.up for mlp in answers], dim=1)
    gated = [mlp.gate for mlp in answers if mlp.gate is not None]
    gate_answers = torch.cat(gated, dim=1) if len(gated) == len(answers) else None
    return MLPActivations(gate_answers, ups, _ways_out(answers), answers[0].activation)


def _equal(inputs: torch.Tensor, others: torch.Tensor) -> bool:
    import torch

    return inputs is others or torch.equal(inputs, others)


def _stacked(maps: Sequence[LinearMap]) -> LinearMap:
    import torch

    weight = torch.cat([x.weight for x in maps])
    if all(x.bias is None for x in maps):
        return LinearMap(weight)
    biases = [x.weight.new_zeros(len(x.weight)) if x.bias is None else x.bias for x in maps]
    return LinearMap(weight, torch.cat(biases))


def _ways_out(mlps: Sequence[MLPActivations | MLPFactors]) -> Callable[[], torch.Tensor] | None:
    import torch

    ways = [mlp.down for mlp in mlps if mlp.down is not None]
    return (lambda: torch.cat([way() for way in ways])) if len(ways) == len(mlps) else None


def nbytes(value: object) -> int:
    """Bytes of all tensors in a dataclass of tensors and such dataclasses."""
    if is_dataclass(value):
        return sum(nbytes(getattr(value, field.name)) for field in fields(value))
    return int(getattr(value, "nbytes", 0))
