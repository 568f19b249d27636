"""Which kind of descent a difference shows: a pure reading of a `DifferenceRecord`, in sentences.

The kinds are tried from the sharpest on. What fits none, or more than one in part, is "unsure".
No kind has a p-value: docs/kinds.md counts how often the reading errs, on pairs whose kind is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from provenance._text import per_cent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.evidence.difference import DifferenceRecord, Grid, MatrixDifference

__all__ = ["KINDS", "FoundKind", "Kind", "found_kind"]

Kind = Literal["same", "permuted", "pruned", "quantized", "adapter", "finetune", "unsure"]
"""What was found: "same" is number on number, without a map; the other words are those of claims."""
KINDS: dict[Kind, str] = {
    "same": "the same weights",
    "permuted": "a permuted copy",
    "pruned": "a pruned copy",
    "quantized": "a quantized copy",
    "adapter": "an adapter",
    "finetune": "a fine-tune",
    "unsure": "of no kind that can be told",
}
"""The kinds in words."""

MOST = 0.9
"""Of the matrices that differ, the share that must show a kind."""
LOW = 0.25
"""Share of a matrix's rank up to which a difference is one of low rank."""
CARRIED = 0.995
"""Share of the squared difference that a low rank must carry, unless what it leaves is rounding."""
NOISE = 0.6
"""What a low rank leaves is rounding up to so many times the most that storing changes a number: rounding
deviates by 0.4 of that."""
ROUNDED = 4.0
"""A whole difference of up to so many times that may be rounding, where types or maps differ."""
WITHIN = 0.99
"""Share of the differences within a step of a grid, at least; or within half of one where that is taken."""
ZEROS = 0.02
"""Least share of new zeros of a matrix that was pruned: a few come about by rounding."""
FURTHER = 2.0
"""How much further than the other numbers those moved, on average, that were pruned: whatever took numbers
off the zeros of the reference, such as training what was rounded, moved all of them alike."""
ARITHMETIC = 2.0**-22
"""Relative size of a difference that arithmetic in float32 leaves."""
FULL = 0.5
"""Of the matrices that differ, the share whose difference must have full rank in a fine-tune."""


@dataclass(frozen=True)
class FoundKind:
    """The kind of descent that was found, and what it was read off, in one sentence without a full stop."""

    kind: Kind
    why: str

    def words(self) -> str:
        """The kind and its reason as a sentence."""
        return f"{KINDS[self.kind][0].upper()}{KINDS[self.kind][1:]}: {self.why}."


def found_kind(record: DifferenceRecord) -> FoundKind:
    """Read the kind of descent off a difference."""
    if record.reason is not None:
        return FoundKind("unsure", record.reason)
    cut = _cut(record)
    if cut:
        return FoundKind("pruned", cut)
    inner = [one for one in record.matrices if one.block is not None and len(one.shape) > 1]
    changed = [one for one in inner if one.is_changed]
    changed = [one for one in changed if not one.fitted] or changed
    edited = [one for one in record.matrices if one.is_edited]
    others = [one for one in record.matrices if one not in inner and one.is_changed] + edited
    aside = _left_out(record)
    if not changed and not others:
        return _equal(record, aside)
    if not changed:
        return FoundKind("unsure", _beside_blocks(others, edited))
    for read in (_pruned, _remade, _quantized, _adapter):
        found = read(changed, others)
        if found is not None:
            return (
                FoundKind(found.kind, found.why + _with_map(record))
                if not aside
                else _aside(found, aside)
            )
    return _finetune(record, changed)


def _beside_blocks(others: Sequence[MatrixDifference], edited: Sequence[MatrixDifference]) -> str:
    """What differs where no matrix of a block does as a whole."""
    whole = [one for one in others if one.is_changed]
    if not whole:
        return _few(edited)
    but = ", but for few numbers" if edited else ""
    return f"{_named(whole)} differs, and no matrix of a block does{but}"


def _cut(record: DifferenceRecord) -> str:
    """What of the reference was cut out; empty where nothing was."""
    ours, theirs = record.of_blocks
    whats = (
        (ours, theirs, "blocks"),
        (*record.units, "units of an MLP"),
        (*record.hidden, "dimensions of the residual stream"),
    )
    return ", ".join(f"{a} of {b} {what}" for a, b, what in whats if a < b)


