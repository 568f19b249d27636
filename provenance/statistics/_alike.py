"""Gate and up that say the same: agreement that one model's own structure makes, and no kinship.

Where the gate and the up of a unit answer alike, as in a squared ReLU written with a gate, both matchings
solve one problem, and agree between strangers. That is looked for in each model by itself.
"""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from provenance.errors import DegenerateError
from provenance.statistics.pvalues import LEAST_UNITS
from provenance.vocabulary import DECIDED, ROLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from provenance.statistics._directions import Directions
    from provenance.vocabulary import Role


class _Tested(Protocol):
    @property
    def log10_p(self) -> float: ...


Result = TypeVar("Result", bound=_Tested)

ALIKE = 0.7
"""From here on a unit's gate and up are told as saying the same."""

MOST_ALIKE = 0.1
"""How much larger than by chance their share may be in either model."""

EXCESS = {0.5: 0.15, ALIKE: 0.06}
"""The same in both models, by how alike gate and up are: the product of the two shares may not be above the
square of this.

By chance: between the gate of one unit and the up of another. Of three real pretrained models at most 7.7 %
of a block's units are above 0.5, and 4.0 % above 0.7. That is on a text; on weights and token embeddings it
is 4.4 % and 1.4 %. A few units of one model alone do no harm: they must meet others of their kind."""

SHARED = 0.1
"""How much more alike the squares of a unit's own gate and up weights may be than those of two units.

Of three real pretrained models the mean excess of a block is at most 0.041, most of which follows from how
alike the two are; of units that read disjoint groups of dimensions it is a third."""

_SHIFTS = 4
"""Pairs of other units are taken so often, each unit once."""


class Shares(NamedTuple):
    """Of a side's units, the share whose gate and up say the same; and by level, what is above chance."""

    alike: float
    excess: tuple[float, ...]


def own_correlation(side: Directions, *shifts: int) -> torch.Tensor:
    """How alike the gate of each unit and the up of the unit so many rows on are, (shifts, k) float32.

    That is the absolute correlation of their answers. Without a shift: of each unit's own, (k,).
    """
    gate, up = side.gate, side.up
    if side.basis is not None:  # of mean 0 already
        gate = gate @ _squared(side.basis)
    else:
        gate, up = (
            torch.nn.functional.normalize(x - x.mean(dim=1, keepdim=True), dim=1)
            for x in (gate, up)
        )
    found = [(gate * up.roll(-shift, dims=0)).sum(dim=1).abs() for shift in shifts or (0,)]
    return torch.stack(found) if shifts else found[0]


def _squared(basis: torch.Tensor) -> torch.Tensor:
    """Products of a basis with itself, (hidden, hidden): all experts of a block have the same."""
    with _KEEPING:
        known = _SQUARED.get(basis)
    if known is None:
        known = basis.T @ basis
        with _KEEPING:
            for oldest in list(_SQUARED)[: 1 - KEPT]:
                del _SQUARED[oldest]
            _SQUARED[basis] = known
    found: torch.Tensor = known
    return found


KEPT = 8
"""Bases whose products are kept: those of blocks that are tested side by side."""

_SQUARED = WeakTensorKeyDictionary()
_KEEPING = Lock()


def shares_alike(side: Directions) -> Shares:
    """How many units of a side have a gate and an up that say the same."""
    if side in _SHARES:
        return _SHARES[side]
    units = len(side.live)
    if not units:
        return Shares(0.0, (0.0,) * len(EXCESS))
    own, *others = own_correlation(side, 0, *range(1, min(_SHIFTS, units - 1) + 1))
    mixed = torch.stack(others) if others else own[None]
    excess = []
    for level in EXCESS:
        by_chance = float((mixed > level).float().mean()) * units
        # three deviations of a count are no share
        above = int((own > level).sum()) - by_chance - 3 * (by_chance + 1) ** 0.5
        excess.append(max(0.0, above) / units)
    alike = float((own > ALIKE).float().mean())
    _SHARES[side] = found = Shares(alike, tuple(excess))
    return found


_SHARES: WeakKeyDictionary[Directions, Shares] = WeakKeyDictionary()
"""By prepared side, which may meet many others."""


def structure(a: Directions, b: Directions) -> str | None:
    """What in the two sides would make strangers agree; None where nothing does."""
    sides = dict(zip(ROLES, map(shares_alike, (a, b)), strict=True))
    both = list(zip(*(side.excess for side in sides.values()), strict=True))  # by level
    alone = max(both[list(EXCESS).index(ALIKE)])
    together = zip(both, EXCESS.values(), strict=True)
    if alone <= MOST_ALIKE and all(x * y <= limit**2 for (x, y), limit in together):
        return None
    role = max(ROLES, key=lambda role: sides[role].alike)
    units = f"gate and up of {sides[role].alike:.0%} of the {role}'s units"
    return f"{units} say the same, so that strangers would look alike"


def require_own_inputs(side: Directions, role: Role) -> None:
    """Refuse weight rows whose gate and up read the same few dimensions, as no other unit's do.

    Units in groups that read a part of the hidden state each find their partners in the stranger's group of
    the same dimensions, by gate and by up.

    Raises
    ------
    DegenerateError
        In one line.
    """
    cosines = (side.gate * side.up).sum(dim=1)
    kept = cosines.abs() <= min(EXCESS)  # the others are the business of `tested_apart`
    if int(kept.sum()) < LEAST_UNITS:
        return
    gate, up = (
        torch.nn.functional.normalize(x[kept].square(), dim=1) for x in (side.gate, side.up)
    )
    # of Gaussian rows the squares have a cosine of (1 + 2 c^2) / 3
    own = (gate * up).sum(dim=1) - 2 / 3 * cosines[kept].square()
    others = [(gate * up.roll(-shift, dims=0)).sum(dim=1) for shift in range(1, _SHIFTS + 1)]
    excess = own - torch.stack(others).mean(dim=0)
    chance = 4 * float(excess.std()) / len(excess) ** 0.5
    if float(excess.mean()) > SHARED + chance:
        raise DegenerateError(
            f"gate and up of the {role}'s units read the same dimensions, and others read others, so that "
            "strangers would look alike",
            (len(side.live), len(side.live)),
        )


def tested_apart(
    a: Directions, b: Directions, test: Callable[[Directions, Directions], Result]
) -> Result:
    """Test two sides, without the units whose gate and up say the same where these are many.

    What is left is a function of each model by itself. It may be idle, for units can be made alike at no
    cost to what a model computes. So it can show kinship, and nothing else.

    Raises
    ------
    DegenerateError
        If the sides have too many such units, and the others do not decide.
    """
    says = structure(a, b)
    if says is None:
        return test(a, b)
    rest = [_without_alike(side) for side in (a, b)]
    if min(len(side.live) for side in rest) >= LEAST_UNITS:
        result = test(*rest)
        if result.log10_p < DECIDED:
            return result
    raise DegenerateError(says, (len(a.live), len(b.live)))


def _without_alike(side: Directions) -> Directions:
    kept = (own_correlation(side) <= min(EXCESS)).nonzero().squeeze(1)
    return replace(side, live=side.live[kept], gate=side.gate[kept], up=side.up[kept], core=None)
