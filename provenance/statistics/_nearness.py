"""How near the units of two MLPs are to each other by gate alone, or by up alone: an alarm, and no test.

A copy may hide among decoys, so that gate and up find different partners, and no matching agrees. Some of
its units are there all the same. A unit of a stranger is no nearer to any other than the best of as many
random directions would be.
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

SAMPLE = 64
"""Units of a side whose nearest counterparts are looked for."""

SHARE = 0.1
"""So many of a side's units have to have their like on the other side, at the least, to be noticed."""

FEWEST = 3
"""As many units at the least, where a tenth would be fewer: one or two are near by chance."""

MOSTLY = 0.97
"""Chance with which a stranger's unit is no nearer than what is called chance. A sample in which `SHARE` of
the units exceed it is rare."""

MEDIAN = 0.4549
"""The median of the square of a normal variable: r times that of the product of random unit vectors."""


def nearness(a: Directions, b: Directions) -> float:
    """Return how much nearer units are to their nearest counterparts than by chance.

    Parameters
    ----------
    a, b : Directions
        Units along inputs of which no few directions rule the others (`match_tokens.half_whitened`).

    Returns
    -------
    float
        In [0, 1]: 0 for what chance gives, 1 where one in ten units, or more, have an equal on the other
        side. The greatest of four: by gate or by up, of the units of either side.
    """
    return max(
        _excess(of_projection.rows(0, len(some.live)), side.tokens)
        for side, other in ((a, b), (b, a))
        for some in (some_units(side, SAMPLE),)
        for of_projection in products(some, other)
    )


def _excess(similarity: torch.Tensor, tokens: int) -> float:
    """How much nearer the nearest tenth of some units is than by chance; all are (some, units)."""
    place = min(len(similarity), max(FEWEST, round(SHARE * len(similarity))))
    nearest = float(similarity.amax(dim=1).topk(place).values[-1])
    # what most pairs have in common says how many directions there are; no few units can steer it
    usual = float(similarity.square().median())
    dimensions = min(tokens - 1.0, MEDIAN / usual if usual > 0 else math.inf)
    chance = by_chance(similarity.shape[1], dimensions)
    return min(1.0, max(0.0, (nearest - chance) / (1 - chance))) if chance < 1 else 0.0


def by_chance(units: int, dimensions: float) -> float:
    """Return what the best of so many units has in common with a random direction at the most, mostly.

    The square of the product of two random unit vectors of r dimensions is Beta(1/2, (r - 1)/2)
    distributed [1]_; all of n such are below a value with the n-th power of its chance. That is `MOSTLY`.

    References
    ----------
    .. [1] T. Cai, J. Fan, T. Jiang. Distributions of Angles in Random Packing on Spheres. JMLR 2013.
    """
    if dimensions < 2:
        return 1.0
    below = MOSTLY ** (1 / max(1, units))
    return math.sqrt(float(betaincinv(0.5, (dimensions - 1) / 2, below)))


def some_units(side: Directions, number: int) -> Directions:
    """Return evenly spaced units of a side, whose order is random."""
    at = torch.linspace(0, len(side.live) - 1, min(number, len(side.live))).long()
    at = at.to(side.gate.device)
    return replace(side, live=side.live[at], gate=side.gate[at], up=side.up[at], core=None)
