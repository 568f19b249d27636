"""What the hidden units of one MLP answer to a set of inputs, whole or in factors.

The answers of a projection are ``inputs @ weight.T + bias``. The inputs are narrower than the answers (a
third to an eighth) and are the same for gate and up. Similarities of units can be computed from these
factors without making the answers. So the factors are captured and kept, wherever a projection is a plain
linear map whose weight can be read from the checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

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

    A plain MLP has no gate; its first linear map is `up`.
    """

    gate: torch.Tensor | None
    up: torch.Tensor

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


@dataclass(frozen=True)
class MLPFactors:
    """What an MLP is fed, (tokens, hidden), and its projections; one dtype and device.

    A plain MLP has no gate. ``down`` reads its way out, (units, hidden), and is called only where what the
    units add to the residual stream is asked for.
    """

    inputs: torch.Tensor
    gate: LinearMap | None
    up: LinearMap
    down: Callable[[], torch.Tensor] | None = None

    def dense(self) -> MLPActivations:
        """The projections' outputs."""
        gate = None if self.gate is None else self.gate(self.inputs)
        return MLPActivations(gate, self.up(self.inputs))


MLPUnits: TypeAlias = MLPActivations | MLPFactors


def nbytes(value: object) -> int:
    """Bytes of all tensors in a dataclass of tensors and such dataclasses."""
    if is_dataclass(value):
        return sum(nbytes(getattr(value, field.name)) for field in fields(value))
    return int(getattr(value, "nbytes", 0))
