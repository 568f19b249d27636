"""The table of two models' blocks: of each one the best that was tested, and what could not be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from provenance.assignment.solve import assign
from provenance.comparison.choices import corrected
from provenance.comparison.meeting import Meeting, OfMLPs, deciding_p, strength_of
from provenance.comparison.repeats import counted_together
from provenance.comparison.sides import one_of
from provenance.evidence.blocks import (
    NOT_MEASURED,
    AlignedBlocks,
    BlockEvidence,
    MLPEvidence,
    PartEvidence,
)
from provenance.statistics.pvalues import bonferroni
from provenance.vocabulary import DECIDED, ROLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from provenance.architecture.units import MLPShape
    from provenance.comparison.choices import Choices
    from provenance.comparison.sides import Place
    from provenance.vocabulary import Role


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


@dataclass(frozen=True)
class Findings:
    """All that was measured of two models' blocks.

    Attributes
    ----------
    parts : tuple of str
        Names of the statistics that may be measured; p-values are corrected for their number.
    rows : sequence of int
        The candidate's blocks that are tested.
    choices : Choices
        What each block may meet.
    met : mapping of (int, int) to Meeting
        What pairs of blocks showed, by the candidate's and the reference's.
    reasons : mapping of str to str
        Why a part was measured on no pair.
    kin : mapping of str to set of (int, int)
        Blocks of either model that are kin to each other.
    """

    parts: tuple[str, ...]
    rows: Sequence[int]
    choices: Choices
    met: Mapping[Place, Meeting]
    reasons: Mapping[str, str]
    kin: Mapping[Role, set[Place]]

    def table(self) -> BlockTable:
        """The evidence of every block, by the parts and on the partners that were measured."""
        evidence = {pair: self._evidence(*pair) for pair in sorted(self.met)}
        best = [self._best(i, evidence) for i in self.rows]
        met = {b.candidate_block: b.reference_block for b in best if b.log10_p is not None}
        together = counted_together(met, self.kin)
        blocks = tuple(replace(b, counted_with=together.get(b.candidate_block)) for b in best)
        if self.choices.pairing != "cross":
            return BlockTable(blocks)
        cross = tuple(
            tuple(evidence[i, j].log10_p if (i, j) in evidence else None for j in self._columns)
            for i in self.rows
        )
        survivors = {pair: met.survivors() for pair, met in self.met.items()}
        return BlockTable(blocks, cross, align(evidence, survivors))

    @property
    def _columns(self) -> list[int]:
        return sorted(self.choices.reference)

    @cached_property
    def _undefined(self) -> dict[tuple[str, int], str]:
        """Why a part has no p-value on any partner of a block that it was tried on, by part and block."""
        tried: dict[tuple[str, int], list[PartEvidence]] = {}
        for (i, _), met in sorted(self.met.items()):
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
            corrected(block, self.choices.of_blocks(i, j))
            for j, block in row.items()
            if block.log10_p is not None
        ]
        if tested:
            best = min(tested, key=strength_of)
            untested = self._untested_of(i, best.reference_block)
            return replace(best, untested=untested, nearness=self._nearness_of(i))
        if row:
            return next(iter(row.values()))
        return self._evidence(i, i if i in self.choices.reference else self._columns[0])

    def _nearness_of(self, i: int) -> float | None:
        """The greatest that any test of a block found; None where none looked."""
        tests = [test for (a, _), met in self.met.items() if a == i for test in met.all()]
        return max((test.nearness for test in tests if test.nearness is not None), default=None)

    def _untested_of(self, i: int, j: int) -> tuple[str, ...]:
        """What could be tested of a block by none of its tests, by name, and why."""
        met = [meeting for (a, _), meeting in self.met.items() if a == i]
        untested = []
        for part in self.parts:
            asked = [meeting for meeting in met if part in meeting.tests]
            found = [test for meeting in asked for test in meeting.tests[part].values()]
            if not found or any(test.log10_p is not None for test in found):
                continue
            if not all(part in meeting.inapplicable for meeting in asked):
                untested.append(f"{part}: {found[0].reason}")
        for which, mlps, meetings in (
            (0, self.choices.candidate[i], met),
            (1, self.choices.reference[j], [self.met[i, j]]),
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
        met = self.met.get((i, j), Meeting())
        candidate, reference = self.choices.candidate[i], self.choices.reference[j]
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
        first, second = one_of(candidate, a, ours), one_of(reference, b, theirs)
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
            corrected(evidence, self.choices.of_mlps(i, j, met.members.values())),
            mlps=(first.label, second.label),
            experts=experts,
            matchings=None,
        )

    def _untested(self, i: int, j: int, place: Place, met: Meeting, of: OfMLPs) -> BlockEvidence:
        reasons = "; ".join(dict.fromkeys(part.reason or "" for part in of.parts))
        ours, theirs = met.members.get(place, ((), ()))
        units = (
            one_of(self.choices.candidate[i], place[0], ours).units,
            one_of(self.choices.reference[j], place[1], theirs).units,
        )
        first = of.parts[0]
        return BlockEvidence(
            i, j, None, None, units, first.live, 0, "degenerate", reasons, fits=first.fits
        )

    def _of_mlps(self, met: Meeting, place: Place, i: int) -> OfMLPs:
        """What every part showed of two MLPs, or why it was not measured."""
        parts = []
        for part in self.parts:
            measured = met.tests.get(part, {}).get(place)
            reason = self.reasons.get(part) or self._undefined.get((part, i))
            reason = reason or self._why_not(met)
            parts.append(measured or PartEvidence(part, None, None, (0, 0), 0, reason))
        return OfMLPs(tuple(parts))

    def _why_not(self, met: Meeting) -> str:
        if met.strongest is not None and deciding_p(met.strongest) < DECIDED:
            return f"{NOT_MEASURED}{met.strongest.evidence.statistic} decides the block"
        return f"{NOT_MEASURED}others are likelier partners"

    def _expert(
        self,
        place: int,
        met: Meeting,
        candidate: Sequence[MLPShape],
        reference: Sequence[MLPShape],
        tested: Mapping[Place, OfMLPs],
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
        partner = one_of(reference, pair[1], met.members.get(pair, ((), ()))[1])
        return MLPEvidence(candidate[place].label, partner.label, log10_p, best.correlation)


def align(
    blocks: Mapping[tuple[int, int], BlockEvidence],
    survivors: Mapping[tuple[int, int], NDArray[np.int64]],
) -> tuple[AlignedBlocks, ...]:
    """The one-to-one map of blocks that maximises the sum of -log10 p: optimal, not greedy.

    Every block of the shallower model has a partner; whether the pair is significant is for the
    reader of its p-value to say. ``survivors`` holds the units in both of every pair, (k, 2) int64.
    Nothing is mapped where no pair of blocks was tested.
    """
    if not blocks:
        return ()
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
