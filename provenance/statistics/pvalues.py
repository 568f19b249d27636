"""P-values of matchings and their combination, all of them as log10.

A p-value here is a float that is finite and at most 0: ``-412.3`` for 5e-413. Related models of
ordinary size pass 1e-308 long before their matchings agree in full, so a p-value that is not a
logarithm would be 0, and its logarithm minus infinity.

Larger statistics mean more similar models, and every test is one-sided to that side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from provenance.errors import DegenerateError
from provenance.statistics._student_t import log10_sf_student_t

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

LEAST_UNITS = 8
"""Below this many live units a permutation has too little to say (8! = 40320)."""

FEWEST_RANKED = 3
"""Of fewer units a rank correlation says nothing at all."""
_LN10 = math.log(10.0)
ENUMERATED = 9
"""Up to so many units the permutation law is counted out: it is so coarse that the t law misjudges it."""


@dataclass(frozen=True)
class SpearmanResult:
    """Rank correlation of two matchings and its one-sided p-value.

    Attributes
    ----------
    correlation : float
        Spearman's rho, from -1 to 1; 1 exactly where the two orders are equal.
    log10_p : float
        log10 of the chance of a correlation at least as large between independent orders.
    n : int
        Number of units that were ranked.
    """

    correlation: float
    log10_p: float
    n: int


def log10_factorial(n: int) -> float:
    """Return log10(n!).

    Raises
    ------
    ValueError
        If `n` is negative.
    """
    if n < 0:
        raise ValueError(f"n is {n}; a factorial needs n >= 0")
    return math.lgamma(n + 1) / _LN10


def spearman(ranks_a: ArrayLike, ranks_b: ArrayLike) -> SpearmanResult:
    """Test whether two orders of the same units agree more than independent orders would.

    Parameters
    ----------
    ranks_a, ranks_b : array_like of int, shape (n,)
        Two numbers for every unit. Only their order counts: the values of one vector must be
        distinct, and need be neither consecutive nor in the same range as the other's, so the
        columns of a rectangular matching serve as they are.

    Returns
    -------
    SpearmanResult
        Correlation, one-sided log10 p and n. From n = 10, p = P(T > t) with n - 2 degrees of
        freedom and t = r sqrt((n - 2) / (1 - r^2)) [1]_, but never below 1 / n!, which is the
        least that n units can show and is the exact p at r = 1. For n <= 9 p is the exact share of
        the n! orders that correlate at least as much.

    Raises
    ------
    DegenerateError
        If there are fewer than `FEWEST_RANKED` units.
    ValueError
        If the vectors are not one-dimensional, of equal length, of integers, or hold a value twice.

    Notes
    -----
    The t law approximates the permutation law: good in the bulk; in the far tail it tells no more
    than the size of the exponent.

    References
    ----------
    .. [1] Zhu, Ahmed, Kuditipudi, Liang. Independence Tests for Language Models. ICML 2025,
       arXiv:2502.12292, Algorithm 3.
    """
    first, second = _ranked(ranks_a, "ranks_a"), _ranked(ranks_b, "ranks_b")
    n = len(first)
    if n != len(second):
        raise ValueError(f"ranks_a has {n} values and ranks_b {len(second)}; they must be as many")
    if n < FEWEST_RANKED:
        raise DegenerateError(f"{n} units: a rank correlation needs at least {FEWEST_RANKED}")
    # In int64 the sum is exact up to three million units.
    distance = int(np.square(first - second).sum())
    whole = n * (n * n - 1)
    correlation = (whole - 6 * distance) / whole
    return SpearmanResult(correlation, _log10_p_spearman(distance, n), n)


def _log10_p_spearman(distance: int, n: int) -> float:
    if n <= ENUMERATED:
        return _log10_p_enumerated(distance, n)
    return max(_log10_p_student(distance, n), -log10_factorial(n))


def _ranked(values: ArrayLike, name: str) -> NDArray[np.int64]:
    """Return the ranks 0..n-1 of distinct integers."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(
            f"{name} has shape {array.shape} and dtype {array.dtype}; it must be a vector of ints"
        )
    order = np.argsort(array, kind="stable")
    if np.any(array[order][1:] == array[order][:-1]):
        raise ValueError(f"{name} holds a value twice; a matching uses each unit once")
    ranks = np.empty(len(array), dtype=np.int64)
    ranks[order] = np.arange(len(array))
    return ranks


