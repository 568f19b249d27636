"""From the units of two models to the evidence of each block: which block meets which, and the tests.

`compare_blocks` runs several statistics, the cheaper first. What one of them decides of a block is not
measured by the next, unless all is asked for. P-values are corrected for every statistic and for every pair
of blocks, measured or not, so that stopping early costs no validity.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
import torch

from provenance._threads import spread
from provenance.architecture.units import nbytes
from provenance.assignment.solve import assign
from provenance.comparison.experts import ALL, partners
from provenance.comparison.likeness import BEST, likeliest
from provenance.errors import DegenerateError
from provenance.evidence.records import (
    INDEXED,
    MATCHINGS,
    AlignedBlocks,
    BlockEvidence,
    MLPEvidence,
    Pairing,
    PartEvidence,
)
from provenance.statistics.pvalues import bonferroni
from provenance.vocabulary import DECIDED, ROLES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from provenance.architecture.units import MLPShape
    from provenance.capture.units import Shape
    from provenance.statistics import BlockTest, Glimpse, Glimpsing, Preparation, Signature
    from provenance.vocabulary import Extent, Role

    OnProgress = Callable[[int, int], None]
    Matchings = tuple[tuple[int, ...], tuple[int, ...]]

KEPT_BYTES = 1 << 30
"""How much memory prepared blocks may take while they wait for other partners."""

Place = tuple[int, int]
"""A block, and the place of an MLP among those of the block."""

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
    """One statistic with what it is computed on, for the candidate and for the reference."""

    statistic: str
    test: BlockTest[Any]
    candidate: Units[Side]
    reference: Units[Side]
    prepare: Preparation | None = None
    signature: Signature | None = None
    glimpse: Glimpsing | None = None

    @property
    def shapes(self) -> tuple[Shape, Shape]:
        """What the candidate and the reference are made of."""
        return self.candidate.shape, self.reference.shape


@dataclass(frozen=True)
class BlockTable:
    """Tests of blocks against blocks.

    ``blocks`` holds one entry a block of the candidate. ``cross`` is the table of log10 p-values, not
    corrected for the number of its cells, (candidate blocks, reference blocks), None where nothing was
    tested. ``alignment`` is the best one-to-one map of blocks. Both are empty where no table was asked for.
    """

    blocks: tuple[BlockEvidence, ...]
    cross: tuple[tuple[float | None, ...], ...] = ()
    alignment: tuple[AlignedBlocks, ...] = ()


def compare_blocks(
    components: Sequence[Component[Any]],
    pairing: Pairing,
    seed: int,
    on_progress: OnProgress | None = None,
    kept_bytes: int = KEPT_BYTES,
    rows: Collection[int] | None = None,
    extent: Extent = "all",
) -> BlockTable:
    """Test the blocks of two models.

    Parameters
    ----------
    components : sequence of Component
        Statistics that are computed on pairs of blocks, the cheapest first. Their p-values are combined
        by Bonferroni: the smallest times their number.
    pairing : str
        See `BlockTests`.
    kept_bytes : int
        How much memory prepared MLPs may take while they wait for other partners. What does not
        fit is read and prepared again.
    rows : collection of int, optional
        The candidate's blocks that are tested; all where it is None.
    extent : str
        See `provenance.vocabulary.Extent`.
    """
    names = [component.statistic for component in components]
    tests = BlockTests(
        names, *components[0].shapes, pairing, seed, on_progress, kept_bytes, rows, extent
    )
    for component in components:
        tests.measure(component)
    return tests.table()


class BlockTests:
    """The tests of two models' blocks as they are made, statistic by statistic.

    Parameters
    ----------
    parts : sequence of str
        Names of the statistics that may be measured, each once; p-values are corrected for their number.
    pairing : str
        "same-index": block i meets block i. "index-first": block i meets block i, on which half of the
        level is spent, and where that decides nothing its likeliest partners. "best-of-reference": each
        block of the candidate meets blocks of the reference, the best is kept, and its p-value
        multiplied by the number of the reference's blocks (Bonferroni), so that the choice costs no
        validity. "cross": the same, and the table of all pairs and the best one-to-one alignment are kept.
        Where blocks that meet have several MLPs, each MLP of the candidate's meets each of the
        reference's, and the best is kept, at the same price.
    extent : str
        See `provenance.vocabulary.Extent`.
    threads : int, optional
        At most so many pairs are tested at once; as many as there are cores to use by default.
    """

    def __init__(
        self,
        parts: Sequence[str],
        candidate: Shape,
        reference: Shape,
        pairing: Pairing,
        seed: int,
        on_progress: OnProgress | None = None,
        kept_bytes: int = KEPT_BYTES,
        rows: Collection[int] | None = None,
        extent: Extent = "all",
        threads: int | None = None,
    ) -> None:
        self.parts = tuple(parts)
        if len(set(self.parts)) < len(self.parts):
            raise ValueError(f"two parts have one name: {', '.join(self.parts)}")
        self.rows = [i for i in sorted(candidate.mlps) if rows is None or i in rows]
        self.columns = sorted(reference.mlps)
        if pairing == "same-index":
            self.rows = [i for i in self.rows if i in reference.mlps]
        self._candidate, self._reference = candidate.mlps, reference.mlps
        self.pairing, self.seed = pairing, seed
        self._extent, self._threads = extent, threads
        self._tell = on_progress or (lambda _done, _total: None)
        self._kept_bytes = kept_bytes
        self._met: dict[Place, _Meeting] = {}
        self._reasons: dict[str, str] = {}
        self._least = dict.fromkeys(self.rows, 0.0)
        self._done = self._planned = 0

    def undecided(self) -> list[int]:
        """The candidate's blocks of which nothing yet is decided."""
        return [i for i in self.rows if self._least[i] >= DECIDED]

    def wanted(self) -> list[int]:
        """The candidate's blocks that the next part is to measure."""
        return self.undecided() if self._stops else self.rows

    @property
    def _stops(self) -> bool:
        return self._extent in {"files", "decided"}

    def skip(self, part: str, reason: str) -> None:
        """Note that a part is not measured on any pair, and why."""
        self._reasons[part] = reason

    def details(self) -> dict[str, str]:
        """Which of several parts were measured, and why the others were not."""
        if len(self.parts) == 1:
            return {}
        measured = [part for part in self.parts if any(part in m.tests for m in self._met.values())]
        left = [part for part in self.parts if part not in measured]
        told = {"measured": ", ".join(measured) or "nothing"}
        if left:
            reasons = (f"{part}: {self._reasons.get(part, NOT_NEEDED)}" for part in left)
            told["not measured"] = "; ".join(reasons)
        return told

    def measure(self, component: Component[Any]) -> None:
        """Run one part on the blocks that want it, and on the partners that it finds likely."""
        rows = self.wanted()
        if not rows:
            return
        sides = _Sides(component, self.seed, self._room(component))
        try:
            if self.pairing in INDEXED:
                self._run(sides, [[(i, i)] for i in rows if i in self._reference])
                rows = self.wanted()
            has_choice = component.glimpse is not None or self.pairing not in INDEXED
            if rows and has_choice and self.pairing != "same-index":
                self._meet_partners(sides, rows)
        finally:
            sides.let_go()

    def _meet_partners(self, sides: _Sides, rows: Sequence[int]) -> None:
        """Test blocks against partners: all, or where these are many, the likeliest."""
        part, glimpse = sides.component.statistic, sides.component.glimpse
        if self._extent == "all" or glimpse is None or len(self.columns) <= BEST:
            pairs = _there_and_back(rows, self.columns)
            self._run(sides, [[pair] for pair in pairs if not self._has(part, pair)])
            return
        ours, theirs = (
            list(spread(partial(sides.glimpses, role, glimpse), blocks, self._threads))
            for role, blocks in zip(ROLES, (rows, self.columns), strict=True)
        )
        ranked = likeliest(ours, theirs, self._threads)
        jobs = []
        for i, order in zip(rows, ranked, strict=True):
            likely = (self.columns[place] for place in order)
            jobs.append([(i, j) for j in likely if not self._has(part, (i, j))][:BEST])
        self._run(sides, jobs)

    def _has(self, part: str, pair: Place) -> bool:
        return pair in self._met and part in self._met[pair].tests

    def _room(self, component: Component[Any]) -> int:
        single = all(len(mlps) == 1 for shape in component.shapes for mlps in shape.mlps.values())
        meets_once = self.pairing == "same-index" and single
        return 0 if meets_once else self._kept_bytes

    def _run(self, sides: _Sides, jobs: Sequence[Sequence[Place]]) -> None:
        """Test pairs of blocks by one part; the pairs of one job are of one block, the likeliest first."""
        self._planned += sum(map(len, jobs))
        for job, results in zip(
            jobs, spread(partial(self._test, sides), jobs, self._threads), strict=True
        ):
            for (i, j), tested in results:
                met = self._met.setdefault((i, j), _Meeting())
                met.add(sides.component.statistic, tested, keep_units=self.pairing == "cross")
                self._least[i] = min(self._least[i], self._least_of(tested.values(), i, j))
            self._done += len(job)
            self._tell(self._done, self._planned)

    def _test(
        self, sides: _Sides, job: Sequence[Place]
    ) -> list[tuple[Place, dict[Place, _Tested]]]:
        """Test the pairs of one job, until one of them decides the block where that is enough."""
        results: list[tuple[Place, dict[Place, _Tested]]] = []
        for i, j in job:
            tested = _test_blocks(sides, i, j)
            results.append(((i, j), tested))
            if self._stops and self._least_of(tested.values(), i, j) < DECIDED:
                break
        return results

    def _least_of(self, tested: Iterable[_Tested], i: int, j: int) -> float:
        """The least log10 p-value of tests of two blocks, corrected for all that might be tested."""
        found = (test.evidence.log10_p for test in tested)
        least = min((p for p in found if p is not None), default=0.0)
        mlps = len(self._candidate[i]) * len(self._reference[j])
        return bonferroni(least, len(self.parts) * mlps * self._choices(i, j))

    def _choices(self, i: int, j: int) -> int:
        """What a pair of blocks costs; over all partners of a block the reciprocals add up to 1."""
        count = len(self.columns)
        if self.pairing == "same-index" or count == 1:
            return 1
        if self.pairing == "index-first" and i in self._reference:
            return 2 if i == j else 2 * (count - 1)
        return count

    def table(self) -> BlockTable:
        """The evidence of every block, by the parts and on the partners that were measured."""
        self._tell(self._done, self._planned)
        evidence = {pair: self._evidence(*pair) for pair in sorted(self._met)}
        blocks = tuple(self._best(i, evidence) for i in self.rows)
        if self.pairing != "cross":
            return BlockTable(blocks)
        cross = tuple(
            tuple(evidence[i, j].log10_p if (i, j) in evidence else None for j in self.columns)
            for i in self.rows
        )
        survivors = {pair: met.survivors() for pair, met in self._met.items()}
        return BlockTable(blocks, cross, align(evidence, survivors))

    def _best(self, i: int, evidence: Mapping[Place, BlockEvidence]) -> BlockEvidence:
        """The best of one block's tests, its p-value corrected for the choice."""
        row = {j: block for (a, j), block in evidence.items() if a == i}
        tested = [
            _corrected(block, self._choices(i, j))
            for j, block in row.items()
            if block.log10_p is not None
        ]
        if tested:
            return min(tested, key=_strength)
        if row:
            return next(iter(row.values()))
        return self._evidence(i, i if i in self._reference else self.columns[0])

    def _evidence(self, i: int, j: int) -> BlockEvidence:
        """What two blocks showed by the best pair of their MLPs; the choice of blocks comes on top."""
        met = self._met.get((i, j), _Meeting())
        candidate, reference = self._candidate[i], self._reference[j]
        tested = {place: self._of_mlps(met, place) for place in met.places()}
        places = [place for place in tested if tested[place].least is not None]
        if not places:
            place = next(iter(tested), (0, 0))
            return self._untested(i, j, place, tested.get(place) or self._of_mlps(met, place))
        a, b = min(places, key=lambda place: tested[place].strength())
        best = tested[a, b].strongest()
        assert best.log10_p is not None
        evidence = BlockEvidence(
            candidate_block=i,
            reference_block=j,
            log10_p=bonferroni(best.log10_p, len(self.parts)),
            correlation=best.correlation,
            units=(candidate[a].units, reference[b].units),
            live=best.live,
            agreeing=best.agreeing,
            parts=tested[a, b].parts if len(self.parts) > 1 else (),
            fits=best.fits,
            matchings=met.matchings_of(best.statistic, (a, b)),
        )
        if len(candidate) == len(reference) == 1:
            return evidence
        least = {place: tested[place] for place in places}
        return replace(
            _corrected(evidence, len(candidate) * len(reference)),
            mlps=(candidate[a].label, reference[b].label),
            experts=tuple(
                self._expert(place, candidate, reference, least) for place in range(len(candidate))
            ),
            matchings=None,
        )

    def _untested(self, i: int, j: int, place: Place, of: _OfMLPs) -> BlockEvidence:
        reasons = "; ".join(dict.fromkeys(part.reason or "" for part in of.parts))
        units = self._candidate[i][place[0]].units, self._reference[j][place[1]].units
        first = of.parts[0]
        return BlockEvidence(
            i, j, None, None, units, first.live, 0, "degenerate", reasons, fits=first.fits
        )

    def _of_mlps(self, met: _Meeting, place: Place) -> _OfMLPs:
        """What every part showed of two MLPs, or why it was not measured."""
        parts = []
        for part in self.parts:
            measured = met.tests.get(part, {}).get(place)
            reason = self._reasons.get(part) or self._why_not(met)
            parts.append(measured or PartEvidence(part, None, None, (0, 0), 0, reason))
        return _OfMLPs(tuple(parts))

    def _why_not(self, met: _Meeting) -> str:
        if met.strongest is not None:
            log10_p = met.strongest.evidence.log10_p
            if log10_p is not None and log10_p < DECIDED:
                return f"not measured: {met.strongest.evidence.statistic} decides the block"
        return "not measured: others are likelier partners"

    def _expert(
        self,
        place: int,
        candidate: Sequence[MLPShape],
        reference: Sequence[MLPShape],
        tested: Mapping[Place, _OfMLPs],
    ) -> MLPEvidence:
        """The best partner of one of the candidate's MLPs among the reference's."""
        row = {b: of for (a, b), of in tested.items() if a == place}
        if not row:
            return MLPEvidence(candidate[place].label, None, None, None)
        partner = min(row, key=lambda b: row[b].strength())
        best = row[partner].strongest()
        assert best.log10_p is not None
        log10_p = bonferroni(best.log10_p, len(self.parts) * len(reference))
        return MLPEvidence(
            candidate[place].label, reference[partner].label, log10_p, best.correlation
        )


