"""Looks at one matrix of the candidate and at its counterpart, which has been mapped onto it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch

from provenance.differences.digits import UNIT
from provenance.differences.grid import even_grids, find_grid
from provenance.differences.rederive import rederived
from provenance.differences.sizes import size_of
from provenance.differences.spectrum import spectrum
from provenance.evidence.difference import MatrixDifference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.differences.grid import FoundGrid
    from provenance.evidence.difference import Grid, Structure

__all__ = ["Orders", "Pair", "look"]

Orders = tuple[torch.Tensor | None, torch.Tensor | None]
"""The reference's row, and column, that each of the candidate's is, int64; None: the same."""

ARITHMETIC = 2.0**-19
"""What a map that multiplies changes a number by, relative to the largest of its row (float32)."""
ROWS = 32
"""Rows in which steps of a grid are looked for: enough for a share."""
OWN_GRID = 0.25
"""Share of the reference's groups on such a grid from which the grid is no trace of a change."""
CLOSE = 0.99
"""Share of the differences within a step of a grid from which no other arrangement is looked at."""
UNMOVED = 0.9
"""Share of the differences within a quarter of a step from which the reference lies near the levels too:
rounding to them leaves half there, and noise on them that still shows a grid nine of ten."""
STRAY = 4.0
"""A number that differs by more than so many times what rounding leaves was changed otherwise: what is
rounded twice, or rounds the other way, differs by two of its steps at most."""
FULL = 0.4
"""Least share of zeros that a regular pattern of zeros has (2:4 has a half)."""
FEW = 4
"""The group of a regular pattern: 2:4."""


@dataclass(frozen=True)
class Pair:
    """One matrix of two models.

    Attributes
    ----------
    stored : Tensor
        The candidate's, as its files have it: (rows, columns), or a vector.
    mapped : Tensor
        The candidate's, float32, as it is compared: ``stored``, or with the gain of its norm.
    counterpart : Tensor
        The reference's, float32, mapped onto ``mapped``; of its shape.
    original : Tensor
        The reference's, as its files have it.
    exact : bool
        Whether the map only puts numbers in another order.
    fitted : bool
        Whether it multiplies rows or columns by factors that were fitted to them.
    orders : tuple of Tensor or None
        The row, and the column, of ``original`` that each of ``counterpart`` is; None where they are the
        same, or the map is not `exact`.
    """

    stored: torch.Tensor
    mapped: torch.Tensor
    counterpart: torch.Tensor
    original: torch.Tensor
    exact: bool
    fitted: bool = False
    orders: Orders = (None, None)


def look(
    name: str, blocks: tuple[int, int] | None, pair: Pair, generator: torch.Generator
) -> MatrixDifference:
    """Measure the difference of one matrix.

    Parameters
    ----------
    name : str
        Of the candidate's parameter.
    blocks : tuple of int, optional
        The candidate's and the reference's block.
    pair : Pair
        The two matrices; finite.
    generator : torch.Generator
        Chooses parts of what is too large to be looked at as a whole.
    """
    ours, theirs = pair.mapped, pair.counterpart
    difference = ours - theirs
    rounding = max(_rounding(pair.stored), _rounding(pair.original))
    left = _left_by_rounding(pair, rounding)
    is_strict = pair.exact and pair.stored.dtype == pair.original.dtype
    apart = difference.abs()
    same = apart == 0 if is_strict else apart <= left
    zero, new = ours == 0, (ours == 0) & (theirs != 0)
    size = size_of(theirs)
    relative = size_of(difference) / size if size else float(bool(difference.any()))
    flat = ours.dim() < 2 or min(ours.shape) < 2
    count = ours.numel()
    new_share = int(new.sum()) / count
    kept = same[~new]
    deviation = size / count**0.5
    strayed = apart > STRAY * (left + max(map(_least, (pair.stored, pair.original))))
    made = MatrixDifference(
        name=name,
        block=None if blocks is None else blocks[0],
        reference_block=None if blocks is None else blocks[1],
        shape=tuple(ours.shape),
        relative=relative,
        unchanged=int(same.sum()) / count,
        untouched_rows=float((same if same.dim() < 2 else same.all(dim=1)).double().mean()),
        rank=None,
        ranks=1 if flat else min(ours.shape),
        carried=None,
        noise=None,
        rounding=rounding,
        tolerance=0.0 if is_strict else rounding,
        zeros=int(zero.sum()) / count,
        new_zeros=new_share,
        structure="none" if flat else _structure(new, zero),
        kept=float(kept.double().mean()) if len(kept) else 1.0,
        fitted=pair.fitted,
        zeroed=_deviation(theirs[new]) / deviation if new_share else None,
        strayed=int((strayed & ~new).sum()) / count,
    )
    if flat or bool(same.all()):
        return made
    found = spectrum(difference, generator)
    return replace(
        made,
        rank=found.rank,
        ranks=found.ranks,
        carried=found.carried,
        noise=found.noise / deviation if deviation else 0.0,
        **_rounded(pair, generator),
    )


def _deviation(numbers: torch.Tensor) -> float:
    return float(numbers.double().square().mean().sqrt())


def _rounding(tensor: torch.Tensor) -> float:
    return UNIT.get(tensor.dtype, UNIT[torch.float16])


def _least(tensor: torch.Tensor) -> float:
    """The step between the least numbers of a stored type: they round by no share of themselves."""
    if not tensor.is_floating_point():
        return 0.0
    of = torch.finfo(tensor.dtype)
    return float(of.smallest_normal * of.eps)


