"""Whether the numbers of a matrix lie on a grid of few bits, for each row or each group of a row.

Whoever quantizes stores a scale a row, or a group of 16 to 256 numbers of one, and codes of 2 to 8 bits.
Given back as numbers they are equally far apart from the least to the largest (integers, GGUF's types), or
take few values at other distances (codebooks, GPTQ's clipped ranges). Both are looked for, and nothing is
assumed of the scheme. The levels of known codebooks and of small floats are looked for as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import ceil, log2, pi
from typing import TYPE_CHECKING

import torch

from provenance.differences.codes import find_codes
from provenance.differences.digits import LEAST as SMALLEST
from provenance.differences.digits import UNIT, narrowest
from provenance.evidence.difference import SHORT, Grid, GridKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.differences.codes import Codes

__all__ = ["FoundGrid", "even_grids", "find_grid"]

GROUPS = (0, 256, 128, 64, 32, 16)
"""Sizes of groups, the largest first; 0 is a whole row."""
_KINDS: tuple[GridKind, ...] = ("even", "levels")
SAMPLE = 32
"""Groups that are looked at."""
LEVELS = 255
"""Most steps from the least number of a group to the largest: 8 bits."""
NEAR = 1 / 48
"""Mean squared distance to the nearest level, in steps: a quarter of that of numbers anywhere, 1/12."""
SHARE = 0.9
"""Of the groups that must lie on a grid: in one or another the end of a range is not used."""
NUMBERS = 48
"""Numbers of a group that are looked at, beside the least and the largest."""
LEAST = 12
"""Numbers that are neither the least nor the largest of their group: fewer show no grid."""
PIECE = 1 << 19
"""Numbers that are worked on at once."""
FEWER = 3
"""By so many bits a smaller group's grid must be coarser: a part of a row may not use all of its range."""
FEWEST = 4
"""Groups that must be there at least."""
CROWD = 0.75
"""Most of these that may lie on one level: around a far outlier any numbers would."""


CHANCE = 0.5
"""How many of the numbers of steps that are tried, numbers anywhere may be near, for a group to count.

Nine of ten groups never are. Numbers on one level, equal or nearly so, count once."""
ARITHMETIC = 4.0
"""By so many times the rounding of its type a number may be off its level: zeros and scales were added."""
OFF = 0.02
"""Share of a group's numbers that may be off theirs: some are changed by themselves."""
LEVELS_OF_SHORT = 63
"""Most steps of a short group: 6 bits."""
WHOLE = 5
"""Bits of whole numbers that floats of 8 bits have as well."""
SURE = 4.0
"""Bits by which such a group must: numbers anywhere do once in 16 times, and nine of ten groups never."""


