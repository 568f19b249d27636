"""One statistic on the MLPs of two models: read and prepared when first needed, and tested pair by pair."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

from provenance.architecture.units import MLPShape, joined, nbytes
from provenance.comparison.experts import partners
from provenance.comparison.limits import ALL, FURTHER
from provenance.comparison.repeats import Seen, seen
from provenance.errors import DegenerateError, InapplicableError
from provenance.evidence.blocks import MATCHINGS, PartEvidence
from provenance.statistics._sharing import sharing, sketch
from provenance.statistics.pvalues import bonferroni
from provenance.vocabulary import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    import torch
    from numpy.typing import NDArray

    from provenance.capture.units import Shape
    from provenance.statistics import (
        BlockTest,
        Glimpse,
        Glimpsing,
        Preparation,
        Sizing,
        Statistic,
    )
    from provenance.vocabulary import Role

    Matchings = tuple[tuple[int, ...], tuple[int, ...]]

LEAST_TOGETHER = 64
"""MLPs of fewer units show little by themselves, and are tested together: that of 8 has no p-value below
1/8!. Where they have fewer together, they are tested with one more."""

KEPT_BYTES = 1 << 30
"""How much memory prepared blocks may take while they wait for other partners."""

KEPT_GLIMPSES = 8
"""Blocks whose glimpses are kept: those that are tested side by side."""

Place = tuple[int, int]
"""A block, and the place of an MLP among those of the block. One place behind the last are those that are
tested together, joined to one."""

Side = TypeVar("Side")
Side_co = TypeVar("Side_co", covariant=True)


class Units(Protocol[Side_co]):
    """The MLPs of one model: how many each block has, how wide, and what a test is given of them."""

    @property
    def shape(self) -> Shape:
        """What the model is made of."""

    def block(self, index: int, place: int = 0) -> Side_co:
        """What a test is given of one MLP: what its units answer, their weights, or the MLP's proxy.

        ``place`` is the MLP's place in ``shape.mlps[index]``.
        """


@dataclass(frozen=True)
class Component(Generic[Side]):
    """One statistic with what it is computed on, for the candidate and for the reference.

    ``pairs`` are the pairs of MLPs, by their places, that two blocks are tested on, where only a sample is
    there to be read; None where all are.
    """

    statistic: str
    test: BlockTest[Any]
    candidate: Units[Side]
    reference: Units[Side]
    prepare: Preparation | None = None
    glimpse: Glimpsing | None = None
    size: Sizing | None = None
    pairs: Mapping[Place, Sequence[tuple[int, int]]] | None = None

    @classmethod
    def of(
        cls,
        statistic: Statistic,
        candidate: Units[Any],
        reference: Units[Any],
        prepare: Preparation | None = None,
    ) -> Component[Any]:
        """A statistic with all that its row has; ``prepare`` is in place of its own preparation."""
        return cls(
            statistic.name,
            statistic.load(),
            candidate,
            reference,
            prepare or statistic.load_preparation(),
            statistic.load_glimpse(),
            statistic.load_size(),
        )

    @property
    def shapes(self) -> tuple[Shape, Shape]:
        """What the candidate and the reference are made of."""
        return self.candidate.shape, self.reference.shape


NO_UNITS = np.zeros((0, 2), dtype=np.int64)


@dataclass(frozen=True)
class Tested:
    """A test of two MLPs by one part.

    Attributes
    ----------
    evidence : PartEvidence
        What it showed.
    survivors : ndarray
        The units in both, (k, 2) int64.
    matchings : tuple, optional
        Of gate and of up.
    members : tuple of tuple of int
        Places of the MLPs that the candidate's, and the reference's, is joined of; empty where it is one.
    applies : bool
        False where such MLPs are not to be compared by this part at all.
    units : tuple of int, optional
        Of both MLPs; None where nothing was tested.
    """

    evidence: PartEvidence
    survivors: NDArray[np.int64]
    matchings: Matchings | None = None
    members: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    applies: bool = True
    units: tuple[int, int] | None = None


class Sides:
    """The MLPs of both models as one component takes them: read and prepared when first needed."""

    def __init__(self, component: Component[Any], seed: int, kept_bytes: int) -> None:
        self.component = component
        self.seed = seed
        self._room = kept_bytes
        self._kept: OrderedDict[tuple[Role, Place], tuple[Any, int]] = OrderedDict()
        self._keeping = Lock()
        self._preparing: dict[tuple[Role, Place], Lock] = {}
        self._glimpses: OrderedDict[tuple[Role, int], list[Glimpse | None]] = OrderedDict()
        self._seen: dict[tuple[Role, Place], Seen | None] = {}
        self._sizes: dict[tuple[Role, Place], int] = {}
        self._sketches: dict[tuple[Role, int], dict[int, torch.Tensor]] = {}
        self._sharing: dict[tuple[Role, int], frozenset[int]] = {}
        widths = [
            {mlp.units for mlps in shape.mlps.values() for mlp in mlps}
            for shape in component.shapes
        ]
        self._same_widths = len(widths[0] | widths[1]) == 1

    def get(self, role: Role, place: Place) -> Any:
        """The MLP of one model, ready to be tested; of threads that ask for it, one prepares it."""
        with self._keeping:
            preparing = self._preparing.setdefault((role, place), Lock())
        with preparing:
            with self._keeping:
                if (role, place) in self._kept:
                    self._kept.move_to_end((role, place))
                    return self._kept[role, place][0]
            side = self.read(role, place)
            self._sketch(role, place, side)
            if self.component.prepare is not None:
                side = self.component.prepare(side, role, self.seed)
            size = self.component.size
            if size is not None and len(self._mlps(role, place[0])) > 1:
                self._sizes[role, place] = size(side, strongest=not self._same_widths)
            if (role, place) not in self._seen:
                mlps = len(getattr(self.component, role).shape.mlps[place[0]])
                self._seen[role, place] = seen(side, self.component.glimpse, mlps)
            with self._keeping:
                self._keep((role, place), side, nbytes(side))
        return side

    def _mlps(self, role: Role, index: int) -> tuple[MLPShape, ...]:
        units: Units[Any] = getattr(self.component, role)
        return units.shape.mlps[index]

    def read(self, role: Role, place: Place) -> Any:
        """The MLP of one model, as it is before it is prepared; raises `DegenerateError` of several."""
        units: Units[Any] = getattr(self.component, role)
        members = self.members(role, place)
        if not members:
            return units.block(*place)
        side = joined([units.block(place[0], member) for member in members])
        if side is None:
            raise DegenerateError("its MLPs cannot be tested together")
        return side

    def members(self, role: Role, place: Place) -> tuple[int, ...]:
        """The places of the MLPs that are joined at a place behind the last; none at another."""
        mlps = self._mlps(role, place[0])
        return self.together(role, place[0]) if place[1] == len(mlps) else ()

    def together(self, role: Role, index: int) -> tuple[int, ...]:
        """The MLPs of a block that show little by themselves, by their places: they are tested as one.

        They have few units, or share the work of units. Where all of them together have too few units as
        well, the smallest of the others is one of them. That is known of MLPs that were asked for; it
        depends on one model alone.
        """
        mlps = self._mlps(role, index)
        if self.component.size is None or len(mlps) < 2:
            return ()
        sharing = self._sharing_of(role, index)
        # an MLP as narrow as that may be refused by itself, and have no size
        sizes = {at: 0 for at, mlp in enumerate(mlps) if mlp.units < LEAST_TOGETHER}
        for at in range(len(mlps)):
            if (role, (index, at)) in self._sizes:
                sizes[at] = self._sizes[role, (index, at)]
        small = [at for at, size in sizes.items() if size < LEAST_TOGETHER]
        others = sorted((size, at) for at, size in sizes.items() if size >= LEAST_TOGETHER)
        if small and others and sum(sizes[at] for at in small) < LEAST_TOGETHER:
            small.append(others[0][1])
        joined_ones = {*small, *sharing}
        return tuple(sorted(joined_ones)) if len(joined_ones) > 1 else ()

    def _sketch(self, role: Role, place: Place, side: Any) -> None:
        """Keep what tells later whether an MLP shares its units' work with others of its block."""
        alone = len(self._mlps(role, place[0])) <= max(1, place[1])  # one MLP, or several joined
        if self.component.size is None or alone:
            return
        found = sketch(side)
        with self._keeping:
            if found is not None and (role, place[0]) not in self._sharing:
                self._sketches.setdefault((role, place[0]), {})[place[1]] = found

    def _sharing_of(self, role: Role, index: int) -> frozenset[int]:
        """The MLPs of a block that share the work of units."""
        with self._keeping:
            deciding = self._preparing.setdefault((role, (index, -1)), Lock())
        with deciding:
            if (role, index) not in self._sharing:
                units: Units[Any] = getattr(self.component, role)
                with self._keeping:
                    sketches = self._sketches.pop((role, index), {})
                found = sharing(sketches, partial(units.block, index))
                with self._keeping:
                    self._sharing[role, index] = found
            return self._sharing[role, index]

    def seen(self, role: Role) -> dict[int, list[Seen]]:
        """What was seen of the blocks of one model whose MLPs were tested so far."""
        blocks: dict[int, list[Seen]] = {}
        for (whose, place), mlp in sorted(self._seen.items()):
            if whose == role and mlp is not None:
                blocks.setdefault(place[0], []).append(mlp)
        return blocks

    def _keep(self, key: tuple[Role, Place], side: Any, size: int) -> None:
        """Keep a side, in the room of those that were not asked for longest."""
        while self._kept and self._room < size:
            _, (_, freed) = self._kept.popitem(last=False)
            self._room += freed
        if size <= self._room:
            self._kept[key] = (side, size)
            self._room -= size

    def let_go(self) -> None:
        """Let go of the models: a comprehension that an error came through keeps what it sees."""
        del self.component
        self._kept.clear()

    def glimpses(self, role: Role, glimpse: Glimpsing, index: int) -> list[Glimpse]:
        """Those of a block's MLPs that can be tested."""
        return [one for one in self._glimpses_of(role, glimpse, index) if one is not None]

    def promising(self, i: int, j: int, glimpse: Glimpsing) -> list[tuple[int, int]]:
        """Which MLPs of a block are worth a test against which of another, the likeliest first."""
        return partners(
            self._glimpses_of("candidate", glimpse, i), self._glimpses_of("reference", glimpse, j)
        )

    def _glimpses_of(self, role: Role, glimpse: Glimpsing, index: int) -> list[Glimpse | None]:
        """Those of a block's MLPs, None of one that cannot be tested; of the last blocks they are kept."""
        with self._keeping:
            if (role, index) in self._glimpses:
                self._glimpses.move_to_end((role, index))
                return self._glimpses[role, index]
        count = len(getattr(self.component, role).shape.mlps[index])
        found = [self._glimpse(role, glimpse, (index, place)) for place in range(count)]
        with self._keeping:
            self._glimpses[role, index] = found
            while len(self._glimpses) > KEPT_GLIMPSES:
                self._glimpses.popitem(last=False)
        return found

    def _glimpse(self, role: Role, glimpse: Glimpsing, place: Place) -> Glimpse | None:
        try:
            return glimpse(self.get(role, place))
        except DegenerateError:  # testing the MLP says why
            return None


