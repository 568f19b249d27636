"""What a run of suites found, claim by claim; to and from JSON.

Reports, gates, lock files and attestations are made from it, now or later, without the models.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from provenance._documents import adapter, read_document
from provenance._text import without_home
from provenance.errors import ProvenanceError
from provenance.evidence.audits import AuditRecord, Night
from provenance.evidence.bounds import MOST
from provenance.evidence.decide import aggregate, shows
from provenance.evidence.leads import Lead, LeadRecord
from provenance.evidence.nearest import compared_with, nearest_log10_p
from provenance.evidence.records import TYPES, Evidence, check_values
from provenance.evidence.relatives import (
    Closeness,
    Identification,
    Relative,
    check_identification,
)
from provenance.evidence.shown import ShownResults
from provenance.evidence.verdict import Judgement, judged_blocks
from provenance.statistics.pvalues import holm
from provenance.suite.claims import Blocks, Claim
from provenance.suite.yaml12 import Mark
from provenance.vocabulary import (
    AN_ALPHA,
    DESCENTS,
    GIVEN_EXPECTATIONS,
    LEAST_ALPHA,
    LEAST_SHARE,
    MOST_ALPHA,
    NEAREST,
    NO_KIN,
    ROLES,
    InputsSpec,
    Role,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import TypeAdapter

    from provenance.evidence.blocks import BlockEvidence
    from provenance.evidence.models import ModelRecord
    from provenance.suite.claims import Suite

SCHEMA = 1
T = TypeVar("T")
Outcome = Literal["passed", "failed", "skipped", "xfailed", "xpassed"]
NEEDED = ("[verdict]", "[null]", "[positive]")
"""Ends of the names of the tests without which a claim is not known to hold: its verdict and controls."""
ClaimState = Literal["pass", "warn", "fail", "xfail", "skip", "not run"]


class ResultsError(ProvenanceError):
    """A text that should be results is not, or is of a schema that this version does not read."""


@dataclass(frozen=True)
class SuiteRecord:
    """The suite file that was run.

    ``path`` is as pytest names it, relative to its root. ``digest`` is "sha256:..." of the file's bytes.
    ``models`` says where each comes from; ``claims`` are all of the file, run or not. ``lineage`` has
    the models of the declared trees, each with its parent or None, parents first.
    """

    path: str
    digest: str
    inputs: InputsSpec
    models: Mapping[str, str]
    claims: tuple[Claim, ...]
    controls: bool
    lineage: tuple[tuple[str, str | None], ...] = ()

    @classmethod
    def of(cls, path: str, suite: Suite) -> SuiteRecord:
        """Record a suite under a path; a home folder is written ``~``."""
        return cls(
            path=path,
            digest=suite.digest,
            inputs=replace(suite.inputs, text=without_home(suite.inputs.text)),
            models={name: without_home(spec.source) for name, spec in suite.models.items()},
            claims=suite.claims,
            controls=suite.controls == "all",
            lineage=suite.lineage,
        )


@dataclass(frozen=True)
class PartResult:
    """One test of a claim. ``message`` says why it did not pass."""

    nodeid: str
    outcome: Outcome
    seconds: float
    message: str | None = None


@dataclass(frozen=True)
class ControlResult:
    """A comparison whose answer is known. ``holds`` is None where there was too little to tell.

    ``kind`` is "positive" or "null". A positive control is a disguised copy of the reference, which must
    be found dependent. A null control is the p-values of blocks that do not correspond: they must look
    uniform, and ``log10_p`` is the p-value of a test of that.
    """

    kind: Literal["positive", "null"]
    holds: bool | None
    log10_p: float | None
    evidence: Evidence


@dataclass(frozen=True)
class ClaimResult:
    """What became of one claim.

    ``judgement`` and ``evidence`` are None where it could not be checked (``error`` says why) or was not
    run. ``holm`` is the log10 p-value, Holm-adjusted over the claims of the file. ``not_run`` names the
    tests of the claim that the run left out. ``found`` is what many references showed, of a claim of the
    nearest kin: ``evidence`` is then that of the one that it names, or None where none was measured.
    """

    suite: str
    claim: Claim
    judgement: Judgement | None = None
    evidence: Evidence | None = None
    error: str | None = None
    controls: tuple[ControlResult, ...] = ()
    parts: tuple[PartResult, ...] = ()
    holm: float | None = None
    not_run: tuple[str, ...] = ()
    found: Identification | None = None

    @property
    def where(self) -> str:
        """The line of YAML, as ``path:line``."""
        return f"{self.suite}:{self.claim.mark.line}"

    @property
    def log10_p(self) -> float | None:
        """log10 of the p-value of the whole claim: over its blocks, of the models, over all references."""
        if self.found is not None:
            return nearest_log10_p(self.claim, self.found)
        if self.evidence is None:
            return None
        return aggregate(self.blocks) if self.blocks else self.evidence.log10_p

    @property
    def sides(self) -> tuple[tuple[Role, str, ModelRecord], ...]:
        """Role, name in the suite and record of both models; none where nothing was measured."""
        if self.evidence is None:
            return ()
        return tuple((role, self.name_of(role), getattr(self.evidence, role)) for role in ROLES)

    def name_of(self, role: Role) -> str:
        """What a side is called: of many references, the one that the evidence is on."""
        name: str = getattr(self.claim, role)
        if role == "candidate" or self.claim.expect != NEAREST or name != NO_KIN:
            return name
        shown = None if self.found is None else compared_with(self.claim, self.found)
        return "any reference" if shown is None else shown.name

    @property
    def blocks(self) -> tuple[BlockEvidence, ...]:
        """Evidence of the blocks that the claim is judged by; none where nothing was measured."""
        return () if self.evidence is None else judged_blocks(self.claim, self.evidence)

    @property
    def kin(self) -> int:
        """How many of these blocks show kinship."""
        return sum(shows(block, self.claim.thresholds) for block in self.blocks)

    @property
    def state(self) -> ClaimState:
        """What a gate makes of it.

        A false claim fails even where only tests that pass were selected. One that holds was not run
        where its verdict, or a control, was not. A claim that is expected to fail may be true of some
        blocks.
        """
        if not self.parts:
            return "not run" if self.claim.skip is None else "skip"
        outcomes = {part.outcome for part in self.parts}
        if "failed" in outcomes or outcomes == {"xpassed"}:
            return "fail"
        if outcomes == {"skipped"} and self.judgement is None:
            return "skip"
        if self.claim.xfail is not None and "xfailed" in outcomes:
            return "xfail"
        if self.judgement is None or self.judgement.state == "fails":
            return "fail" if self.claim.xfail is None else "xfail"
        return self._state_unless_false(self.judgement)

    def _state_unless_false(self, judgement: Judgement) -> ClaimState:
        if judgement.state == "warns":
            return "warn"
        return "not run" if any(test.endswith(NEEDED) for test in self.not_run) else "pass"


@dataclass(frozen=True)
class RunRecord:
    """Where a run took place, and how long it took; None where that is not known.

    ``commit`` and ``branch`` are of the repository that holds the suites, ``url`` is the page of the run in
    a CI system, and ``seconds`` are of the whole session.
    """

    commit: str | None = None
    branch: str | None = None
    url: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, repr=False)
class Results(ShownResults):
    """What one run of pytest found, or one audit, which ``audit`` then sums up.

    ``created`` is in UTC, ISO 8601; ``versions`` are of what ran.
    """

    suites: tuple[SuiteRecord, ...]
    claims: tuple[ClaimResult, ...]
    versions: Mapping[str, str]
    created: str
    run: RunRecord = RunRecord()
    audit: AuditRecord | None = None
    schema: int = SCHEMA

    @classmethod
    def gather(
        cls,
        suites: tuple[SuiteRecord, ...],
        claims: tuple[ClaimResult, ...],
        versions: Mapping[str, str],
        created: str,
        run: RunRecord = RunRecord(),
    ) -> Results:
        """Results of what became of each claim, with the p-values adjusted by `with_holm`."""
        return cls(suites, with_holm(suites, claims), versions, created, run)

    @property
    def state(self) -> Literal["pass", "warn", "fail"]:
        """What a gate makes of the whole: it passes where every claim was run and holds.

        A run that checked nothing fails, and so does one with a suite that could not be read, which makes
        no claim.
        """
        states = {result.state for result in self.claims}
        unread = any(not suite.claims for suite in self.suites)
        if unread or "fail" in states or states <= {"not run", "skip"}:
            return "fail"
        return "pass" if states == {"pass"} else "warn"

    def to_json(self) -> str:
        """One JSON object; `from_json` gives back equal `Results`."""
        fields = dataclasses.asdict(self)
        ordered = {"schema": fields.pop("schema"), **fields}
        return json.dumps(ordered, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Results:
        """Read and check results.

        Raises
        ------
        ResultsError
            If the text is not JSON, of another schema, or not results; one line, naming the field.
        EvidenceError
            If evidence in it has values that no measurement gives.
        """

        def damaged(what: str) -> ResultsError:
            return ResultsError(f"results are {what}")

        results = read_document(text, _adapter(cls), SCHEMA, damaged)
        _check_claims(results, damaged)
        for result in results.claims:
            many = () if result.found is None else result.found.references
            controls = (control.evidence for control in result.controls)
            for evidence in (result.evidence, *controls, *(one.evidence for one in many)):
                if evidence is not None:
                    check_values(evidence)
        return results


def _check_claims(results: Results, damaged: Callable[[str], ResultsError]) -> None:
    """Refuse claims that no suite can make, and p-values above 1.

    Who writes results would else be free of what a suite is held to.
    """
    for suite in results.suites:
        seen: set[str | None] = {None}
        for name, parent in suite.lineage:
            if parent not in seen or name in seen:  # what climbs to the root would not end
                raise damaged(f"damaged at lineage: {name!r} stands twice, or before its parent")
            seen.add(name)
    claims = [claim for suite in results.suites for claim in suite.claims]
    for claim in (*claims, *(result.claim for result in results.claims)):
        _check_claim(claim, damaged)
    seconds = results.run.seconds
    if seconds is not None and not 0 <= seconds <= MOST:
        raise damaged(f"damaged at run: {seconds:g} seconds are no duration")
    for result in results.claims:
        log10_ps = [result.holm, *(control.log10_p for control in result.controls)]
        if any(log10_p is not None and log10_p > 0 for log10_p in log10_ps):
            raise damaged(f"damaged at claim {result.claim.id!r}: a log10 p-value is above 0")
        _check_found(result, damaged)


def _check_found(result: ClaimResult, damaged: Callable[[str], ResultsError]) -> None:
    """Refuse what many references cannot have shown, and a claim on many without its reference."""
    claim, found = result.claim, result.found
    where = f"damaged at claim {claim.id!r}"
    if (found is not None) != (claim.expect == NEAREST and result.judgement is not None):
        raise damaged(f"{where}: references are of a claim of the nearest kin that was judged")
    if found is None:
        return
    wrong = check_identification(found)
    names = {one.name for one in found.references}
    if wrong is None and claim.reference not in {NO_KIN, *names}:
        wrong = "the reference that is claimed is none of them"
    if wrong is not None:
        raise damaged(f"{where}: {wrong}")


def _check_claim(claim: Claim, damaged: Callable[[str], ResultsError]) -> None:
    where = f"damaged at claim {claim.id!r}"
    for alpha in (claim.alpha, *dict(claim.block_alphas).values()):
        if not LEAST_ALPHA <= alpha <= MOST_ALPHA:
            raise damaged(f"{where}: alpha is {alpha:g}, and not {AN_ALPHA}")
    if not 0 < claim.threshold <= claim.alpha:
        raise damaged(f"{where}: a threshold is above 0 and no more than alpha")
    named = dict(claim.parents)
    is_merge = claim.expect == "merge" and len(named) == len(claim.parents) > 1
    if claim.parents and not (is_merge and 0 <= claim.tolerance < 1):
        raise damaged(f"{where}: parents are two or more, each named once, of a merge")
    if claim.given is not None and claim.expect not in GIVEN_EXPECTATIONS:
        raise damaged(f"{where}: a claim of {claim.expect} is given no base")
    least = claim.blocks.at_least
    if claim.permutations < 1 or not (least is None or LEAST_SHARE <= least <= 1):
        raise damaged(
            f"{where}: at_least is a share from {LEAST_SHARE:g} to 1, and permutations are 1 or more"
        )


def descent(results: Results, result: ClaimResult) -> int | None:
    """Steps from the candidate up to the reference, by what is claimed: 1 to a parent.

    None where the claim has no direction: it claims no descent, or a copy, or `derived`, which asks for a
    common ancestor alone. A lineage that the suite declares gives it one, save to cousins.
    """
    claim = result.claim
    if claim.expect == "derived":
        return _climbed(_parents(results, result), claim)
    return 1 if claim.expect in DESCENTS - {"identical"} else None


def cousins(results: Results, result: ClaimResult) -> bool:
    """Whether the lineage that the suite declares has both models, and neither above the other."""
    claim, parents = result.claim, _parents(results, result)
    declared = {claim.candidate, claim.reference} <= parents.keys()
    return claim.expect == "derived" and declared and _climbed(parents, claim) is None


def _parents(results: Results, result: ClaimResult) -> Mapping[str, str | None]:
    """The parents of the models of the declared trees, by name."""
    return next((dict(s.lineage) for s in results.suites if s.path == result.suite), {})


def _climbed(parents: Mapping[str, str | None], claim: Claim) -> int | None:
    """Steps up the declared trees; None where they do not lead from the candidate to the reference."""
    above, steps = parents.get(claim.candidate), 1
    while above is not None and above != claim.reference:
        above, steps = parents.get(above), steps + 1
    return None if above is None else steps


def with_holm(
    suites: tuple[SuiteRecord, ...], claims: tuple[ClaimResult, ...]
) -> tuple[ClaimResult, ...]:
    """Adjust the p-values of every file's claims by Holm's method.

    A claim that was not run counts as p = 1: selecting tests never makes a p-value smaller.

    Returns
    -------
    tuple of ClaimResult
        The claims, in their order, with ``holm``.
    """
    adjusted = [replace(result, holm=None) for result in claims]
    for suite in suites:
        tested = [
            (i, result.log10_p)
            for i, result in enumerate(claims)
            if result.suite == suite.path and result.log10_p is not None
        ]
        values = holm([log10_p for _, log10_p in tested], len(suite.claims))
        for (i, _), value in zip(tested, values, strict=True):
            adjusted[i] = replace(claims[i], holm=value)
    return tuple(adjusted)


def read_record(kind: type[T], fields: Mapping[str, Any]) -> T:
    """Read a `ClaimResult` or another type of this module from plain JSON values."""
    return _adapter(kind).validate_json(json.dumps(fields), strict=True)


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    return adapter(kind, (*TYPES, *_TYPES))


_TYPES = (
    Blocks,
    Mark,
    Claim,
    Judgement,
    InputsSpec,
    SuiteRecord,
    PartResult,
    ControlResult,
    Closeness,
    Relative,
    Lead,
    LeadRecord,
    Identification,
    ClaimResult,
    RunRecord,
    Night,
    AuditRecord,
    Results,
)
