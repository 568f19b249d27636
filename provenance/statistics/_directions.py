"""One side of a matching: the live units of an MLP, each as the direction of its answers.

Preparing a side costs as much as a comparison and depends on that side alone, so that a side which is
compared many times (blocks against blocks) is prepared once.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.utils.weak import WeakTensorKeyDictionary

from provenance.architecture.units import MLPActivations, MLPFactors, Projection
from provenance.assignment.solve import Products
from provenance.errors import DegenerateError
from provenance.statistics._merging import merge_units
from provenance.statistics._moments import moments, places
from provenance.vocabulary import ROLES

if TYPE_CHECKING:
    from provenance.architecture.units import MLPUnits
    from provenance.statistics._moments import Moments
    from provenance.vocabulary import Role

GAIN = 1.5
"""Tokens a hidden dimension from which factors make a comparison cheaper than the answers do.

A pair of blocks with n units each takes about 2 n^2 tokens for the answers of gate and up, and
tokens h^2 + 2 n h^2 + 2 n^2 h from factors; with n = 2.7 h, as in Llama, these are equal at 1.5 h.
"""
UNSURE = 0.01
"""Share of the variance that isotropic inputs of the same power would give a unit. A smaller variance is
computed again from the unit's answers: in the inputs' second moments its digits cancel out."""

GLIMPSE = 64
"""Inputs that a glimpse is along."""

COMFORTABLE = 1e15
"""Answers up to this, and down to one over it, have squares that neither overflow nor vanish in float32."""

CONSTANT = 1e-6
"""Answers below this share of what independent terms would add up to are a constant's rounding."""


@dataclass(frozen=True, eq=False)
class Directions:
    """The live units of one MLP in a random order, each scaled to length 1.

    Attributes
    ----------
    units : int
        Units of the MLP.
    tokens : int
        Inputs that they answered.
    live : Tensor
        (k,) int64: the unit that each row stands for.
    gate, up : Tensor
        (k, r) float32. Without a basis a row holds the unit's answers, r = tokens; with one, they are
        ``basis @ row``.
    basis : Tensor or None
        (tokens, r) float32, the inputs, less their mean.
    core : Core or None
        What each unit does, where that is known.
    """

    units: int
    tokens: int
    live: torch.Tensor
    gate: torch.Tensor
    up: torch.Tensor
    basis: torch.Tensor | None = None
    core: Core | None = None

    def strongest(self, share: float) -> Directions:
        """The fewest units that together add this share of what the MLP adds to the residual stream.

        All, for a share of 1 or where it is not known what each adds.

        Raises
        ------
        DegenerateError
            If a way out is not finite.
        """
        if self.core is None or share >= 1:
            return self
        added = self.core.added
        order = added.argsort(descending=True)
        before = added[order].cumsum(0) - added[order]
        kept = order[before < share * added.sum()].sort().values
        return replace(
            self, live=self.live[kept], gate=self.gate[kept], up=self.up[kept], core=None
        )


@dataclass(frozen=True, eq=False)
class Glimpse:
    """Units along few inputs, each scaled to length 1: ``gate`` and ``up`` are (units, inputs) float32."""

    gate: torch.Tensor
    up: torch.Tensor


@dataclass(frozen=True, eq=False)
class Core:
    """What the live units of an MLP do, in the order of their `Directions`.

    Attributes
    ----------
    activity : callable
        Computes the root mean square of each one's ``silu(gate) * up``, before its way out, (k,) float32.
        SiLU stands for every activation: how much a unit does is asked, not what.
    ways_out : callable
        Reads the length of each one's down column, (k,) float32.
    """

    activity: Callable[[], torch.Tensor]
    ways_out: Callable[[], torch.Tensor]

    @cached_property
    def added(self) -> torch.Tensor:
        """The mean square of what each unit adds to the residual stream, (k,) float64.

        Raises
        ------
        DegenerateError
            If a way out is not finite.
        """
        added = (self.activity().double() * self.ways_out().double()).square()
        if not bool(torch.isfinite(added).all()):
            raise DegenerateError("an MLP's down weights hold NaN or infinity")
        return added


