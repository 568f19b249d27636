"""`match_tokens`: `match` on what MLPs answer to the embeddings of tokens that both models know.

A token's embedding e stands in the place of the residual stream: a unit with gate row g answers
``g . n(e / |e|)``, n the norm before the MLP. Nothing is run. The answers stay the same where the residual
stream is rotated, since embedding and weights turn alike. Models of other widths, hidden sizes, depths and
tokenizers meet on the tokens that they share by their text. All that is true of `match` (its null
hypothesis, the freedom of up's sign, dead units, widths) stays true.

A few directions rule the embeddings of every model, so that all units answer in much the same way. So they
are *half-whitened*: what their products with each other, K, have above the median is divided out by
``(K + median I)^(-1/2)``. That depends on embeddings and norms alone: no idle unit can steer it, and a
rotation leaves K as it is. Tokens that dwarf the others, or are like many others, count no more than they.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from provenance.architecture.units import LinearMap, MLPFactors
from provenance.statistics._directions import (
    Directions,
    directions,
    glimpse,
)
from provenance.statistics.match import MatchResult, match
from provenance.vocabulary import ROLES

__all__ = ["glimpse", "match_tokens", "prepare"]

if TYPE_CHECKING:
    from provenance.architecture.units import MLPUnits
    from provenance.vocabulary import Role


FLAT = 1e-9
"""Directions with less than this share of the largest one's power are none: rounding, or the mean's."""


def half_whitened(inputs: torch.Tensor) -> torch.Tensor:
    """Divide out what rules the inputs: directions count by how far they are above the median one.

    Parameters
    ----------
    inputs : Tensor
        (tokens, hidden) floating point.

    Returns
    -------
    Tensor
        (tokens, hidden) float32, of mean 0 over the tokens, with the inputs' power about it.
    """
    centred = inputs.double() - inputs.double().mean(dim=0)
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    ridge = (
        values[values > FLAT * values[-1]].median() if bool(values[-1] > 0) else values.new_ones(())
    )
    scales = (values.clamp_min(0) + ridge).rsqrt()
    whitened = (vectors * scales) @ (vectors.T @ centred)
    power = centred.norm() / whitened.norm().clamp_min(torch.finfo(torch.float64).tiny)
    scaled: torch.Tensor = (whitened * power).float()
    return scaled


def _whitened(side: MLPUnits) -> MLPUnits:
    """The side on half-whitened inputs. A constant, which biases are, is no part of a correlation."""
    if not isinstance(side, MLPFactors) or not bool(torch.isfinite(side.inputs).all()):
        return side  # `directions` says what is wrong
    inputs = _WHITENED.get(side.inputs)
    if inputs is None:
        inputs = _WHITENED[side.inputs] = half_whitened(side.inputs)
    gate = None if side.gate is None else LinearMap(side.gate.weight)
    return MLPFactors(inputs, gate, LinearMap(side.up.weight), side.down)


_WHITENED = WeakTensorKeyDictionary()
"""Half-whitened inputs by the inputs: all experts of a block have the same."""


def prepare(side: MLPUnits, role: Role, seed: int) -> Directions:
    """Prepare one side of `match_tokens`, for a side that meets several others.

    Raises
    ------
    DegenerateError
        As `provenance.statistics.match.match` does.
    """
    return directions(_whitened(side), role, seed, centred=True)


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