def tests_of(
    sides: Sides, i: int, j: int, enough: Callable[[Iterable[Tested]], bool]
) -> dict[Place, Tested]:
    """One part on the MLPs of one block against those of the other, all or the promising pairs.

    Of promising pairs the first of each MLP are tested. Where these are ``enough``, or say nothing at all,
    no others are.
    """
    component = sides.component
    candidate, reference = component.candidate.shape.mlps[i], component.reference.shape.mlps[j]
    if component.pairs is not None:
        return {
            (a, b): _test_mlps(sides, (i, a), (j, b)) for a, b in component.pairs.get((i, j), ())
        }
    pairs = there_and_back(range(len(candidate)), range(len(reference)))
    if len(reference) > ALL and component.glimpse is not None:
        chosen = sides.promising(i, j, component.glimpse)
        first = set(chosen[: len(candidate)])
        tested = {(a, b): _test_mlps(sides, (i, a), (j, b)) for a, b in pairs if (a, b) in first}
        if enough(tested.values()):
            return tested
        rest = set() if _say_nothing(tested.values()) else set(chosen) - first
        pairs = [pair for pair in pairs if pair in rest]
        return tested | _tests_on(sides, i, j, pairs)
    return _tests_on(sides, i, j, pairs)


def _say_nothing(tested: Collection[Tested]) -> bool:
    """Whether the p-values of the likeliest pairs are those of strangers, for as many as they are."""
    found = [one.evidence.log10_p for one in tested if one.evidence.log10_p is not None]
    return not found or bonferroni(min(found), len(found)) >= math.log10(FURTHER)


