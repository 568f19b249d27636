"""`match_cosine`: `match` by the cosine of activations, exactly as in the paper's Algorithm 2.

`match` takes every unit's mean over the tokens out first. Its false positives are the same and it is
stronger on changed descendants (docs/calibration.md); this is the form of the paper, for those who compare
with it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provenance.statistics._directions import Directions, directions, glimpse
from provenance.statistics.match import MatchResult, match

__all__ = ["glimpse", "match_cosine", "prepare"]

if TYPE_CHECKING:
    from provenance.architecture.units import MLPUnits
    from provenance.vocabulary import Role


def prepare(side: MLPUnits, role: Role, seed: int) -> Directions:
    """Prepare one side of `match_cosine`, for a side that meets several others."""
    return directions(side, role, seed, centred=False, signed=True)


def match_cosine(
    candidate: MLPUnits | Directions, reference: MLPUnits | Directions, *, seed: int = 0
) -> MatchResult:
    """Test whether two gated MLPs are independent, by the cosines of their units.

    Parameters, null hypothesis and errors are those of `provenance.statistics.match.match`.
    """
    result = match(candidate, reference, seed=seed, centred=False)
    return replace(result, statistic="match_cosine")
