"""From the readings of a list of blocks to the records of its MLPs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.architecture.by_names.around import router_of
from provenance.architecture.by_names.choices import interleaved_or_halves
from provenance.architecture.by_names.numbered import WRITE, require_all, shown
from provenance.architecture.by_names.readings import bias_of
from provenance.architecture.by_names.widths import sided
from provenance.architecture.records import (
    Channels,
    HiddenInput,
    MLPRecord,
    Projection,
    Refusal,
)
from provenance.errors import ArchitectureError
from provenance.vocabulary import BLOCK_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from provenance.architecture.by_names.hints import Hints
    from provenance.architecture.by_names.numbered import Path, Shape, Stack
    from provenance.architecture.by_names.readings import Matrix, Reading
    from provenance.architecture.by_names.widths import Sided
    from provenance.architecture.records import MLPRole


@dataclass(frozen=True)
class Blocks:
    """What is known of a list of blocks before its records are made.

    ``routers`` are patterns that a person gave, by block, where one did.
    """

    stack: Stack
    tensors: Mapping[str, Shape]
    hidden: int
    hints: Hints
    transposed: bool | None = None
    routers: Mapping[int, str] | None = None


@dataclass(frozen=True)
class OfBlock:
    """The MLPs of one block: records, refusals, and the router that chooses among its experts."""

    records: tuple[MLPRecord, ...]
    refused: tuple[Refusal, ...]
    router: str | None


def records_of(blocks: Blocks, block: int, readings: Sequence[Reading]) -> OfBlock:
    """The records of one block, without their norms.

    Raises
    ------
    ArchitectureError
        Shapes leave a choice, listed experts have gaps, or there are too many.
    """
    turned: list[Sided] = []
    refused: list[Refusal] = []
    for reading in readings:
        one = sided(reading, blocks.hidden, transposed=blocks.transposed)
        if isinstance(one, str) and reading.told:
            raise ArchitectureError(
                f"layout: {shown(reading.up.name)} and {shown(reading.down.name)} are no MLP: {one}"
            )
        if isinstance(one, str):
            refused.append(Refusal(block, _path(blocks.stack, block, reading), one))
        else:
            turned.append(one)
    routed = [one for one in turned if one.reading.role == "expert"]
    router = _router(blocks, block, routed)
    _require_all_experts(blocks.stack, block, routed)
    records = [
        record
        for one in turned
        for record in _records(blocks, block, one, router, has_experts=bool(routed))
    ]
    return OfBlock(tuple(records), tuple(refused), router)


def _path(stack: Stack, block: int, reading: Reading) -> str:
    return ".".join((*stack.parts, str(block), *reading.holder))


def _is_stacked(reading: Reading) -> bool:
    return len(reading.up.shape) == 3


def _router(blocks: Blocks, block: int, routed: Sequence[Sided]) -> str | None:
    if blocks.routers is not None:
        return blocks.routers.get(block)
    if not routed:
        return None
    first = routed[0].reading
    count = first.up.shape[0] if _is_stacked(first) else len(routed)
    own: Mapping[Path, Shape] = blocks.stack.blocks[block]
    inside = router_of(own, first.holder, blocks.hidden, count)
    return None if inside is None else blocks.stack.name(block, inside)


def _require_all_experts(stack: Stack, block: int, routed: Sequence[Sided]) -> None:
    numbers = [one.reading.number for one in routed if one.reading.number is not None]
    if numbers:
        require_all(numbers, f"the experts of block {block} of {shown(stack.path)}")


def _records(
    blocks: Blocks, block: int, one: Sided, router: str | None, *, has_experts: bool
) -> Iterator[MLPRecord]:
    reading = one.reading
    role: MLPRole = reading.role
    if role == "shared" and not has_experts:
        role = "dense"
    _refuse_untold_order(blocks, one)
    count, in_rows = _stacked(blocks, one, router)
    units = one.units // count if in_rows else one.units
    path = _path(blocks.stack, block, reading)
    for index in range(count or 1):
        stacked = index if count else None
        start = index * units if in_rows else 0
        own = range(start, start + units)
        expert = None if in_rows else stacked
        gate, up = _halves(reading, own, alternating=_alternates(blocks, reading))
        yield MLPRecord(
            block=block,
            path=path,
            kind="plain" if reading.gate is None else "gated",
            role=role,
            expert=stacked if count else reading.number if role == "expert" else None,
            gate=None
            if reading.gate is None
            else _projection(blocks, reading.gate, one.gate_or_up, gate, expert),
            up=_projection(blocks, reading.up, one.gate_or_up, up, expert),
            down=_projection(blocks, reading.down, one.down, own, expert, is_down=True),
            units=units,
            hidden=one.hidden,
            input=HiddenInput(path, scaled=False),
            activation=blocks.hints.activation,
            activation_module=None,
            up_terms="",
            product_terms="",
        )


def _projection(
    blocks: Blocks,
    matrix: Matrix,
    along: int,
    units: range,
    expert: int | None,
    *,
    is_down: bool = False,
) -> Projection:
    axis = along + len(matrix.shape) - 2
    return Projection(
        parameter=matrix.name,
        channels=Channels(units.start, units.stop, units.step, axis),
        expert=expert,
        bias=bias_of(matrix, blocks.tensors),
        transposed=along == (0 if is_down else 1),
    )


def _alternates(blocks: Blocks, reading: Reading) -> bool:
    """Whether gate and up are channels of one tensor in turn."""
    is_known = blocks.hints.alternating and _is_stacked(reading) and not reading.told
    return reading.interleaved or is_known


def _halves(reading: Reading, own: range, *, alternating: bool) -> tuple[range, range]:
    """Where gate and up lie along their axis."""
    if reading.first is None:
        return own, own
    count = len(own)
    halves = range(count), range(count, 2 * count)
    if alternating:
        halves = range(0, 2 * count, 2), range(1, 2 * count + 1, 2)
    return halves if reading.first == "gate" else (halves[1], halves[0])


def _stacked(blocks: Blocks, one: Sided, router: str | None) -> tuple[int, bool]:
    """How many MLPs a reading is a stack of, 0 where it is one; whether they lie in rows of a matrix."""
    reading = one.reading
    if _is_stacked(reading):
        counts = {matrix.shape[0] for matrix in reading.matrices}
        if len(counts) > 1:
            raise ArchitectureError(
                f"{shown(reading.up.name)} and {shown(reading.down.name)} are stacks of different length"
            )
        count = counts.pop()
        if count >= BLOCK_LIMIT:
            raise ArchitectureError(
                f"{shown(reading.up.name)} is a stack of {count:,} experts; no model has so many"
            )
        return count, False
    if reading.role != "expert" or reading.number is not None:
        return 0, False
    shape = blocks.tensors.get(router or "", ())
    for count in (*shape[:1], *blocks.hints.experts):
        if 1 < count < BLOCK_LIMIT and one.units % count == 0:
            return count, True
    raise ArchitectureError(
        f"{shown(reading.up.name)} holds the rows of several experts, and nothing tells how many: {WRITE} "
        'layout: {router: "..."}, with the matrix that chooses among them'
    )


def _refuse_untold_order(blocks: Blocks, one: Sided) -> None:
    """Refuse a stack of transposed projections of gate and up in one: in some models they alternate."""
    reading = one.reading
    is_told = reading.first is None or reading.told or _alternates(blocks, reading)
    if not is_told and _is_stacked(reading) and one.gate_or_up == 1:
        raise ArchitectureError(
            f"{shown(reading.up.name)} has gate and up in one, as halves or in turn: {WRITE} "
            f"{interleaved_or_halves(reading, blocks.stack)}"
        )
