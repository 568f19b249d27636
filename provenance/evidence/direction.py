"""Which of two kin came first, where what one has lost cannot be had back: read off a `DifferenceRecord`.

A fine-tune, an adapter, a merge and a permuted copy lose nothing, and so tell no direction. What a grid or
zeros tell is wrong where somebody filled in what was lost: docs/kinds.md says what fools it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from provenance.evidence.kinds import WITHIN, ZEROS, found_kind

if TYPE_CHECKING:
    from provenance.evidence.difference import DifferenceRecord, Grid

__all__ = ["COUNTED", "Direction", "Sign", "direction_of"]

Sign = Literal["grid", "zeros"]
"""What was lost: what lies between the levels of a grid, or the numbers where zeros are."""
COUNTED: dict[Sign, tuple[int, int]] = {"grid": (0, 20), "zeros": (0, 10)}
"""How often a sign told the wrong direction, of how often it told one, on pairs that were not made to fool
it (`benchmarks.direction`)."""
HALF = (0.4, 0.6)
"""Share of the differences within a quarter of a step where numbers were rounded: half of them. What moved
away from the levels of a grid, by training or noise, has more there, or leaves more than half a step."""


@dataclass(frozen=True)
class Direction:
    """That the reference came first: by which sign, and why, in one sentence without a full stop."""

    sign: Sign
    why: str

    def words(self) -> str:
        """The direction, its reason, and how often the sign was wrong where that was counted."""
        wrong, of = COUNTED[self.sign]
        rate = (
            f"That was wrong in {wrong} of {of} pairs that were not made to fool it (docs/kinds.md)"
        )
        return f"The reference came first: {self.why}. {rate}."


def direction_of(record: DifferenceRecord) -> Direction | None:
    """Say that the reference came first; None where nothing tells, which speaks for no direction."""
    kind = found_kind(record).kind
    inside = [one for one in record.matrices if one.block is not None]
    grids = [one.own_grid for one in inside if one.own_grid is not None and one.made_by is None]
    if kind == "quantized" and all(map(_is_rounded, grids)):
        how = "rounded to a grid" if grids else "rounded by a known scheme"
        return Direction(
            "grid",
            f"the candidate's numbers are the reference's, {how}, and what lay between its levels is lost",
        )
    zeroed = any(one.new_zeros >= ZEROS for one in record.matrices)
    if kind == "pruned" and zeroed and all(one.is_kept for one in record.matrices):
        return Direction(
            "zeros",
            "the candidate has the reference's numbers, but for zeros where others were, which are lost",
        )
    return None


def _is_rounded(grid: Grid) -> bool:
    """Whether differences are those of rounding to the nearest level."""
    if grid.nearest is None or grid.quarter is None:
        return False
    return grid.nearest >= WITHIN and HALF[0] <= grid.quarter <= HALF[1]
