"""Units that are one in function: what an MLP can be written as at no cost to what it computes.

``act(g.x) (u.x) d`` is linear in ``d u^T``. So units with one gate row may share their work in any way. A
unit can be split in two, with up rows ``u/2 + r`` and ``u/2 - r`` for an r of any size: the MLP computes
the same, and neither half looks like the unit. Units with opposed gates may share it too, since
``act(-z)`` is ``act(z)`` or its opposite, but for a polynomial that other units can make up for
(`provenance.statistics._activations`). So may units with gates of other lengths: those of ReLU altogether,
and the others as far as their activations are alike.

`merge_units` sums ``d u^T`` over the units whose gates are parallel or antiparallel, each weighted by what
its activation has of the strongest one's beyond that polynomial, and takes the sum apart again. A unit
that was split is whole again, and what cancels is gone.

Units that add nothing are set aside first, so that they cannot link others, and the rest are grouped around
the strongest: all gates of a group are near one of them. All of this is a function of one model that
follows a renumbering of its units, so that it leaves the null hypothesis as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch

from provenance.architecture.units import PROJECTIONS, LinearMap
from provenance.statistics._activations import activation_of, beyond
from provenance.statistics._activity import finite, sampled_answers
from provenance.statistics._moments import moments

if TYPE_CHECKING:
    from provenance.architecture.units import MLPFactors

NEAR = 0.955
"""Two gates are one if the absolute correlation of their answers is above this. Gates of trained models
that were not copied from each other have never been seen there."""

FAINT = 0.05
"""Of the parts that a sum of units has, those below this share of the greatest are rounding, or what is
left of gates that were not quite one."""

IDLE = 1e-8
"""A unit adds nothing if this share of the strongest unit's mean square is more."""

_LOOKED_AT = 0.85
"""Cosine of two sketches above which the gates are compared: those of one gate have 0.955, less chance."""

_CHUNK = 1 << 24
_ROWS = 256


class Merged(NamedTuple):
    """An MLP with units of one gate merged, and without those that add nothing.

    ``units`` has for each unit, (k,) int64, the first of those that it was made from; ``ways_out`` the
    length of each one's down column, (k,) float32.
    """

    side: MLPFactors
    units: torch.Tensor
    ways_out: torch.Tensor


def merge_units(side: MLPFactors) -> Merged | None:
    """Merge the units whose gates are parallel or antiparallel.

    Parameters
    ----------
    side : MLPFactors
        With a gate, and `down`.

    Returns
    -------
    Merged or None
        None where no two gates are one, which costs little to see: `down` is not read then.
    """
    if side.gate is None or side.down is None or not _some_are_near(side.inputs, side.gate):
        return None
    work = Work.of(side, side.down().float())
    order = work.added.argsort(descending=True)
    order = order[work.added[order] > IDLE * work.added.max()]
    leaders = _leaders(side, order)
    counts = torch.bincount(leaders[leaders >= 0], minlength=len(leaders))
    alone = (leaders >= 0) & (counts[leaders.clamp_min(0)] == 1)
    parts = [_UnitGroup.of(side, work.down, alone.nonzero().squeeze(1))]
    parts += [
        _summed(side, work, leader, (leaders == leader).nonzero().squeeze(1))
        for leader in (counts > 1).nonzero().squeeze(1)
    ]
    units = torch.cat([part.units for part in parts])
    order = units.argsort(stable=True)
    gate, up = (_joined([getattr(part, name) for part in parts], order) for name in PROJECTIONS)
    lengths = torch.cat([part.lengths for part in parts])
    return Merged(replace(side, gate=gate, up=up, down=None), units[order], lengths[order])


@dataclass(frozen=True, eq=False)
class Work:
    """What the units of an MLP do on some of its inputs.

    Attributes
    ----------
    down : Tensor
        (units, hidden) float32.
    answers, shapes : Tensor
        Of the gates, (inputs, units): before the activation, about their mean, and what the activation
        makes of them beyond a polynomial.
    added : Tensor
        The mean square of what each adds to the residual stream beyond a polynomial, (units,) float64.
    """

    down: torch.Tensor
    answers: torch.Tensor
    shapes: torch.Tensor
    added: torch.Tensor

    @classmethod
    def of(cls, side: MLPFactors, down: torch.Tensor) -> Work:
        gate, up = sampled_answers(side)
        shapes = beyond(gate, activation_of(side.activation))
        added = (shapes * up.double()).square().mean(dim=0) * down.double().square().sum(dim=1)
        return cls(down, gate - gate.mean(dim=0), shapes, finite(added))


@dataclass(frozen=True, eq=False)
class _UnitGroup:
    """Some units of an MLP with their maps, and the lengths of their down columns."""

    units: torch.Tensor
    gate: LinearMap
    up: LinearMap
    lengths: torch.Tensor

    @classmethod
    def of(cls, side: MLPFactors, down: torch.Tensor, units: torch.Tensor) -> _UnitGroup:
        assert side.gate is not None
        gate, up = (
            LinearMap(x.weight[units].float(), None if x.bias is None else x.bias[units].float())
            for x in (side.gate, side.up)
        )
        return cls(units, gate, up, down[units].norm(dim=1))