def _log10_p_student(distance: int, n: int) -> float:
    """Return the t law's log10 p of a sum of squared rank differences; -inf at r = 1."""
    whole = n * (n * n - 1)
    # 1 - r and 1 + r in units of 1 / whole: as integers they lose nothing where r is near 1.
    below, above = 6 * distance, 2 * whole - 6 * distance
    if below == 0:
        return -math.inf
    if above == 0:
        return 0.0
    agreement = whole - below
    t_squared = agreement * agreement * (n - 2) / (below * above)
    return log10_sf_student_t(math.copysign(math.sqrt(t_squared), agreement), n - 2)


def log10_p_of_correlation(correlation: float, n: int) -> float:
    """Return the p-value of a rank correlation of n units by the t law of `spearman`.

    Parameters
    ----------
    correlation : float
        From -1 to 1.
    n : int
        At least 10: the law of fewer is not this one.

    Returns
    -------
    float
        log10 of the chance of a correlation at least as large, never below that of the one best order.

    Raises
    ------
    ValueError
        If `n` is below 10 or `correlation` beyond 1.
    """
    if n <= ENUMERATED or abs(correlation) > 1:
        raise ValueError(
            f"a correlation of {correlation} of {n} units; the t law is of {ENUMERATED + 1} and more"
        )
    least = -log10_factorial(n)
    if abs(correlation) == 1:
        return least if correlation > 0 else 0.0
    t = correlation * math.sqrt((n - 2) / ((1 - correlation) * (1 + correlation)))
    return max(log10_sf_student_t(t, n - 2), least)


def _log10_p_enumerated(distance: int, n: int) -> float:
    """Return log10 of the share of orders whose squared rank differences sum to no more."""
    return math.log10(_orders_within(n)[distance] / math.factorial(n))


@cache
def _orders_within(n: int) -> tuple[int, ...]:
    """Count the orders of n units by sum of squared rank differences: entry D counts sums <= D."""
    largest = n * (n * n - 1) // 3
    counts: dict[frozenset[int], list[int]] = {frozenset(): [1] + [0] * largest}
    # Place unit after unit; the orders of the same places share all that follows.
    for unit in range(n):
        longer: dict[frozenset[int], list[int]] = {}
        for taken, by_sum in counts.items():
            for place in set(range(n)) - taken:
                target = longer.setdefault(taken | {place}, [0] * (largest + 1))
                step = (unit - place) ** 2
                for total in range(largest + 1 - step):
                    target[total + step] += by_sum[total]
        counts = longer
    (by_sum,) = counts.values()
    return tuple(accumulate(by_sum))


def fisher(log10_ps: Sequence[float]) -> float:
    """Combine independent p-values by Fisher's method.

    Parameters
    ----------
    log10_ps : sequence of float
        Each finite and at most 0.

    Returns
    -------
    float
        log10 of P(chi2_2L > -2 sum ln p), L the number of p-values.

    Raises
    ------
    ValueError
        If there is nothing to combine, or a value is not the log10 of a p-value.

    Notes
    -----
    Assumes independence: true of the blocks of two models under the null hypothesis [1]_ (Theorem
    3), not of several statistics on one block. With an even number of degrees of freedom the tail
    is a sum, exp(-s) sum_{k<L} s^k / k! with s = -sum ln p, taken here in log space.

    References
    ----------
    .. [1] Zhu et al., arXiv:2502.12292, Algorithm 4.
    """
    if not log10_ps:
        raise ValueError("no p-values to combine")
    _require_log10_p(*log10_ps)
    s = -math.fsum(log10_ps) * _LN10
    if s == 0:
        return 0.0
    k = np.arange(len(log10_ps))
    log_factorials = np.concatenate(([0.0], np.cumsum(np.log(k[1:]))))
    log_sum = np.logaddexp.reduce(k * math.log(s) - log_factorials)
    return min(0.0, float(log_sum - s) / _LN10)


