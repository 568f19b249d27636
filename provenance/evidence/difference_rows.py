"""A difference in rows of words: the matrices of one name over all blocks, and how they were mapped."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from provenance.evidence.kinds import ZEROS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from provenance.evidence.difference import DifferenceRecord, MatrixDifference

__all__ = ["HEAD", "MatrixRow", "about", "matrix_rows"]

HEAD = ("matrix", "blocks", "relative size", "unchanged", "rank", "new zeros", "grid")
"""What the words of a row are."""


@dataclass(frozen=True)
class MatrixRow:
    """The matrices of one name; ``name`` is without the block's, and without "weight"."""

    name: str
    matrices: tuple[MatrixDifference, ...]

    @property
    def is_inside(self) -> bool:
        """Whether they are of blocks."""
        return self.matrices[0].block is not None

    def words(self) -> tuple[str, ...]:
        """A cell for each word of `HEAD`."""
        those = self.matrices
        return (
            self.name,
            str(len(those)) if self.is_inside else "-",
            f"{median(one.relative for one in those):.2e}",
            _per_cent(one.unchanged for one in those),
            _ranks(those),
            _per_cent(one.new_zeros for one in those),
            _grids(those),
        )

    def sign(self) -> str:
        """What stands out in a few words: the sharpest of what `HEAD` has."""
        changed = [one for one in self.matrices if not one.is_equal]
        if not changed:
            return "equal"
        schemes = sorted({one.made_by for one in changed if one.made_by is not None})
        if schemes:
            return f"{' and '.join(schemes)} of the reference"
        bits = [one.own_grid.bits for one in changed if one.own_grid is not None]
        if bits:
            return f"grid of {_span(bits)} bits"
        zeros = median(one.new_zeros for one in changed)
        if zeros >= ZEROS:
            return f"{100 * zeros:.0f}% new zeros"
        ranks = [one.rank for one in changed if one.rank is not None]
        return f"rank {_span(ranks)} of {changed[0].ranks}" if ranks else ""


def matrix_rows(record: DifferenceRecord) -> tuple[MatrixRow, ...]:
    """A row for the matrices of one name, in the order in which they were looked at."""
    rows: dict[str, list[MatrixDifference]] = {}
    for one in record.matrices:
        rows.setdefault(_without_block(one), []).append(one)
    return tuple(MatrixRow(name, tuple(those)) for name, those in rows.items())


def about(record: DifferenceRecord) -> tuple[str, ...]:
    """What was looked at, and how it was mapped."""
    blocks = ", ".join(
        str(one.candidate_block)
        if one.candidate_block == one.reference_block
        else f"{one.candidate_block} (on {one.reference_block})"
        for one in record.blocks
    )
    found, units = (sum(one.units[i] for one in record.blocks) for i in (0, 1))
    lines = (
        f"blocks looked at: {blocks}; of {record.of_blocks[0]} and {record.of_blocks[1]}",
        f"units mapped: {found} of {units}",
        f"undone: {', '.join(record.moved) or 'nothing'}",
    )
    if not record.left_out:
        return lines
    some = ", ".join(record.left_out[:3])
    more = f" and {len(record.left_out) - 3} more" if len(record.left_out) > 3 else ""
    return (*lines, f"could not be mapped: {some}{more}")


def _without_block(one: MatrixDifference) -> str:
    _, _, inside = one.name.partition(f".{one.block}.")
    return (one.name if one.block is None else inside or one.name).removesuffix(".weight")


def _per_cent(shares: Iterable[float]) -> str:
    return f"{100 * median(shares):.4g}%"


def _span(numbers: Sequence[int]) -> str:
    """From the least to the greatest of some numbers."""
    least, greatest = min(numbers), max(numbers)
    return str(least) if least == greatest else f"{least} to {greatest}"


def _ranks(those: Sequence[MatrixDifference]) -> str:
    """Ranks of the differences, from the least to the greatest, of how many."""
    ranks = [one.rank for one in those if one.rank is not None]
    return f"{_span(ranks)} of {max(one.ranks for one in those)}" if ranks else "-"


def _grids(those: Sequence[MatrixDifference]) -> str:
    grids = [one.grid for one in those if one.grid is not None]
    if not grids:
        return "-"
    group = f" in groups of {grids[0].group}" if grids[0].group else " a row"
    within = [grid.within for grid in grids if grid.within is not None]
    share = f", {100 * min(within):.4g}% within a step" if within else ""
    some = "" if len(grids) == len(those) else f"{len(grids)} of {len(those)}: "
    return f"{some}{max(grid.bits for grid in grids)} bits{group}{share}"