def directions(side: MLPUnits, role: Role, seed: int, *, centred: bool) -> Directions:
    """Prepare one side.

    Parameters
    ----------
    side : MLPUnits
        Answers, or inputs and projections.
    role : str
        Names the side in errors, and gives it a random order of its own.
    seed : int
        Of the order of the units.
    centred : bool
        Take every unit's mean over the tokens out, so that products are correlations.

    Raises
    ------
    DegenerateError
        If the MLP is plain, without a gate, or a value is not finite.
    """
    if side.gate is None:
        raise DegenerateError(
            f"the {role}'s MLP is plain: it has no gate to match: use `statistic: generalized`"
        )
    rng = np.random.default_rng([seed, ROLES.index(role)])
    if not (centred and isinstance(side, MLPFactors)):
        return _answers(side.dense(), role, rng, centred=centred)[0]
    lengths = _checked_lengths(side, role)
    merged = merge_units(side)
    if merged is None:
        prepared, activity = _of_factors(side, lengths, role, rng)
        return replace(prepared, core=_core(side, prepared.live, activity))
    prepared, activity = _of_factors(merged.side, None, role, rng)
    ways_out = merged.ways_out[prepared.live]
    return replace(
        prepared,
        live=merged.units[prepared.live],
        units=len(side.up.weight),
        core=Core(activity, lambda: ways_out),
    )


Activity = Callable[[], torch.Tensor]
Pair = tuple[torch.Tensor, torch.Tensor]


def _of_factors(
    side: MLPFactors, lengths: Pair | None, role: Role, rng: np.random.Generator
) -> tuple[Directions, Activity]:
    if len(side.inputs) > GAIN * side.inputs.shape[1]:
        return _in_factors(side, lengths, rng)
    return _answers(side.dense(), role, rng, centred=True)


def _core(side: MLPFactors, live: torch.Tensor, activity: Activity) -> Core | None:
    """What the live units of a side do."""
    down = side.down
    return None if down is None else Core(activity, lambda: down().float().norm(dim=1)[live])


def products(a: Directions, b: Directions) -> tuple[Products, Products]:
    """Cosines, or correlations, between the units of two sides, (k of a, k of b) float32: gate, |up|."""
    between = None
    if a.basis is not None and b.basis is not None:
        between = _between(a.basis, b.basis)

    def of(projection: Projection) -> Products:
        x, y = getattr(a, projection), getattr(b, projection)
        if between is not None:
            x = x @ between
        elif a.basis is not None:
            x = x @ a.basis.T
        elif b.basis is not None:
            y = y @ b.basis.T
        # up's sign is free, the gate's is not
        return Products(x, y, absolute=projection == "up")

    return of("gate"), of("up")


def glimpse(side: Directions) -> Glimpse:
    """The units of a side along a few of its inputs, evenly spaced: enough to tell blocks apart."""
    inputs = (
        side.gate.shape[1] if side.basis is None else len(side.basis)
    )  # of a sketch, its columns
    places = torch.linspace(0, inputs - 1, min(GLIMPSE, inputs)).long().to(side.gate.device)
    rows = [
        x[:, places] if side.basis is None else x @ side.basis[places].T
        for x in (side.gate, side.up)
    ]
    gate, up = (torch.nn.functional.normalize(x, dim=1) for x in rows)
    return Glimpse(gate, up)


def _answers(
    side: MLPActivations, role: Role, rng: np.random.Generator, *, centred: bool
) -> tuple[Directions, Activity]:
    assert side.gate is not None
    if side.gate.shape != side.up.shape:
        raise ValueError(
            f"{role}: gate {tuple(side.gate.shape)} and up {tuple(side.up.shape)} must be equal"
        )
    gate, up = (_Answers(x) for x in (side.gate, side.up))
    for name, answers in (("gate", gate), ("up", up)):
        if not answers.finite():
            raise DegenerateError(f"the {role}'s {name} activations hold NaN or infinity")
    chosen = _shuffled((gate.varies & up.varies).nonzero().squeeze(1), rng)
    scaled = [answers.scaled(chosen, centred=centred) for answers in (gate, up)]
    sampled = places(len(side.up)).to(chosen.device)

    def activity() -> torch.Tensor:
        return _activity([x.rows[:, sampled] * x.lengths + x.centres for x in scaled], dim=1)

    rows = [x.rows for x in scaled]
    return Directions(side.up.shape[1], len(side.up), chosen, rows[0], rows[1]), activity


class _Scaled(NamedTuple):
    """Rows of length 1, with what they were divided by after `centres` was taken out, each (k, 1)."""

    rows: torch.Tensor
    lengths: torch.Tensor
    centres: torch.Tensor | float


class _Answers:
    """What each unit answers, a row each. Every step is a sweep, and those over columns are slow."""

    def __init__(self, columns: torch.Tensor) -> None:
        self._rows = columns.T.float().contiguous()
        self._high, self._low = self._rows.amax(dim=1), self._rows.amin(dim=1)
        self.varies = self._high > self._low

    def finite(self) -> bool:
        """Whether all are: the greatest and the least show it."""
        return bool((torch.isfinite(self._high) & torch.isfinite(self._low)).all())

    def scaled(self, chosen: torch.Tensor, *, centred: bool) -> _Scaled:
        """Some units' answers, scaled to length 1, their means taken out first where asked."""
        rows = self._rows.index_select(0, chosen)
        sizes = torch.maximum(self._high, -self._low)[chosen, None]
        scale: torch.Tensor | float = 1.0
        if len(sizes) and not COMFORTABLE > sizes.amax() >= sizes.amin() > 1 / COMFORTABLE:
            scale = sizes.clamp_min(torch.finfo(torch.float32).tiny)
            rows /= scale
        centres: torch.Tensor | float = 0.0
        if centred:
            centres = rows.mean(dim=1, keepdim=True)
            rows -= centres
        lengths = rows.norm(dim=1, keepdim=True)
        rows /= lengths
        return _Scaled(rows, lengths * scale, centres * scale)