def bonferroni(log10_p: float, tests: int) -> float:
    """Return log10 of the p-value multiplied by the number of tests, at most 0.

    Raises
    ------
    ValueError
        If `log10_p` is not the log10 of a p-value or `tests` is below 1.
    """
    _require_log10_p(log10_p)
    if tests < 1:
        raise ValueError(f"tests is {tests}; it counts at least this one")
    return min(0.0, log10_p + math.log10(tests))


def holm(log10_ps: Sequence[float], tests: int | None = None) -> tuple[float, ...]:
    """Adjust p-values for their number by Holm's step-down method.

    Parameters
    ----------
    log10_ps : sequence of float
        Each finite and at most 0; may be empty.
    tests : int, optional
        How many tests there are in all; those that were not run count as p = 1, so that selecting
        tests never makes a p-value smaller. Fewer than were run means as many.

    Returns
    -------
    tuple of float
        log10 of the adjusted p-values in the order given: rejecting those at most alpha keeps the
        chance of any false rejection at most alpha, whatever the dependence between the tests.

    Raises
    ------
    ValueError
        If a value is not the log10 of a p-value.

    References
    ----------
    .. [1] Holm. A simple sequentially rejective multiple test procedure. Scandinavian Journal of
       Statistics 6, 1979.
    """
    ascending = sorted(range(len(log10_ps)), key=log10_ps.__getitem__)
    adjusted = [0.0] * len(log10_ps)
    largest, tests = -math.inf, max(tests or 0, len(log10_ps))
    for rank, index in enumerate(ascending):
        largest = max(largest, bonferroni(log10_ps[index], tests - rank))
        adjusted[index] = largest
    return tuple(adjusted)


def permutation_p(observed: float, null: ArrayLike, rng: np.random.Generator) -> float:
    """Return log10 of the p-value of a statistic against draws of it under the null hypothesis.

    Parameters
    ----------
    observed : float
        The statistic; larger is more similar.
    null : array_like of float, shape (T,)
        The statistic under T random permutations.
    rng : numpy.random.Generator
        Breaks ties.

    Returns
    -------
    float
        log10 of (1 + #{null > observed} + Unif{0..#ties}) / (T + 1): uniform under the null
        hypothesis even where the statistic takes few values [1]_ (Theorem 1, Appendix A).

    Raises
    ------
    DegenerateError
        If a statistic is NaN or infinite.
    ValueError
        If `null` is empty or not one-dimensional.

    References
    ----------
    .. [1] Zhu et al., arXiv:2502.12292, Algorithm 1.
    """
    draws: NDArray[Any] = np.asarray(null, dtype=np.float64)
    if draws.ndim != 1 or not draws.size:
        raise ValueError(f"null has shape {draws.shape}; it must be a vector of at least one draw")
    if not (math.isfinite(observed) and np.isfinite(draws).all()):
        raise DegenerateError("a statistic is NaN or infinite, so it has no rank among its draws")
    above, ties = int((draws > observed).sum()), int((draws == observed).sum())
    rank = 1 + above + int(rng.integers(ties, endpoint=True))
    return math.log10(rank / (draws.size + 1))


def format_p(log10_p: float) -> str:
    """Write a p-value with two significant digits: ``0.37``, ``0.0021``, ``1.3e-412``.

    Raises
    ------
    ValueError
        If `log10_p` is not the log10 of a p-value.
    """
    _require_log10_p(log10_p)
    exponent = math.floor(log10_p)
    mantissa = round(10 ** (log10_p - exponent), 1)
    if mantissa >= 10:
        mantissa, exponent = 1.0, exponent + 1
    if exponent < -4:
        return f"{mantissa:.1f}e{exponent}"
    return f"{mantissa * 10.0**exponent:.{1 - exponent}f}"


def _require_log10_p(*log10_ps: float) -> None:
    for value in log10_ps:
        if not (math.isfinite(value) and value <= 0):
            raise ValueError(f"{value} is not the log10 of a p-value: it must be finite, at most 0")
