"""`match_weights`: `match` in the limit of isotropic hidden inputs, on weight rows, without a forward pass.

If the input X of an MLP is isotropic, ``E[(w.X)(v.X)]`` is proportional to ``w.v``: the cosine of two
units' activations becomes the cosine of their weight rows. So the rows of gate and up, read from the
checkpoint, take the place of activations in `match`, and all that is true of it (its null hypothesis, the
freedom of up's sign, dead units, widths) stays true.

The two are complements. `match` sees what the model feeds its MLPs, so it survives a rotation of the
residual stream, which leaves no weight row like its counterpart. `match_weights` survives the transplant of
an MLP into a stranger's model, which feeds it something else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provenance.errors import DegenerateError
from provenance.statistics._alike import require_own_inputs
from provenance.statistics._directions import Directions, directions, glimpse
from provenance.statistics.match import MatchResult, match
from provenance.vocabulary import ROLES

__all__ = ["glimpse", "match_weights", "prepare"]

if TYPE_CHECKING:
    from provenance.architecture.units import MLPActivations
    from provenance.vocabulary import Role


def prepare(side: MLPActivations, role: Role, seed: int) -> Directions:
    """Prepare one side of `match_weights`, for a side that meets several others.

    Raises
    ------
    DegenerateError
        As `provenance.statistics.match.match` does, or if the units read groups of dimensions.
    """
    prepared = directions(side, role, seed, centred=False)
    require_own_inputs(prepared, role)
    return prepared


def match_weights(
    candidate: MLPActivations | Directions, reference: MLPActivations | Directions, *, seed: int = 0
) -> MatchResult:
    """Test whether two gated MLPs are independent, from their weights alone.

    Parameters
    ----------
    candidate, reference : MLPActivations or Directions
        Transposed weights of gate and up, (hidden, units): what the units answer to each unit vector
        of the hidden space; or a side that `prepare` has prepared. The widths may differ; the hidden
        size may not.
    seed : int
        Of the random renumbering of the units.

    Raises
    ------
    DegenerateError
        If the hidden sizes differ, or as `provenance.statistics.match.match` does.
    """
    sizes = [
        side.tokens if isinstance(side, Directions) else len(side.up)
        for side in (candidate, reference)
    ]
    if sizes[0] != sizes[1]:
        raise DegenerateError(
            f"weights of hidden size {sizes[0]} and {sizes[1]} cannot be compared row by row: "
            "use match, on activations"
        )
    sides = (
        side if isinstance(side, Directions) else prepare(side, role, seed)
        for role, side in zip(ROLES, (candidate, reference), strict=True)
    )
    result = match(*sides, seed=seed)
    return replace(result, statistic="match_weights")
