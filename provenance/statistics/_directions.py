"""One side of a matching: the live units of an MLP, each as the direction of its answers.

Preparing a side costs as much as a comparison and depends on that side alone, so that a side which is
compared many times (blocks against blocks) is prepared once.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.weak import WeakTensorKeyDictionary

from provenance.architecture.units import PROJECTIONS, MLPActivations, MLPFactors, Projection
from provenance.assignment.solve import Products
from provenance.errors import DegenerateError
from provenance.statistics._merging import activity, merge_units
from provenance.vocabulary import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from provenance.architecture.units import MLPUnits
    from provenance.statistics._merging import Merged
    from provenance.vocabulary import Role

GAIN = 1.5
"""Tokens a hidden dimension from which factors make a comparison cheaper than the answers do.

A pair of blocks with n units each takes about 2 n^2 tokens for the answers of gate and up, and
tokens h^2 + 2 n h^2 + 2 n^2 h from factors; with n = 2.7 h, as in Llama, these are equal at 1.5 h.
"""
UNSURE = 0.01
"""Share of the variance that isotropic inputs of the same power would give a unit. A smaller variance is
computed again from the unit's answers: in the inputs' second moments its digits cancel out."""

SKETCH = 64
"""Random directions that a signature looks along."""

GLIMPSE = 64
"""Inputs that a glimpse is along."""

CONSTANT = 1e-6
"""Answers below this share of the weight's norm times the inputs' norm are a constant's rounding."""


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
        added = self.core.added()
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
    activity : Tensor
        (k,) float32: root mean square of each one's answer.
    ways_out : callable
        Reads the length of each one's down column, (k,) float32.
    """

    activity: torch.Tensor
    ways_out: Callable[[], torch.Tensor]

    def added(self) -> torch.Tensor:
        """The mean square of what each unit adds to the residual stream, (k,) float64."""
        added = (self.activity.double() * self.ways_out().double()).square()
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
    _require_finite(side, role)
    rng = np.random.default_rng([seed, ROLES.index(role)])
    if not (centred and isinstance(side, MLPFactors)):
        return _answers(side.dense(), rng, centred=centred)
    merged = merge_units(side)
    whole = side if merged is None else merged.side
    if len(whole.inputs) > GAIN * whole.inputs.shape[1]:
        prepared = _in_factors(whole, rng)
    else:
        prepared = _answers(whole.dense(), rng, centred=True)
    prepared = replace(prepared, core=_core(side, merged, prepared.live))
    if merged is None:
        return prepared
    return replace(prepared, live=merged.units[prepared.live], units=len(side.up.weight))


def _core(side: MLPFactors, merged: Merged | None, live: torch.Tensor) -> Core | None:
    """What the live units of a side, merged or not, do."""
    if merged is not None:
        lengths = merged.ways_out[live]
        return Core(activity(merged.side)[live], lambda: lengths)
    down = side.down
    if down is None:
        return None
    return Core(activity(side)[live], lambda: down().float().norm(dim=1)[live])


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


def own_likeness(side: Directions) -> torch.Tensor:
    """How alike gate and up of each unit are, (k,) float32: the absolute cosine of their answers."""
    if side.basis is None:
        return (side.gate * side.up).sum(dim=1).abs()
    return ((side.gate @ (side.basis.T @ side.basis)) * side.up).sum(dim=1).abs()


def signature(side: Directions, seed: int) -> torch.Tensor:
    """Describe a side in a few numbers that no order, scale or sign of its units changes.

    They are the mean squares of gate's and up's directions along `SKETCH` random ones. An MLP and its
    descendant have similar numbers, and other MLPs do not, once what all have in common is taken out.

    Parameters
    ----------
    seed : int
        Of the random directions, which must be the same for all that are compared.

    Returns
    -------
    Tensor
        (2 SKETCH,) float32, of each half the logarithm.
    """
    generator = torch.Generator().manual_seed(seed)
    along = torch.randn(side.tokens, SKETCH, generator=generator).to(side.gate.device)
    if side.basis is not None:
        along = side.basis.T @ along  # (r, SKETCH)
    squares = [(rows @ along).square().mean(dim=0) for rows in (side.gate, side.up)]
    return torch.cat(squares).clamp_min(torch.finfo(torch.float32).tiny).log()


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


def _answers(side: MLPActivations, rng: np.random.Generator, *, centred: bool) -> Directions:
    assert side.gate is not None
    chosen = _shuffled(side.live(), rng)
    gate, up = (unit_columns(x[:, chosen], centred=centred).T for x in (side.gate, side.up))
    return Directions(side.up.shape[1], len(side.up), chosen, gate, up)


def _in_factors(side: MLPFactors, rng: np.random.Generator) -> Directions:
    basis, gram, length = _moments(side.inputs)
    weights = [getattr(side, projection).weight.float() for projection in PROJECTIONS]
    constant = CONSTANT * length
    lengths = [_lengths(weight, basis, gram) for weight in weights]
    varies = [x > constant * w.norm(dim=1) for w, x in zip(weights, lengths, strict=True)]
    alive = (varies[0] & varies[1]).nonzero().squeeze(1)
    chosen = _shuffled(alive, rng)
    gate, up = (w[chosen] / x[chosen, None] for w, x in zip(weights, lengths, strict=True))
    return Directions(len(weights[0]), len(basis), chosen, gate, up, basis)


def _moments(inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The inputs less their mean, (tokens, hidden), its Gram matrix, and the inputs' norm; float32.

    Kept while the inputs are: all experts of a block have the same.
    """
    if inputs not in _MOMENTS:
        values = inputs.float()
        basis = values - values.mean(dim=0)
        _MOMENTS[inputs] = basis, basis.T @ basis, values.norm()
    moments: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = _MOMENTS[inputs]
    return moments


def _between(basis: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Products of two bases, (hidden, hidden'); the last partner's is kept while `basis` is."""
    kept = _BETWEEN.get(basis)
    if kept is None or kept[0]() is not other:
        kept = _BETWEEN[basis] = weakref.ref(other), basis.T @ other
    products: torch.Tensor = kept[1]
    return products


_MOMENTS = WeakTensorKeyDictionary()
_BETWEEN = WeakTensorKeyDictionary()


def _lengths(weight: torch.Tensor, basis: torch.Tensor, gram: torch.Tensor) -> torch.Tensor:
    """Norms of ``basis @ w`` for every row w, float32 (units,)."""
    squares = ((weight @ gram) * weight).sum(dim=1)
    isotropic = weight.square().sum(dim=1) * gram.diagonal().mean()
    unsure = squares < UNSURE * isotropic
    lengths = squares.clamp_min(0).sqrt()
    if bool(unsure.any()):
        lengths[unsure] = (basis @ weight[unsure].T).norm(dim=0)
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


def _require_finite(side: MLPUnits, role: Role) -> None:
    if isinstance(side, MLPFactors):
        assert side.gate is not None
        parts = {
            "inputs": side.inputs,
            "gate weights": side.gate.weight,
            "up weights": side.up.weight,
        }
    else:
        assert side.gate is not None
        parts = {"gate activations": side.gate, "up activations": side.up}
        if side.gate.shape != side.up.shape:
            raise ValueError(
                f"{role}: gate {tuple(side.gate.shape)} and up {tuple(side.up.shape)} must be equal"
            )
    for name, values in parts.items():
        if not bool(torch.isfinite(values).all()):
            raise DegenerateError(f"the {role}'s {name} hold NaN or infinity")
