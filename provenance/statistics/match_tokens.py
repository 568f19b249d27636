"""`match_tokens`: `match` on what MLPs answer to the embeddings of tokens that both models know.

A token's embedding e stands in the place of the residual stream: a unit with gate row g answers
``g . n(e / |e|)``, n the norm before the MLP. Nothing is run. The answers stay the same where the residual
stream is rotated, since embedding and weights turn alike. Models of other widths, hidden sizes, depths and
tokenizers meet on the tokens that they share by their text. All that is true of `match` (its null
hypothesis, the freedom of up's sign, dead units, widths) stays true.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provenance.errors import DegenerateError
from provenance.statistics._directions import (
    Directions,
    directions,
    glimpse,
    own_likeness,
    signature,
)
from provenance.statistics.match import MatchResult, match
from provenance.vocabulary import ROLES

__all__ = ["glimpse", "match_tokens", "prepare", "signature"]

if TYPE_CHECKING:
    from provenance.architecture.units import MLPUnits
    from provenance.vocabulary import Role


ALIKE = 0.7
"""From here on a unit's gate and up are told as saying the same of tokens."""

MOST_ALIKE = 0.1
"""Largest share of such units: beyond it gate and up find the same partners in a stranger.

Of three real pretrained models at most 1.2 % of a block's units are (docs/calibration.md). Where gate and
up are one matrix, or read two or three dimensions alone, it is half of them and more.
"""


def prepare(side: MLPUnits, role: Role, seed: int) -> Directions:
    """Prepare one side of `match_tokens`, for a side that meets several others.

    Raises
    ------
    DegenerateError
        As `provenance.statistics.match.match` does, or if too many units' gate and up are alike.
    """
    prepared = directions(side, role, seed, centred=True)
    alike = float((own_likeness(prepared) > ALIKE).float().mean()) if len(prepared.live) else 0.0
    if alike > MOST_ALIKE:
        raise DegenerateError(
            f"gate and up of {alike:.0%} of the {role}'s units say the same of tokens, so that strangers "
            "would look alike"
        )
    return prepared


def match_tokens(
    candidate: MLPUnits | Directions, reference: MLPUnits | Directions, *, seed: int = 0
) -> MatchResult:
    """Test whether two gated MLPs are independent, by their answers to token embeddings.

    Parameters
    ----------
    candidate, reference : MLPUnits or Directions
        What the units answer to the embeddings of the same tokens, or a side that `prepare` has prepared.
        Widths and hidden sizes may differ.
    seed : int
        Of the random renumbering of the units.

    Raises
    ------
    DegenerateError
        As `provenance.statistics.match.match` does.
    """
    sides = (
        side if isinstance(side, Directions) else prepare(side, role, seed)
        for role, side in zip(ROLES, (candidate, reference), strict=True)
    )
    return replace(match(*sides, seed=seed), statistic="match_tokens")
