"""The interval of shares that several matrices tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["half_interval"]

CONFIDENCE = 0.95


def half_interval(single: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half of the interval of each share, by its spread over matrices.

    Parameters
    ----------
    single : ndarray
        (matrices, parents), two matrices or more.
    """
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(single) - 1))
    half: NDArray[np.float64] = quantile * single.std(axis=0, ddof=1) / np.sqrt(len(single))
    return half
