"""From the units of two models to the evidence of each block: which block meets which, and the tests.

`compare_blocks` runs several statistics, the cheaper first. What one of them decides of a block is not
measured by the next, unless all is asked for. P-values are corrected for every statistic and for every pair
of blocks, measured or not, so that stopping early costs no validity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from provenance._threads import spread
from provenance.architecture.units import MLPShape
from provenance.assignment.solve import assign
from provenance.comparison.likeness import BEST, likeliest
from provenance.comparison.repeats import counted_together, kin_blocks
from provenance.comparison.sides import (
    KEPT_BYTES,
    NO_UNITS,
    Component,
    Place,
    Sides,
    Tested,
    tests_of,
    there_and_back,
)
from provenance.evidence.records import (
    INDEXED,
    NOT_MEASURED,
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

    import numpy as np
    from numpy.typing import NDArray

    from provenance.capture.units import Shape
    from provenance.comparison.sides import Matchings
    from provenance.vocabulary import Extent, Role

    OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Scope:
    """Which blocks meet, how much of that is measured, and with what.

    Attributes
    ----------
    pairing : str
        "same-index": block i meets block i. "index-first": block i meets block i, on which half of the
        level is spent, and where that decides nothing its likeliest partners. "best-of-reference": each
        block of the candidate meets blocks of the reference, the best is kept, and its p-value
        multiplied by the number of the reference's blocks (Bonferroni), so that the choice costs no
        validity. "cross": the same, and the table of all pairs and the best one-to-one alignment are kept.
        Where blocks that meet have several MLPs, each MLP of the candidate's meets each of the
        reference's, and the best is kept, at the same price.
    seed : int
        Of what statistics draw.
    extent : str
        See `provenance.vocabulary.Extent`.
    rows : collection of int, optional
        The candidate's blocks that are tested; all where it is None.
    kept_bytes : int
        How much memory prepared MLPs may take while they wait for other partners. What does not
        fit is read and prepared again.
    threads : int, optional
        At most so many pairs are tested at once; as many as there are cores to use by default.
    """

    pairing: Pairing
    seed: int
    extent: Extent = "all"
    rows: Collection[int] | None = None
    kept_bytes: int = KEPT_BYTES
    threads: int | None = None

    @property
    def stops(self) -> bool:
        """Whether what is decided is not measured any further."""
        return self.extent in {"files", "decided"}


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
    pairing, seed, kept_bytes, rows, extent
        As `Scope` has them.
    """
    names = [component.statistic for component in components]
    scope = Scope(pairing, seed, extent, rows, kept_bytes)
    tests = BlockTests(names, components[0].shapes, scope, on_progress)
    for component in components:
        tests.measure(component)
    return tests.table()


