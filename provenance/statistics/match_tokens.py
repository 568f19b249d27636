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

Few of the tokens are asked first. Where gate and up pair all n units alike on these, the other tokens could
say no more, and are not asked. Strangers get there with a chance of 1/n!, which is added to every p-value.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.weak import WeakTensorKeyDictionary

from provenance.architecture.units import Mixing, MLPFactors
from provenance.errors import DegenerateError
from provenance.statistics import _directions
from provenance.statistics._directions import (
    Directions,
    Glimpse,
    directions,
    products,
)
from provenance.statistics._nearness import nearness, some_units
from provenance.statistics._outliers import without_loud
from provenance.statistics.match import MatchResult, match
from provenance.statistics.pvalues import log10_factorial
from provenance.vocabulary import ROLES

if TYPE_CHECKING:
    from provenance.architecture.units import MLPUnits
    from provenance.vocabulary import Role

FIRST = 64
"""Tokens that are asked first, where there are at least twice as many: of fewer, all are asked at once."""

SAMPLE = 32
"""Units that are looked at before all are matched on few tokens."""

RARE = -40.0
"""Few tokens are not asked where strangers pair all units alike with a chance whose log10 is above this."""

FLAT = 1e-9
"""Directions with less than this share of the largest one's power are none: rounding, or the mean's."""


def half_whitened(inputs: torch.Tensor) -> torch.Tensor:
    """Divide out what rules the inputs; see `whitening`.

    Parameters
    ----------
    inputs : Tensor
        (tokens, hidden) floating point.

    Returns
    -------
    Tensor
        (tokens, hidden) float32, of mean 0 over the tokens, with the inputs' power about it.
    """
    return whitening(inputs)[0]


