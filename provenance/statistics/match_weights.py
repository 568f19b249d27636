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
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from provenance.architecture.units import LinearMap, MLPActivations, MLPFactors
from provenance.errors import InapplicableError
from provenance.statistics._alike import require_own_inputs
from provenance.statistics._directions import Directions, directions, glimpse, size
from provenance.statistics._merging import merge_units
from provenance.statistics.match import MatchResult, match
from provenance.vocabulary import ROLES

__all__ = ["glimpse", "match_weights", "prepare", "size"]

if TYPE_CHECKING:
    from provenance.vocabulary import Role


INPUTS = 512
"""Isotropic inputs on which units are compared that may be one."""


def prepare(side: MLPActivations, role: Role, seed: int) -> Directions:
    """Prepare one side of `match_weights`, for a side that meets several others.

    Units of one gate are merged, as in `match`.

    Raises
    ------
    DegenerateError
        As `provenance.statistics.match.match` does, or if the units read groups of dimensions.
    """
    merged = None if side.gate is None or side.down is None else merge_units(_isotropic(side))
    rows = side
    if merged is not None and merged.side.gate is not None:
        rows = MLPActivations(merged.side.gate.weight.T, merged.side.up.weight.T)
    prepared = directions(rows, role, seed, centred=False)
    require_own_inputs(prepared, role)
    if merged is None:
        return prepared
    return replace(prepared, live=merged.units[prepared.live], units=side.up.shape[1])


def _isotropic(side: MLPActivations) -> MLPFactors:
    """The MLP of these rows as if isotropic inputs were fed to it."""
    assert side.gate is not None
    inputs = _isotropic_inputs(len(side.up), side.up.device)
    gate, up = LinearMap(side.gate.T), LinearMap(side.up.T)
    return MLPFactors(inputs, gate, up, side.down, side.activation)


@lru_cache(maxsize=4)
def _isotropic_inputs(hidden: int, device: torch.device) -> torch.Tensor:
    """Inputs of mean 0 and variance 1, (INPUTS, hidden) float32, always the same."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(INPUTS, hidden, generator=generator).to(device)


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
    InapplicableError
        If the hidden sizes differ.
    DegenerateError
        As `provenance.statistics.match.match` does.
    """
    sizes = [
        side.tokens if isinstance(side, Directions) else len(side.up)
        for side in (candidate, reference)
    ]
    if sizes[0] != sizes[1]:
        raise InapplicableError(
            f"weights of hidden size {sizes[0]} and {sizes[1]} cannot be compared row by row: "
            "use match, on activations"
        )
    sides = (
        side if isinstance(side, Directions) else prepare(side, role, seed)
        for role, side in zip(ROLES, (candidate, reference), strict=True)
    )
    result = match(*sides, seed=seed)
    return replace(result, statistic="match_weights")