@dataclass(frozen=True)
class FoundGrid:
    """A grid of a matrix's numbers, and how to tell its steps; ``codes`` is the known type it is of."""

    grid: Grid
    codes: Codes | None = None

    def steps(self, matrix: torch.Tensor, rows: torch.Tensor, side: torch.Tensor) -> torch.Tensor:
        """The step of the grid at every number of some rows, float32 (rows, columns).

        Of levels at any distances it is the larger of the two distances to the next ones, and of a known
        type the distance to the next one on one side.

        Parameters
        ----------
        matrix : Tensor
            (rows, columns), as stored.
        rows : Tensor
            (chosen,) int64.
        side : Tensor
            (chosen, columns): positive where the side above is meant.
        """
        if self.codes is not None:
            return self.codes.steps(matrix, rows, side)
        some = matrix.index_select(0, rows)
        groups = _grouped(some.float(), self.grid.group)
        is_even = self.grid.kind == "even"
        steps = _even_steps(groups, narrowest(matrix)) if is_even else _gaps(groups)
        return steps.reshape(some.shape)

    def inside(self, matrix: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Which numbers of some rows a scale that was searched does not clip, bool (rows, columns).

        Of short groups, for which scales are searched, these are all but the ends of a group.
        """
        some = matrix.index_select(0, rows)
        if self.grid.kind != "even" or not 0 < self.grid.group <= SHORT:
            return torch.ones_like(some, dtype=torch.bool)
        groups = _grouped(some, self.grid.group)
        low, high = groups.amin(dim=1, keepdim=True), groups.amax(dim=1, keepdim=True)
        return ((groups > low) & (groups < high)).reshape(some.shape)

    def share(self, matrix: torch.Tensor, generator: torch.Generator) -> float:
        """The share of a matrix's groups, of this grid's size, that lie on one of its kind.

        Of an even grid, or of levels, one of a bit more at most.
        """
        if self.codes is not None:
            return self.codes.share(matrix, generator)
        groups = _sample(matrix, self.grid.group, generator)
        if len(groups) < FEWEST:
            return 0.0
        most = min(LEVELS, 2 ** (self.grid.bits + 1) - 1)
        if self.grid.kind == "even":
            on = _fewest_steps(groups, most, narrowest(matrix)) > 0
        else:
            on = _counts(groups, most) > 0
        return float(on.double().mean())


def find_grid(matrix: torch.Tensor, generator: torch.Generator) -> FoundGrid | None:
    """Find the grid that a matrix's numbers lie on, of at most 8 bits; None where they lie on none.

    Where several sizes of groups have one, much fewer bits are what was stored: few values lie on some
    finer grid as well.

    Parameters
    ----------
    matrix : Tensor
        (rows, columns), as stored: a grid is along its rows.
    generator : torch.Generator
        Chooses the groups that are looked at.
    """
    best: Grid | None = None
    dtype = narrowest(matrix)
    for kind in _KINDS:
        for size in GROUPS:
            if size and (size >= matrix.shape[1] or matrix.shape[1] % size):
                continue
            groups = _sample(matrix, size, generator)
            if groups.shape[1] < LEAST + 2 or len(groups) < FEWEST:
                continue
            most = LEVELS if best is None else 2 ** max(0, best.bits - FEWER) - 1
            bits = _even(groups, most, dtype) if kind == "even" else _levels(groups, most)
            if bits is not None:
                best = Grid(kind, bits, size)
    for codes in find_codes(matrix, generator):
        if best is None or _is_of_codes(best, codes.book.bits):
            return FoundGrid(Grid("codes", codes.book.bits, codes.size), codes)
    return None if best is None else FoundGrid(best)


def _is_of_codes(grid: Grid, bits: int) -> bool:
    """Whether numbers on a grid that are of a known type as well were of that type: the coarser was stored.

    Whole numbers of few bits are floats of 8 bits, and the levels of these lie on a finer grid.
    """
    return bits < grid.bits or (bits == grid.bits and grid.kind == "levels") or grid.bits > WHOLE


def even_grids(
    matrix: torch.Tensor, besides: Grid, generator: torch.Generator
) -> Iterator[FoundGrid]:
    """Yield the even grids that a matrix's numbers lie on, for other sizes of groups than a grid's."""
    dtype = narrowest(matrix)
    for size in GROUPS:
        fits = not size or (size < matrix.shape[1] and not matrix.shape[1] % size)
        if size == besides.group or not fits:
            continue
        groups = _sample(matrix, size, generator)
        if groups.shape[1] >= LEAST + 2 and len(groups) >= FEWEST:
            bits = _even(groups, LEVELS, dtype)
            if bits is not None:
                yield FoundGrid(Grid("even", bits, size))


def _sample(matrix: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    """Some groups with more than one number in them, float64 (groups, size)."""
    rows = torch.randperm(len(matrix), generator=generator)[: 4 * SAMPLE]
    groups = _grouped(matrix.index_select(0, rows), size)
    groups = groups[torch.randperm(len(groups), generator=generator)].double()
    spread = groups.amax(dim=1) > groups.amin(dim=1)
    return groups[spread][:SAMPLE]


def _grouped(rows: torch.Tensor, size: int) -> torch.Tensor:
    return rows.reshape(-1, size) if size else rows


def _levels(groups: torch.Tensor, most: int) -> int | None:
    """How many bits number the values of groups, where these are few for a group's length; zeros apart."""
    counts = _counts(groups, most)
    if float((counts > 0).double().mean()) < SHARE:
        return None
    return max(1, ceil(log2(float(counts.max()) + 1)))


def _counts(groups: torch.Tensor, most: int) -> torch.Tensor:
    """How many values each group has beside zero, int64 (groups,); 0 where they are not few."""
    ordered = groups.sort(dim=1).values
    other = (ordered.diff(dim=1) > 0) & (ordered[:, 1:] != 0)
    counts = other.sum(dim=1) + (ordered[:, 0] != 0)
    few = (counts <= most) & (counts <= (groups != 0).sum(dim=1) // 4) & (counts > 1)
    return counts * few


def _even(groups: torch.Tensor, most: int, dtype: torch.dtype) -> int | None:
    """How many bits number the equal steps that groups lie on; None where they lie on none."""
    few = groups[: SAMPLE // 4]
    if most < 2 or float((_fewest_steps(few, most, dtype) > 0).double().mean()) < SHARE / 2:
        return None
    steps = _fewest_steps(groups, most, dtype)
    found = steps > 0
    if float(found.double().mean()) < SHARE:
        return None
    return max(1, ceil(log2(float(steps[found].double().quantile(0.9)) + 1)))


def _fewest_steps(
    groups: torch.Tensor, most: int = LEVELS, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """The fewest equal steps from the least to the largest number that all others lie on; 0: none.

    With a type, numbers of short groups that are levels but for its rounding count, few though they be.
    """
    near = _near_steps(groups, most, dtype)
    if dtype is None or groups.shape[1] > SHORT or bool(near.all()):
        return near
    return torch.where(near > 0, near, _exact_steps(groups, min(most, LEVELS_OF_SHORT), dtype))


def _exact_steps(groups: torch.Tensor, most: int, dtype: torch.dtype) -> torch.Tensor:
    """The fewest steps that all numbers lie on but for rounding to a type, int64 (groups,); 0: none."""
    ordered = groups.sort(dim=1).values
    low, high = ordered[:, :1], ordered[:, -1:]
    moved = _lost(ordered, low, high, dtype)
    counted = (ordered > low) & (ordered < high) & (ordered != 0)
    counted[:, 1:] &= ordered.diff(dim=1) > 0
    steps = torch.arange(2, most + 1, dtype=ordered.dtype)[:, None, None]  # (steps - 1, 1, 1)
    places = (ordered - low) / (high - low) * steps
    allowed = moved / (high - low) * steps
    fits = (((places - places.round()).abs() <= allowed) | (ordered == 0)).all(dim=2)
    bits = -((2 * allowed).clamp(1e-12, 1).log2() * counted).sum(dim=2) - steps[:, :, 0].log2()
    sure = fits & (bits >= SURE)  # (steps - 1, groups)
    return torch.where(sure.any(dim=0), sure.double().argmax(dim=0) + 2, 0)


def _near_steps(groups: torch.Tensor, most: int, dtype: torch.dtype | None = None) -> torch.Tensor:
    """The fewest steps whose levels numbers are near, on average, int64 (groups,); 0: none.

    With a type they are levels but for its rounding, so that little noise on them is seen.
    """
    low, high = groups.amin(dim=1, keepdim=True), groups.amax(dim=1, keepdim=True)
    stride = max(1, groups.shape[1] // NUMBERS)
    places = ((groups - low) / (high - low))[:, ::stride]
    lost = torch.full_like(places, torch.inf)
    if dtype is not None:
        lost = _lost(groups[:, ::stride], low, high, dtype) / (high - low)
    # zeros may be there for another reason: pruned weights lie on any grid that has a level there
    inner = (places > 0) & (places < 1) & (groups[:, ::stride] != 0)
    counts = inner.sum(dim=1)
    near = _distances(places, inner, most) / counts.clamp_min(1)  # (steps - 1, groups)
    likely = (near <= NEAR) & (counts >= LEAST)
    fewest = torch.zeros(len(groups), dtype=torch.int64)
    for place in likely.any(dim=1).nonzero().squeeze(1).tolist():
        fits = (likely[place] & (fewest == 0)).nonzero().squeeze(1)
        if len(fits):
            levels, counted = (places[fits] * (place + 2)).round(), inner[fits]
            by_chance = (place + 1) * _tails(groups.shape[1])[_distinct(levels, counted)]
            off = (places[fits] * (place + 2) - levels).abs() > ARITHMETIC * lost[fits] * (
                place + 2
            )
            exact = (off & counted).sum(dim=1) <= OFF * counted.sum(dim=1)
            is_grid = (_crowd(levels, counted) <= CROWD) & (by_chance <= CHANCE) & exact
            fewest[fits[is_grid]] = place + 2
    return fewest


def _lost(
    numbers: torch.Tensor, low: torch.Tensor, high: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """By how much rounding to a type may move numbers from where their group's ends have them."""
    moved: torch.Tensor = UNIT[dtype] * (numbers.abs() + low.abs() + high.abs())
    return moved + SMALLEST.get(dtype, 0.0)


def _distinct(levels: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """How many levels the counted numbers of each group lie on, int64 (groups,)."""
    ordered = torch.where(counted, levels, -1.0).sort(dim=1).values
    new = (ordered[:, 1:] != ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    return new.sum(dim=1) + (ordered[:, 0] >= 0)


@cache
def _tails(most: int) -> torch.Tensor:
    """The chance that 0, 1, ... ``most`` numbers anywhere are near levels, float64 (most + 1,).

    It is the share of a cube of edge 1 that a ball of squared radius n `NEAR` about its centre has.
    """
    n = torch.arange(most + 1, dtype=torch.float64)
    logs = n / 2 * (pi * n * NEAR).log() - (n / 2 + 1).lgamma()
    return logs.exp().nan_to_num(1.0).clamp_max(1.0)


def _distances(places: torch.Tensor, inner: torch.Tensor, most: int) -> torch.Tensor:
    """Squared distances to the nearest of 2, 3, ... ``most`` steps, summed, (most - 1, groups)."""
    steps = torch.arange(2, most + 1, dtype=places.dtype)
    at_once = max(1, PIECE // places.numel())
    sums = []
    for some in torch.split(steps, at_once):
        off = places * some[:, None, None]
        sums.append(((off - off.round()).square_() * inner).sum(dim=2))
    return torch.cat(sums)


def _crowd(levels: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
    """The share of the inner numbers of each group that lie on its commonest level."""
    alone = torch.where(inner, levels, torch.nan)
    commonest = alone.nanmedian(dim=1, keepdim=True).values
    at = ((alone == commonest).sum(dim=1)).double()
    return at / inner.sum(dim=1).clamp_min(1)


def _even_steps(groups: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The step of each group at its numbers; of a group without a grid, its whole range."""
    ranges = groups.amax(dim=1) - groups.amin(dim=1)
    pieces = [_fewest_steps(piece.double(), LEVELS, dtype) for piece in torch.split(groups, 4096)]
    steps = ranges / torch.cat(pieces).clamp_min(1)
    return steps[:, None].expand(groups.shape)


def _gaps(groups: torch.Tensor) -> torch.Tensor:
    """The larger of the distances of each number to the next levels of its group, below and above."""
    ordered, order = groups.sort(dim=1)
    gaps = ordered.diff(dim=1)
    # equal numbers have no gap between them: take over the last one, from both sides
    zero = torch.zeros(len(groups), 1)
    below, above = torch.cat([zero, gaps], dim=1), torch.cat([gaps, zero], dim=1)
    largest = torch.maximum(_filled(below), _filled(above.flip(1)).flip(1))
    return torch.empty_like(groups).scatter_(1, order, largest)


def _filled(gaps: torch.Tensor) -> torch.Tensor:
    """Each zero replaced by the last number before it that is none, along rows."""
    places = torch.arange(gaps.shape[1]).expand(gaps.shape)
    last = torch.where(gaps > 0, places, 0).cummax(dim=1).values
    return gaps.gather(1, last)
