"""Everything measured on one pair, and what it was measured from; to and from JSON.

Evidence holds no verdict: `provenance.evidence.verdict` judges it, now or years later, without the models.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass, field
from typing import Any, Literal

from provenance._documents import adapter, read_document
from provenance.errors import ProvenanceError
from provenance.evidence.blocks import (
    AlignedBlocks,
    BlockEvidence,
    MLPEvidence,
    PartEvidence,
)
from provenance.evidence.bounds import MOST, p_fault
from provenance.evidence.decomposition import (
    BlockShares,
    Decomposition,
    MergeRecord,
    ParentKinship,
)
from provenance.evidence.difference import (
    BlockMap,
    DifferenceRecord,
    Grid,
    MatrixDifference,
)
from provenance.evidence.exhibits import Exhibit
from provenance.evidence.given import GivenDifference, GivenRecord
from provenance.evidence.models import (
    CoverageRecord,
    InputsRecord,
    ModelRecord,
    PowerRecord,
    RangesRecord,
)
from provenance.evidence.shown import ShownEvidence
from provenance.evidence.sparse_merge import BlockParts, SparseMerge
from provenance.evidence.weights import WeightsRecord
from provenance.vocabulary import ROLES, Role, Scope

SCHEMA = 2
"""Of what is measured now: its details always say what became of the power control."""
OLDER = 1
"""Need not say it: the first versions ran none."""
WORSE = 1.0
"""A loss so many nats above that of guessing shows a model out of its element, and no untrained one."""


POWER_CONTROL = "power control"
"""The detail that says of which sides there is a record of it, or why there is none."""

TURNED_OFF, NOT_RUN = "turned off", "not run"
"""Why there is none: nobody wanted it; or a block was decided, or nothing was measured that has power."""


INDEXED = frozenset({"same-index", "index-first"})
"""Pairings in which a block meets the one of equal index, whatever else it meets."""
Pairing = Literal["same-index", "index-first", "best-of-reference", "cross"]


class EvidenceError(ProvenanceError):
    """A text that should be evidence is not, or is of a schema that this version does not read."""


@dataclass(frozen=True, repr=False)
class Evidence(ShownEvidence):
    """Everything measured on one (candidate, reference) pair with one statistic.

    ``log10_p`` is Fisher's combination over the tested blocks, of which those that repeat each other count
    once (`provenance.evidence.decide.aggregate`); None where no block could be tested.
    ``reference`` is the model of the null hypothesis (paper, Theorem 1): its training is assumed
    equivariant under permutations of hidden units; nothing is assumed of the candidate.
    ``cross`` and ``alignment`` are there where every block met every other. ``cross`` is the table of
    log10 p-values, (candidate blocks, reference blocks); ``alignment`` the best one-to-one map of blocks.
    A statistic of whole models has no blocks: ``value`` is its number, ``log10_p`` its own p-value or
    None, ``permutations`` PERMTEST's T, and ``details`` explain it. With `generalized`, ``details`` say
    how the MLPs were imitated. ``details["sample"]`` names the tested blocks where only a sample was
    tested; such evidence decides no claim about all blocks. ``details["candidate_loss"]`` is the mean
    next-token loss, in nats, on the first of a text, and ``details["candidate_vocabulary"]`` how many
    tokens the model chooses among; so for the reference. ``details["candidate_rank"]`` is the least
    effective rank of what its MLPs were fed. ``coverage`` has what was compared of each side that was
    run, by role. ``power`` has what became of copies of each side where no block was decided, by role;
    nothing where no power control was run. ``weights`` says whether the two hold the same numbers; None of
    fingerprints, of samples, and in evidence of older versions.
    ``scope`` is "sampled" where parts of the weights alone were read: some units of some blocks of the
    candidate, and what of the reference is likest to them. ``ranges`` then says by role which parts.
    ``difference`` has how they differ once one is mapped
    onto the other, where a claim of a kind asked for it. ``merge`` has the shares of the parents that a
    claim of a merge names, and ``given`` what the two share beyond a base that a claim gives. ``exhibits``
    are there where they were asked for, and decide nothing.
    """

    statistic: str
    log10_p: float | None
    blocks: tuple[BlockEvidence, ...]
    candidate: ModelRecord
    reference: ModelRecord
    inputs: InputsRecord
    pairing: Pairing
    seed: int
    device: str
    versions: Mapping[str, str]
    created: str
    cross: tuple[tuple[float | None, ...], ...] = ()
    alignment: tuple[AlignedBlocks, ...] = ()
    value: float | None = None
    permutations: int | None = None
    details: Mapping[str, float | int | str] = field(default_factory=dict)
    coverage: Mapping[Role, CoverageRecord] = field(default_factory=dict)
    power: Mapping[Role, PowerRecord] = field(default_factory=dict)
    weights: WeightsRecord | None = None
    scope: Scope = "whole"
    ranges: Mapping[Role, RangesRecord] = field(default_factory=dict)
    difference: DifferenceRecord | None = None
    merge: MergeRecord | None = None
    exhibits: tuple[Exhibit, ...] = ()
    given: GivenRecord | None = None
    schema: int = OLDER

    @property
    def sampled(self) -> bool:
        """Whether only some of the blocks were tested, as a screen."""
        return "sample" in self.details

    @property
    def uncontrolled(self) -> bool:
        """Whether the power control was turned off."""
        return self.details.get(POWER_CONTROL) == TURNED_OFF

    @property
    def needs_control(self) -> bool:
        """Whether the power control neither ran nor was turned off, in a version that has it."""
        return self.schema > OLDER and not self.power and not self.uncontrolled

    def out_of_element(self) -> tuple[Role, ...]:
        """The sides that read the text much worse than guessing would: their answers say little."""
        return tuple(role for role in ROLES if self._excess(role) > WORSE)

    def _excess(self, role: Role) -> float:
        """By how many nats a side's loss is above that of guessing; 0 where evidence has none."""
        loss = self.details.get(f"{role}_loss")
        vocabulary = self.details.get(f"{role}_vocabulary")
        if not isinstance(loss, float) or not isinstance(vocabulary, int):
            return 0.0
        return loss - math.log(vocabulary) if 1 <= vocabulary <= MOST else 0.0

    def tested(self) -> tuple[BlockEvidence, ...]:
        """Blocks that have a p-value."""
        return tuple(b for b in self.blocks if b.log10_p is not None)

    def block(self, index: int) -> BlockEvidence | None:
        """Evidence of the candidate's block ``index``, or None where there is none."""
        return next((b for b in self.blocks if b.candidate_block == index), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, ``schema`` first."""
        fields = dataclasses.asdict(self)
        return {"schema": fields.pop("schema"), **fields}

    def to_json(self) -> str:
        """One JSON object; `from_json` gives back an equal `Evidence`."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Evidence:
        """Read and check evidence.

        Raises
        ------
        EvidenceError
            If the text is not JSON, of another schema, or not evidence; one line, naming the field.
        """

        def damaged(what: str) -> EvidenceError:
            return EvidenceError(f"evidence is {what}")

        evidence = read_document(text, adapter(cls, TYPES), (OLDER, SCHEMA), damaged)
        check_values(evidence)
        return evidence


TYPES = (
    Evidence,
    BlockEvidence,
    PartEvidence,
    MLPEvidence,
    AlignedBlocks,
    ModelRecord,
    CoverageRecord,
    PowerRecord,
    RangesRecord,
    InputsRecord,
    WeightsRecord,
    DifferenceRecord,
    BlockMap,
    MatrixDifference,
    Grid,
    MergeRecord,
    ParentKinship,
    Decomposition,
    BlockShares,
    SparseMerge,
    BlockParts,
    GivenRecord,
    GivenDifference,
    Exhibit,
)
"""The types that evidence is made of."""


def check_values(evidence: Evidence) -> None:
    """Refuse values that no measurement gives.

    Raises
    ------
    EvidenceError
        In one line, naming the block.
    """
    if evidence.schema not in (OLDER, SCHEMA):
        raise EvidenceError(
            f"evidence of schema {evidence.schema}; this version of provenance reads schema {OLDER} and "
            f"{SCHEMA}"
        )
    fault = p_fault(evidence.log10_p)
    if fault is not None:
        raise EvidenceError(f"evidence is damaged: {fault}")
    for where, fault in _faults(evidence):
        if fault is not None:
            raise EvidenceError(f"evidence is damaged at {where}: {fault}")


def _faults(evidence: Evidence) -> Iterator[tuple[str, str | None]]:
    """Each part of the evidence, and why no measurement gives it; None where one may."""
    yield "candidate.blocks", evidence.candidate.fault()
    yield "reference.blocks", evidence.reference.fault()
    yield "permutations", _fault_of_permutations(evidence.permutations)
    for role, coverage in evidence.coverage.items():
        yield f"coverage of the {role}", coverage.fault(getattr(evidence, role).blocks)
    for role, control in evidence.power.items():
        yield f"power of the {role}", control.fault(getattr(evidence, role).blocks)
    yield _fault_of_control(evidence)
    yield "scope", _fault_of_scope(evidence)
    for role, ranges in evidence.ranges.items():
        yield f"ranges of the {role}", ranges.fault()
    depths = evidence.candidate.blocks, evidence.reference.blocks
    yield "difference", None if evidence.difference is None else evidence.difference.fault(depths)
    yield "merge", None if evidence.merge is None else evidence.merge.fault(depths[0])
    yield "given", None if evidence.given is None else evidence.given.fault()
    for exhibit in evidence.exhibits:
        yield "exhibits", exhibit.fault()
    for row in evidence.cross:
        for cell in row:
            yield "cross", p_fault(cell)
    for pair in evidence.alignment:
        yield "alignment", _fault_of_place(pair, depths) or p_fault(pair.log10_p)
    seen = set()
    for block in evidence.blocks:
        index = block.candidate_block
        fault = _fault_of_place(block, depths) or block.fault()
        yield f"block {index}", "it stands twice" if index in seen else fault
        seen.add(index)


def _fault_of_place(pair: BlockEvidence | AlignedBlocks, depths: tuple[int, int]) -> str | None:
    """Why two models of so many blocks have no such pair of blocks; None where they have."""
    places = zip((pair.candidate_block, pair.reference_block), depths, strict=True)
    if all(index in range(depth) for index, depth in places):
        return None
    return "the models have {} and {} blocks, numbered from 0".format(*depths)


def _fault_of_permutations(drawn: int | None) -> str | None:
    if drawn is not None and not 1 <= drawn <= MOST:
        return f"{drawn} is no number of them"
    return None


def controlled(power: Iterable[Role]) -> str:
    """What the detail `POWER_CONTROL` says of sides that have a record: their names."""
    sides = set(power)
    return ", ".join(role for role in ROLES if role in sides)


def _fault_of_control(evidence: Evidence) -> tuple[str, str | None]:
    """Where a record of the power control is missing, or one is there of a control that is off."""
    told = evidence.details.get(POWER_CONTROL)
    kept = controlled(evidence.power)
    if told is None and evidence.schema > OLDER:
        return "details", (
            "they do not say what became of the power control, as those of schema "
            f"{evidence.schema} do"
        )
    if told is None or told in ((kept,) if kept else (TURNED_OFF, NOT_RUN)):
        return "power", None
    return "power", (
        f"its details say of the power control {str(told)!r}, but there is a record of "
        f"{kept or 'neither side'}"
    )


def _fault_of_scope(evidence: Evidence) -> str | None:
    """Why a sample does not say what it is of, or there are ranges of what was read whole."""
    if (evidence.scope == "sampled") != bool(evidence.ranges):
        return (
            f"it is {evidence.scope!r}, and there are ranges of "
            f"{' and '.join(evidence.ranges) or 'neither side'}"
        )
    if evidence.scope == "sampled" and not evidence.sampled:
        return "it is 'sampled', and its details name no sample"
    return None
