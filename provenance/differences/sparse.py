"""Reads the traces of a merge that left changes out number by number, matrix by matrix.

Each parent is tried as the base. Of a large matrix some numbers are looked at, drawn at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from provenance.differences.interval import half_interval
from provenance.differences.kept import Spread, density_of_largest, is_random
from provenance.differences.rule import CLEAR, Numbers, Rule, rules
from provenance.evidence.sparse_merge import FITS, TELLING, BlockParts, SparseMerge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from provenance.differences.rule import Candidates
    from provenance.differences.together import Matrix
    from provenance.evidence.sparse_merge import Kept, Mixed

__all__ = ["Traces"]

MOST = 1 << 16
"""Numbers of a matrix that are looked at."""
MOST_PARENTS = 5
"""A base and four others: the candidates of a number double with each parent."""
WHOLE = 0.98
"""Share that is kept from which nothing is said to be left out of a parent's changes."""
NONE = 0.005
"""Share up to which nothing is said to be kept."""
REACH = 16.0
"""What a change is multiplied by at most: of numbers whose changes are too small to tell the factor."""
LEAST = 100
"""Numbers of a matrix that must tell, so that its shares and densities count."""
NEARLY_ALL = 0.9
"""Share of the matrices, by the numbers that tell, that must have changes left out; and of those that must
keep the largest, where these are said to be kept."""
MIXED, EXPECTED = 0.1, 20
"""Most numbers of mixed signs, over what chance would have, where signs were elected; and how many chance
must have for that to tell."""


@dataclass(frozen=True)
class Reading:
    """What one matrix shows, with one parent as the base and one way to mix.

    ``rule`` is None where no factors were found. ``made`` counts the numbers that may have been made so,
    whether they tell or not. ``densities`` has a place for each parent but the base,
    and ``largest`` says whether of all that lose some the largest changes are kept; ``spreads`` says how
    the others' lie. ``mixed_signs`` has the numbers that mix signs, and how many would by chance.
    """

    block: int
    rule: Rule | None
    looked: int
    telling: int
    fits: int
    made: int
    left: float
    nearest: float
    densities: tuple[float, ...] = ()
    largest: bool = False
    spreads: tuple[Spread, ...] = ()
    mixed_signs: tuple[float, float] = (0.0, 0.0)

    @property
    def is_cut(self) -> bool:
        """Whether changes of a parent were left out, and others kept."""
        return any(NONE < one < WHOLE for one in self.densities)

    @property
    def is_against(self) -> bool:
        """Whether many numbers tell that they were not made so, or that nothing was left out."""
        if self.telling < TELLING:
            return False
        return self.fits < NEARLY_ALL * self.telling or not self.is_cut

    def shares(self, kept: Kept) -> tuple[float, ...]:
        """What the merge has of each change, as `SparseMerge` says."""
        assert self.rule is not None
        shares = self.rule.shares()
        if kept != "random":
            return shares
        return tuple(one * kept for one, kept in zip(shares, self.densities, strict=True))


class Traces:
    """Gathers what the matrices of a model show.

    Parameters
    ----------
    parents : int
        How many there are.
    seed : int
        Draws the numbers that are looked at.
    """

    def __init__(self, parents: int, seed: int) -> None:
        self._parents = parents
        self._generator = torch.Generator().manual_seed(seed % 2**63)
        self._found: dict[tuple[int, Mixed], list[Reading]] = {}
        self._open = set(range(parents)) if 2 <= parents <= MOST_PARENTS else set()
        self._weights: dict[int, tuple[float, ...]] = {}

    def see(self, block: int, matrix: Matrix) -> None:
        """Look at one matrix; one that speaks against a base ends the search for it."""
        if not self._open:
            return
        places = _places(matrix.ours, self._generator)
        for base in sorted(self._open):
            numbers = _numbers(matrix, base, places)
            found = read_matrix(block, matrix, numbers, places, self._weights.get(base))
            if all(one.is_against for one in found.values()):
                self._open.remove(base)
                continue
            for mixed, reading in found.items():
                self._found.setdefault((base, mixed), []).append(reading)
            mean = found["mean"]
            if mean.rule is not None and mean.fits >= FITS * mean.telling > 0:
                self._weights[base] = mean.rule.weights

    def merge(self) -> SparseMerge | None:
        """What all matrices show together; None where no rule makes nearly all numbers."""
        tried = {key: some for key, some in self._found.items() if key[0] in self._open}
        sound = {key: some for key, some in tried.items() if _is_sound(some)}
        bases = {base for base, _ in sound}
        found = []
        for (base, mixed), some in sound.items():
            kept = _which(some)
            # rows of two models lie on either of them as a base: neither has a share that is told
            if kept is None or (kept == "otherwise" and len(bases) > 1):
                continue
            found.append((_merge(base, mixed, kept, some), sum(one.fits for one in some)))
        return min(found, key=_order, default=(None, 0))[0]