class BlockTests:
    """The tests of two models' blocks as they are made, statistic by statistic.

    Parameters
    ----------
    parts : sequence of str
        Names of the statistics that may be measured, each once; p-values are corrected for their number.
    shapes : tuple of Shape
        What the candidate and the reference are made of.
    scope : Scope
        What is measured.
    """

    def __init__(
        self,
        parts: Sequence[str],
        shapes: tuple[Shape, Shape],
        scope: Scope,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.parts = tuple(parts)
        if len(set(self.parts)) < len(self.parts):
            raise ValueError(f"two parts have one name: {', '.join(self.parts)}")
        self._candidate, self._reference = (shape.mlps for shape in shapes)
        self.scope = scope
        chosen = (i for i in sorted(self._candidate) if scope.rows is None or i in scope.rows)
        same = scope.pairing == "same-index"
        self.rows = [i for i in chosen if not same or i in self._reference]
        self.columns = sorted(self._reference)
        self._tell = on_progress or (lambda _done, _total: None)
        self._met: dict[Place, _Meeting] = {}
        self._reasons: dict[str, str] = {}
        self._undefined: dict[tuple[str, int], str] = {}
        self._least = dict.fromkeys(self.rows, 0.0)
        self._kin: dict[Role, set[Place]] = {role: set() for role in ROLES}
        self._done = self._planned = 0

    def undecided(self) -> list[int]:
        """The candidate's blocks of which nothing yet is decided."""
        return [i for i in self.rows if self._least[i] >= DECIDED]

    def wanted(self) -> list[int]:
        """The candidate's blocks that the next part is to measure."""
        return self.undecided() if self.scope.stops else self.rows

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
        sides = Sides(component, self.scope.seed, self._room(component))
        try:
            if self.scope.pairing in INDEXED:
                self._run(sides, [[(i, i)] for i in rows if i in self._reference])
                rows = self.wanted()
            has_choice = component.glimpse is not None or self.scope.pairing not in INDEXED
            if rows and has_choice and self.scope.pairing != "same-index":
                self._meet_partners(sides, rows)
            if self.undecided():  # where each block decides by itself, repeats decide nothing
                for role in ROLES:
                    self._kin[role] |= kin_blocks(sides.seen(role), self.scope.threads)
        finally:
            sides.let_go()

    def _meet_partners(self, sides: Sides, rows: Sequence[int]) -> None:
        """Test blocks against partners: all, or where these are many, the likeliest."""
        part, glimpse = sides.component.statistic, sides.component.glimpse
        if self.scope.extent == "all" or glimpse is None or len(self.columns) <= BEST:
            pairs = there_and_back(rows, self.columns)
            self._run(sides, [[pair] for pair in pairs if not self._has(part, pair)])
            return
        ours, theirs = (
            list(spread(partial(sides.glimpses, role, glimpse), blocks, self.scope.threads))
            for role, blocks in zip(ROLES, (rows, self.columns), strict=True)
        )
        ranked = likeliest(ours, theirs, self.scope.threads)
        jobs = []
        for i, order in zip(rows, ranked, strict=True):
            likely = (self.columns[place] for place in order)
            jobs.append([(i, j) for j in likely if not self._has(part, (i, j))][:BEST])
        self._run(sides, jobs)

    def _has(self, part: str, pair: Place) -> bool:
        return pair in self._met and part in self._met[pair].tests

    def _room(self, component: Component[Any]) -> int:
        single = all(len(mlps) == 1 for shape in component.shapes for mlps in shape.mlps.values())
        meets_once = self.scope.pairing == "same-index" and single
        return 0 if meets_once else self.scope.kept_bytes

    def _run(self, sides: Sides, jobs: Sequence[Sequence[Place]]) -> None:
        """Test pairs of blocks by one part; the pairs of one job are of one block, the likeliest first."""
        self._planned += sum(map(len, jobs))
        for job, results in zip(
            jobs, spread(partial(self._test, sides), jobs, self.scope.threads), strict=True
        ):
            for (i, j), tested in results:
                met = self._met.setdefault((i, j), _Meeting())
                met.add(sides.component.statistic, tested, keep_units=self.scope.pairing == "cross")
                self._least[i] = min(self._least[i], self._least_of(tested.values(), i, j))
            self._done += len(job)
            self._tell(self._done, self._planned)

    def _test(self, sides: Sides, job: Sequence[Place]) -> list[tuple[Place, dict[Place, Tested]]]:
        """Test the pairs of one job, until one of them decides the block where that is enough."""
        results: list[tuple[Place, dict[Place, Tested]]] = []
        for i, j in job:
            tested = tests_of(sides, i, j)
            results.append(((i, j), tested))
            if self.scope.stops and self._least_of(tested.values(), i, j) < DECIDED:
                break
        return results

    def _least_of(self, tested: Iterable[Tested], i: int, j: int) -> float:
        """The least log10 p-value of tests of two blocks, corrected for all that might be tested."""
        found = [test for test in tested if test.evidence.log10_p is not None]
        least = min((test.evidence.log10_p or 0.0 for test in found), default=0.0)
        members = [test.members for test in found]
        mlps = self._pairs_of_mlps(i, j, members)
        return bonferroni(least, len(self.parts) * mlps * self._choices(i, j))

    def _pairs_of_mlps(self, i: int, j: int, members: Iterable[Members]) -> int:
        """How many pairs of MLPs two blocks have, joined ones included where any test had such."""
        joined = list(members)
        candidate = len(self._candidate[i]) + any(ours for ours, _ in joined)
        reference = len(self._reference[j]) + any(theirs for _, theirs in joined)
        return candidate * reference

    def _choices(self, i: int, j: int) -> int:
        """What a pair of blocks costs; over all partners of a block the reciprocals add up to 1."""
        count = len(self.columns)
        if self.scope.pairing == "same-index" or count == 1:
            return 1
        if self.scope.pairing == "index-first" and i in self._reference:
            return 2 if i == j else 2 * (count - 1)
        return count

    def table(self) -> BlockTable:
        """The evidence of every block, by the parts and on the partners that were measured."""
        self._tell(self._done, self._planned)
        self._undefined = self._never_defined()
        evidence = {pair: self._evidence(*pair) for pair in sorted(self._met)}
        best = [self._best(i, evidence) for i in self.rows]
        met = {b.candidate_block: b.reference_block for b in best if b.log10_p is not None}
        together = counted_together(met, self._kin)
        blocks = tuple(replace(b, counted_with=together.get(b.candidate_block)) for b in best)
        if self.scope.pairing != "cross":
            return BlockTable(blocks)
        cross = tuple(
            tuple(evidence[i, j].log10_p if (i, j) in evidence else None for j in self.columns)
            for i in self.rows
        )
        survivors = {pair: met.survivors() for pair, met in self._met.items()}
        return BlockTable(blocks, cross, align(evidence, survivors))

    def _never_defined(self) -> dict[tuple[str, int], str]:
        """Why a part has no p-value on any partner of a block that it was tried on, by part and block."""
        tried: dict[tuple[str, int], list[PartEvidence]] = {}
        for (i, _), met in sorted(self._met.items()):
            for part, tests in met.tests.items():
                tried.setdefault((part, i), []).extend(tests.values())
        return {
            key: tests[0].reason or ""
            for key, tests in tried.items()
            if tests and all(test.log10_p is None for test in tests)
        }

    def _best(self, i: int, evidence: Mapping[Place, BlockEvidence]) -> BlockEvidence:
        """The best of one block's tests, its p-value corrected for the choice."""
        row = {j: block for (a, j), block in evidence.items() if a == i}
        tested = [
            _corrected(block, self._choices(i, j))
            for j, block in row.items()
            if block.log10_p is not None
        ]
        if tested:
            best = min(tested, key=_strength)
            return replace(best, untested=self._untested_of(i, best.reference_block))
        if row:
            return next(iter(row.values()))
        return self._evidence(i, i if i in self._reference else self.columns[0])

    def _untested_of(self, i: int, j: int) -> tuple[str, ...]:
        """What could be tested of a block by none of its tests, by name, and why."""
        met = [meeting for (a, _), meeting in self._met.items() if a == i]
        untested = []
        for part in self.parts:
            asked = [meeting for meeting in met if part in meeting.tests]
            found = [test for meeting in asked for test in meeting.tests[part].values()]
            if not found or any(test.log10_p is not None for test in found):
                continue
            if not all(part in meeting.inapplicable for meeting in asked):
                untested.append(f"{part}: {found[0].reason}")
        for which, mlps, meetings in (
            (0, self._candidate[i], met),
            (1, self._reference[j], [self._met[i, j]]),
        ):
            asked_of = {place[which] for meeting in meetings for place in meeting.places()}
            tested = {at for meeting in meetings for at in meeting.tested(which)}
            untested += [
                f"{mlp.label} of the {ROLES[which]}"
                for at, mlp in enumerate(mlps)
                if at in asked_of - tested
            ]
            # which of them tokens go through is not known: idle ones may hide the others
            together = {at for meeting in meetings for at in meeting.together(which)}
            if together:
                untested.append(
                    f"{len(together)} MLPs of the {ROLES[which]} but together: "
                    "they have few units, or share the work of units"
                )
        return tuple(untested)

    def _evidence(self, i: int, j: int) -> BlockEvidence:
        """What two blocks showed by the best pair of their MLPs; the choice of blocks comes on top."""
        met = self._met.get((i, j), _Meeting())
        candidate, reference = self._candidate[i], self._reference[j]
        tested = {place: self._of_mlps(met, place, i) for place in met.places()}
        places = [place for place in tested if tested[place].least is not None]
        if not places:
            place = next(iter(tested), (0, 0))
            of = tested.get(place) or self._of_mlps(met, place, i)
            return self._untested(i, j, place, met, of)
        a, b = min(places, key=lambda place: tested[place].strength())
        best = tested[a, b].strongest()
        assert best.log10_p is not None
        ours, theirs = met.members.get((a, b), ((), ()))
        first, second = _one_of(candidate, a, ours), _one_of(reference, b, theirs)
        evidence = BlockEvidence(
            candidate_block=i,
            reference_block=j,
            log10_p=bonferroni(best.log10_p, len(self.parts)),
            correlation=best.correlation,
            units=(first.units, second.units),
            live=best.live,
            agreeing=best.agreeing,
            parts=tested[a, b].parts if len(self.parts) > 1 else (),
            fits=best.fits,
            matchings=met.matchings_of(best.statistic, (a, b)),
        )
        if len(candidate) == len(reference) == 1:
            return evidence
        least = {place: tested[place] for place in places}
        experts = tuple(
            self._expert(place, met, candidate, reference, least) for place in range(len(candidate))
        )
        return replace(
            _corrected(evidence, self._pairs_of_mlps(i, j, met.members.values())),
            mlps=(first.label, second.label),
            experts=experts,
            matchings=None,
        )

    def _untested(self, i: int, j: int, place: Place, met: _Meeting, of: _OfMLPs) -> BlockEvidence:
        reasons = "; ".join(dict.fromkeys(part.reason or "" for part in of.parts))
        ours, theirs = met.members.get(place, ((), ()))
        units = (
            _one_of(self._candidate[i], place[0], ours).units,
            _one_of(self._reference[j], place[1], theirs).units,
        )
        first = of.parts[0]
        return BlockEvidence(
            i, j, None, None, units, first.live, 0, "degenerate", reasons, fits=first.fits
        )

    def _of_mlps(self, met: _Meeting, place: Place, i: int) -> _OfMLPs:
        """What every part showed of two MLPs, or why it was not measured."""
        parts = []
        for part in self.parts:
            measured = met.tests.get(part, {}).get(place)
            reason = self._reasons.get(part) or self._undefined.get((part, i))
            reason = reason or self._why_not(met)
            parts.append(measured or PartEvidence(part, None, None, (0, 0), 0, reason))
        return _OfMLPs(tuple(parts))

    def _why_not(self, met: _Meeting) -> str:
        if met.strongest is not None:
            log10_p = met.strongest.evidence.log10_p
            if log10_p is not None and log10_p < DECIDED:
                return f"{NOT_MEASURED}{met.strongest.evidence.statistic} decides the block"
        return f"{NOT_MEASURED}others are likelier partners"

    def _expert(
        self,
        place: int,
        met: _Meeting,
        candidate: Sequence[MLPShape],
        reference: Sequence[MLPShape],
        tested: Mapping[Place, _OfMLPs],
    ) -> MLPEvidence:
        """The best partner of one of the candidate's MLPs, or of those it was tested with."""
        row = {
            pair: of
            for pair, of in tested.items()
            if pair[0] == place or place in met.members.get(pair, ((), ()))[0]
        }
        if not row:
            return MLPEvidence(candidate[place].label, None, None, None)
        pair = min(row, key=lambda pair: row[pair].strength())
        best = row[pair].strongest()
        assert best.log10_p is not None
        theirs = len(reference) + any(members[1] for members in met.members.values())
        own = 1 + any(place in members[0] for members in met.members.values())
        log10_p = bonferroni(best.log10_p, len(self.parts) * theirs * own)
        partner = _one_of(reference, pair[1], met.members.get(pair, ((), ()))[1])
        return MLPEvidence(candidate[place].label, partner.label, log10_p, best.correlation)


Members = tuple[tuple[int, ...], tuple[int, ...]]
"""The MLPs that the candidate's, and the reference's, is joined of; see `Tested`."""

NOT_NEEDED = f"every block was decided without it, at p below 1e{DECIDED:.0f}"


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


class _Meeting:
    """What two blocks showed: the numbers of all tests of their MLPs, and the strongest test."""

    def __init__(self) -> None:
        self.tests: dict[str, dict[Place, PartEvidence]] = {}
        self.members: dict[Place, Members] = {}
        self.inapplicable: set[str] = set()
        self.strongest: Tested | None = None
        self._place: Place = (0, 0)

    def add(self, part: str, tested: Mapping[Place, Tested], *, keep_units: bool) -> None:
        """Take the tests of one part, by the places of the MLPs."""
        self.tests[part] = {place: test.evidence for place, test in tested.items()}
        self.members |= {place: test.members for place, test in tested.items() if any(test.members)}
        if tested and not any(test.applies for test in tested.values()):
            self.inapplicable.add(part)
        for place, test in tested.items():
            if test.evidence.log10_p is None:
                continue
            if self.strongest is None or _strength(test.evidence) < _strength(
                self.strongest.evidence
            ):
                kept = test if keep_units else replace(test, survivors=NO_UNITS)
                self.strongest, self._place = kept, place

    def places(self) -> list[Place]:
        """The pairs of MLPs that any part tested."""
        return list(dict.fromkeys(place for tests in self.tests.values() for place in tests))

    def tested(self, which: int) -> set[int]:
        """Places of the MLPs of one side, 0 for the candidate, that any part tested, alone or joined."""
        found: set[int] = set()
        for tests in self.tests.values():
            for place, test in tests.items():
                if test.log10_p is not None:
                    found |= {place[which], *self.members.get(place, ((), ()))[which]}
        return found

    def together(self, which: int) -> set[int]:
        """Places of the MLPs of one side that were tested as one."""
        return {at for members in self.members.values() for at in members[which]}

    def survivors(self) -> NDArray[np.int64]:
        """The units in both, by the strongest test, where they were kept."""
        return NO_UNITS if self.strongest is None else self.strongest.survivors

    def matchings_of(self, part: str, place: Place) -> Matchings | None:
        """Those of the strongest test, if it is that one."""
        strongest = self.strongest
        if strongest is None or (strongest.evidence.statistic, self._place) != (part, place):
            return None
        return strongest.matchings


def _one_of(mlps: Sequence[MLPShape], place: int, members: Sequence[int]) -> MLPShape:
    """The MLP at a place, or what is joined of several."""
    if not members:
        return mlps[place]
    units = sum(mlps[member].units for member in members)
    return MLPShape(f"{len(members)} MLPs joined", units)


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