NOT_NEEDED = f"every block was decided without it, at p below 1e{DECIDED:.0f}"


def _there_and_back(rows: Sequence[int], columns: Sequence[int]) -> list[tuple[int, int]]:
    """Every pair; the columns that a row met last, which are still in memory, the next row meets first."""
    return [(i, j) for row, i in enumerate(rows) for j in columns[:: -1 if row % 2 else 1]]


@dataclass(frozen=True)
class _OfMLPs:
    """What the parts showed of two MLPs, in their order."""

    parts: tuple[PartEvidence, ...]

    @property
    def least(self) -> float | None:
        """The least p-value of all."""
        return min((p.log10_p for p in self.parts if p.log10_p is not None), default=None)

    def strongest(self) -> PartEvidence:
        """The part with it."""
        return min((p for p in self.parts if p.log10_p is not None), key=_strength)

    def strength(self) -> tuple[float, float]:
        """A key that sorts what was tested, the strongest evidence first."""
        return _strength(self.strongest())


@dataclass(frozen=True)
class _Tested:
    """A test of two MLPs by one part: its evidence, the units in both, (k, 2) int64, and two matchings."""

    evidence: PartEvidence
    survivors: NDArray[np.int64]
    matchings: Matchings | None = None


class _Meeting:
    """What two blocks showed: the numbers of all tests of their MLPs, and the strongest test."""

    def __init__(self) -> None:
        self.tests: dict[str, dict[Place, PartEvidence]] = {}
        self.strongest: _Tested | None = None
        self._place: Place = (0, 0)

    def add(self, part: str, tested: Mapping[Place, _Tested], *, keep_units: bool) -> None:
        """Take the tests of one part, by the places of the MLPs."""
        self.tests[part] = {place: test.evidence for place, test in tested.items()}
        for place, test in tested.items():
            if test.evidence.log10_p is None:
                continue
            if self.strongest is None or _strength(test.evidence) < _strength(
                self.strongest.evidence
            ):
                kept = test if keep_units else replace(test, survivors=_NO_UNITS)
                self.strongest, self._place = kept, place

    def places(self) -> list[Place]:
        """The pairs of MLPs that any part tested."""
        return list(dict.fromkeys(place for tests in self.tests.values() for place in tests))

    def survivors(self) -> NDArray[np.int64]:
        """The units in both, by the strongest test, where they were kept."""
        return _NO_UNITS if self.strongest is None else self.strongest.survivors

    def matchings_of(self, part: str, place: Place) -> Matchings | None:
        """Those of the strongest test, if it is that one."""
        strongest = self.strongest
        if strongest is None or (strongest.evidence.statistic, self._place) != (part, place):
            return None
        return strongest.matchings


