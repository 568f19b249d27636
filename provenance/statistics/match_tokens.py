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

from provenance.statistics._directions import Directions, directions, glimpse, signature
from provenance.statistics.match import MatchResult, match

__all__ = ["glimpse", "match_tokens", "prepare", "signature"]

if TYPE_CHECKING:
    from provenance.architecture.units import MLPUnits
    from provenance.vocabulary import Role


def prepare(side: MLPUnits, role: Role, seed: int) -> Directions:
    """Prepare one side of `match_tokens`, for a side that meets several others."""
    return directions(side, role, seed, centred=True)


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
    return replace(match(candidate, reference, seed=seed), statistic="match_tokens")
