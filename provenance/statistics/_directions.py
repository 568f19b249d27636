"""One side of a matching: the live units of an MLP, each as the direction of its answers.

Preparing a side costs as much as a comparison and depends on that side alone, so that a side which is
compared many times (blocks against blocks) is prepared once.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.utils.weak import WeakTensorKeyDictionary

from provenance.architecture.units import MLPActivations, MLPFactors, Projection
from provenance.assignment.solve import Products
from provenance.errors import DegenerateError
from provenance.statistics._activity import Core, activity_of, share_of
from provenance.statistics._merging import merge_units
from provenance.statistics._moments import moments, places
from provenance.statistics._outliers import without_loud
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

MATERIAL = 0.05
"""Largest share of what an MLP adds to the residual stream that units with a constant gate or up may do."""


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
    signed : bool
        Whether a gate and its opposite are two things.
    """

    units: int
    tokens: int
    live: torch.Tensor
    gate: torch.Tensor
    up: torch.Tensor
    basis: torch.Tensor | None = None
    core: Core | None = None
    signed: bool = False

    def strongest(self, share: float, least: int = 1) -> Directions:
        """The fewest units that together add this share of what the MLP adds to the residual stream.

        All, for a share of 1 or where it is not known what each adds.

        Parameters
        ----------
        share : float
            Of the sum of what each unit alone adds.
        least : int
            So many of the strongest units are among them, however much they add, or all that there are.

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
        number = max(int((before < share * added.sum()).sum()), least)
        kept = order[:number].sort().values
        return replace(
            self, live=self.live[kept], gate=self.gate[kept], up=self.up[kept], core=None
        )


@dataclass(frozen=True, eq=False)
class Glimpse:
    """Units along few inputs, each scaled to length 1: ``gate`` and ``up`` are (units, inputs) float32."""

    gate: torch.Tensor
    up: torch.Tensor


def directions(
    side: MLPUnits, role: Role, seed: int, *, centred: bool, signed: bool = False
) -> Directions:
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
    signed : bool
        Take a gate and its opposite for two things.

    Raises
    ------
    DegenerateError
        If the MLP is plain, without a gate, or a value is not finite; or if much of what it does is done by
        units whose gate or up is constant on these inputs.
    """
    if side.gate is None:
        raise DegenerateError(
            f"the {role}'s MLP is plain: it has no gate to match: use `statistic: generalized`"
        )
    rng = np.random.default_rng([seed, ROLES.index(role)])
    if not (centred and isinstance(side, MLPFactors)):
        return replace(_answers(side.dense(), role, rng, centred=centred)[0], signed=signed)
    lengths = _checked_lengths(side, role)
    if side.mixing is None:  # else it was done before they were mixed
        side = without_loud(side, role, seed)
    merged = merge_units(side)
    if merged is None:
        prepared, activity = _of_factors(side, lengths, role, rng)
        _refuse_silence(side, prepared, role)
        core = _core(side, prepared.live, activity)
        return replace(prepared, core=core, signed=signed)
    _refuse_silence(side, _of_factors(side, lengths, role, np.random.default_rng(seed))[0], role)
    prepared, activity = _of_factors(merged.side, None, role, rng)
    ways_out = merged.ways_out[prepared.live]
    return replace(
        prepared,
        live=merged.units[prepared.live],
        units=len(side.up.weight),
        core=Core(activity, lambda: ways_out),
        signed=signed,
    )


Activity = Callable[[], torch.Tensor]
Pair = tuple[torch.Tensor, torch.Tensor]


def _of_factors(
    side: MLPFactors, lengths: Pair | None, role: Role, rng: np.random.Generator
) -> tuple[Directions, Activity]:
    if len(side.inputs) > GAIN * side.inputs.shape[1]:
        return _in_factors(side, lengths, rng)
    prepared, scaled = _answers(side.dense(), role, rng, centred=True)
    mixing, activation = side.mixing, side.activation  # not the side: its weights may go
    sampled = places(len(side.inputs)).to(prepared.live.device)
    means = None if mixing is None else _centres(side, mixing.fed.float().mean(dim=0))

    def activity() -> torch.Tensor:
        if mixing is None or means is None:
            answers = [x.rows[:, sampled] * x.lengths + x.centres for x in scaled]
        else:
            back = mixing.back[sampled].T
            answers = [
                (x.rows * x.lengths) @ back + mean[prepared.live, None]
                for x, mean in zip(scaled, means, strict=True)
            ]
        return activity_of((answers[0].T, answers[1].T), activation)

    return prepared, activity