def _equal(record: DifferenceRecord, aside: str) -> FoundKind:
    if aside:
        return FoundKind("unsure", f"all that could be mapped is equal, and {aside}")
    few = [one for one in record.matrices if not one.is_equal]
    if few:
        return FoundKind("unsure", f"{_few(few)}, by little")
    found = sum(one.units[0] for one in record.blocks)
    units = sum(one.units[1] for one in record.blocks)
    if found < units:
        return FoundKind("unsure", f"all that could be mapped is equal, {found} of {units} units")
    if not record.moved:
        return FoundKind("same", "every number that was looked at is equal")
    return FoundKind("permuted", f"every number is equal{_with_map(record)}")


def _few(matrices: Sequence[MatrixDifference]) -> str:
    """In which matrices few numbers differ."""
    return f"few numbers differ, some of {_named(matrices)}"


def _left_out(record: DifferenceRecord) -> str:
    """What could not be compared, where that leaves the kind in doubt; empty where all was."""
    if not record.left_out:
        return ""
    more = f" and {len(record.left_out) - 1} more" if len(record.left_out) > 1 else ""
    return f"{record.left_out[0]}{more} could not be mapped"


def _aside(found: FoundKind, aside: str) -> FoundKind:
    return FoundKind(
        "unsure", f"what could be mapped looks like {KINDS[found.kind]} ({found.why}), but {aside}"
    )


def _pruned(
    changed: Sequence[MatrixDifference], others: Sequence[MatrixDifference]
) -> FoundKind | None:
    """Zeros that the reference has not, and no grid that they belong to."""
    del others  # what is left may have been trained on
    zeroed = [one for one in changed if one.new_zeros >= ZEROS and one.own_grid is None]
    zeroed = [one for one in zeroed if _is_cut(one)]
    if len(zeroed) < FULL * len(changed):
        return None
    share = sum(one.new_zeros for one in zeroed) / len(zeroed)
    is_kept = all(one.is_kept for one in zeroed)
    rest = "the other numbers are equal" if is_kept else "the others were trained on"
    where = sorted({one.structure for one in zeroed})
    return FoundKind(
        "pruned",
        f"{100 * share:.0f}% of the numbers of {_count(zeroed)} are zero that were not "
        f"({' and '.join(where)}); {rest}",
    )


def _is_cut(one: MatrixDifference) -> bool:
    """Whether what is zero now moved further than the rest: noise and rounding move zeros no further."""
    return one.zeroed is None or one.zeroed >= FURTHER * one.moved_elsewhere


def _remade(
    changed: Sequence[MatrixDifference], others: Sequence[MatrixDifference]
) -> FoundKind | None:
    """The very numbers that a known scheme of rounding makes of the reference's."""
    made = [one for one in changed if one.made_by is not None]
    if len(made) < MOST * len(changed):
        return None
    schemes = sorted({one.made_by for one in made if one.made_by is not None})
    said = (
        f"rounding the reference to {' and '.join(schemes)} gives {_count(made)} number for number"
    )
    return _beside(said, said, others)


def _quantized(
    changed: Sequence[MatrixDifference], others: Sequence[MatrixDifference]
) -> FoundKind | None:
    """A grid under the candidate's numbers, and the reference's within a step of it."""
    gridded = [one for one in changed if one.own_grid is not None or one.made_by is not None]
    if len(gridded) < MOST * len(changed):
        if not gridded:
            return None
        return FoundKind(
            "unsure",
            f"{_count(gridded)} of {len(changed)} that differ lie on a grid, the others do not",
        )
    grids = [one.own_grid for one in gridded if one.own_grid is not None and one.made_by is None]
    bits = sorted({grid.bits for grid in grids})
    said = f"the numbers of {_count(gridded)} lie on a grid of {_range(bits)} bits"
    within = [_share_within(grid) for grid in grids]
    if None in within:
        return FoundKind("unsure", f"{said}, whose steps were lost in the map")
    near = [share for share in within if share is not None and share >= WITHIN]
    if len(near) < MOST * len(grids):
        shares = [share for share in within if share is not None]
        least = min(shares)
        of = grids[shares.index(least)]
        step = "half of one" if of.is_of_nearest else "one"
        return FoundKind(
            "unsure",
            f"{said}, but as few as {100 * least:.0f}% of the differences are within {step} of its steps: "
            "a quantized copy of something that was trained on",
        )
    return _beside(said, f"{said}, and the reference's are within a step of it", others)


