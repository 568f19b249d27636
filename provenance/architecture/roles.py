"""From what entered a linear map to an MLP: which is gate, which up, and which expert it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.architecture.tags import MatmulOutput, Product, progression

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provenance.architecture.records import MLPKind
    from provenance.architecture.tags import Axis, DownMatmul, HiddenStates, Matmul, Operand


@dataclass(frozen=True)
class ProjectionUse:
    """One projection as it was seen in use.

    ``experts`` counts the matrices of its shape that are stacked in the parameter; ``expert`` is the
    one in use, None where the operation took all. ``height`` is a stacked matrix' extent along the
    axis of the channels where the stack lies along that axis too (dbrx), else 0.
    """

    weight: Operand
    channels: range
    axis: int
    bias: str | None
    experts: int
    expert: int | None
    height: int


@dataclass(frozen=True)
class MLPUse:
    """One MLP as it was seen in use once."""

    kind: MLPKind
    gate: ProjectionUse | None
    up: ProjectionUse
    down: ProjectionUse
    states: HiddenStates
    matmuls: tuple[Matmul, ...]
    activation: tuple[str, ...]
    module: str | None
    up_terms: tuple[str, ...]
    product_terms: tuple[str, ...]
    added: tuple[str, ...]
    squashed: bool

    @property
    def parts(self) -> tuple[ProjectionUse, ...]:
        """The projections there are."""
        return (self.up, self.down) if self.gate is None else (self.gate, self.up, self.down)

    @property
    def units(self) -> int:
        """How many units there are."""
        return len(self.up.channels)

    @property
    def hidden(self) -> int:
        """The width of what it reads and writes."""
        return self.up.weight.ins.size

    @property
    def experts(self) -> int:
        """How many MLPs are stacked in its parameters; 0 where they are not stacked."""
        axes = {len(part.weight.shape) for part in self.parts}
        chosen = {part.expert for part in self.parts} - {None}
        if len(axes) > 1 or len(chosen) > 1:
            return 0
        # a router may have choices that are no expert, and a stack room for them (LongCat-Flash)
        count = min(part.experts for part in self.parts)
        return count if axes == {3} or count > 1 else 0

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for two uses of one MLP, and for experts of one stack."""
        return tuple((p.weight.parameter, p.axis, _first(p)) for p in self.parts)


def _first(part: ProjectionUse) -> range:
    """Return the channels of the first of a stack."""
    back = (part.expert or 0) * part.height
    return range(part.channels.start - back, part.channels.stop - back, part.channels.step)


def mlp_uses(downs: Iterable[DownMatmul]) -> list[MLPUse]:
    """Read everything that entered a linear map as an MLP, and leave out what is none."""
    uses = (_mlp_use(down) for down in downs)
    return [use for use in uses if use is not None and _is_mlp(use)]


def _mlp_use(down: DownMatmul) -> MLPUse | None:
    value = down.value
    outputs: tuple[MatmulOutput, ...]  # the gate first, where there is one
    if isinstance(value, Product):
        outputs, product_terms = _gate_and_up(*value.factors), value.terms
    else:
        outputs, product_terms = (value,), ()
    if len({output.matmul.states.stream for output in outputs}) > 1:
        return None  # a gate on something else than the block's hidden states
    *gates, up_use = [_part(output) for output in outputs]
    gate_use, down_use = next(iter(gates), None), _down(down)
    if up_use is None or down_use is None or None in gates:
        return None
    first, up = outputs[0], outputs[-1]
    return MLPUse(
        kind="gated" if gates else "plain",
        gate=gate_use,
        up=up_use,
        down=down_use,
        states=up.matmul.states,
        matmuls=tuple(output.matmul for output in outputs),
        activation=first.terms,
        module=first.module if len(first.terms) == 1 else None,
        up_terms=up.terms if gates else (),
        product_terms=product_terms,
        added=(*(name for output in outputs for name in output.added), *down.matmul.adapters),
        squashed=down.matmul.squashed,
    )


def _gate_and_up(first: MatmulOutput, second: MatmulOutput) -> tuple[MatmulOutput, MatmulOutput]:
    """Return the gate first: the one with a nonlinearity, or with the longer one."""
    later = (second.nonlinear, len(second.terms)) > (first.nonlinear, len(first.terms))
    return (second, first) if later else (first, second)


def _part(output: MatmulOutput) -> ProjectionUse | None:
    weight = output.matmul.weight
    channels = progression(output.channels)
    if channels is None:
        return None
    return _stacked(weight, weight.outs, weight.outs.at(channels), output.matmul.bias)


def _down(down: DownMatmul) -> ProjectionUse | None:
    weight = down.matmul.weight
    ins = weight.ins
    order = progression(down.value.channels) if isinstance(down.value, Product) else range(ins.size)
    if order != range(ins.size):
        return None
    return _stacked(weight, ins, ins.at(order), down.matmul.bias)


def _stacked(weight: Operand, units: Axis, channels: range, bias: str | None) -> ProjectionUse:
    """Find out whether a parameter is a stack of matrices, and which of them is meant."""
    if len(weight.shape) == 3:
        experts, expert, height = weight.shape[0], weight.expert, 0
    elif units.step == 1 and weight.shape[units.axis] % units.size == 0:
        experts, height = weight.shape[units.axis] // units.size, units.size
        expert = units.start // units.size
    else:
        experts, expert, height = 1, 0, 0
    if experts == 1 and len(weight.shape) == 2:
        expert = 0
    return ProjectionUse(weight, channels, units.axis, bias, experts, expert, height)


def _is_mlp(use: MLPUse) -> bool:
    """Whether it reads and writes vectors of one width, whole ones."""
    ups = [part.weight for part in use.parts[:-1]]
    width = use.down.weight.outs.size
    wholes = [(weight.ins, weight.shape) for weight in ups]
    wholes.append((use.down.weight.outs, use.down.weight.shape))
    return (
        not use.squashed
        and len(use.up.channels) == len(use.down.channels)
        and all(axis.size == width and axis.step == 1 for axis, _ in wholes)
        and all(axis.size == shape[axis.axis] for axis, shape in wholes)
    )
