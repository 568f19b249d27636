"""Assignment among some of the pairs, and the prices that prove one optimal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from provenance.assignment import apart
from provenance.assignment.solver import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

GRID = 2.0**38
"""Steps between the least and the largest cost that is solved: sums of thousands stay exact in float64."""

BLOCK = 256
"""Rows of a dense matrix that are relaxed at once, so that no second matrix is made."""


@dataclass(frozen=True, eq=False)
class Edges:
    """Some entries of an (m, n) matrix, m <= n, ordered by row and then by column, each once.

    Attributes
    ----------
    shape : tuple of int
        (m, n).
    rows, columns : numpy.ndarray of int64, shape (k,)
    values : numpy.ndarray of float64, shape (k,)
    """

    shape: tuple[int, int]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def of(
        cls, shape: tuple[int, int], keys: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Edges:
        """Order entries by their keys, row * n + column, in which they may come repeatedly."""
        unique, first = np.unique(keys, return_index=True)
        return cls(shape, unique // shape[1], unique % shape[1], values[first])

    def joined(self, other: Edges) -> Edges:
        """Return the entries of both."""
        keys = np.concatenate([self.keys(), other.keys()])
        return Edges.of(self.shape, keys, np.concatenate([self.values, other.values]))

    def keys(self) -> NDArray[np.int64]:
        """Row * n + column of every entry, (k,) int64."""
        return self.rows * self.shape[1] + self.columns

    def starts(self) -> NDArray[np.int64]:
        """Where each row's entries begin, and the number of entries, (m + 1,) int64."""
        return np.searchsorted(self.rows, np.arange(self.shape[0] + 1))

    def of_matching(self, partners: NDArray[np.int64]) -> NDArray[np.float64]:
        """Values of the entries (i, partners[i]), which must be among these, (m,) float64."""
        matched: NDArray[np.float64] = self.values[self.columns == partners[self.rows]]
        return matched


@dataclass(frozen=True, eq=False)
class Prices:
    """What every row and every column is worth: float64, (m,) and (n,)."""

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]

    def excess(self, edges: Edges) -> NDArray[np.float64]:
        """By how much each entry exceeds the prices of its row and column, (k,)."""
        return edges.values - self.rows[edges.rows] - self.columns[edges.columns]


def solve(edges: Edges, prices: Prices, *, settled: bool = False) -> NDArray[np.int64]:
    """Return every row's column in an assignment that is the best among some pairs.

    Parameters
    ----------
    edges : Edges
        The pairs, which must allow an assignment of all rows.
    prices : Prices
        Any. The better they are the sooner it is solved: against the optimal ones nearly
        every row's best pair is its partner's.
    settled : bool
        Whether they are those of an optimum among nearly these pairs.

    Returns
    -------
    numpy.ndarray of int64, shape (m,)

    Notes
    -----
    Where every row and column is matched, subtracting a row's or a column's price from its entries changes
    the total of every assignment alike. A matrix with more columns than rows is made square for it:
    its transpose stands beside it, and a column that is not matched in one is matched to itself in
    the other. The best assignment of the two is a best one of each. That takes longer than the columns'
    prices save, unless they are `settled` (gates and ups of real models, 2048 x 1536: 18 to 65 ms instead
    of 6 to 23 without, and 2 to 10 with them).
    """
    m, n = edges.shape
    known = np.arange(m)
    if m < n and not settled:
        return _least(prices.rows[edges.rows] - edges.values, edges.rows, edges.columns, n, known)
    excess = prices.excess(edges)
    if m == n:
        return _least(-excess, edges.rows, edges.columns, n, known)
    alone = np.arange(n)
    rows = np.concatenate([edges.rows, m + edges.columns, m + alone])
    columns = np.concatenate([edges.columns, n + edges.rows, alone])
    costs = -np.concatenate([excess, excess, -2 * prices.columns])
    return _least(costs, rows, columns, m + n, np.concatenate([known, n + known, alone[m:]]))[:m]


