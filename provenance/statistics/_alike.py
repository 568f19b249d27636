"""Gate and up that say the same: agreement that one model's own structure makes, and no kinship.

Where the gate and the up of a unit answer alike, as in a squared ReLU written with a gate, both matchings
solve one problem, and agree between strangers. That is looked for in each model by itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar
from weakref import WeakKeyDictionary

import torch

from provenance.errors import DegenerateError
from provenance.statistics.pvalues import LEAST_UNITS
from provenance.vocabulary import DECIDED, ROLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from provenance.statistics._directions import Directions
    from provenance.vocabulary import Role


class _Tested(Protocol):
    @property
    def log10_p(self) -> float: ...


Result = TypeVar("Result", bound=_Tested)

ALIKE = 0.7
"""From here on a unit's gate and up are told as saying the same."""

MOST_ALIKE = 0.1
"""Largest share of such units, whatever chance gives: units that read two or three dimensions alone have
half of them and more."""

EXCESS = {0.5: 0.1, ALIKE: 0.03}
"""How much larger than by chance the share may be of units whose gate and up are as alike.

By chance: between the gate of one unit and the up of another. Of three real pretrained models at most 4.4 %
of a block's units are above 0.5, and 1.4 % above 0.7, on weights and on token embeddings. Two models that
have as many as is allowed agree, of 2048 units, in less than one that they would not share by chance."""

SHARED = 0.1
"""How much more alike the squares of a unit's own gate and up weights may be than those of two units.

Of three real pretrained models the mean excess of a block is at most 0.041, most of which follows from how
alike the two are; of units that read disjoint groups of dimensions it is a third."""

_SHIFTS = 4
"""Pairs of other units are taken so often, each unit once."""


def own_correlation(side: Directions, shift: int = 0) -> torch.Tensor:
    """How alike the gate of each unit and the up of the unit ``shift`` rows on are, (k,) float32.

    That is the absolute correlation of their answers.
    """
    return _correlations(side, [shift])[0]


def _correlations(side: Directions, shifts: Iterable[int]) -> torch.Tensor:
    """How alike the gate of each unit and the up of the unit some rows on are, (shifts, k) float32."""
    gate, up = side.gate, side.up
    if side.basis is not None:  # of mean 0 already
        gate = gate @ (side.basis.T @ side.basis)
    else:
        gate, up = (
            torch.nn.functional.normalize(x - x.mean(dim=1, keepdim=True), dim=1)
            for x in (gate, up)
        )
    return torch.stack([(gate * up.roll(-shift, dims=0)).sum(dim=1).abs() for shift in shifts])


def share_alike(side: Directions) -> float | None:
    """The share of units whose gate and up say the same, where there are too many of them; else None."""
    if side not in _SHARES:
        _SHARES[side] = _share_alike(side)
    return _SHARES[side]


_SHARES: WeakKeyDictionary[Directions, float | None] = WeakKeyDictionary()
"""A side meets many others."""


def _share_alike(side: Directions) -> float | None:
    units = len(side.live)
    if not units:
        return None
    own, *rest = _correlations(side, range(min(_SHIFTS, units - 1) + 1))
    alike = int((own > ALIKE).sum())
    if alike > MOST_ALIKE * units + 2:  # two units are no share
        return alike / units
    others = torch.stack(rest or [own])
    for least, most in EXCESS.items():
        by_chance = float((others > least).float().mean()) * units
        found = int((own > least).sum())
        # three deviations of the count: a few units are no share
        if found - by_chance > most * units + 3 * (by_chance + 1) ** 0.5:
            return found / units
    return None


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
    """Test two sides, without the units whose gate and up say the same where a side has many.

    What is left is a function of each model by itself. It may be idle, for units can be made alike at no
    cost to what a model computes. So it can show kinship, and nothing else.

    Raises
    ------
    DegenerateError
        If a side has too many such units, and the others do not decide.
    """
    shares = [share_alike(side) for side in (a, b)]
    if shares == [None, None]:
        return test(a, b)
    rest = [_without_alike(side) for side in (a, b)]
    if min(len(side.live) for side in rest) >= LEAST_UNITS:
        result = test(*rest)
        if result.log10_p < DECIDED:
            return result
    role, share = next((r, s) for r, s in zip(ROLES, shares, strict=True) if s is not None)
    raise DegenerateError(_says(role, share), (len(a.live), len(b.live)))


def _says(role: Role, share: float) -> str:
    units = f"gate and up of {share:.0%} of the {role}'s units"
    return f"{units} say the same, so that strangers would look alike"


def _without_alike(side: Directions) -> Directions:
    kept = (own_correlation(side) <= min(EXCESS)).nonzero().squeeze(1)
    return replace(side, live=side.live[kept], gate=side.gate[kept], up=side.up[kept], core=None)
