"""p-values that should be uniform, against those that would be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import beta

from provenance.evidence.null_control import null_p_values
from provenance.report.charts import Quantiles
from provenance.statistics import UNIFORM

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from provenance.evidence.results import ClaimResult

LEAST = 6
"""Below this many p-values a plot shows nothing."""

DRAWN = 400
EXTREME = 100
"""All of the smallest p-values are drawn, and of the others a selection, evenly spaced on the plot."""


def of_controls(results: Iterable[ClaimResult]) -> tuple[float, ...]:
    """p-values of all null controls: of blocks that do not correspond."""
    return tuple(
        log10_p
        for result in results
        for control in result.controls
        if control.kind == "null"
        for log10_p in null_p_values(control.evidence)
    )


def of_independence(results: Iterable[ClaimResult]) -> tuple[float, ...]:
    """p-values of the blocks of claims of independence that held.

    Of each statistic by itself, and of blocks that met one partner alone: a p-value that is corrected
    for a choice, as that of `generalized` always is, is larger than a uniform one.
    """
    return tuple(
        log10_p
        for result in results
        if result.claim.expect == "independent"
        and result.judgement is not None
        and result.judgement.state == "holds"
        and result.evidence is not None
        and result.evidence.pairing == "same-index"
        and result.evidence.statistic in UNIFORM
        for block in result.blocks
        if block.mlps is None
        for log10_p in [part.log10_p for part in block.parts] or [block.log10_p]
        if log10_p is not None
    )


def quantiles(log10_ps: Sequence[float]) -> Quantiles | None:
    """Order p-values beside the quantiles of as many uniform ones; None of fewer than `LEAST`.

    Returns
    -------
    Quantiles
        Expected: the mean k / (n + 1) of the k-th smallest. Band: the 2.5% and 97.5% quantiles of its
        law, Beta(k, n + 1 - k), for each k by itself.
    """
    count = len(log10_ps)
    if count < LEAST:
        return None
    observed = np.sort(np.asarray(log10_ps, dtype=np.float64))
    rank = _drawn(count)
    kept = observed[rank - 1]
    low, high = (np.log10(beta.ppf(q, rank, count + 1 - rank)) for q in (0.025, 0.975))
    outside = int(np.sum((kept < low) | (kept > high)))
    return Quantiles(
        expected=_floats(np.log10(rank / (count + 1))),
        observed=_floats(kept),
        low=_floats(low),
        high=_floats(high),
        count=count,
        outside=outside,
    )


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _drawn(count: int) -> NDArray[np.int64]:
    """Ranks to draw, from 1."""
    if count <= DRAWN:
        return np.arange(1, count + 1)
    rest = np.linspace(EXTREME + 1, count, DRAWN - EXTREME).round().astype(np.int64)
    return np.unique(np.concatenate([np.arange(1, EXTREME + 1), rest]))
