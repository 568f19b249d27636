"""How many directions carry a difference, against what noise of its own size has.

A matrix of independent noise of deviation s, m x n, has singular values up to s (sqrt m + sqrt n), the edge
of Marchenko and Pastur's law [1]_. The noise is measured on the difference itself: the median of its
singular values is that of the law, as long as less than half of them carry anything [2]_.

References
----------
.. [1] Marchenko, Pastur: Distribution of eigenvalues for some sets of random matrices. 1967.
.. [2] Gavish, Donoho: The optimal hard threshold for singular values is 4/sqrt(3). 2014, arXiv 1305.5870.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import numpy as np
import torch

__all__ = ["MOST", "Spectrum", "median_of_noise", "part_of", "spectrum"]

MOST = 512
"""Rows and columns that are looked at: of a larger matrix a random part, which has the same rank."""

MARGIN = 2.0
"""By how many times n**(-2/3) the largest singular value of noise may exceed the edge (Tracy and Widom)."""


@dataclass(frozen=True)
class Spectrum:
    """The singular values of a difference, in short.

    Attributes
    ----------
    rank : int
        Singular values above the edge of noise.
    ranks : int
        Singular values in all.
    carried : float
        Share of the squared size that those above the edge carry, 0 to 1.
    noise : float
        Deviation of the numbers that the others make up, in the matrix's own units.
    """

    rank: int
    ranks: int
    carried: float
    noise: float


def spectrum(difference: torch.Tensor, generator: torch.Generator) -> Spectrum:
    """Count the singular values of a matrix that noise would not have.

    Parameters
    ----------
    difference : Tensor
        (rows, columns), finite, any floating-point type.
    generator : torch.Generator
        Chooses the rows and columns of a matrix that is larger than `MOST`.
    """
    part = part_of(difference, generator).double()
    values = torch.linalg.svdvals(part).numpy()
    large, small = max(part.shape), min(part.shape)
    total = float(np.square(values).sum())
    if total == 0:
        return Spectrum(0, small, 0.0, 0.0)
    deviation = float(np.median(values)) / sqrt(large * median_of_noise(small / large))
    edge = deviation * (sqrt(large) + sqrt(small)) * (1 + MARGIN * small ** (-2 / 3) / 4)
    # what is lost in float64 is nobody's noise
    above = values > max(edge, 1e-12 * float(values[0]))
    left = float(np.square(values[~above]).sum())
    carried = min(1.0, max(0.0, 1 - left / total))
    return Spectrum(int(above.sum()), small, carried, sqrt(left / part.numel()))


def part_of(matrix: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A random part, of at most `MOST` rows and columns, of a matrix, or of several in a stack."""
    for axis in (-2, -1):
        size = matrix.shape[axis]
        if size > MOST:
            chosen = torch.randperm(size, generator=generator)[:MOST]
            matrix = matrix.index_select(axis, chosen)
    return matrix


@lru_cache(maxsize=64)
def median_of_noise(ratio: float) -> float:
    """The median of Marchenko and Pastur's law: of squared singular values of noise of deviation 1, over m.

    Parameters
    ----------
    ratio : float
        The lesser axis over the larger, above 0 and up to 1.
    """
    low, high = (1 - sqrt(ratio)) ** 2, (1 + sqrt(ratio)) ** 2
    # x = middle - half cos t takes the square roots out of the density, at both edges
    angles = (np.arange(20_000) + 0.5) * np.pi / 20_000
    places = (low + high) / 2 - (high - low) / 2 * np.cos(angles)
    weights = np.square(np.sin(angles)) / np.maximum(places, 1e-300)
    summed = np.cumsum(weights)
    return float(places[np.searchsorted(summed, summed[-1] / 2)])