def _summed(
    side: MLPFactors, work: Work, leader: torch.Tensor, members: torch.Tensor
) -> _UnitGroup:
    """The units that the sum of ``d u^T`` over the units around a leader is made of."""
    part = _UnitGroup.of(side, work.down, members)
    ups = part.up.weight
    if part.up.bias is not None:
        ups = torch.cat([ups, part.up.bias[:, None]], dim=1)
    # what each one's activation has of the leader's
    shape = work.shapes[:, leader]
    alike = (shape @ work.shapes[:, members]) / shape.square().sum()  # (members,)
    downs = work.down[members].double() * alike[:, None]
    # what is greatest of d u^T (rank <= the number of members), in float64: much of it cancels out
    left, right = (torch.linalg.qr(x) for x in (downs.T, ups.double().T))
    _, sizes, rows = torch.linalg.svd(left.R @ right.R.T)
    # what cancels out altogether leaves rounding of each member's own size, and no unit
    whole = float((downs.norm(dim=1) * ups.double().norm(dim=1)).max())
    kept = sizes > max(FAINT * float(sizes[0]), 1e-5 * whole)
    wide = (rows[kept] @ right.Q.T * sizes[kept, None]).float()  # (kept, hidden [+ 1])
    up = LinearMap(wide) if part.up.bias is None else LinearMap(wide[:, :-1], wide[:, -1])
    gate = _middle(part.gate, work, leader, members)
    return _UnitGroup(
        members[:1].expand(len(wide)),
        LinearMap(
            gate.weight.expand(len(wide), -1),
            None if gate.bias is None else gate.bias.expand(len(wide)),
        ),
        up,
        torch.ones(len(wide), device=wide.device),
    )


def _middle(gates: LinearMap, work: Work, leader: torch.Tensor, members: torch.Tensor) -> LinearMap:
    """The mean of gates that are near a leader, of its sign and length, by what their units add."""
    alike = work.answers[:, leader] @ work.answers[:, members]  # (members,)
    lengths = work.answers[:, members].norm(dim=0).clamp_min(torch.finfo(torch.float32).tiny)
    share = work.added[members].sqrt()
    share = (share / share.sum()).float() * alike.sign() / lengths
    share = share * work.answers[:, leader].norm()
    weight = (share[:, None] * gates.weight).sum(dim=0, keepdim=True)
    return LinearMap(weight, None if gates.bias is None else (share * gates.bias).sum()[None])


def _leaders(side: MLPFactors, order: torch.Tensor) -> torch.Tensor:
    """The strongest unit that each one's gate is near, (units,) int64; -1 for those not in the order.

    ``order`` has the strongest first. A unit that is near none before it leads.
    """
    assert side.gate is not None
    rows = side.gate.weight[order].float() @ moments(side.inputs).sampled().T
    rows = torch.nn.functional.normalize(rows, dim=1)  # (units, inputs), of mean 0
    found = torch.full((len(side.gate.weight),), -1, dtype=torch.int64, device=rows.device)
    leading = torch.zeros(0, dtype=torch.int64, device=rows.device)  # places in the order
    for start in range(0, len(rows), _ROWS):
        chunk = rows[start : start + _ROWS]
        left = torch.ones(len(chunk), dtype=torch.bool, device=rows.device)
        if len(leading):
            cosines, nearest = (chunk @ rows[leading].T).abs().max(dim=1)
            left = cosines <= NEAR
            found[order[start : start + _ROWS][~left]] = order[leading[nearest[~left]]]
        near = (chunk @ chunk.T).abs() > NEAR
        new = []
        for place in left.nonzero().squeeze(1).tolist():
            if left[place]:
                new.append(start + place)
                near[place, place] = True  # of a gate that answers nothing too
                members = (near[place] & left).nonzero().squeeze(1)
                found[order[start + members]] = order[start + place]
                left[members] = False
        leading = torch.cat([leading, torch.tensor(new, dtype=torch.int64, device=rows.device)])
    return found


def _some_are_near(inputs: torch.Tensor, gate: LinearMap) -> bool:
    """Whether any two gates are one."""
    known = moments(inputs)
    weight = gate.weight.float()
    # Gates with near answers have near answers to random mixtures of the inputs: a few suffice to tell
    # almost all others apart, and those that are left are compared on the inputs themselves.
    sketches = torch.nn.functional.normalize(weight @ known.mixtures.T, dim=1)  # (units, mixtures)
    pairs = _nearest(sketches)
    return bool(len(pairs)) and bool(_near(known.sampled(), weight, pairs).any())


def _nearest(sketches: torch.Tensor) -> torch.Tensor:
    """Each unit with the nearest of those before it, where that is near enough to be looked at.

    Returns
    -------
    Tensor
        (pairs, 2) int64.
    """
    pairs = [torch.zeros(0, 2, dtype=torch.int64, device=sketches.device)]
    for start in range(0, len(sketches), _ROWS):
        rows = sketches[start : start + _ROWS]
        cosines = (rows @ sketches[: start + len(rows)].T).abs_()
        cosines[:, start:].tril_(-1)  # its own and those after it are 0
        near = (cosines.amax(dim=1) > _LOOKED_AT).nonzero().squeeze(1)
        if len(near):
            pairs.append(torch.stack([near + start, cosines[near].argmax(dim=1)], dim=1))
    return torch.cat(pairs)


def _near(basis: torch.Tensor, weight: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """Which of the pairs of units have gates that are one, bool (pairs,)."""
    alike = []
    for i, j in (chunk.T for chunk in torch.split(pairs, max(1, _CHUNK // len(basis)))):
        first, second = (basis @ weight[k].T for k in (i, j))  # (tokens, pairs)
        cosines = torch.nn.functional.cosine_similarity(first, second, dim=0)
        alike.append(cosines.abs() > NEAR)
    return torch.cat(alike)


def _joined(maps: list[LinearMap], order: torch.Tensor) -> LinearMap:
    biases = [x.bias for x in maps if x.bias is not None]
    weight = torch.cat([x.weight for x in maps])[order]
    return LinearMap(weight, torch.cat(biases)[order] if biases else None)
