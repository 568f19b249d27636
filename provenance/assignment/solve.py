"""Exact linear assignment: the pairing of units that is most similar as a whole, with a proof.

Greedy pairing depends on the order in which units are visited; the optimum does not, and it is what
the independence test is defined on (Zhu et al., arXiv:2502.12292, Algorithm 2).

Only scipy's solvers are used: reading the matrix takes the time, not solving. Milliseconds for independent
units, given the pairs and the prices of `assignment.likely_pairs`:

====================================  ============  ========
solver                                2048 units    4096
====================================  ============  ========
scipy, sparse                         5             8 to 23
lapx 0.11 (lapmod)                    4 to 5        8 to 21
fastlap 0.4                           12
OR-Tools 9.15                         12 to 84
scipy, lapx, fastlap: whole matrices  200 to 1600
====================================  ============  ========
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from provenance.assignment.evident import evident_partners
from provenance.assignment.likely_pairs import Survey, exceeding, likely_pairs, soft_prices, survey
from provenance.assignment.similarity import Matrix, Products, Similarity, hold_small, tiles
from provenance.assignment.sparse import Prices, settle, settle_dense, solve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Assignment", "Certificate", "Products", "Similarity", "assign", "assign_all"]

TOLERANCE = 2.0**-40
"""Entries exceed their prices by at most this, times the largest absolute similarity.

Entries are float32 at best, 2**-24 apart; a price is the sum of up to a few thousand terms in float64, each
rounded by 2**-53."""

ROUNDING = 2.0**-46
"""A smaller rise of a price, on the same scale, is none. Well below `TOLERANCE`, well above 2**-53."""

DENSE_ENTRIES = 256 * 256
"""Matrices up to this size go straight to the dense solver, which is as fast there."""

ROUNDS = 24
"""After so many rounds of likely pairs the dense solver takes over; independent units need one or two."""

MORE = 16
"""Of a row's entries that exceed their prices so many are added in the first round, twice as many in the
next, and so on."""


@dataclass(frozen=True, eq=False)
class Certificate:
    """What proves that no other pairing has a larger sum.

    Attributes
    ----------
    row_prices : numpy.ndarray of float64, shape (m,)
        Read-only, like the other one.
    column_prices : numpy.ndarray of float64, shape (n,)
    violation : float
        The largest amount by which an entry of the whole matrix exceeds its row's price plus its column's;
        0 if none does. At most `TOLERANCE` times the largest absolute similarity.
    gap : float
        The largest possible sum is at most this much above the assignment's; at least 0.
    method : str
        "argmax": the best partners of the smaller side are distinct. "sparse": solved among
        likely pairs, then proved on the whole matrix. "dense": solved as a whole.
    rounds : int
        How often it was solved; 0 for "argmax".
    pairs : int
        Pairs that it was solved among in the end; m n for "dense".

    Notes
    -----
    Weak duality. Let m <= n. The entries of any assignment are together at most the prices of all rows,
    plus the prices of the columns that it uses, plus m times `violation`. No column's price is negative, so
    the prices of *all* columns give a bound for every assignment. That bound, less the total, is `gap`.
    It is 0 up to rounding, because matched entries equal their prices and columns without a row have
    price 0. With m > n the sides change places. With m = n all columns are used, and prices may be negative
    on both sides.
    """

    row_prices: NDArray[np.float64] = field(repr=False)
    column_prices: NDArray[np.float64] = field(repr=False)
    violation: float
    gap: float
    method: Literal["argmax", "sparse", "dense"]
    rounds: int
    pairs: int


@dataclass(frozen=True, eq=False)
class Assignment:
    """A pairing of rows with columns that uses every unit of the smaller side once.

    Attributes
    ----------
    rows, columns : numpy.ndarray of int64, shape (min(m, n),)
        Row ``rows[k]`` is paired with column ``columns[k]``. The smaller side's indices ascend
        (rows if m <= n), so two assignments of one shape list the same units in the same order.
        Read-only.
    total : float
        Sum of the similarities of the pairs, in float64.
    shape : tuple of int
        (m, n).
    certificate : Certificate
        The proof that `total` is the largest.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    total: float
    shape: tuple[int, int]
    certificate: Certificate

    @property
    def partners(self) -> NDArray[np.int64]:
        """The larger side's index for each unit of the smaller side, shape (min(m, n),)."""
        return self.columns if self.shape[0] <= self.shape[1] else self.rows


@dataclass(frozen=True, eq=False)
class _Solved:
    """An assignment of all rows of a matrix that is no higher than wide."""

    partners: NDArray[np.int64]
    prices: Prices
    method: Literal["argmax", "sparse", "dense"]
    rounds: int
    pairs: int
    violation: float