def _share_within(grid: Grid) -> float | None:
    """The share of the differences that a grid's steps allow; None where its steps were lost."""
    if grid.within is None or not grid.is_of_nearest:
        return grid.within
    return min(grid.within, grid.within if grid.nearest is None else grid.nearest)


def _beside(said: str, why: str, others: Sequence[MatrixDifference]) -> FoundKind:
    """That blocks were quantized, unless something beside them was changed in another way."""
    trained = [
        one for one in others if one.own_grid is None and one.made_by is None and len(one.shape) > 1
    ]
    if trained:
        return FoundKind("unsure", f"{said}, but {_named(trained)} was changed in another way")
    return FoundKind("quantized", why)


def _adapter(
    changed: Sequence[MatrixDifference], others: Sequence[MatrixDifference]
) -> FoundKind | None:
    """A difference of low rank in whole matrices, and none elsewhere."""
    low = [one for one in changed if _is_low(one)]
    if len(low) < MOST * len(changed) or all(one.relative <= ARITHMETIC for one in low):
        return None
    ranks = sorted({one.rank for one in low if one.rank is not None})
    said = f"the difference of {_count(low)} has rank {_range(ranks)} of {max(one.ranks for one in low)}"
    if len(low) < len(changed):
        return FoundKind("unsure", f"{said}, but not that of {len(changed) - len(low)} more")
    if others:
        return FoundKind("unsure", f"{said}, but {_named(others)} was changed beside them")
    return FoundKind("adapter", f"{said}, and there is none elsewhere")


def _is_low(one: MatrixDifference) -> bool:
    if one.rank is None or one.carried is None or one.noise is None:
        return False
    if not 0 < one.rank <= max(1, LOW * one.ranks):
        return False
    return one.carried >= CARRIED or one.noise <= NOISE * one.rounding


def _finetune(record: DifferenceRecord, changed: Sequence[MatrixDifference]) -> FoundKind:
    full = [one for one in changed if not _is_low(one) and one.rank is not None]
    sizes = sorted(one.relative for one in changed)
    size = sizes[len(sizes) // 2]
    both = [one.grid.bits for one in changed if one.grid is not None and one.grid.shared]
    if len(both) >= FULL * len(changed):
        return FoundKind(
            "unsure",
            f"the numbers of both lie on grids, of {_range(sorted(both))} bits: two quantized copies of "
            "something else, or one quantized once more",
        )
    if size <= ROUNDED * max(one.tolerance for one in changed):
        return FoundKind(
            "unsure", f"the differences are {per_cent(size)} in size, about what rounding leaves"
        )
    if len(full) < FULL * len(changed):
        return FoundKind(
            "unsure",
            f"the difference has low rank in {len(changed) - len(full)} of {_count(changed)}",
        )
    return FoundKind(
        "finetune",
        f"the difference of {_count(full)} has full rank, {per_cent(size)} of the weights in size, and "
        f"lies on no grid{_with_map(record)}",
    )


def _with_map(record: DifferenceRecord) -> str:
    return (
        f", once {_listed(record.moved)} {'is' if len(record.moved) == 1 else 'are'} undone"
        if record.moved
        else ""
    )


def _count(matrices: Sequence[MatrixDifference]) -> str:
    return "1 matrix" if len(matrices) == 1 else f"{len(matrices)} matrices"


def _named(matrices: Sequence[MatrixDifference]) -> str:
    more = f" and {len(matrices) - 1} more" if len(matrices) > 1 else ""
    return f"{matrices[0].name}{more}"


def _range(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if numbers[0] == numbers[-1] else f"{numbers[0]} to {numbers[-1]}"


def _listed(whats: Sequence[str]) -> str:
    return whats[0] if len(whats) == 1 else f"{', '.join(whats[:-1])} and {whats[-1]}"