def _left_by_rounding(pair: Pair, rounding: float) -> torch.Tensor:
    """What the rounding of the stored types and of the map may make each number differ by."""
    left: torch.Tensor = rounding * torch.maximum(pair.mapped.abs(), pair.counterpart.abs())
    if pair.exact:
        return left
    # a map that sums over a row leaves what the roundings of all of it come to
    row: torch.Tensor = torch.linalg.vector_norm(
        pair.counterpart, dim=-1, keepdim=True, dtype=torch.float64
    )
    along = (row / math.sqrt(pair.counterpart.shape[-1])).to(left.dtype)
    return 2 * left + 4 * (rounding + ARITHMETIC) * along


def _structure(new: torch.Tensor, zero: torch.Tensor) -> Structure:
    """Where the zeros are that the reference has not."""
    if not bool(new.any()):
        return "none"
    share = float(new.double().mean())
    for axis, what in ((1, "rows"), (0, "columns")):
        whole = zero.all(dim=axis) & new.any(dim=axis)
        inside = float(whole.double().mean())
        if inside and inside >= 0.9 * share:
            return "rows" if what == "rows" else "columns"
    if new.shape[1] % FEW == 0 and FULL <= share <= 1 - FULL:
        least = zero.reshape(-1, FEW).sum(dim=1) >= FEW // 2
        if float(least.double().mean()) > 0.99:
            return "n:m"
    return "scattered"


def _rounded(pair: Pair, generator: torch.Generator) -> dict[str, Any]:
    """The grid of the candidate's numbers, and the scheme that makes them of the reference's."""
    if not pair.stored.is_floating_point():
        return {}
    best: dict[str, Any] = {}
    for one in _arrangements(pair):
        found = find_grid(one.stored, generator)
        if found is None:
            continue
        scheme = rederived(one.stored, one.counterpart, generator) if _is_plain(one) else None
        grid = _grid(one, found, generator)
        seen = {"grid": grid, "made_by": scheme}
        if scheme is not None or (grid is not None and (grid.within or 0.0) >= CLOSE):
            return seen
        best = best or seen
    if best:
        return best
    if not _is_plain(pair):
        return {}
    made = (
        rederived(one.stored, one.counterpart, generator, on_grid=False)
        for one in _arrangements(pair)
    )
    return {"made_by": next((scheme for scheme in made if scheme is not None), None)}


def _is_plain(pair: Pair) -> bool:
    """Whether the candidate's numbers are compared as they are stored, and only orders were mapped."""
    return pair.exact and torch.equal(pair.mapped, pair.stored.float())


def _arrangements(pair: Pair) -> Iterator[Pair]:
    """The two matrices as they are; in the reference's order; and both with rows and columns exchanged.

    What was rounded and then put in another order has its groups in the order before. Some files hold a
    matrix with its columns along its rows.
    """
    ways = [pair]
    if pair.exact and pair.orders != (None, None):
        ways.append(_ordered_back(pair))
    yield from ways
    for one in ways:
        names = ("stored", "mapped", "counterpart", "original")
        yield replace(one, **{name: getattr(one, name).T.contiguous() for name in names})


def _ordered_back(pair: Pair) -> Pair:
    """The candidate's numbers in the order of the reference's."""

    def back(tensor: torch.Tensor) -> torch.Tensor:
        for axis, order in enumerate(pair.orders):
            tensor = tensor if order is None else tensor.index_select(axis, order.argsort())
        return tensor

    return replace(
        pair,
        stored=back(pair.stored),
        mapped=back(pair.mapped),
        counterpart=back(pair.counterpart),
    )


def _grid(pair: Pair, found: FoundGrid, generator: torch.Generator) -> Grid | None:
    """The grid of the candidate's numbers, unless the reference's are near its levels too."""
    difference = pair.mapped - pair.counterpart
    # a reference that was rounded itself shows through another rounding: then that one's grid is sought
    others = even_grids(pair.stored, found.grid, generator)
    both: Grid | None = None
    for one in chain([found], others):
        steps = _steps(one, pair, difference, generator)
        if steps is not None and steps.is_near:
            continue  # the reference lies there, or what little moves away from it
        grid = one.grid if steps is None else steps.grid
        if not _is_shared(pair, one, generator):
            return grid
        if steps is not None and both is None:
            both = replace(grid, shared=True)
    return both


@dataclass(frozen=True)
class _Steps:
    """A grid whose steps were held against the differences; ``is_near``: hardly any left its level."""

    grid: Grid
    is_near: bool


def _is_shared(pair: Pair, found: FoundGrid, generator: torch.Generator) -> bool:
    """Whether the reference's numbers lie on such a grid as well."""
    return found.share(pair.original, generator) > OWN_GRID


def _steps(
    found: FoundGrid, pair: Pair, difference: torch.Tensor, generator: torch.Generator
) -> _Steps | None:
    if pair.mapped.shape != pair.stored.shape or not torch.equal(pair.mapped, pair.stored.float()):
        return None  # a gain was multiplied in: steps differ from column to column
    rows = torch.randperm(len(pair.stored), generator=generator)[:ROWS]
    some = difference.index_select(0, rows)
    steps = found.steps(pair.stored, rows, -some)
    moved = some.abs()
    ours, theirs = (one.index_select(0, rows) for one in (pair.mapped, pair.counterpart))
    slack = 1e-3 * steps + _rounding(pair.stored) * ours.abs()
    within, nearest, near = (moved <= steps * part + slack for part in (1, 0.5, 0.25))
    # of a pruned copy of what lies on a grid, the numbers that were not pruned tell
    kept = near[(ours != 0) | (theirs == 0)]
    inner = found.inside(pair.stored, rows)
    if bool(inner.any()):
        nearest = nearest[inner]
    shares = [float(one.double().mean()) for one in (within, nearest, near)]
    grid = replace(found.grid, within=shares[0], nearest=shares[1], quarter=shares[2])
    return _Steps(grid, bool(len(kept)) and float(kept.double().mean()) >= UNMOVED)
