"""Whether the numbers of a matrix are those of a known type of few bits, times a scale for each group.

Nothing is assumed of the scale, so that it may be rounded, searched or learned. How surely a group fits is
counted in bits: numbers that lie anywhere are within the rounding of a level as often as levels leave room.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import TYPE_CHECKING

import torch

from provenance.differences.blocks import flat_blocks, row_blocks
from provenance.differences.codebooks import BOOKS
from provenance.differences.digits import LEAST, UNIT, narrowest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.differences.blocks import Blocks
    from provenance.differences.codebooks import Book

__all__ = ["Codes", "find_codes"]

GROUPS, ROWS = 32, 32
"""Groups, and rows that they are of, that are looked at."""
FIRST = 2
"""Rows that are looked at before so many are."""
FEWEST = 4
"""Groups that must be there at least."""
SHARE = 0.9
"""Of the groups that must fit."""
NUMBERS = 48
"""Numbers of a group that are looked at, beside that which is farthest from zero."""
SURE = 10.0
"""Bits by which a group must fit: numbers anywhere do so once in a thousand times."""
SLACK = 2.1
"""The number that the scale is read off was rounded as well as every other."""
PIECE = 1 << 22
"""Numbers that are worked on at once."""


@dataclass(frozen=True)
class Codes:
    """A type that a matrix is of, and the size of the groups that share a scale; 0 is a row."""

    book: Book
    size: int

    def blocks(self, matrix: torch.Tensor, rows: torch.Tensor) -> Blocks:
        """The groups that some rows are of."""
        cut = flat_blocks if self.book.is_flat else row_blocks
        return cut(matrix, rows, self.size)

    def steps(self, matrix: torch.Tensor, rows: torch.Tensor, side: torch.Tensor) -> torch.Tensor:
        """The distance from every number of some rows to the next level on one side, float32.

        Parameters
        ----------
        matrix : Tensor
            (rows, columns), as stored.
        rows : Tensor
            (chosen,) int64.
        side : Tensor
            (chosen, columns): positive where the level above is meant. Of a group that does not fit, the
            step is its whole range; beyond the last level it is as large as before it.
        """
        dtype = narrowest(matrix)
        blocks = self.blocks(matrix, rows)
        pieces = torch.split(blocks.numbers.double(), max(1, PIECE // (NUMBERS * self._tries)))
        scales = torch.cat([_scales(piece, self.book, dtype) for piece in pieces])
        numbers = blocks.numbers.double()
        levels = self.book.levels
        at = _nearest(numbers / scales[:, None], levels)
        gaps = levels.diff()
        above = gaps[at.clamp_max(len(gaps) - 1)] * scales.abs()[:, None]
        below = gaps[(at - 1).clamp_min(0)] * scales.abs()[:, None]
        turned = (scales < 0)[:, None]
        above, below = torch.where(turned, below, above), torch.where(turned, above, below)
        ranges = (numbers.amax(dim=1) - numbers.amin(dim=1))[:, None].expand_as(numbers)
        unknown = scales.isnan()[:, None]
        above, below = (torch.where(unknown, ranges, one) for one in (above, below))
        above, below = (blocks.rows(one.contiguous()) for one in (above, below))
        return torch.where(side > 0, above, below).float()

    def share(
        self, matrix: torch.Tensor, generator: torch.Generator, dtype: torch.dtype | None = None
    ) -> float:
        """The share of some groups that fit; 0 where there are too few, or the first ones do not.

        ``dtype`` is what the numbers were rounded to, where that is known.
        """
        dtype = narrowest(matrix) if dtype is None else dtype
        rows = torch.randperm(len(matrix), generator=generator)[:ROWS]
        first = self._groups(matrix, rows[:FIRST], generator)[:FEWEST]
        if len(first) and bool(_scales(first, self.book, dtype).isnan().all()):
            return 0.0
        groups = self._groups(matrix, rows, generator)[:GROUPS]
        if len(groups) < FEWEST:
            return 0.0
        return float((~_scales(groups, self.book, dtype).isnan()).double().mean())

    def _groups(
        self, matrix: torch.Tensor, rows: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """The groups of some rows that have more than one number, in any order, float64 (groups, size)."""
        groups = self.blocks(matrix, rows).numbers
        groups = groups[torch.randperm(len(groups), generator=generator)].double()
        return groups[groups.amax(dim=1) > groups.amin(dim=1)]

    @property
    def _tries(self) -> int:
        return len(self.book.tops)


def find_codes(matrix: torch.Tensor, generator: torch.Generator) -> Iterator[Codes]:
    """Yield the types that the numbers of a matrix are of, the coarser first.

    Parameters
    ----------
    matrix : Tensor
        (rows, columns), as stored.
    generator : torch.Generator
        Chooses the groups that are looked at.
    """
    dtype = narrowest(matrix)
    for book in BOOKS:
        for size in book.sizes:
            if size > (matrix.numel() if book.is_flat else matrix.shape[1]):
                continue
            codes = Codes(book, size)
            if codes.share(matrix, generator, dtype) >= SHARE:
                yield codes
                break


def _scales(groups: torch.Tensor, book: Book, dtype: torch.dtype) -> torch.Tensor:
    """What each group is a multiple of a type's levels by, float64 (groups,); NaN where it is none.

    Parameters
    ----------
    groups : Tensor
        (groups, size) float64.
    book : Book
        The type.
    dtype : torch.dtype
        What every number was rounded to.
    """
    farthest = groups.abs().argmax(dim=1, keepdim=True)
    largest = groups.gather(1, farthest)  # (groups, 1)
    stride = max(1, groups.shape[1] // NUMBERS)
    some = groups[:, ::stride].sort(dim=1).values
    counted = (some != 0) & (some != largest)
    counted[:, 1:] &= some.diff(dim=1) != 0
    tops = torch.tensor(book.tops, dtype=torch.float64)
    scales = largest / tops  # (groups, tops)
    if bool((book.levels == -book.levels.flip(0)).all()) or book.is_flat:
        scales = scales.abs()
    near, room = _distances(some[:, None, :] / scales[..., None], book.levels)
    moved = UNIT[dtype] * SLACK * some.abs() + LEAST.get(dtype, 0.0)
    allowed = moved[:, None, :] / scales[..., None].abs()
    fits = ((near <= allowed) | (some == 0)[:, None, :]).all(dim=2)
    chance = (2 * allowed / room).clamp(1e-12, 1)
    bits = -(chance.log2() * counted[:, None, :]).sum(dim=2) - log2(len(tops))
    bits = torch.where(fits, bits, -torch.inf)
    best = bits.max(dim=1)
    found = scales.gather(1, best.indices[:, None]).squeeze(1)
    return torch.where(best.values >= SURE, found, torch.nan)


def _nearest(numbers: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    return torch.bucketize(numbers, (levels[1:] + levels[:-1]) / 2)


def _distances(numbers: torch.Tensor, levels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How far numbers are from the nearest level, and how far apart levels are there."""
    at = _nearest(numbers, levels)
    gaps = levels.diff()
    room = (gaps[at.clamp_max(len(gaps) - 1)] + gaps[(at - 1).clamp_min(0)]) / 2
    return (numbers - levels[at]).abs(), room
