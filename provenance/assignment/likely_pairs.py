"""Which pairs an optimal assignment may be made of, and what a whole matrix says of prices.

All of it runs on the device of the similarities, a tile at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from provenance.assignment.similarity import Scratch, Similarity, tiles
from provenance.assignment.sparse import Edges, Prices
from provenance.errors import DegenerateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SOFTNESS = (8.0, 4.0, 2.0, 1.0, 0.5)
"""The passes of `soft_prices`, from coarse to fine, as multiples of a sixth of the gap. Measured on
independent activations: fewer or all-fine passes leave out pairs, which costs rounds of solving."""

DEPTH = 32
"""The gap of a row is from its best similarity to this one in order."""

WITHIN = 1.25
"""Likely pairs are within this many gaps of a row's price: about 28 a row."""

CROWD = 4 * DEPTH
"""A row has at most this many likely pairs, however many of its similarities are alike."""

SAMPLE = 64
"""Rows whose gaps are looked at."""

DULL = 0.1
"""The gap of all rows is this quantile of theirs: rows that have an evident partner have a wide one."""


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass over an (m, n) matrix shows.

    Attributes
    ----------
    partners : numpy.ndarray of int64, shape (m,)
        Every row's best column.
    best : numpy.ndarray of float64, shape (m,)
        Its similarity.
    scale : float
        The largest absolute value.
    gap : float
        How far a row's best `DEPTH` similarities lie apart; 0 if they are equal.
    """

    partners: NDArray[np.int64]
    best: NDArray[np.float64]
    scale: float
    gap: float


@dataclass(frozen=True, eq=False)
class SoftPrices:
    """Prices that are nearly optimal, (m,) and (n,), and the gap of rows against them."""

    rows: torch.Tensor
    columns: torch.Tensor
    gap: float

    def hard(self) -> Prices:
        """Return the same in float64 on the CPU."""
        rows, columns = (x.to("cpu", torch.float64).numpy() for x in (self.rows, self.columns))
        return Prices(rows, columns)


def survey(similarity: Similarity) -> Survey:
    """Look at every similarity once.

    Raises
    ------
    DegenerateError
        If one is NaN or infinite.
    """
    best_of_rows, scale, gaps = [], 0.0, []
    for start, tile in tiles(similarity):
        ends = torch.stack(torch.aminmax(tile))  # either is NaN where anything is
        greatest = float(ends.abs().max())
        if not math.isfinite(greatest):
            raise DegenerateError("a similarity is NaN or infinite, so no pairing is the best")
        scale = max(scale, greatest)
        best_of_rows.append(tile.max(dim=1))
        gaps.append(_gaps(tile, start, similarity.shape[0]))
    partners = torch.cat([tile.indices for tile in best_of_rows]).cpu().numpy()
    best = torch.cat([tile.values for tile in best_of_rows]).to("cpu", torch.float64).numpy()
    return Survey(partners, best, scale, _typical(gaps))


def soft_prices(similarity: Similarity, overview: Survey) -> SoftPrices:
    """Find prices at which every column is wanted about once, by entropic optimal transport.

    Parameters
    ----------
    similarity : Similarity
        (m, n), m <= n.
    overview : Survey

    Returns
    -------
    SoftPrices
        Of the columns at least 0 if m < n. Rows that are alike in all but noise are all the same to it:
        it is no more than a good start.

    Notes
    -----
    Every row spreads itself over the columns by the softmax of similarity less price, and the price of a
    column rises by the logarithm of what it gets [1]_. A soft choice settles in few passes and a sharp
    one is close to the assignment, hence the passes of `SOFTNESS`. The n - m columns that stay free are
    taken by one more row, to which all columns are alike.

    References
    ----------
    .. [1] Cuturi. Sinkhorn distances: lightspeed computation of optimal transport. NeurIPS 2013.
    """
    best = torch.from_numpy(overview.best).to(similarity.device)
    prices = SoftPrices(best, torch.zeros(similarity.shape[1], device=best.device), overview.gap)
    for softness in SOFTNESS:
        temperature = softness * prices.gap / 6
        if temperature <= 1e-30 * max(
            overview.scale, 1e-7
        ):  # ties everywhere, or float32 overflows
            return replace(prices, rows=best, columns=torch.zeros_like(prices.columns))
        prices = _softened(similarity, prices.columns, temperature)
    return prices


def _softened(similarity: Similarity, columns: torch.Tensor, temperature: float) -> SoftPrices:
    m, n = similarity.shape
    offset = columns / -temperature  # (n,)
    taken = torch.zeros_like(columns, dtype=torch.float32)
    rows, gaps, scratch = [], [], Scratch()
    for start, tile in tiles(similarity):
        shift, worth = offset.to(tile.dtype), scratch.like(tile)
        torch.add(shift, tile, alpha=1 / temperature, out=worth)
        gaps.append(_gaps(worth, start, m))
        top = worth.amax(dim=1)
        worth.sub_(top[:, None]).clamp_min_(-60).exp_()  # exp(-60): denormals are slow
        total = worth.sum(dim=1)
        taken += (1 / total) @ worth
        rows.append(temperature * (top + total.log()))
    level = 0.0
    if m < n:
        taken += (n - m) * torch.softmax(offset, dim=0)
        level = temperature * float(torch.logsumexp(offset, dim=0) - math.log(n - m))
    columns = columns + temperature * taken.clamp_min(1e-30).log()
    if m < n:
        columns = (columns + level).clamp_min(0)
    return SoftPrices(torch.cat(rows) - level, columns, temperature * _typical(gaps))


def likely_pairs(similarity: Similarity, prices: SoftPrices) -> Edges:
    """Collect the pairs that are little worse than their prices, and the pairs (i, i).

    Parameters
    ----------
    similarity : Similarity
        (m, n), m <= n.
    prices : SoftPrices

    Returns
    -------
    Edges
        With the pairs (i, i) among them there is always an assignment of all rows.
    """
    m, n = similarity.shape
    floors = prices.rows - WITHIN * prices.gap
    entries, scratch = [], Scratch()
    for start, tile in tiles(similarity):
        floor = floors[start : start + len(tile), None].to(tile.dtype)
        worth = torch.sub(tile, prices.columns, out=scratch.like(tile))
        within = (worth >= floor).flatten().nonzero().squeeze(1)
        diagonal = torch.arange(len(tile), device=tile.device) * (n + 1) + start
        chosen = torch.cat([_uncrowded(within, tile, prices.columns), diagonal])
        entries.append((chosen + start * n, tile.take(chosen)))
    return _edges((m, n), entries)


def _uncrowded(within: torch.Tensor, tile: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Keep of rows with more than `CROWD` entries within reach the best ones; (k,) indices."""
    n = tile.shape[1]
    rows = within // n
    crowded = torch.bincount(rows, minlength=len(tile)) > CROWD
    if not bool(crowded.any()):
        return within
    which = crowded.nonzero()  # (rows, 1)
    best = (tile[crowded] - columns).topk(min(CROWD, n), dim=1).indices
    return torch.cat([within[~crowded[rows]], (which * n + best).flatten()])


