"""Everything measured on one pair, and what it was measured from; to and from JSON.

Evidence holds no verdict: `provenance.evidence.verdict` judges it, now or years later, without the models.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass, field
from typing import Any, Literal

from provenance._documents import adapter, read_document
from provenance._text import visible
from provenance.errors import ProvenanceError
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
from provenance.evidence.shown import ShownEvidence
from provenance.evidence.sparse_merge import BlockParts, SparseMerge
from provenance.evidence.weights import WeightsRecord
from provenance.statistics.pvalues import FEWEST_RANKED
from provenance.store.files import is_sha256
from provenance.vocabulary import BLOCK_LIMIT, ROLES, InputKind, Role, Scope

SCHEMA = 2
"""Of what is measured now: its details always say what became of the power control."""
OLDER = 1
"""Need not say it: the first versions ran none."""
LEAST = -1e15
"""Below every log10 p-value: models with billions of units give -1e12, and sums of more overflow."""
MOST = 2**63 - 1
"""Above every count: units, permutations."""
MATCHINGS = 256
"""Units of a block whose partners are kept: enough to see a line or a cloud, little to store."""
WORSE = 1.0
"""A loss so many nats above that of guessing shows a model out of its element, and no untrained one."""

NOT_MEASURED = "not measured: "
"""Begins the reason of a part that is defined, and was not needed."""

POWER_CONTROL = "power control"
"""The detail that says of which sides there is a record of it, or why there is none."""

TURNED_OFF, NOT_RUN = "turned off", "not run"
"""Why there is none: nobody wanted it; or a block was decided, or nothing was measured that has power."""

ADAPTER = "adapter merged into "
"""Begins what a merged adapter's ``conversion`` says."""

BlockState = Literal["tested", "degenerate"]
INDEXED = frozenset({"same-index", "index-first"})
"""Pairings in which a block meets the one of equal index, whatever else it meets."""
Pairing = Literal["same-index", "index-first", "best-of-reference", "cross"]


class EvidenceError(ProvenanceError):
    """A text that should be evidence is not, or is of a schema that this version does not read."""


@dataclass(frozen=True)
class PartEvidence:
    """What one statistic of several showed on one pair of blocks; see `BlockEvidence`."""

    statistic: str
    log10_p: float | None
    correlation: float | None
    live: tuple[int, int]
    agreeing: int
    reason: str | None = None
    fits: tuple[float, float] | None = None
    nearness: float | None = None


@dataclass(frozen=True)
class MLPEvidence:
    """The best partner of one MLP of the candidate among the MLPs of the reference's block.

    ``candidate`` and ``reference`` are names within a block: "expert 3", "MLP". The p-value is corrected
    for the number of the reference's MLPs. All but ``candidate`` are None where no test is defined.
    """

    candidate: str
    reference: str | None
    log10_p: float | None
    correlation: float | None


