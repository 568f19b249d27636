"""From the units of two models to the evidence of each block: which block meets which, and the tests.

`compare_blocks` runs several statistics, the cheaper first. What one of them decides of a block is not
measured by the next, unless all is asked for. P-values are corrected for every statistic and for every pair
of blocks, measured or not, so that stopping early costs no validity.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from provenance._threads import spread
from provenance.comparison.choices import Choices
from provenance.comparison.likeness import likeliest
from provenance.comparison.limits import BEST, BLOCKS
from provenance.comparison.meeting import Meeting, deciding_p
from provenance.comparison.plan import sampled
from provenance.comparison.power import power_of
from provenance.comparison.repeats import kin_blocks
from provenance.comparison.sides import (
    KEPT_BYTES,
    Component,
    Place,
    Sides,
    Tested,
    tests_of,
    there_and_back,
)
from provenance.comparison.table import BlockTable, Findings
from provenance.evidence.records import INDEXED, Pairing
from provenance.loading.devices import is_out_of_memory
from provenance.statistics import REGISTRY
from provenance.statistics.pvalues import bonferroni
from provenance.vocabulary import DECIDED, ROLES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from provenance.capture.units import Shape
    from provenance.comparison.meeting import Members
    from provenance.evidence.models import PowerRecord
    from provenance.vocabulary import Extent, Role

    OnProgress = Callable[[int, int], None]

Job = TypeVar("Job")
Result = TypeVar("Result")

NOT_NEEDED = f"every block was decided without it, at p below 1e{DECIDED:.0f}"


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
        At most so many pairs are tested at once; as many as there are cores to use by default. Where memory
        is too small for them, they are tested one by one.
    control : bool
        Whether the power control is run where no block is decided, see `provenance.comparison.power`.
    """

    pairing: Pairing
    seed: int
    extent: Extent = "all"
    rows: Collection[int] | None = None
    kept_bytes: int = KEPT_BYTES
    threads: int | None = None
    control: bool = False

    @property
    def stops(self) -> bool:
        """Whether what is decided is not measured any further."""
        return self.extent in {"files", "decided", "sampled"}