def _tests_on(
    sides: Sides, i: int, j: int, pairs: Sequence[tuple[int, int]]
) -> dict[Place, Tested]:
    """One part on pairs of the MLPs of two blocks, and on those that are tested together."""
    tested = {(a, b): _test_mlps(sides, (i, a), (j, b)) for a, b in pairs}
    for a, b in _with_joined(sides, i, j):
        tested[a, b] = _test_mlps(sides, (i, a), (j, b))
    return tested


def _with_joined(sides: Sides, i: int, j: int) -> list[tuple[int, int]]:
    """The pairs of MLPs of which one side or both are joined ones."""
    together = [sides.together(role, index) for role, index in zip(ROLES, (i, j), strict=True)]
    if not any(together):
        return []
    counts = [len(shape.mlps[at]) for shape, at in zip(sides.component.shapes, (i, j), strict=True)]
    rows, columns = (
        [*(at for at in range(count) if at not in small), *([count] if small else [])]
        for small, count in zip(together, counts, strict=True)
    )
    return [(a, b) for a, b in there_and_back(rows, columns) if a == counts[0] or b == counts[1]]


def _test_mlps(sides: Sides, candidate: Place, reference: Place) -> Tested:
    """One part on one pair of MLPs."""
    name = sides.component.statistic
    members = sides.members("candidate", candidate), sides.members("reference", reference)
    try:
        result = sides.component.test(
            sides.get("candidate", candidate), sides.get("reference", reference), seed=sides.seed
        )
    except DegenerateError as error:
        failed = PartEvidence(name, None, None, error.live, 0, str(error), error.fits)
        applies = not isinstance(error, InapplicableError)
        return Tested(failed, NO_UNITS, members=members, applies=applies)
    part = PartEvidence(
        statistic=name,
        log10_p=result.log10_p,
        correlation=result.correlation,
        live=(result.live, result.live) if isinstance(result.live, int) else result.live,
        agreeing=result.agreeing(),
        fits=result.imitation_fits(),
        nearness=result.nearness,
    )
    ours, theirs = (
        one_of(shape.mlps[index], at, joined).units
        for shape, (index, at), joined in zip(
            sides.component.shapes, (candidate, reference), members, strict=True
        )
    )
    found = result.survivors(), result.matchings(MATCHINGS)
    return Tested(part, *found, members, units=(ours, theirs))


def one_of(mlps: Sequence[MLPShape], place: int, members: Sequence[int]) -> MLPShape:
    """The MLP at a place, or what is joined of several."""
    if not members:
        return mlps[place]
    units = sum(mlps[member].units for member in members)
    return MLPShape(f"{len(members)} MLPs joined", units)


def there_and_back(rows: Sequence[int], columns: Sequence[int]) -> list[tuple[int, int]]:
    """Every pair; the columns that a row met last, which are still in memory, the next row meets first."""
    return [(i, j) for row, i in enumerate(rows) for j in columns[:: -1 if row % 2 else 1]]
