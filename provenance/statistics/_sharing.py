"""Finds MLPs of one block that share the work of units, so that none looks like what they make up.

A unit can be split into halves with the up rows ``u/2 + r`` and ``u/2 - r``
(`provenance.statistics._merging`). Halves in two MLPs through both of which every token goes compute what
the unit did, and each MLP by itself is a stranger to it. Their gates give them away: gates of strangers are
never that near. Experts that are copies of each other, as in a mixture that was made of a dense model, have
equal units, not equal gates alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn.functional import normalize

from provenance.architecture.units import MLPFactors
from provenance.statistics._activations import activation_of
from provenance.statistics._merging import IDLE, NEAR, Work
from provenance.statistics._moments import moments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SHARE = 1 / 4
"""An MLP shares its units' work with others if this share of those that add anything does. Of experts that
were trained side by side, for short, up to 11 of 96 units have a gate that is near another's."""

COPY = 0.5
"""Two units of one gate are copies if what they add is as like as this: halves that hide what they make up
are opposed, or have nothing in common."""

LOOKED_AT = 4096
"""Units of a block whose gates are looked for in its other MLPs, before all of them are."""

_ROWS = 1024


def sketch(side: object) -> torch.Tensor | None:
    """What an MLP's gates answer to random mixtures of its inputs, each scaled to length 1.

    Returns
    -------
    Tensor or None
        (units, 32) float16. None of an MLP whose units cannot be shared, or are not known as factors.
    """
    if not isinstance(side, MLPFactors) or side.gate is None or side.down is None:
        return None
    mixed = side.gate.weight.float() @ moments(side.inputs).mixtures.T
    return normalize(mixed, dim=1).half()


def sharing(
    sketches: Mapping[int, torch.Tensor], read: Callable[[int], MLPFactors]
) -> frozenset[int]:
    """The MLPs of a block that share the work of units.

    Parameters
    ----------
    sketches : mapping of int to Tensor
        What `sketch` says of each MLP, by its place.
    read : callable
        Reads the MLP of a place. It is called only where gates are near.

    Returns
    -------
    frozenset of int
        Their places.
    """
    few = max(64, LOOKED_AT // max(1, len(sketches)))
    some = {place: rows[:: max(1, len(rows) // few)] for place, rows in sketches.items()}
    if next(_near(some, sketches), None) is None:
        return frozenset()
    units = {place: _Units.of(read(place)) for place in sketches}
    shares = {place: torch.zeros(len(rows), dtype=torch.bool) for place, rows in sketches.items()}
    for near in _near(sketches, sketches):
        ours, theirs = units[near.place], units[near.other]
        signs = near.signs if ours.odd else near.signs.abs()
        alike = (ours.up[near.unit] * theirs.up[near.partner]).sum(dim=1)
        alike *= (ours.down[near.unit] * theirs.down[near.partner]).sum(dim=1)
        both = ours.works[near.unit] & theirs.works[near.partner]
        shares[near.place][near.unit[both & (signs * alike < COPY)].cpu()] = True
    return frozenset(
        place
        for place, found in shares.items()
        if found.any() and found.sum() >= SHARE * units[place].works.sum()
    )


class _Near(NamedTuple):
    """Units of one MLP whose gates are near to gates of another: (pairs,) int64, and the signs of that."""

    place: int
    other: int
    unit: torch.Tensor
    partner: torch.Tensor
    signs: torch.Tensor


def _near(
    some: Mapping[int, torch.Tensor], sketches: Mapping[int, torch.Tensor]
) -> Iterator[_Near]:
    for place, rows in some.items():
        for start in range(0, len(rows), _ROWS):
            chunk = rows[start : start + _ROWS].float()
            for other, partners in sketches.items():
                if other == place:
                    continue
                cosines = chunk @ partners.float().T
                unit, partner = (cosines.abs() > NEAR).nonzero(as_tuple=True)
                if len(unit):
                    signs = cosines[unit, partner].sign()
                    yield _Near(place, other, unit + start, partner, signs)


class _Units(NamedTuple):
    """Ups and downs of an MLP's units along few random directions, and which of them add anything."""

    up: torch.Tensor
    down: torch.Tensor
    works: torch.Tensor
    odd: bool

    @classmethod
    def of(cls, side: MLPFactors) -> _Units:
        assert side.down is not None
        down = side.down().float()
        mixtures = moments(side.inputs).mixtures
        generator = torch.Generator().manual_seed(0)
        apart = torch.randn(down.shape[1], len(mixtures), generator=generator).to(down.device)
        added = Work.of(side, down).added
        return cls(
            normalize(side.up.weight.float() @ mixtures.T, dim=1),
            normalize(down @ apart, dim=1),
            added > IDLE * added.max(),
            activation_of(side.activation).degree % 2 == 0,
        )