def _least(
    costs: NDArray[np.float64],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    width: int,
    known: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return every row's column in an assignment of least cost.

    Parameters
    ----------
    costs, rows, columns : numpy.ndarray, shape (k,)
        The pairs, in any order, each once.
    width : int
        Number of columns.
    known : numpy.ndarray of int64, shape (m,)
        Columns of some assignment of all rows among the pairs.

    Notes
    -----
    Two steps of scipy's solver can take for ever, and are left nothing to do:

    * The reduction of a square matrix lets two rows outbid each other for one column, by as little as the
      next best column costs more. Rows of near ties take 2**38 such steps. A matrix with one column more
      than rows skips it. Augmenting paths do all the work then, each of which looks at a pair once.
    * The search for any full matching is exponential in the depth of a layered graph [1]_. It takes the
      first free column of each row, which is the known one's.

    References
    ----------
    .. [1] https://github.com/scipy/scipy/issues/26147
    """
    m = len(known)
    costs = costs - costs.min()
    # Whole numbers: in fractions scipy's solver can go in circles for ever, moved by rounding (seen with
    # 1.17 on 21624 pairs of 640). What this rounds off is caught by the prices that follow.
    costs = np.rint(costs * (GRID / (costs.max() or 1.0))) + 1  # an entry of 0 would be "no edge"
    order = np.lexsort((columns, columns != known[rows], rows))
    starts = np.searchsorted(rows[order], np.arange(m + 1))
    return apart.least(
        Problem(
            costs[order],
            columns[order].astype(np.int32),
            starts.astype(np.int32),
            max(width, m + 1),
        )
    )


def settle(
    edges: Edges, partners: NDArray[np.int64], start: NDArray[np.float64], least: float
) -> Prices:
    """Find prices that no pair exceeds and that the matched ones equal.

    Parameters
    ----------
    edges : Edges
        The pairs, among them all of the matching.
    partners : numpy.ndarray of int64, shape (m,)
        A matching that is optimal among the pairs.
    start : numpy.ndarray of float64, shape (n,)
        The least prices of the columns; the closer the sooner. 0 if m < n, so that unmatched columns
        stay at 0.
    least : float
        A rise of this much or less is rounding.
    """
    starts = edges.starts()
    gains = edges.of_matching(partners)
    offers = edges.values - gains[edges.rows]

    def raised(prices: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        counts = starts[rows + 1] - starts[rows]
        ends = np.cumsum(counts)
        chosen = np.arange(ends[-1]) + np.repeat(starts[rows] - ends + counts, counts)
        bids = offers[chosen] + np.repeat(prices[partners[rows]], counts)
        higher = prices.copy()
        np.maximum.at(higher, edges.columns[chosen], bids)
        return higher

    columns = _risen(start, partners, raised, least)
    return Prices(gains - columns[partners], columns)


def settle_dense(matrix: NDArray[np.float64], partners: NDArray[np.int64], least: float) -> Prices:
    """Find prices like `settle`, with every entry of a matrix for a pair.

    Parameters
    ----------
    matrix : numpy.ndarray of float64, shape (m, n), m <= n
    partners : numpy.ndarray of int64, shape (m,)
        An optimal matching.
    least : float
        A rise of this much or less is rounding.
    """
    gains = matrix[np.arange(len(partners)), partners]

    def raised(prices: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        higher = prices.copy()
        for block in np.split(rows, range(BLOCK, len(rows), BLOCK)):
            bids = matrix[block] + (prices[partners[block]] - gains[block])[:, None]
            np.maximum(higher, bids.max(axis=0), out=higher)
        return higher

    columns = _risen(np.zeros(matrix.shape[1]), partners, raised, least)
    return Prices(gains - columns[partners], columns)


def _risen(
    start: NDArray[np.float64],
    partners: NDArray[np.int64],
    raised: Callable[[NDArray[np.float64], NDArray[np.int64]], NDArray[np.float64]],
    least: float,
) -> NDArray[np.float64]:
    """Let rows bid for columns until no bid is higher than a price.

    A row can pay its own column's price, plus what another column is worth more to it. These are the
    longest paths of a graph, and finite since an optimum leaves no circle of exchanges that gains
    (Bellman-Ford, with only those rows bidding whose own price has risen).
    """
    owner = np.full(len(start), -1)
    owner[partners] = np.arange(len(partners))
    prices, bidders = start, np.arange(len(partners))
    for _ in range(len(start) + 1):  # a path has no more steps; what rises still is rounding
        if not len(bidders):
            break
        higher = raised(prices, bidders)
        rows = owner[higher > prices + least]
        prices, bidders = higher, rows[rows >= 0]
    return prices