def assign(similarity: torch.Tensor | Similarity) -> Assignment:
    """Pair rows with columns so that the sum of their similarities is the largest possible.

    Parameters
    ----------
    similarity : torch.Tensor or Similarity, shape (m, n)
        Floating point, on any device; m and n may differ. It is not changed. `Products` stands
        for a matrix that is too large to be whole in memory.

    Returns
    -------
    Assignment
        min(m, n) pairs. Where several pairings have the largest sum, one of them.

    Raises
    ------
    DegenerateError
        If a similarity is NaN or infinite.
    ValueError
        If `similarity` is not a floating-point matrix with at least one row and one column.

    Notes
    -----
    Where the best partners of the smaller side are all different they are the optimum, since no
    unit can do better; so it is for two related models. Where they are evident from a part of the vectors,
    the rest of the products is not made (`assignment.evident`).

    Otherwise the problem is solved among the pairs that entropic prices leave worth a look, by the
    Jonker-Volgenant algorithm for sparse matrices [1]_. The optimal prices that follow are compared with
    the whole matrix: pairs that exceed them are added, until there are none. Then the assignment is optimal
    among all pairs. The matrix is read about eight times, a tile at a time, and
    every number that decides is float64.

    Small matrices, and any that should not come to an end within `ROUNDS`, are solved as a whole [2]_,
    which takes 8 m n bytes.

    References
    ----------
    .. [1] Jonker, Volgenant. A shortest augmenting path algorithm for dense and sparse linear assignment
       problems. Computing 38, 1987. (scipy.sparse.csgraph.min_weight_full_bipartite_matching)
    .. [2] Crouse. On implementing 2D rectangular assignment algorithms. IEEE Transactions on
       Aerospace and Electronic Systems 52(4), 2016. (scipy.optimize.linear_sum_assignment)
    """
    source = _matrix(similarity) if isinstance(similarity, torch.Tensor) else similarity
    m, n = source.shape
    lying = source if m <= n else source.transposed()
    if isinstance(lying, Products) and m * n > DENSE_ENTRIES:
        evident = evident_partners(lying)
        if evident is not None and _are_distinct(evident.partners):
            return _assignment(_by_argmax(evident.partners, evident.best, max(m, n)), (m, n))
    wide = hold_small(lying)
    overview = survey(wide)
    if _are_distinct(overview.partners):
        return _assignment(_by_argmax(overview.partners, overview.best, max(m, n)), (m, n))
    solved = _among_likely_pairs(wide, overview) if m * n > DENSE_ENTRIES else None
    return _assignment(solved or _as_a_whole(wide, overview), (m, n))


def assign_all(similarities: Sequence[torch.Tensor | Similarity]) -> list[Assignment]:
    """`assign` each of several, side by side where there are threads to spare.

    Much of an assignment is serial, so that two of them at half the threads each take little longer
    than one. On a GPU, and where torch has one thread, they are taken in turn.
    """
    threads = torch.get_num_threads()
    if threads == 1 or any(similarity.device.type != "cpu" for similarity in similarities):
        return [assign(similarity) for similarity in similarities]
    workers = min(threads, len(similarities))
    share = threads // workers
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(share,)) as pool:
        assignments = list(pool.map(assign, similarities))
    torch.set_num_threads(threads)  # what a thread sets, later threads inherit
    return assignments


def _matrix(similarity: torch.Tensor) -> Matrix:
    if similarity.ndim != 2 or not similarity.numel() or not similarity.is_floating_point():
        raise ValueError(
            f"similarity has shape {tuple(similarity.shape)} and dtype {similarity.dtype}; "
            "it must be a floating-point matrix with at least one row and one column"
        )
    return Matrix(similarity.detach())


def _are_distinct(partners: NDArray[np.int64]) -> bool:
    """Whether no two rows want the same column."""
    return len(np.unique(partners)) == len(partners)


def _by_argmax(partners: NDArray[np.int64], best: NDArray[np.float64], columns: int) -> _Solved:
    prices = Prices(best, np.zeros(columns))
    return _Solved(partners, prices, "argmax", 0, len(best), 0.0)


def _among_likely_pairs(wide: Similarity, overview: Survey) -> _Solved | None:
    """Solve among likely pairs until no other pair would do better, or give up."""
    m, n = wide.shape
    soft = soft_prices(wide, overview)
    edges, prices = likely_pairs(wide, soft), soft.hard()
    for rounds in range(1, ROUNDS + 1):
        partners = solve(edges, prices, settled=rounds > 1)
        start = prices.columns if m == n else np.zeros(n)
        prices = settle(edges, partners, start, ROUNDING * overview.scale)
        tolerance = TOLERANCE * overview.scale
        worst, more = exceeding(wide, prices, tolerance=tolerance, most=MORE << rounds)
        count = len(edges.rows)
        if worst <= tolerance:
            return _Solved(partners, prices, "sparse", rounds, count, worst)
        edges = edges.joined(more)
        if len(edges.rows) == count:  # what exceeds is rounding of pairs already known
            return None
    return None


def _as_a_whole(wide: Similarity, overview: Survey) -> _Solved:
    from scipy.optimize import linear_sum_assignment  # takes a quarter of a second

    m, n = wide.shape
    matrix = np.concatenate([tile.to("cpu", torch.float64).numpy() for _, tile in tiles(wide)])
    _, chosen = linear_sum_assignment(matrix, maximize=True)
    partners = chosen.astype(np.int64)
    prices = settle_dense(matrix, partners, ROUNDING * overview.scale)
    worst, _ = exceeding(wide, prices, tolerance=math.inf, most=0)
    return _Solved(partners, prices, "dense", 1, m * n, worst)


def _assignment(solved: _Solved, shape: tuple[int, int]) -> Assignment:
    partners, prices = solved.partners, solved.prices
    smaller = np.arange(len(partners), dtype=np.int64)
    gains = prices.rows + prices.columns[partners]
    for values in (smaller, partners, prices.rows, prices.columns):
        values.setflags(write=False)
    rows, columns = smaller, partners
    row_prices, column_prices = prices.rows, prices.columns
    if shape[0] > shape[1]:
        rows, columns = columns, rows
        row_prices, column_prices = column_prices, row_prices
    total = math.fsum(gains)
    bound = math.fsum([*prices.rows, *prices.columns, len(partners) * solved.violation])
    certificate = Certificate(
        row_prices,
        column_prices,
        violation=solved.violation,
        gap=max(0.0, bound - total),
        method=solved.method,
        rounds=solved.rounds,
        pairs=solved.pairs,
    )
    return Assignment(rows, columns, total, shape, certificate)
