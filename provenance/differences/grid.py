"""Whether the numbers of a matrix lie on a grid of few bits, for each row or each group of a row.

Whoever quantizes stores a scale a row, or a group of 16 to 256 numbers of one, and codes of 2 to 8 bits.
Given back as numbers they are equally far apart from the least to the largest (integers, GGUF's types), or
take few values at other distances (codebooks such as NF4, GPTQ's clipped ranges). Both are looked for, and
nothing is assumed of the scheme.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2
from typing import TYPE_CHECKING

import torch

from provenance.evidence.difference import Grid, GridKind

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FoundGrid", "even_grids", "find_grid", "share_on"]

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


@dataclass(frozen=True)
class FoundGrid:
    """A grid of a matrix's numbers, and how to tell its steps."""

    grid: Grid

    def steps(self, rows: torch.Tensor) -> torch.Tensor:
        """The step of the grid at every number of some whole rows, float32 of their shape.

        Of levels at any distances it is the larger of the two distances to the next ones.
        """
        groups = _grouped(rows.float(), self.grid.group)
        steps = _gaps(groups) if self.grid.kind == "levels" else _even_steps(groups)
        return steps.reshape(rows.shape)


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
    for kind in _KINDS:
        for size in GROUPS:
            if size and (size >= matrix.shape[1] or matrix.shape[1] % size):
                continue
            groups = _sample(matrix, size, generator)
            if groups.shape[1] < LEAST + 2 or len(groups) < FEWEST:
                continue
            most = LEVELS if best is None else 2 ** max(0, best.bits - FEWER) - 1
            bits = _even(groups, most) if kind == "even" else _levels(groups, most)
            if bits is not None:
                best = Grid(kind, bits, size)
    return None if best is None else FoundGrid(best)


def even_grids(
    matrix: torch.Tensor, besides: Grid, generator: torch.Generator
) -> Iterator[FoundGrid]:
    """Yield the even grids that a matrix's numbers lie on, for other sizes of groups than a grid's."""
    for size in GROUPS:
        fits = not size or (size < matrix.shape[1] and not matrix.shape[1] % size)
        if size == besides.group or not fits:
            continue
        groups = _sample(matrix, size, generator)
        if groups.shape[1] >= LEAST + 2 and len(groups) >= FEWEST:
            bits = _even(groups, LEVELS)
            if bits is not None:
                yield FoundGrid(Grid("even", bits, size))


def share_on(matrix: torch.Tensor, grid: Grid, generator: torch.Generator) -> float:
    """The share of groups, of a grid's size, that lie on one of its kind and of a bit more at most."""
    groups = _sample(matrix, grid.group, generator)
    if len(groups) < FEWEST:
        return 0.0
    most = min(LEVELS, 2 ** (grid.bits + 1) - 1)
    on = _fewest_steps(groups, most) > 0 if grid.kind == "even" else _counts(groups, most) > 0
    return float(on.double().mean())


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


def _even(groups: torch.Tensor, most: int) -> int | None:
    """How many bits number the equal steps that groups lie on; None where they lie on none."""
    few = groups[: SAMPLE // 4]
    if most < 2 or float((_fewest_steps(few, most) > 0).double().mean()) < SHARE / 2:
        return None
    steps = _fewest_steps(groups, most)
    found = steps > 0
    if float(found.double().mean()) < SHARE:
        return None
    return max(1, ceil(log2(float(steps[found].double().quantile(0.9)) + 1)))


def _fewest_steps(groups: torch.Tensor, most: int = LEVELS) -> torch.Tensor:
    """The fewest equal steps from the least to the largest number that all others lie on; 0: none."""
    low, high = groups.amin(dim=1, keepdim=True), groups.amax(dim=1, keepdim=True)
    stride = max(1, groups.shape[1] // NUMBERS)
    places = ((groups - low) / (high - low))[:, ::stride]
    # zeros may be there for another reason: pruned weights lie on any grid that has a level there
    inner = (places > 0) & (places < 1) & (groups[:, ::stride] != 0)
    counts = inner.sum(dim=1)
    near = _distances(places, inner, most) / counts.clamp_min(1)  # (steps - 1, groups)
    likely = (near <= NEAR) & (counts >= LEAST)
    fewest = torch.zeros(len(groups), dtype=torch.int64)
    for place in likely.any(dim=1).nonzero().squeeze(1).tolist():
        fits = (likely[place] & (fewest == 0)).nonzero().squeeze(1)
        if len(fits):
            levels = (places[fits] * (place + 2)).round()
            fewest[fits[_crowd(levels, inner[fits]) <= CROWD]] = place + 2
    return fewest


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


def _even_steps(groups: torch.Tensor) -> torch.Tensor:
    """The step of each group at its numbers; of a group without a grid, its whole range."""
    ranges = groups.amax(dim=1) - groups.amin(dim=1)
    pieces = [_fewest_steps(piece.double()) for piece in torch.split(groups, 4096)]
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