def exceeding(
    similarity: Similarity, prices: Prices, *, tolerance: float, most: int
) -> tuple[float, Edges]:
    """Compare a whole matrix with prices.

    Parameters
    ----------
    similarity : Similarity
        (m, n), m <= n.
    prices : Prices
    tolerance : float
        What exceeds its prices by no more than this is not collected.
    most : int
        How many entries of a row are collected.

    Returns
    -------
    worst : float
        The largest amount by which an entry exceeds its row's and its column's price, in float64;
        at least 0.
    edges : Edges
        The entries of each row that exceed them the most.
    """
    rows, columns = (
        torch.from_numpy(x).to(similarity.device) for x in (prices.rows, prices.columns)
    )
    n = similarity.shape[1]
    worst, entries, scratch = 0.0, [], Scratch()
    for start, tile in tiles(similarity):
        excess = torch.sub(tile, columns, out=scratch.like(tile, torch.float64))
        highest = excess.amax(dim=1) - rows[start : start + len(tile)]
        worst = max(worst, float(highest.max()))
        if worst > tolerance:
            which = (highest > tolerance).nonzero()  # (bad rows, 1)
            bad = which.squeeze(1)
            over = (excess[bad] - rows[start + bad, None]).topk(min(most, n), dim=1)
            chosen = (which * n + over.indices)[over.values > tolerance]
            entries.append((chosen + start * n, tile.take(chosen)))
    return worst, _edges(similarity.shape, entries)


def _edges(shape: tuple[int, int], entries: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> Edges:
    if not entries:
        return Edges.of(shape, np.empty(0, np.int64), np.empty(0))
    keys, values = (torch.cat(parts).cpu() for parts in zip(*entries, strict=True))
    return Edges.of(shape, keys.numpy(), values.double().numpy())


def _gaps(values: torch.Tensor, start: int, rows: int) -> torch.Tensor:
    """Return the gaps of those of a tile's rows that are in the sample."""
    step = -(-rows // SAMPLE)
    best = values[-start % step :: step].topk(min(DEPTH, values.shape[1]), dim=1).values
    return best[:, 0] - best[:, -1]


def _typical(gaps: Sequence[torch.Tensor]) -> float:
    apart = torch.cat(list(gaps))
    apart = apart[apart > 0]  # ties say nothing of the noise
    return float(apart.quantile(DULL)) if len(apart) else 0.0