@dataclass(frozen=True)
class AlignedBlocks:
    """A pair of the best one-to-one map of blocks, with its p-value, not corrected for the choice.

    ``candidate_units[k]`` is ``reference_units[k]``: the units that gate and up match to the same
    partner, in the candidate's order. ``reference_units`` thus says which units of a wider reference
    were kept, and in which order. Independent models share a unit or two by chance.
    """

    candidate_block: int
    reference_block: int
    log10_p: float
    candidate_units: tuple[int, ...] = field(default=(), repr=False)
    reference_units: tuple[int, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class BlockEvidence:
    """What one block of the candidate showed against one block of the reference.

    Attributes
    ----------
    candidate_block, reference_block : int
        Indices of transformer blocks, from 0.
    log10_p : float or None
        log10 of the block's p-value, finite; None exactly where ``state`` is not "tested".
    correlation : float or None
        Spearman correlation between the gate matching and the up matching, in [-1, 1].
    units : tuple of int
        Hidden units of the candidate's and of the reference's MLP.
    live : tuple of int
        Those of them that are not dead on these inputs, and so took part.
    agreeing : int
        Units that gate and up match to the same partner, of ``min(live)``.
    state : str
        "tested", or "degenerate" where no test is defined; ``reason`` then says why.
    parts : tuple of PartEvidence
        Where several statistics were combined (Bonferroni), what each showed. The block's
        other numbers are then those of the strongest.
    fits : tuple of float or None
        Of `generalized`, how well the candidate's and the reference's MLP were imitated: R^2, at most
        1, of what no affine map explains. ``live`` and ``agreeing`` then count units of the imitations.
    mlps : tuple of str or None
        Where a block has several MLPs (experts), the best pair of one of the candidate's and one of
        the reference's. All numbers are of that pair, ``log10_p`` corrected for the number of pairs.
    experts : tuple of MLPEvidence
        The best partner of each of the candidate's experts.
    matchings : tuple of tuple of int, or None
        The partners of at most `MATCHINGS` units of the narrower block, evenly spaced: by gate, and by
        up. They are units of the wider block, or of the reference's where both are as wide. None for
        a statistic that has no two matchings.
    untested : tuple of str
        Of a tested block, what should have been tested as well and could not be, and why: statistics of
        several, by name, and MLPs of several.
    nearness : float or None
        How near its units are to those of any block that it met, by gate or by up alone: 0 by chance, 1 for
        equals (`provenance.statistics._nearness`). None where no part looks at that, or none had to.
    counted_with : int or None
        The first of the candidate's blocks with which this one counts once, where that is another: the two
        have one partner, or the blocks or their partners are kin (`provenance.comparison.repeats`).
    """

    candidate_block: int
    reference_block: int
    log10_p: float | None
    correlation: float | None
    units: tuple[int, int]
    live: tuple[int, int]
    agreeing: int
    state: BlockState = "tested"
    reason: str | None = None
    parts: tuple[PartEvidence, ...] = ()
    fits: tuple[float, float] | None = None
    mlps: tuple[str, str] | None = None
    experts: tuple[MLPEvidence, ...] = ()
    matchings: tuple[tuple[int, ...], tuple[int, ...]] | None = field(default=None, repr=False)
    untested: tuple[str, ...] = ()
    nearness: float | None = None
    counted_with: int | None = None


@dataclass(frozen=True)
class ModelRecord:
    """The model that was measured: where it came from and exactly what it was.

    ``skipped`` names the blocks that are not compared, since they have no MLP of the kind that the
    statistic needs: ``{"2": "MambaMixer"}``. ``elsewhere`` says which other MLPs are not: those of
    another stack, and those that were refused. ``heads`` are in the files and were read by nothing, such as
    those of values, rewards or classes; of a language model that is a part of the whole, the other parts.
    ``digest`` is of configuration and weights as they were read, ``weights_digest`` of the weights alone.
    ``conversion`` says what a plain checkpoint was made from, where one had to be made. ``pickle`` says
    whether weights were read from a pickle, ``remote_code`` whether the checkpoint's own code was run.
    ``by_names`` says what was taken for what where no code of the model could tell where its MLPs are, and
    names and shapes of its tensors did, or a person.
    ``claimed`` is set for a fingerprint alone, whose weights were not seen: the digest of the model, by the
    fingerprint's maker. ``digest`` is then of the fingerprint, and all other fields are the maker's word
    too.
    """

    source: str
    digest: str
    architecture: str
    blocks: int
    parameters: int
    dtype: str
    skipped: Mapping[str, str] = field(default_factory=dict)
    weights_digest: str | None = None
    conversion: str | None = None
    pickle: bool = False
    remote_code: bool = False
    claimed: str | None = None
    elsewhere: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    by_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class CoverageRecord:
    """How much of what a model does comes from the MLPs that were compared, shares from 0 to 1.

    Attributes
    ----------
    share : float or None
        Of what its blocks add to the residual stream.
    effect : float or None
        Of what its blocks do to its predictions; None where that was not measured.
    blocks : tuple of float or None
        The share of each block; 0 where it has no compared MLP, None where it adds nothing.
    reason : str or None
        Why nothing could be measured; None where it was.
    """

    share: float | None
    effect: float | None
    blocks: tuple[float | None, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class PowerRecord:
    """Whether the test would have found a copy of one side: its power control.

    Attributes
    ----------
    statistic : str
        The part that was tried.
    blocks : tuple of int
        The side's blocks that were tested against copies of themselves.
    log10_p : float
        Fisher's combination over these blocks, each corrected as those of the pair are.
    reason : str or None
        Why no block could be tested; None where one could.
    """

    statistic: str
    blocks: tuple[int, ...]
    log10_p: float
    reason: str | None = None

    def found_at(self, threshold: float) -> bool:
        """Whether the copy was found, at the threshold of a claim."""
        return self.log10_p < math.log10(threshold)


@dataclass(frozen=True)
class RangesRecord:
    """What was read of the weights of a model that was opened in part.

    Attributes
    ----------
    bytes : int
        How many, each once: headers and ranges.
    of : int
        How many its files have.
    digest : str
        ``sha256:`` over the SHA-256 of every range, with its file and its place, in their order.
    files : mapping of str to str
        The SHA-256, in hex, that the hub says each file has as a whole, by name; of those that were read.
    """

    bytes: int
    of: int
    digest: str
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class InputsRecord:
    """What both models were fed; ``note`` explains a choice made.

    ``tokens`` is the number of positions that were compared. ``digest`` is of the token ids. Where the two
    read a text in different tokens, it is of those of both and of the positions. ``distinct`` counts the
    different ids at these positions, the candidate's and the reference's. ``asked`` is the kind that was
    asked for, where another one replaced it. ``borrowed`` says whether the candidate, which has no
    tokenizer, read the text by the reference's.
    """

    kind: InputKind
    text: str | None
    tokens: int
    sequence_length: int
    seed: int
    digest: str
    note: str | None = None
    distinct: tuple[int, int] | None = None
    asked: InputKind | None = None
    borrowed: bool = False


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
    _check_whole(evidence)
    seen = set()
    for block in evidence.blocks:
        where = f"evidence is damaged at block {block.candidate_block}"
        if block.candidate_block in seen or min(block.candidate_block, block.reference_block) < 0:
            raise EvidenceError(f"{where}: blocks are numbered from 0, each once")
        seen.add(block.candidate_block)
        numbers = (block.log10_p, block.correlation)
        if (block.state == "tested") != all(number is not None for number in numbers):
            raise EvidenceError(f"{where}: log10_p and correlation belong to a tested block")
        _check_numbers(block, where)
        if block.fits is not None and max(block.fits) > 1:
            raise EvidenceError(f"{where}: a fit is {max(block.fits)}, above 1")
        _check_matchings(block, where)
        if block.counted_with is not None and not 0 <= block.counted_with < block.candidate_block:
            raise EvidenceError(
                f"{where}: counted_with is {block.counted_with}, no block before it"
            )


def _check_numbers(block: BlockEvidence, where: str) -> None:
    tested: tuple[BlockEvidence | PartEvidence | MLPEvidence, ...]
    tested = (block, *block.parts, *block.experts)
    for part in tested:
        _check_p(part.log10_p, where)
        if part.correlation is not None and abs(part.correlation) > 1:
            raise EvidenceError(f"{where}: correlation is {part.correlation}, beyond 1")
    if not 0 <= min(block.units) <= max(block.units) <= MOST:
        raise EvidenceError(f"{where}: numbers of units are 0 or more")
    tests: tuple[BlockEvidence | PartEvidence, ...] = (block, *block.parts)
    for test in tests:
        if test.nearness is not None and not 0 <= test.nearness <= 1:
            raise EvidenceError(f"{where}: nearness is {test.nearness}, which is from 0 to 1")
        if not 0 <= min(*test.live, test.agreeing) <= max(*test.live, test.agreeing) <= MOST:
            raise EvidenceError(f"{where}: numbers of units are 0 or more")
        if test.log10_p is not None and min(test.live) < FEWEST_RANKED:
            raise EvidenceError(f"{where}: log10_p is of {min(test.live)} units, too few to rank")


def _check_p(log10_p: float | None, where: str) -> None:
    if log10_p is not None and log10_p > 0:
        raise EvidenceError(f"{where}: log10_p is {log10_p}, above 0")
    if log10_p is not None and log10_p < LEAST:
        raise EvidenceError(f"{where}: log10_p is {log10_p}, below any that is measured")


def _check_whole(evidence: Evidence) -> None:
    """Refuse values of the whole pair that no measurement gives, or that would not end to draw."""
    where = "evidence is damaged at"
    for role, record in (("candidate", evidence.candidate), ("reference", evidence.reference)):
        if not 0 <= record.blocks <= BLOCK_LIMIT:
            raise EvidenceError(
                f"{where} {role}.blocks: {record.blocks} is no number of blocks, 0 to {BLOCK_LIMIT}"
            )
    drawn = evidence.permutations
    if drawn is not None and not 1 <= drawn <= MOST:
        raise EvidenceError(f"{where} permutations: {drawn} is no number of them")
    _check_p(evidence.log10_p, "evidence is damaged")
    _check_coverage(evidence, where)
    for role, control in evidence.power.items():
        _check_power(control, getattr(evidence, role).blocks, f"{where} power of the {role}")
    _check_controlled(evidence, where)
    _check_scope(evidence, where)
    _check_beside(evidence, where)
    _check_exhibits(evidence, where)
    for row in evidence.cross:
        for cell in row:
            _check_p(cell, f"{where} cross")
    for pair in evidence.alignment:
        _check_p(pair.log10_p, f"{where} alignment")


def _check_beside(evidence: Evidence, where: str) -> None:
    """Refuse what cannot have been seen of a difference, of parents and of a base."""
    for what in ("difference", "merge", "given"):
        beside = getattr(evidence, what)
        fault = None if beside is None else beside.fault()
        if fault is not None:
            raise EvidenceError(f"{where} {what}: {fault}")
    for one in () if evidence.merge is None else evidence.merge.parents:
        _check_p(one.log10_p, f"{where} merge")
    fitted = None if evidence.merge is None else evidence.merge.fitted
    if fitted is not None and not set(fitted.looked) <= set(range(evidence.candidate.blocks)):
        raise EvidenceError(f"{where} merge: a block is none of those that there are")
    if evidence.given is not None:
        _check_p(evidence.given.base.log10_p, f"{where} given")


def _check_coverage(evidence: Evidence, where: str) -> None:
    for role, coverage in evidence.coverage.items():
        shares = (coverage.share, coverage.effect, *coverage.blocks)
        if any(share is not None and not 0 <= share <= 1 for share in shares):
            raise EvidenceError(f"{where} coverage of the {role}: a share is from 0 to 1")


def _check_exhibits(evidence: Evidence, where: str) -> None:
    for exhibit in evidence.exhibits:
        if not exhibit.is_sound():
            raise EvidenceError(
                f"{where} exhibits: {exhibit.name} cannot be {exhibit.value} of {exhibit.compared}"
            )


def controlled(power: Iterable[Role]) -> str:
    """What the detail `POWER_CONTROL` says of sides that have a record: their names."""
    sides = set(power)
    return ", ".join(role for role in ROLES if role in sides)


def _check_controlled(evidence: Evidence, where: str) -> None:
    """Refuse evidence that lacks a record of the power control, or has one of a control that is off."""
    told = evidence.details.get(POWER_CONTROL)
    kept = controlled(evidence.power)
    if told is None and evidence.schema > OLDER:
        raise EvidenceError(
            f"{where} details: they do not say what became of the power control, as those of schema "
            f"{evidence.schema} do"
        )
    if told is None or told in ((kept,) if kept else (TURNED_OFF, NOT_RUN)):
        return
    raise EvidenceError(
        f"{where} power: its details say of the power control {str(told)!r}, but there is a record of "
        f"{kept or 'neither side'}"
    )


def _check_scope(evidence: Evidence, where: str) -> None:
    """Refuse a sample that does not say what it is of, and ranges of what was read whole."""
    if (evidence.scope == "sampled") != bool(evidence.ranges):
        raise EvidenceError(
            f"{where} scope: it is {evidence.scope!r}, and there are ranges of "
            f"{' and '.join(evidence.ranges) or 'neither side'}"
        )
    if evidence.scope == "sampled" and not evidence.sampled:
        raise EvidenceError(f"{where} scope: it is 'sampled', and its details name no sample")
    for role, ranges in evidence.ranges.items():
        if not 0 <= ranges.bytes <= ranges.of <= MOST:
            raise EvidenceError(
                f"{where} ranges of the {role}: {ranges.bytes} bytes of {ranges.of} were read"
            )
        wrong = [name for name, sha256 in ranges.files.items() if not is_sha256(sha256)]
        if wrong:
            raise EvidenceError(
                f"{where} ranges of the {role}: what stands for {visible(wrong[0])[:50]!r} is no SHA-256"
            )


def _check_power(control: PowerRecord, blocks: int, where: str) -> None:
    _check_p(control.log10_p, where)
    if not control.blocks or not 0 <= min(control.blocks) <= max(control.blocks) < blocks:
        raise EvidenceError(f"{where}: blocks are some of its {blocks}")


def _check_matchings(block: BlockEvidence, where: str) -> None:
    gate, up = block.matchings or ((), ())
    if len(gate) != len(up) or len(gate) > MATCHINGS:
        raise EvidenceError(
            f"{where}: matchings are two lists of one length, at most {MATCHINGS} units"
        )
    if gate and min(*gate, *up) < 0:
        raise EvidenceError(f"{where}: units of matchings are numbered from 0")