def _centres(side: MLPFactors, mean: torch.Tensor) -> Pair:
    """What gate and up of each unit answer to a mean input, (units,) float32 each."""
    assert side.gate is not None
    gate, up = (
        x.weight.float() @ mean if x.bias is None else x.weight.float() @ mean + x.bias.float()
        for x in (side.gate, side.up)
    )
    return gate, up


def _core(side: MLPFactors, live: torch.Tensor, activity: Activity) -> Core | None:
    """What the live units of a side do."""
    down = side.down
    return None if down is None else Core(activity, lambda: down().float().norm(dim=1)[live])


def _refuse_silence(side: MLPFactors, prepared: Directions, role: Role) -> None:
    """Refuse an MLP of which much is done by units that are dropped."""
    if side.down is None or len(prepared.live) == prepared.units:
        return
    dropped = torch.ones(prepared.units, dtype=torch.bool, device=prepared.live.device)
    dropped[prepared.live] = False
    share = share_of(side, dropped.nonzero().squeeze(1))
    if share > MATERIAL:
        raise DegenerateError(
            f"{share:.0%} of what the {role}'s MLP adds to the residual stream is by units whose gate or "
            "up is constant on these inputs, which no matching tells apart",
            (len(prepared.live),) * 2,
        )


def products(a: Directions, b: Directions) -> tuple[Products, Products]:
    """Cosines, or correlations, between the units of two sides, (k of a, k of b) float32.

    Of up the absolute values, and of gate too, where its sign is free.
    """
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
        # up's sign is free, and but for a polynomial the gate's is too
        return Products(x, y, absolute=projection == "up" or not a.signed)

    return of("gate"), of("up")


def size(side: Directions, *, strongest: bool) -> int:
    """How many units a side has.

    Parameters
    ----------
    strongest : bool
        Count those alone that do nine tenths of what the MLP does.
    """
    try:
        return len((side.strongest(0.9) if strongest else side).live)
    except DegenerateError:  # testing the MLP says why
        return len(side.live)


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
) -> tuple[Directions, tuple[_Scaled, _Scaled]]:
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
    rows = [x.rows for x in scaled]
    prepared = Directions(side.up.shape[1], len(side.up), chosen, rows[0], rows[1])
    return prepared, (scaled[0], scaled[1])


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


def _in_factors(
    side: MLPFactors, norms: Pair | None, rng: np.random.Generator
) -> tuple[Directions, Activity]:
    assert side.gate is not None
    known = moments(side.inputs)
    weights = [one.weight.float() for one in (side.gate, side.up)]
    norms = norms or (weights[0].norm(dim=1), weights[1].norm(dim=1))
    lengths = [_lengths(w, n, known) for w, n in zip(weights, norms, strict=True)]
    # by dimension: a large weight on one that no input has is no reason to call an answer rounding
    rounding = [CONSTANT * (w * known.sizes.sqrt()).norm(dim=1) for w in weights]
    varies = [x > constant for x, constant in zip(lengths, rounding, strict=True)]
    chosen = _shuffled((varies[0] & varies[1]).nonzero().squeeze(1), rng)
    kept = [x[chosen] for x in lengths]
    gate, up = (
        w.index_select(0, chosen).div_(x[:, None]) for w, x in zip(weights, kept, strict=True)
    )
    basis, fed, activation = known.basis, moments(side.fed), side.activation
    means = [x[chosen] for x in _centres(side, fed.mean)]

    def activity() -> torch.Tensor:
        sampled = fed.sampled()
        gates, ups = (
            (sampled @ rows.T) * length + mean
            for rows, length, mean in zip((gate, up), kept, means, strict=True)
        )
        return activity_of((gates, ups), activation)

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
