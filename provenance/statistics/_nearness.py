"""How near the units of two MLPs are to each other by gate alone, or by up alone: an alarm, and no test.

A copy may hide among decoys, so that gate and up find different partners, and no matching agrees. Its units
are there all the same. A unit of a stranger is no nearer to any other than the best of as many random
directions would be.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from scipy.special import betaincinv

from provenance.statistics._directions import products

if TYPE_CHECKING:
    from provenance.statistics._directions import Directions

MOSTLY = 0.75
"""Chance with which a stranger's unit is no nearer than what is called chance. The median of a sample that
exceeds it is rare: half of the units would have to be among one in four."""

SAMPLE = 32
"""Units of a side whose nearest counterparts are looked for."""


def nearness(a: Directions, b: Directions) -> float:
    """Return how much nearer units are to their nearest counterparts than by chance.

    Parameters
    ----------
    a, b : Directions
        Units along inputs of which no few directions rule the others (`match_tokens.half_whitened`).

    Returns
    -------
    float
        In [0, 1]: 0 for what chance gives, 1 where the median unit has an equal on the other side. The
        greatest of four: by gate or by up, of the units of either side.
    """
    medians = [
        float(of_projection.rows(0, len(some.live)).amax(dim=1).median())
        for side, other in ((a, b), (b, a))
        for some in (some_units(side, SAMPLE),)
        for of_projection in products(some, other)
    ]
    chance = max(by_chance(a), by_chance(b))
    return min(1.0, max(0.0, (max(medians) - chance) / (1 - chance))) if chance < 1 else 0.0


def by_chance(side: Directions) -> float:
    """Return what the best of a side's units has in common with a random direction at the most, mostly.

    The square of the product of two random unit vectors of r dimensions is Beta(1/2, (r - 1)/2)
    distributed [1]_; all of n such are below a value with the n-th power of its chance. That is `MOSTLY`.

    References
    ----------
    .. [1] T. Cai, J. Fan, T. Jiang. Distributions of Angles in Random Packing on Spheres. JMLR 2013.
    """
    dimensions = min(side.tokens - 1, side.gate.shape[1])
    if dimensions < 2:
        return 1.0
    below = MOSTLY ** (1 / max(1, len(side.live)))
    return math.sqrt(float(betaincinv(0.5, (dimensions - 1) / 2, below)))


def some_units(side: Directions, number: int) -> Directions:
    """Return evenly spaced units of a side, whose order is random."""
    at = torch.linspace(0, len(side.live) - 1, min(number, len(side.live))).long()
    at = at.to(side.gate.device)
    return replace(side, live=side.live[at], gate=side.gate[at], up=side.up[at], core=None)
