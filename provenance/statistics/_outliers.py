"""Inputs to which an MLP answers far louder than to others, and which would rule every correlation.

Some tokens of a copy may light a dimension of the residual stream that no other token has, and that gates
and ups read with large random weights. The copy computes the same on every other token. Yet a correlation
over all of them sees those few alone, and no unit looks like its counterpart. So such inputs are replaced
by the mean of the others, and count for nothing. What is loud is a function of one model alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from provenance.vocabulary import ROLES

if TYPE_CHECKING:
    from provenance.architecture.units import MLPFactors
    from provenance.vocabulary import Role

LOUD = 12.0
"""An input is loud if the mean square of the units' answers is so many times the median input's. Of real
pretrained models no token embedding reaches 10, and of SmolLM2 no text reaches 5."""

MIXTURES = 64
"""Random mixtures of the units, by which the mean square of their answers is told."""

ROUNDS = 3
"""Louder inputs hide others, which are seen once those are gone."""


def without_loud(side: MLPFactors, role: Role, seed: int) -> MLPFactors:
    """Replace the inputs that are loud by the mean of the others.

    Parameters
    ----------
    side : MLPFactors
        With a gate. Where values are not finite, it is left as it is.
    role, seed
        Of the mixtures.

    Returns
    -------
    MLPFactors
        The side itself where no input is loud.
    """
    loud = loud_inputs(side, np.random.default_rng([seed, ROLES.index(role), 1]))
    if not bool(loud.any()):
        return side
    inputs = side.inputs.float()
    rest = inputs[~loud].mean(dim=0)
    return replace(side, inputs=torch.where(loud[:, None], rest, inputs).to(side.inputs.dtype))


def loud_inputs(side: MLPFactors, rng: np.random.Generator) -> torch.Tensor:
    """Which inputs are loud to gate or to up, bool (tokens,)."""
    assert side.gate is not None
    inputs = side.inputs.float()
    loud = torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)
    signs = torch.from_numpy(rng.choice([-1.0, 1.0], (MIXTURES, len(side.up.weight)))).float()
    signs = signs.to(inputs.device)
    mixtures = [_mixed(one.weight.float(), signs) for one in (side.gate, side.up)]
    for _ in range(ROUNDS):
        quiet = ~loud
        about = inputs - inputs[quiet].mean(dim=0)
        found = torch.zeros_like(loud)
        for mixed in mixtures:
            energy = (about @ mixed.T).square().mean(dim=1)
            # the median of all, so that half of them are kept at least
            found |= energy > LOUD * energy.median()
        if bool((found <= loud).all()):
            break
        loud |= found
    return loud


def _mixed(weight: torch.Tensor, signs: torch.Tensor) -> torch.Tensor:
    """Sums of a weight's rows, each scaled to length 1, with the signs, (mixtures, units)."""
    norms = weight.norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
    mixed: torch.Tensor = (signs / norms) @ weight
    return mixed