_NO_UNITS = np.zeros((0, 2), dtype=np.int64)


class _Sides:
    """The MLPs of both models as one component takes them: read and prepared when first needed."""

    def __init__(self, component: Component[Any], seed: int, kept_bytes: int) -> None:
        self.component = component
        self.seed = seed
        self._room = kept_bytes
        self._kept: OrderedDict[tuple[Role, Place], tuple[Any, int]] = OrderedDict()
        self._keeping = Lock()
        self._preparing: dict[tuple[Role, Place], Lock] = {}
        self._signatures: dict[tuple[Role, int], list[torch.Tensor | None]] = {}

    def get(self, role: Role, place: Place) -> Any:
        """The MLP of one model, ready to be tested; of threads that ask for it, one prepares it."""
        with self._keeping:
            preparing = self._preparing.setdefault((role, place), Lock())
        with preparing:
            with self._keeping:
                if (role, place) in self._kept:
                    self._kept.move_to_end((role, place))
                    return self._kept[role, place][0]
            side = getattr(self.component, role).block(*place)
            if self.component.prepare is not None:
                side = self.component.prepare(side, role, self.seed)
            with self._keeping:
                self._keep((role, place), side, nbytes(side))
        return side

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
        found = []
        for place in range(len(getattr(self.component, role).shape.mlps[index])):
            try:
                found.append(glimpse(self.get(role, (index, place))))
            except DegenerateError:  # testing the MLP says why
                continue
        return found

    def promising(self, i: int, j: int, signature: Signature) -> set[tuple[int, int]]:
        """Which MLPs of a block are worth a test against which of another, by their places."""
        return partners(
            self._signatures_of("candidate", i, signature),
            self._signatures_of("reference", j, signature),
        )

    def _signatures_of(
        self, role: Role, index: int, signature: Signature
    ) -> list[torch.Tensor | None]:
        if (role, index) not in self._signatures:
            count = len(getattr(self.component, role).shape.mlps[index])
            self._signatures[role, index] = [
                self._signature(role, (index, place), signature) for place in range(count)
            ]
        return self._signatures[role, index]

    def _signature(self, role: Role, place: Place, signature: Signature) -> torch.Tensor | None:
        try:
            return signature(self.get(role, place), self.seed)
        except DegenerateError:  # testing the MLP says why
            return None


