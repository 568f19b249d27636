"""Finds partners for a sample: reads a few units, or the routers, of the reference's blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.capture.in_part import some_runs
from provenance.comparison.sampling import (
    PARTNERS,
    SKETCHED,
    SKETCHED_OF_EXPERT,
    SURE,
    best_experts,
    best_partner,
    glimpse_of,
    hits,
    routers_alike,
)
from provenance.errors import DegenerateError
from provenance.statistics.match_tokens import half_whitened
from provenance.vocabulary import ROLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import torch

    from provenance.architecture.records import MLPRecord
    from provenance.comparison.sample import Sample
    from provenance.statistics._directions import Glimpse
    from provenance.vocabulary import Role

    Units = tuple[MLPRecord, list[range]]
    """Some units of an MLP."""


@dataclass(frozen=True)
class Chosen:
    """What is tested: of each block of the candidate its partner, and the pairs of their MLPs by place."""

    partners: Mapping[int, int]
    pairs: Mapping[tuple[int, int], tuple[tuple[int, int], ...]]


class Choosing:
    """Reads what `provenance.comparison.sampling` tells likeness by, of one sample."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self._ours, self._theirs = sample.parts
        self._inputs: dict[tuple[Role, str | None], torch.Tensor | None] = {}
        self._glimpses: dict[tuple[int, int], Glimpse | None] = {}

    def chosen(self) -> Chosen:
        """The partners of every block of the sample, and the pairs of their MLPs.

        Raises
        ------
        SourceError
            What has to be read cannot be had, or is more than the budget allows.
        """
        sample = self._sample
        self._fetch_ours()
        columns = sorted(self._theirs.shape.mlps)
        same_depth = self._ours.layout.trace.blocks == self._theirs.layout.trace.blocks
        partners, pairs = {}, {}
        for i in sample.rows:
            at = i if same_depth and i in columns else None
            partners[i] = self._partner(i, at, columns)
            pairs[i, partners[i]] = tuple(dict.fromkeys(self._pairs(i, partners[i])))
            self._glimpses.clear()
        return Chosen(partners, pairs)

    def _fetch_ours(self) -> None:
        sample = self._sample
        sample.tell()
        self._ours.tensors.fetch(
            span
            for block, places in sample.places.items()
            for at in places
            for span in self._ours.spans(
                self._ours.record(block, at), sample.units("candidate", block, at)
            )
        )

    def _fetch_theirs(self, mlps: Iterable[Units]) -> None:
        self._sample.tell()
        self._theirs.tensors.fetch(
            span for record, units in mlps for span in self._theirs.spans(record, units)
        )

    def _partner(self, i: int, at: int | None, columns: Sequence[int]) -> int:
        """The block of the reference that one of the candidate is tested against."""
        known: dict[int, float] = {}
        if at is not None:
            known.update(self._likeness(i, [at]))
            if known[at] >= SURE or len(columns) == 1:
                return at
        known.update(self._likeness(i, [j for j in columns if j != at]))
        return best_partner(known, at)

    def _likeness(self, i: int, columns: Sequence[int]) -> dict[int, float]:
        """How like a block of the candidate some of the reference are."""
        routed = [j for j in columns if self._theirs.router(j) is not None]
        if self._ours.router(i) is not None and routed:
            return dict.fromkeys(columns, 0.0) | self._likeness_of_routers(i, routed)
        some = {j: list(self._some_units(j)) for j in columns}
        self._fetch_theirs(units for mlps in some.values() for units in mlps)
        ours = [self._glimpse_of_ours(i, place) for place in self._sample.places[i]]
        return {
            j: max(
                (self._hits(mine, units) for units in mlps for mine in ours),
                default=0.0,
            )
            for j, mlps in some.items()
        }

    def _some_units(self, block: int) -> Iterator[Units]:
        """A few units of a block of the reference; of many experts, of as many as are sampled."""
        records = self._theirs.layout.trace.of_block(block)
        some = records[:: max(1, len(records) // self._sample.number)]
        most = max(SKETCHED_OF_EXPERT, SKETCHED // len(some))
        for record in some:
            seed = f"{self._sample.seed}:{block}:{record.path}"
            yield record, some_runs(record.units, most, 1 if most < SKETCHED else 2, seed)

    def _likeness_of_routers(self, i: int, columns: Sequence[int]) -> dict[int, float]:
        """The mean over the sampled experts of the best correlation with any of a block's."""
        tensors = self._theirs.tensors
        names = [name for j in columns if (name := self._theirs.router(j)) is not None]
        self._sample.tell()
        tensors.fetch(
            span for name in names for span in tensors.spans(name, [range(tensors.shape(name)[0])])
        )
        experts = self._ours.experts(i)
        sampled = [experts.index(at) for at in self._sample.places[i] if at in experts]
        found = {}
        for j in columns:
            alike = self._experts_alike(i, j)
            found[j] = 0.0 if alike is None else float(alike[sampled].amax(dim=1).mean())
        return found

    def _experts_alike(self, i: int, j: int) -> torch.Tensor | None:
        """Correlations of the routers of two blocks; None where one has none, or they do not compare."""
        answers = []
        for role, block in zip(ROLES, (i, j), strict=True):
            part = self._sample.part(role)
            name, experts = part.router(block), part.experts(block)
            if name is None:
                return None
            weight = part.tensors.read(name).float()
            inputs = self._fed(role, part.record(block, experts[0]))
            answers.append(weight if inputs is None else weight @ inputs.T)
        if answers[0].shape[1] != answers[1].shape[1]:
            return None
        return routers_alike(answers[0], answers[1])

    def _pairs(self, i: int, j: int) -> Iterator[tuple[int, int]]:
        """Which MLPs of two blocks meet: experts their likeliest partners, the others each other."""
        ours, theirs = self._ours.experts(i), self._theirs.experts(j)
        others = [b for b in range(len(self._theirs.layout.trace.of_block(j))) if b not in theirs]
        alike = self._experts_alike(i, j) if len(theirs) > PARTNERS else None
        for a in self._sample.places[i]:
            if a not in ours or not theirs:
                yield from ((a, b) for b in others)
            if len(theirs) <= PARTNERS:
                yield from ((a, b) for b in theirs)
                continue
            row = [0.0] if alike is None or a not in ours else alike[ours.index(a)].tolist()
            if max(row) < SURE:  # the routers do not tell
                row = self._experts_like(i, a, j)
            yield from ((a, theirs[place]) for place in best_experts(row))

    def _experts_like(self, i: int, a: int, j: int) -> list[float]:
        """How like one MLP of the candidate the experts of a block are, by a few units of each."""
        some = []
        for b in self._theirs.experts(j):
            record = self._theirs.record(j, b)
            seed = f"{self._sample.seed}:{j}:{b}"
            some.append((record, some_runs(record.units, SKETCHED_OF_EXPERT, 1, seed)))
        self._fetch_theirs(some)
        mine = self._glimpse_of_ours(i, a)
        return [self._hits(mine, units) for units in some]

    def _hits(self, mine: Glimpse | None, theirs: Units) -> float:
        other = self._glimpse("reference", *theirs)
        return 0.0 if mine is None or other is None else hits(mine, other)

    def _glimpse_of_ours(self, block: int, place: int) -> Glimpse | None:
        key = block, place
        if key not in self._glimpses:
            record = self._ours.record(block, place)
            units = self._sample.units("candidate", block, place)
            self._glimpses[key] = self._glimpse("candidate", record, units)
        return self._glimpses[key]

    def _glimpse(self, role: Role, record: MLPRecord, units: Sequence[range]) -> Glimpse | None:
        """Some units of an MLP; None of a plain one."""
        if record.gate is None:
            return None
        part = self._sample.part(role)
        gate, up = part.linear(record.gate, units), part.linear(record.up, units)
        return glimpse_of(gate, up, self._fed(role, record))

    def _fed(self, role: Role, record: MLPRecord) -> torch.Tensor | None:
        """What the tokens are to the MLPs of a block; None where weights have to do."""
        key = role, record.input.norm
        if key not in self._inputs:
            try:
                self._inputs[key] = half_whitened(self._sample.fed(role, record))
            except DegenerateError:
                self._inputs[key] = None
        return self._inputs[key]