def compare_blocks(
    components: Sequence[Component[Any]],
    pairing: Pairing,
    seed: int,
    on_progress: OnProgress | None = None,
    kept_bytes: int = KEPT_BYTES,
    rows: Collection[int] | None = None,
    extent: Extent = "all",
    threads: int | None = None,
) -> BlockTable:
    """Test the blocks of two models.

    Parameters
    ----------
    components : sequence of Component
        Statistics that are computed on pairs of blocks, the cheapest first. Their p-values are combined
        by Bonferroni: the smallest times their number.
    pairing, seed, kept_bytes, rows, extent, threads
        As `Scope` has them.
    """
    names = [component.statistic for component in components]
    scope = Scope(pairing, seed, extent, rows, kept_bytes, threads)
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
        self.scope = scope
        self.choices = Choices(shapes[0].mlps, shapes[1].mlps, scope.pairing)
        candidate, reference = self.choices.candidate, self.choices.reference
        chosen = (i for i in sorted(candidate) if scope.rows is None or i in scope.rows)
        same = scope.pairing == "same-index"
        self.rows = [i for i in chosen if not same or i in reference]
        self.columns = sorted(reference)
        self._tell = on_progress or (lambda _done, _total: None)
        self._met: dict[Place, Meeting] = {}
        self._reasons: dict[str, str] = {}
        self._least = dict.fromkeys(self.rows, 0.0)
        self._kin: dict[Role, set[Place]] = {role: set() for role in ROLES}
        self._done = self._planned = 0
        self.power: dict[Role, PowerRecord] = {}

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
                self._run(sides, [[(i, i)] for i in rows if i in self.choices.reference])
                rows = self.wanted()
            has_choice = component.glimpse is not None or self.scope.pairing not in INDEXED
            if rows and has_choice and self.scope.pairing != "same-index":
                self._meet_partners(sides, rows)
            self._look_around(sides)
        finally:
            sides.let_go()

    def measure_on(self, component: Component[Any], partners: Mapping[int, int]) -> None:
        """Run one part on the blocks that want it, and on partners that were chosen before."""
        rows = self.wanted()
        if not rows:
            return
        sides = Sides(component, self.scope.seed, self.scope.kept_bytes)
        try:
            self._run(sides, [[(i, partners[i])] for i in rows])
            self._look_around(sides)
        finally:
            sides.let_go()

    def _look_around(self, sides: Sides) -> None:
        """Of blocks that are not decided, find those that repeat, and whether a copy would be found."""
        if self.undecided():  # where each block decides by itself, repeats decide nothing
            for role in ROLES:
                self._kin[role] |= kin_blocks(sides.seen(role), self.scope.threads)
        if self.scope.control and len(self.undecided()) == len(self.rows):
            self._run_control(sides)  # where any block is decided, the pair is

    def _meet_partners(self, sides: Sides, rows: Sequence[int]) -> None:
        """Test blocks against partners: all, or where these are many, the likeliest."""
        part, glimpse = sides.component.statistic, sides.component.glimpse
        if self.scope.extent == "all" or glimpse is None or len(self.columns) <= BEST:
            pairs = there_and_back(rows, self.columns)
            self._run(sides, [[pair] for pair in pairs if not self._has(part, pair)])
            return
        ours, theirs = (
            list(self._spread(partial(sides.glimpses, role, glimpse), blocks))
            for role, blocks in zip(ROLES, (rows, self.columns), strict=True)
        )
        ranked = likeliest(ours, theirs, self.scope.threads)
        jobs = []
        for i, order in zip(rows, ranked, strict=True):
            likely = (self.columns[place] for place in order)
            jobs.append([(i, j) for j in likely if not self._has(part, (i, j))][:BEST])
        self._run(sides, jobs)

    def _run_control(self, sides: Sides) -> None:
        """Look whether this part would find a copy of either side, where no part before it did."""
        part = sides.component.statistic
        if not REGISTRY[part].withstands_disguise:
            return
        partners: dict[int, int] = {}
        for i, j in self._met:
            if self._shows_p(part, (i, j)):
                partners.setdefault(i, j)
        for at, role in enumerate(ROLES):
            known = self.power.get(role)
            if known is not None and known.log10_p < DECIDED:
                continue
            for number in dict.fromkeys((min(BLOCKS, len(partners)), len(partners))):
                drawn = sampled(sorted(partners), number, self.scope.seed)
                prices = {(i, partners[i])[at]: self._price(i, partners[i], ()) for i in drawn}
                record = power_of(sides, role, prices, self.scope.threads) if prices else None
                if record is None:
                    break
                if known is None or record.log10_p < known.log10_p:
                    known = self.power[role] = record
                if known.log10_p < DECIDED:  # else all blocks together may have the power
                    break

    def _shows_p(self, part: str, pair: Place) -> bool:
        """Whether a part was defined on a pair of blocks."""
        return self._has(part, pair) and any(
            test.log10_p is not None for test in self._met[pair].tests[part].values()
        )

    def _has(self, part: str, pair: Place) -> bool:
        return pair in self._met and part in self._met[pair].tests

    def _room(self, component: Component[Any]) -> int:
        single = all(len(mlps) == 1 for shape in component.shapes for mlps in shape.mlps.values())
        meets_once = self.scope.pairing == "same-index" and single
        return 0 if meets_once else self.scope.kept_bytes

    def _run(self, sides: Sides, jobs: Sequence[Sequence[Place]]) -> None:
        """Test pairs of blocks by one part; the pairs of one job are of one block, the likeliest first."""
        self._planned += sum(map(len, jobs))
        self._tell(self._done, self._planned)  # the first job may take long
        tests = self._spread(partial(self._test, sides), jobs)
        for job, results in zip(jobs, tests, strict=True):
            for (i, j), tested in results:
                met = self._met.setdefault((i, j), Meeting())
                met.add(sides.component.statistic, tested, keep_units=self.scope.pairing == "cross")
                self._least[i] = min(self._least[i], self._least_of(tested.values(), i, j))
            self._done += len(job)
            self._tell(self._done, self._planned)

    def _spread(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
        """Do jobs side by side, and one by one where memory is too small for several at once."""
        return spread(function, jobs, self.scope.threads, too_much=is_out_of_memory)

    def _test(self, sides: Sides, job: Sequence[Place]) -> list[tuple[Place, dict[Place, Tested]]]:
        """Test the pairs of one job, until one of them decides the block where that is enough."""
        results: list[tuple[Place, dict[Place, Tested]]] = []
        for i, j in job:
            tested = tests_of(sides, i, j, partial(self._decides, i, j))
            results.append(((i, j), tested))
            if self._decides(i, j, tested.values()):
                break
        return results

    def _decides(self, i: int, j: int, tested: Iterable[Tested]) -> bool:
        """Whether tests of two blocks decide, where that is enough."""
        return self.scope.stops and self._least_of(tested, i, j) < DECIDED

    def _least_of(self, tested: Iterable[Tested], i: int, j: int) -> float:
        """The least log10 p-value of tests of two blocks, corrected for all that might be tested.

        Of more agreement than universal units make: what these may explain decides nothing.
        """
        found = [test for test in tested if test.evidence.log10_p is not None]
        least = min((deciding_p(test) for test in found), default=0.0)
        return bonferroni(least, self._price(i, j, [test.members for test in found]))

    def _price(self, i: int, j: int, members: Iterable[Members]) -> int:
        """For how many tests a p-value of two blocks is corrected: all that might be made."""
        mlps = self.choices.of_mlps(i, j, members)
        return len(self.parts) * mlps * self.choices.of_blocks(i, j)

    def table(self) -> BlockTable:
        """The evidence of every block, by the parts and on the partners that were measured."""
        self._tell(self._done, self._planned)
        found = Findings(self.parts, self.rows, self.choices, self._met, self._reasons, self._kin)
        return found.table()
