"""The bound of a rate that was counted."""

from __future__ import annotations

from scipy import stats

CONFIDENCE = 0.95


def upper(count: int, trials: int) -> float:
    """Return the exact one-sided 95 % upper bound of a rate (Clopper and Pearson)."""
    return 1.0 if count == trials else float(stats.beta.ppf(CONFIDENCE, count + 1, trials - count))
