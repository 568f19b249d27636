"""From what entered a linear map to an MLP: which is gate, which up, and which expert it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.architecture.tags import Product, Signal, progression

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provenance.architecture.records import Kind
    from provenance.architecture.tags import Axis, Hit, Matmul, Operand, Rows


@dataclass(frozen=True)
class Part:
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
class Draft:
    """One MLP as it was seen in use once."""

    kind: Kind
    gate: Part | None
    up: Part
    down: Part
    rows: Rows
    matmuls: tuple[Matmul, ...]
    activation: tuple[str, ...]
    module: str | None
    up_terms: tuple[str, ...]
    product_terms: tuple[str, ...]
    added: tuple[str, ...]
    squashed: bool

    @property
    def parts(self) -> tuple[Part, ...]:
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
        """What is equal for the same MLP seen again, and for experts of one stack."""
        return tuple((p.weight.parameter, p.axis, _first(p)) for p in self.parts)


def _first(part: Part) -> range:
    """Return the channels of the first of a stack."""
    back = (part.expert or 0) * part.height
    return range(part.channels.start - back, part.channels.stop - back, part.channels.step)


def drafts(hits: Iterable[Hit]) -> list[Draft]:
    """Read every hit as an MLP and leave out what is none."""
    found = []
    for hit in hits:
        draft = _gated(hit) if isinstance(hit.value, Product) else _plain(hit, hit.value)
        if draft is not None and _is_mlp(draft):
            found.append(draft)
    return found


def _gated(hit: Hit) -> Draft | None:
    value = hit.value
    assert isinstance(value, Product)
    gate, up = _roles(*value.factors)
    if gate.matmul.rows.stream is not up.matmul.rows.stream:
        return None  # a gate on something else than the block's hidden states
    gates, ups, down = _part(gate), _part(up), _down(hit)
    if gates is None or ups is None or down is None:
        return None
    return Draft(
        "gated",
        gates,
        ups,
        down,
        rows=up.matmul.rows,
        matmuls=(gate.matmul, up.matmul),
        activation=gate.terms,
        module=_alone(gate),
        up_terms=up.terms,
        product_terms=value.terms,
        added=(*gate.added, *up.added, *hit.down.adapters),
        squashed=hit.down.squashed,
    )


def _roles(first: Signal, second: Signal) -> tuple[Signal, Signal]:
    """Return (gate, up): the gate is the one with a nonlinearity, or with the longer one."""
    later = (second.nonlinear, len(second.terms)) > (first.nonlinear, len(first.terms))
    return (second, first) if later else (first, second)


def _plain(hit: Hit, up: Signal) -> Draft | None:
    ups, down = _part(up), _down(hit)
    if ups is None or down is None:
        return None
    return Draft(
        "plain",
        None,
        ups,
        down,
        rows=up.matmul.rows,
        matmuls=(up.matmul,),
        activation=up.terms,
        module=_alone(up),
        up_terms=(),
        product_terms=(),
        added=(*up.added, *hit.down.adapters),
        squashed=hit.down.squashed,
    )


def _alone(signal: Signal) -> str | None:
    """Return the path of the module that is all of the activation."""
    return signal.module if len(signal.terms) == 1 else None


def _part(signal: Signal) -> Part | None:
    weight = signal.matmul.weight
    channels = progression(signal.channels)
    if channels is None:
        return None
    return _stacked(weight, weight.outs, weight.outs.at(channels), signal.matmul.bias)


def _down(hit: Hit) -> Part | None:
    weight = hit.down.weight
    ins = weight.ins
    order = progression(hit.value.channels) if isinstance(hit.value, Product) else range(ins.size)
    if order != range(ins.size):
        return None
    return _stacked(weight, ins, ins.at(order), hit.down.bias)


def _stacked(weight: Operand, units: Axis, channels: range, bias: str | None) -> Part:
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
    return Part(weight, channels, units.axis, bias, experts, expert, height)


def _is_mlp(draft: Draft) -> bool:
    """Whether it reads and writes vectors of one width, whole ones."""
    ups = [part.weight for part in draft.parts[:-1]]
    width = draft.down.weight.outs.size
    wholes = [(weight.ins, weight.shape) for weight in ups]
    wholes.append((draft.down.weight.outs, draft.down.weight.shape))
    return (
        not draft.squashed
        and len(draft.up.channels) == len(draft.down.channels)
        and all(axis.size == width and axis.step == 1 for axis, _ in wholes)
        and all(axis.size == shape[axis.axis] for axis, shape in wholes)
    )