def _order(found: tuple[SparseMerge, int]) -> tuple[bool, int, int, bool]:
    """Which of several readings is told, by how many numbers fit: the least.

    A threshold is no chance: what is kept of a parent alone is the largest of its changes, where the rest,
    seen from that parent, is the smallest of the base's. Of two models by turns, a third is no part.
    """
    made, fits = found
    used = sum(bool(one) for one in made.densities)
    return made.kept != "largest", used, -fits, made.mixed == "mean"


def _places(matrix: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The places of the numbers that are looked at, (n,) int64."""
    if matrix.numel() <= MOST:
        return torch.arange(matrix.numel())
    return torch.randint(matrix.numel(), (MOST,), generator=generator)


def _numbers(matrix: Matrix, base: int, places: torch.Tensor) -> Numbers:
    """Those of a matrix that are looked at, with one parent as the base."""
    ours, *theirs = (one.reshape(-1)[places].double() for one in (matrix.ours, *matrix.others))
    root = theirs.pop(base)
    changes = torch.stack(theirs) - root
    storage = matrix.storage
    return Numbers(root, ours - root, changes, storage.relative, storage.least)


def read_matrix(
    block: int,
    matrix: Matrix,
    numbers: Numbers,
    places: torch.Tensor,
    weights: tuple[float, ...] | None = None,
) -> Mapping[Mixed, Reading]:
    """What a matrix shows, with one parent as the base, for a sum and for a mean.

    Parameters
    ----------
    block : int
        The block that it is of.
    matrix : Matrix
        The merge's and the parents'.
    numbers : Numbers
        Those that are looked at.
    places : Tensor
        (n,) int64: which these are.
    weights : tuple of float, optional
        As for `provenance.differences.rule.rules`.
    """
    away = torch.cat([numbers.away[None], numbers.away - numbers.changes])
    nearest = float(away.square().sum(dim=1).min())
    scale = matrix.ours.numel() / len(places)
    telling = int((numbers.changes.abs() > CLEAR * numbers.tolerance).all(dim=0).sum())
    reached = numbers.tolerance + REACH * numbers.changes.abs().sum(dim=0)
    nothing = Reading(
        block,
        None,
        len(places),
        telling,
        fits=0,
        made=int((numbers.away.abs() <= reached).sum()),
        left=nearest * scale,
        nearest=nearest * scale,
    )
    found: dict[Mixed, Reading] = {"sum": nothing, "mean": nothing}
    for suggested in rules(numbers, weights):
        rule, nearby = _least(suggested, numbers)
        tells = nearby.fits & nearby.tells
        looked = tells & _agreeing(rule, numbers)
        mixed_signs = _mixed_signs(rule, numbers, nearby, looked)
        if _are_elected(*mixed_signs) is False:
            looked = tells  # nothing hides what is kept
        densities, spreads = _kept(rule, numbers, nearby, (places, looked), matrix.ours.shape[-1])
        found[rule.mixed] = Reading(
            block,
            rule,
            len(places),
            telling=int(nearby.tells.sum()),
            fits=int(tells.sum()),
            made=int(nearby.fits.sum()),
            left=float(nearby.left.square().sum()) * scale,
            nearest=nearest * scale,
            densities=densities,
            largest=spreads is None,
            spreads=spreads or (),
            mixed_signs=mixed_signs,
        )
    return found


def _least(rule: Rule, numbers: Numbers) -> tuple[Rule, Candidates]:
    """The rule without the parents that it fits as well without."""
    nearby = rule.candidates(numbers)
    for place in rule.used:
        less = rule.without(place)
        if not less.used:
            break
        fewer = less.candidates(numbers)
        telling = int(fewer.tells.sum())
        if telling and int((fewer.fits & fewer.tells).sum()) >= FITS * telling:
            rule, nearby = less, fewer
    return rule, nearby


def _agreeing(rule: Rule, numbers: Numbers) -> torch.Tensor:
    """Whether all changes would move a number the same way: then no election hides one, (n,) bool."""
    used = list(rule.used)
    factors = torch.tensor([rule.factors[place] for place in used], dtype=torch.float64)
    signs = (numbers.changes[used] * factors[:, None]).sign()
    return (signs == signs[0]).all(dim=0)


def _kept(
    rule: Rule,
    numbers: Numbers,
    nearby: Candidates,
    seen: tuple[torch.Tensor, torch.Tensor],
    columns: int,
) -> tuple[tuple[float, ...], tuple[Spread, ...] | None]:
    """The density of each parent, and how what is kept lies; None: the largest are.

    ``seen`` has the places of the numbers, and which of them show what is kept.
    """
    places, looked = seen
    at = places[looked]
    densities = [0.0] * len(rule.factors)
    spreads, largest = [], []
    for place in rule.used if bool(looked.any()) else ():
        sizes, kept = numbers.changes[place].abs(), nearby.kept[place][looked]
        densities[place] = float(kept.double().mean())
        if NONE < densities[place] < WHOLE:
            spreads.append(Spread.of(sizes[looked], kept, at // columns, at % columns))
            found = density_of_largest(sizes[looked], kept, sizes)
            largest.append(found is not None)
            densities[place] = densities[place] if found is None else found
    return tuple(densities), None if largest and all(largest) else tuple(spreads)


def _mixed_signs(
    rule: Rule, numbers: Numbers, nearby: Candidates, agreeing: torch.Tensor
) -> tuple[float, float]:
    """How many numbers keep changes of both signs, and how many would if none were elected.

    ``agreeing`` are those from which it is told how often each parent's are kept.
    """
    factors = torch.tensor(rule.factors, dtype=torch.float64)[:, None]
    signs = (numbers.changes * factors).sign()
    looked = nearby.fits & nearby.tells
    signs, kept = signs[:, looked], nearby.kept[:, looked]
    if not bool(agreeing.any()):
        return 0.0, 0.0
    left_out = 1 - nearby.kept[:, agreeing].double().mean(dim=1, keepdim=True)
    mixed, expected = torch.ones(signs.shape[1], dtype=torch.bool), torch.ones(signs.shape[1])
    for sign in (1, -1):
        mixed &= (kept & (signs == sign)).any(dim=0)
        none = torch.where(signs == sign, left_out, 1.0).prod(dim=0)
        expected = expected * (1 - none)
    return float(mixed.sum()), float(expected.sum())


def _are_elected(mixed: float, expected: float) -> bool | None:
    """Whether signs were elected; None where chance would mix too few numbers to tell."""
    return None if expected < EXPECTED else mixed <= MIXED * expected


def _is_sound(readings: Sequence[Reading]) -> bool:
    """Whether the rules of some matrices make nearly all of their numbers, and leave changes out.

    Numbers that do not tell which changes they keep must be made by some all the same: where parents do
    not differ from their base, neither does a merge of them.
    """
    if sum(one.made for one in readings) < FITS * sum(one.looked for one in readings):
        return False
    telling = sum(one.telling for one in readings)
    fits = sum(one.fits for one in readings)
    cut = sum(one.telling for one in readings if one.rule is not None and one.is_cut)
    ruled = len(_telling(readings))
    return (
        telling >= TELLING and ruled > 1 and fits >= FITS * telling and cut >= NEARLY_ALL * telling
    )


def _which(readings: Sequence[Reading]) -> Kept | None:
    """Which changes all matrices show to be kept; None where that is open."""
    telling = sum(one.telling for one in readings)
    if sum(one.telling for one in readings if one.largest) >= NEARLY_ALL * telling:
        return "largest"
    random = is_random([spread for one in readings for spread in one.spreads])
    return None if random is None else "random" if random else "otherwise"


def _merge(base: int, mixed: Mixed, kept: Kept, readings: Sequence[Reading]) -> SparseMerge:
    ruled = _telling(readings)
    telling = sum(one.telling for one in readings)
    single = np.array([_with_base(base, one.shares(kept)) for one in ruled])
    shares, half = single.mean(axis=0), half_interval(single)
    mixing = np.sum([one.mixed_signs for one in ruled], axis=0)
    elected = True if mixed == "mean" else _are_elected(*mixing.tolist())
    nearest = sum(one.nearest for one in readings)
    left = sum(one.left for one in readings)
    blocks = dict.fromkeys(one.block for one in ruled)
    return SparseMerge(
        base=base,
        mixed=mixed,
        kept=kept,
        elected=elected,
        shares=tuple(shares.tolist()),
        low=tuple((shares - half).tolist()),
        high=tuple((shares + half).tolist()),
        densities=_densities(base, ruled),
        fits=sum(one.fits for one in readings) / telling,
        telling=telling,
        looked=sum(one.looked for one in readings),
        left_over=min(1.0, (left / nearest) ** 0.5) if nearest > 0 else 0.0,
        blocks=tuple(
            _of_block(base, block, kept, [one for one in readings if one.block == block])
            for block in blocks
        ),
    )


def _telling(readings: Iterable[Reading]) -> list[Reading]:
    """Those whose shares count."""
    return [one for one in readings if one.rule is not None and one.telling >= LEAST]


def _of_block(base: int, block: int, kept: Kept, readings: Sequence[Reading]) -> BlockParts:
    ruled = _telling(readings)
    shares = np.mean([_with_base(base, one.shares(kept)) for one in ruled], axis=0)
    fits = sum(one.fits for one in readings) / sum(one.telling for one in readings)
    return BlockParts(block, tuple(shares.tolist()), _densities(base, ruled), fits)


def _with_base(base: int, shares: Sequence[float]) -> list[float]:
    """The shares of all parents: the base has what the others leave."""
    return [*shares[:base], 1 - sum(shares), *shares[base:]]


def _densities(base: int, readings: Iterable[Reading]) -> tuple[float | None, ...]:
    """The density of each parent, over the numbers of some matrices that tell."""
    some = list(readings)
    sizes = [one.telling for one in some]
    mean = np.average([one.densities for one in some], axis=0, weights=sizes).tolist()
    return (*mean[:base], None, *mean[base:])