def _test_blocks(sides: _Sides, i: int, j: int) -> dict[Place, _Tested]:
    """One part on the MLPs of one block against those of the other, all or the promising pairs."""
    component = sides.component
    candidate, reference = component.candidate.shape.mlps[i], component.reference.shape.mlps[j]
    pairs = _there_and_back(range(len(candidate)), range(len(reference)))
    if len(reference) > ALL and component.signature is not None:
        chosen = sides.promising(i, j, component.signature)
        pairs = [pair for pair in pairs if pair in chosen]
    return {(a, b): _test_mlps(sides, (i, a), (j, b)) for a, b in pairs}


def _test_mlps(sides: _Sides, candidate: Place, reference: Place) -> _Tested:
    """One part on one pair of MLPs."""
    name = sides.component.statistic
    try:
        result = sides.component.test(
            sides.get("candidate", candidate), sides.get("reference", reference), seed=sides.seed
        )
    except DegenerateError as error:
        failed = PartEvidence(name, None, None, error.live, 0, str(error), error.fits)
        return _Tested(failed, _NO_UNITS)
    part = PartEvidence(
        statistic=name,
        log10_p=result.log10_p,
        correlation=result.correlation,
        live=(result.live, result.live) if isinstance(result.live, int) else result.live,
        agreeing=result.agreeing(),
        fits=result.imitation_fits(),
    )
    return _Tested(part, result.survivors(), result.matchings(MATCHINGS))