def whitening(inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Divide out what rules the inputs: directions count by how far they are above the median one.

    Returns
    -------
    tuple of Tensor
        The inputs whitened, as `half_whitened`; and the way back, (tokens, tokens) float32.
    """
    centred = inputs.double() - inputs.double().mean(dim=0)
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    ridge = (
        values[values > FLAT * values[-1]].median() if bool(values[-1] > 0) else values.new_ones(())
    )
    scales = (values.clamp_min(0) + ridge).rsqrt()
    whitened = (vectors * scales) @ (vectors.T @ centred)
    power = centred.norm() / whitened.norm().clamp_min(torch.finfo(torch.float64).tiny)
    back = (vectors / scales) @ vectors.T / power.clamp_min(torch.finfo(torch.float64).tiny)
    return (whitened * power).float(), back.float()


def _whitened(side: MLPUnits) -> MLPUnits:
    """The side on half-whitened inputs."""
    if not isinstance(side, MLPFactors) or not bool(torch.isfinite(side.inputs).all()):
        return side  # `directions` says what is wrong
    known = _WHITENED.get(side.inputs)
    if known is None:
        known = _WHITENED[side.inputs] = whitening(side.inputs)
    inputs, back = known
    gate = None if side.gate is None else side.gate.converted(torch.Tensor.float)
    mixing = Mixing(side.inputs, back)
    up = side.up.converted(torch.Tensor.float)
    return replace(side, inputs=inputs, gate=gate, up=up, mixing=mixing)


_WHITENED = WeakTensorKeyDictionary()
"""Half-whitened inputs by the inputs, with the way back: all experts of a block have the same."""


@dataclass(frozen=True, eq=False)
class Probed:
    """One side: what its units answer to few of the tokens, and to all, which is computed when asked for.

    Attributes
    ----------
    first : Directions or None
        On `FIRST` of the tokens; None where there are not many more, or not all units are live on them.
    side : MLPUnits or Directions
        The MLP on all the tokens, or its units along them.
    role, seed
        As `prepare` takes them.
    """

    first: Directions | None
    side: MLPUnits | Directions
    role: Role
    seed: int

    @cached_property
    def whole(self) -> Directions:
        """On all the tokens.

        Raises
        ------
        DegenerateError
            As `prepare`.
        """
        if isinstance(self.side, Directions):
            return self.side
        return on_all(self.side, self.role, self.seed)

    @property
    def live(self) -> torch.Tensor:
        """The units that take part, (k,) int64, of all the tokens."""
        return self.whole.live


def prepare(side: MLPUnits, role: Role, seed: int) -> Probed:
    """Prepare one side of `match_tokens`, for a side that meets several others.

    Raises
    ------
    DegenerateError
        As `provenance.statistics.match.match` does.
    """
    first = None
    if isinstance(side, MLPFactors) and len(side.inputs) >= 2 * FIRST:
        # units are merged by the answers to all tokens: on few of them gates are alike by chance
        some = replace(side, inputs=_some(side.inputs), down=None)
        with suppress(DegenerateError):  # all the tokens say whether that is so
            first = on_all(some, role, seed)
        if first is not None and len(first.live) < first.units:
            first = None
    probed = Probed(first, side, role, seed)
    if first is None:
        probed.whole  # noqa: B018 - refuses what cannot be tested
    return probed


def _some(inputs: torch.Tensor) -> torch.Tensor:
    """Evenly spaced tokens; the same tensor for all experts of a block, so that it is whitened once."""
    some = _SOME.get(inputs)
    if some is None:
        places = torch.linspace(0, len(inputs) - 1, FIRST).long().to(inputs.device)
        some = _SOME[inputs] = inputs[places]
    found: torch.Tensor = some
    return found


_SOME = WeakTensorKeyDictionary()


def on_all(side: MLPUnits, role: Role, seed: int) -> Directions:
    """The units of a side along all its tokens, half-whitened.

    Raises
    ------
    DegenerateError
        As `prepare`.
    """
    if isinstance(side, MLPFactors) and side.gate is not None:
        gate, up = (one.converted(torch.Tensor.float) for one in (side.gate, side.up))
        side = without_loud(replace(side, gate=gate, up=up), role, seed)
    return directions(_whitened(side), role, seed, centred=True)


def glimpse(side: Probed) -> Glimpse:
    """The units of a side along a few tokens; see `provenance.statistics._directions.glimpse`."""
    return _directions.glimpse(side.first or side.whole)


def size(side: Probed, *, strongest: bool) -> int:
    """How many units a side has; see `provenance.statistics._directions.size`."""
    known = side.first if side.first is not None and not strongest else side.whole
    return _directions.size(known, strongest=strongest)


def match_tokens(
    candidate: MLPUnits | Probed, reference: MLPUnits | Probed, *, seed: int = 0
) -> MatchResult:
    """Test whether two gated MLPs are independent, by their answers to token embeddings.

    Parameters
    ----------
    candidate, reference : MLPUnits or Probed
        What the units answer to the embeddings of the same tokens, or a side that `prepare` has prepared.
        Widths and hidden sizes may differ.
    seed : int
        Of the random renumbering of the units.

    Raises
    ------
    DegenerateError
        As `provenance.statistics.match.match` does.
    """
    a, b = (
        side if isinstance(side, Probed) else prepare(side, role, seed)
        for role, side in zip(ROLES, (candidate, reference), strict=True)
    )
    chance = -math.inf
    if a.first is not None and b.first is not None:
        units = min(len(a.first.live), len(b.first.live))
        if -log10_factorial(units) < RARE:
            chance = -log10_factorial(units)
            result = match(a.first, b.first, seed=seed) if _some_agree(a.first, b.first) else None
            if result is not None and result.agreeing() == units:
                return _named(result, chance)
    whole = a.whole, b.whole
    result = _named(match(*whole, seed=seed), chance)
    return replace(result, nearness=nearness(*whole))


def _some_agree(a: Directions, b: Directions) -> bool:
    """Whether gate and up find one partner for most of a sample of units, as they do where all agree."""
    small, large = sorted((a, b), key=lambda side: len(side.live))
    sample = some_units(small, SAMPLE)
    gate, up = (one.rows(0, SAMPLE).argmax(dim=1) for one in products(sample, large))
    return 2 * int((gate == up).sum()) > SAMPLE


def _named(result: MatchResult, chance: float) -> MatchResult:
    """The result as this statistic's, with log10 of a chance added to the p-value."""
    total = float(np.logaddexp(result.log10_p * _LOG10, chance * _LOG10)) / _LOG10
    return replace(result, statistic="match_tokens", log10_p=min(0.0, total))


_LOG10 = math.log(10)