def _activity(answers: Sequence[torch.Tensor], dim: int) -> torch.Tensor:
    """Root mean square of what units do; the answers of gate and up are along one dimension."""
    gate, up = answers
    done: torch.Tensor = (torch.nn.functional.silu(gate) * up).square().mean(dim=dim).sqrt()
    return done


def _in_factors(
    side: MLPFactors, norms: Pair | None, rng: np.random.Generator
) -> tuple[Directions, Activity]:
    assert side.gate is not None
    known = moments(side.inputs)
    maps = (side.gate, side.up)
    weights = [one.weight.float() for one in maps]
    norms = norms or (weights[0].norm(dim=1), weights[1].norm(dim=1))
    lengths = [_lengths(w, n, known) for w, n in zip(weights, norms, strict=True)]
    # by dimension: a large weight on one that no input has is no reason to call an answer rounding
    rounding = [CONSTANT * (w.square() @ known.sizes).sqrt() for w in weights]
    varies = [x > constant for x, constant in zip(lengths, rounding, strict=True)]
    chosen = _shuffled((varies[0] & varies[1]).nonzero().squeeze(1), rng)
    kept = [x[chosen] for x in lengths]
    gate, up = (
        w.index_select(0, chosen).div_(x[:, None]) for w, x in zip(weights, kept, strict=True)
    )
    centres = [
        w @ known.mean if one.bias is None else w @ known.mean + one.bias.float()
        for w, one in zip(weights, maps, strict=True)
    ]
    basis, means = known.basis, [x[chosen] for x in centres]

    def activity() -> torch.Tensor:
        sampled = basis[places(len(basis)).to(basis.device)]
        answers = [
            (sampled @ rows.T) * length + mean
            for rows, length, mean in zip((gate, up), kept, means, strict=True)
        ]
        return _activity(answers, dim=0)

    return Directions(len(weights[0]), len(basis), chosen, gate, up, basis), activity


def _between(basis: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Products of two bases, (hidden, hidden'); the last partner's is kept while `basis` is."""
    kept = _BETWEEN.get(basis)
    if kept is None or kept[0]() is not other:
        kept = _BETWEEN[basis] = weakref.ref(other), basis.T @ other
    products: torch.Tensor = kept[1]
    return products


_BETWEEN = WeakTensorKeyDictionary()


def _lengths(weight: torch.Tensor, norms: torch.Tensor, known: Moments) -> torch.Tensor:
    """Norms of ``basis @ w`` for every row w of a norm, float32 (units,)."""
    squares = known.squares(weight)
    isotropic = norms.square() * known.power
    unsure = squares < UNSURE * isotropic
    lengths = squares.clamp_min(0).sqrt()
    if bool(unsure.any()):
        lengths[unsure] = (known.basis @ weight[unsure].T).norm(dim=0)
    return lengths


def unit_columns(x: torch.Tensor, *, centred: bool) -> torch.Tensor:
    """Scale every column to length 1, its mean taken out first where asked; float32."""
    values = x.float()
    # the largest entry first: squares of fp16-sized activations neither overflow nor vanish
    values = values / values.abs().amax(dim=0).clamp_min(torch.finfo(torch.float32).tiny)
    if centred:
        values = values - values.mean(dim=0)
    unit: torch.Tensor = values / values.norm(dim=0)
    return unit


def _shuffled(live: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    return live[torch.from_numpy(rng.permutation(len(live))).to(live.device)]


def _checked_lengths(side: MLPFactors, role: Role) -> Pair:
    """Norms of the rows of gate and of up, (units,) float32 each; refuses what is not finite."""
    assert side.gate is not None
    gate, up = (one.weight.float().norm(dim=1) for one in (side.gate, side.up))
    for name, norms, values in (
        ("inputs", moments(side.inputs).length, side.inputs),
        ("gate weights", gate, side.gate.weight),
        ("up weights", up, side.up.weight),
    ):
        # a norm shows it, and costs little; one that overflowed is looked into
        if not bool(torch.isfinite(norms).all()) and not bool(torch.isfinite(values).all()):
            raise DegenerateError(f"the {role}'s {name} hold NaN or infinity")
    return gate, up