def _corrected(block: BlockEvidence, tests: int) -> BlockEvidence:
    """Evidence of the best of so many tests."""
    assert block.log10_p is not None
    return replace(block, log10_p=bonferroni(block.log10_p, tests))


def _strength(block: BlockEvidence | PartEvidence) -> tuple[float, float]:
    """A key that sorts what was tested, the strongest evidence first."""
    assert block.log10_p is not None
    return block.log10_p, -(block.correlation or 0.0)


def align(
    blocks: Mapping[tuple[int, int], BlockEvidence],
    survivors: Mapping[tuple[int, int], NDArray[np.int64]],
) -> tuple[AlignedBlocks, ...]:
    """The one-to-one map of blocks that maximises the sum of -log10 p: optimal, not greedy.

    Every block of the shallower model has a partner; whether the pair is significant is for the
    reader of its p-value to say. ``survivors`` holds the units in both of every pair, (k, 2) int64.
    """
    rows = sorted({i for i, _ in blocks})
    columns = sorted({j for _, j in blocks})
    strength = torch.zeros(len(rows), len(columns), dtype=torch.float64)
    for (i, j), block in blocks.items():
        strength[rows.index(i), columns.index(j)] = -(block.log10_p or 0.0)
    matching = assign(strength)
    pairs = [(rows[a], columns[b]) for a, b in zip(matching.rows, matching.columns, strict=True)]
    return tuple(
        AlignedBlocks(i, j, p, *(tuple(side.tolist()) for side in survivors[i, j].T))
        for i, j in sorted(pairs)
        if (i, j) in blocks and (p := blocks[i, j].log10_p) is not None
    )
