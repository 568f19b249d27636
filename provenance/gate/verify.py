"""Judges stored results and evidence again, without the models.

It cannot show that the numbers were ever measured: who can write evidence can forge it.
Digests of the models, a signature or a new run can show it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from provenance._text import file_name
from provenance.evidence.decide import decide
from provenance.evidence.kind_claims import lacks_difference
from provenance.evidence.nearest import judge_nearest
from provenance.evidence.null_control import null_control
from provenance.evidence.outcomes import OUTCOMES, outcome_of, verdict_of
from provenance.evidence.read import read_file
from provenance.evidence.records import POWER_CONTROL, Evidence
from provenance.evidence.relatives import at_level, reference_p
from provenance.evidence.results import (
    ClaimResult,
    PartResult,
    Results,
    ResultsError,
    with_holm,
)
from provenance.evidence.tested_with import KIND_NOT_MEASURED
from provenance.evidence.verdict import judge_pair
from provenance.evidence.wording import describe
from provenance.vocabulary import DEFAULT_ALPHA, NEAREST, ROLES, check_alpha

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from provenance.evidence.models import ModelRecord
    from provenance.evidence.relatives import Identification
    from provenance.evidence.results import ClaimState, ControlResult, Outcome, SuiteRecord
    from provenance.suite.claims import Claim, Suite
    from provenance.vocabulary import Verdict

TOLERANCE = 1e-6
"""Relative, of a log10 p-value: far above rounding, far below what would move a verdict."""
CANNOT_SHOW = (
    "Not shown: that these numbers were measured, and of which weights. Compare the digests (--model), "
    "verify a signature, or measure again."
)


@dataclass(frozen=True)
class Checked:
    """What became of one claim, or of one piece of evidence that no claim is known of.

    ``state`` says what a gate makes of it; "judged" where nothing is claimed. ``outcome`` is the word of
    `provenance.evidence.outcomes` for a claim. ``complaints`` say what was recorded otherwise than it is
    judged now, a line each.
    """

    where: str
    says: str
    state: Literal["pass", "warn", "fail", "xfail", "skip", "not run", "judged"]
    verdict: str
    log10_p: float | None
    complaints: tuple[str, ...] = ()
    outcome: str = ""

    @property
    def stands(self) -> bool:
        """Whether all is as it was recorded, and nothing that is claimed fails."""
        return not self.complaints and self.state != "fail"

    def as_fields(self) -> Mapping[str, Any]:
        """Plain JSON values, and whether it stands."""
        return {**asdict(self), "stands": self.stands}


@dataclass(frozen=True)
class Stored:
    """One file: results, or evidence."""

    path: str
    content: Results | Evidence

    def pairs(self) -> Iterator[tuple[ClaimResult | None, Evidence]]:
        """All evidence on one pair in the file, each with the result of its claim where there is one."""
        if isinstance(self.content, Evidence):
            yield None, self.content
            return
        for result in self.content.claims:
            if result.evidence is not None and result.found is None:
                yield result, result.evidence

    def models(self) -> Iterator[tuple[str, str, ModelRecord]]:
        """Every model that was measured: where, what it is called there, and its record."""
        if isinstance(self.content, Evidence):
            for role in ROLES:
                yield f"{self.path}: {role}", role, getattr(self.content, role)
            return
        for result in self.content.claims:
            where = f"{self.path}: {result.claim.id}"
            many = () if result.found is None else result.found.references
            yield from ((where, name, record) for _, name, record in result.sides)
            for one in many:
                if one.evidence is not None and one.evidence != result.evidence:
                    yield where, one.name, one.evidence.reference

    def searches(self) -> Iterator[ClaimResult]:
        """The results of claims of the nearest kin."""
        if isinstance(self.content, Results):
            yield from (result for result in self.content.claims if result.found is not None)


def read_stored(path: Path) -> tuple[Stored, ...]:
    """Read a file of evidence or of results, or all JSON files of a folder, in the order of their names.

    Raises
    ------
    ProvenanceError
        If a file is neither, or is damaged, or a folder has none; one line.
    """
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.json") if file.is_file())
        if not files:
            raise ResultsError(f"{path} has no JSON file")
    return tuple(Stored(str(file), read_file(file)) for file in files)


def verify(stored: Stored, alpha: float = DEFAULT_ALPHA) -> tuple[Checked, ...]:
    """Check one file again: the thresholds, the judgements, the adjusted p-values, the controls.

    Evidence alone is judged at ``alpha``, and nothing is claimed of it.
    """
    if isinstance(stored.content, Evidence):
        return (_bare(stored.path, stored.content, check_alpha(alpha)),)
    results = stored.content
    adjusted = with_holm(results.suites, results.claims)
    return (
        *_suites(stored.path, results),
        *(
            _result(f"{stored.path}: {now.suite}::{now.claim.id}", now, again, results)
            for now, again in zip(results.claims, adjusted, strict=True)
        ),
    )


def _bare(where: str, evidence: Evidence, alpha: float) -> Checked:
    says = f"{evidence.candidate.source} against {evidence.reference.source}, at {alpha:g}"
    if evidence.sampled:
        says += f" ({evidence.details['sample']})"
    verdict = decide(evidence, alpha)
    says += _without_control(evidence, verdict)
    measured = OUTCOMES["measured"].word
    lines = tuple(_uncontrolled(evidence, verdict))
    return Checked(where, says, "judged", verdict, evidence.log10_p, lines, measured)


def _without_control(evidence: Evidence, verdict: Verdict) -> str:
    """Say that nothing shows whether a copy would have been found; empty where something is said of it.

    Older versions ran no power control, so that evidence without a word of one is not damaged.
    """
    known = evidence.power or POWER_CONTROL in evidence.details
    return "" if verdict != "independent" or known else "; no power control is on record"


def _without_kind(claim: Claim, evidence: Evidence) -> str:
    """Say that kinship decided alone where a kind is claimed; empty where it did not."""
    return f"; {KIND_NOT_MEASURED}" if lacks_difference(claim, evidence) else ""


def _uncontrolled(evidence: Evidence, verdict: Verdict) -> Iterator[str]:
    """Complain of independence of which a run of this version would have kept the power control."""
    if verdict == "independent" and evidence.needs_control:
        yield (
            "independent, but there is no record of the power control, which is run where nothing is found"
        )


def _suites(path: str, results: Results) -> Iterator[Checked]:
    """What is wrong with the whole: claims that are of no suite, or are missing."""
    recorded = {(result.suite, result.claim) for result in results.claims}
    made = {(suite.path, claim) for suite in results.suites for claim in suite.claims}
    for text, wrong in (
        ("a claim that its suite does not make", recorded - made),
        ("a claim of the suite of which nothing is recorded", made - recorded),
    ):
        for suite, claim in sorted(wrong, key=lambda pair: (pair[0], pair[1].id)):
            yield Checked(
                f"{path}: {suite}::{claim.id}", describe(claim), "fail", "-", None, (text,)
            )


def _result(where: str, result: ClaimResult, again: ClaimResult, results: Results) -> Checked:
    lines = [
        *_threshold(
            result.claim, next((s for s in results.suites if s.path == result.suite), None)
        ),
        *_judgement(result),
        *_difference(result),
        *_parents(result),
        *_control_on_record(result),
        *(line for control in result.controls for line in _control(control, result.claim)),
    ]
    if not _same(result.holm, again.holm):
        lines.append(f"holm is {result.holm}, but {again.holm} follows")
    says, judged = describe(result.claim), result.judgement
    if result.evidence is not None and result.found is None and judged is not None:
        says += _without_control(result.evidence, judged.verdict)
        says += _without_kind(result.claim, result.evidence)
    return Checked(
        where,
        says,
        result.state,
        verdict_of(result),
        result.log10_p,
        tuple(lines),
        outcome_of(result).word,
    )


def _threshold(claim: Claim, suite: SuiteRecord | None) -> Iterator[str]:
    if suite is not None and suite.claims:
        derived = claim.alpha / len(suite.claims)
        if abs(derived - claim.threshold) > 1e-9 * derived:
            number = len(suite.claims)
            yield (
                f"threshold is {claim.threshold:g}, but alpha {claim.alpha:g} over {number} claims is "
                f"{derived:g}"
            )


def _judgement(result: ClaimResult) -> Iterator[str]:
    if result.found is not None:
        yield from _references(result, result.found)
        again = judge_nearest(result.claim, result.found)
    elif result.evidence is None:
        if result.judgement is not None:
            yield f"judged {result.judgement.verdict} without evidence"
        return
    else:
        again = judge_pair(result.claim, result.evidence)
    recorded = result.judgement
    if recorded is None:
        yield "there is evidence, but no judgement"
    elif (recorded.state, recorded.verdict) != (again.state, again.verdict):
        yield (
            f"judged {recorded.verdict} ({recorded.state}), but {again.verdict} ({again.state}) "
            "follows from its evidence"
        )


def _difference(result: ClaimResult) -> Iterator[str]:
    """Complain of a kind that nothing tells, though both models' weights were at hand."""
    evidence = result.evidence
    if evidence is None or result.judgement is None or not lacks_difference(result.claim, evidence):
        return
    at_hand = evidence.candidate.claimed is None and evidence.reference.claimed is None
    if at_hand and not evidence.sampled and evidence.scope == "whole":
        yield (
            f"{result.claim.expect} is claimed, but there is no record of how the weights differ, which a "
            "run measures"
        )


def _parents(result: ClaimResult) -> Iterator[str]:
    """Complain of shares of other parents than those that are claimed, as far as digests tell."""
    evidence = result.evidence
    if evidence is None or evidence.merge is None or result.found is not None:
        return
    digests = [one.digest for one in evidence.merge.parents]
    names = [name for name, _ in result.claim.parents]
    if len(digests) != len(names):
        yield f"it has shares of {len(digests)} parents, and {len(names)} are claimed"
    elif dict(zip(names, digests, strict=True)).get(result.claim.reference) != (
        evidence.reference.digest
    ):
        yield f"the shares of {result.claim.reference} are those of another model than the reference"


def _references(result: ClaimResult, found: Identification) -> Iterator[str]:
    """Complain of references whose p-values are smaller than their evidence gives for one look at it."""
    if found.alpha != result.claim.threshold:
        yield f"kin were judged at {found.alpha:g}, and the threshold is {result.claim.threshold:g}"
    for one in found.references:
        if one.evidence is None:
            continue
        if one.evidence.candidate.digest != found.digest:
            yield f"{one.name}: its evidence is of another model than {found.model}"
        least = reference_p(one.evidence, 1)
        if one.log10_p is None or least is None:
            yield f"{one.name}: there is evidence, but no p-value"
        elif one.log10_p < least and not _same(one.log10_p, least):
            yield f"{one.name}: log10_p is {one.log10_p}, but {least} or more follows"


def _control_on_record(result: ClaimResult) -> Iterator[str]:
    if result.found is not None:
        return  # no independence is claimed
    if result.evidence is not None and result.judgement is not None:
        yield from _uncontrolled(result.evidence, result.judgement.verdict)


def _control(control: ControlResult, claim: Claim) -> Iterator[str]:
    what = f"{control.kind} control"
    if control.kind == "positive":
        holds: bool | None = decide(control.evidence, claim.threshold) == "dependent"
        log10_p = control.evidence.log10_p
    elif not control.evidence.cross:
        yield f"{what}: its evidence has no table of blocks against blocks"
        return
    else:
        null = null_control(control.evidence)
        log10_p, holds = null.log10_p, null.holds
    if control.holds is not holds:
        yield f"{what}: holds is {control.holds}, but {holds} follows"
    if not _same(control.log10_p, log10_p):
        yield f"{what}: log10_p is {control.log10_p}, but {log10_p} follows"


def _same(recorded: float | None, derived: float | None) -> bool:
    """Whether a log10 p-value is what it is computed to be, but for rounding."""
    if recorded is None or derived is None:
        return recorded is derived
    return math.isclose(recorded, derived, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def verify_by_suite(stored: Sequence[Stored], suite: Suite) -> tuple[Checked, ...]:
    """Judge stored evidence by a suite of today, a claim at a time.

    Evidence is that of a claim where statistic and names are equal, else where both sources are, else
    where a file is named after the claim. A claim without evidence fails; evidence without a claim is
    left out.
    """
    return tuple(_by_claim(stored, suite, claim) for claim in suite.claims)


def _by_claim(stored: Sequence[Stored], suite: Suite, claim: Claim) -> Checked:
    where = f"{suite.path}:{claim.mark.line}"
    for file in stored:
        for search in file.searches():
            if _is_same_search(claim, search.claim) and search.found is not None:
                found = at_level(search.found, claim.threshold)
                judged = judge_nearest(claim, found)
                known = ClaimResult(str(suite.path), claim, judged, search.evidence, found=found)
                return _told(where, file.path, known)
        for result, evidence in file.pairs():
            if _is_of(claim, suite, result, evidence, file.path):
                return _judged(where, file.path, suite, claim, evidence)
    outcome = OUTCOMES["skipped" if claim.skip else "not-checked"].word
    state: ClaimState = "skip" if claim.skip else "fail"
    return Checked(where, describe(claim), state, "no evidence", None, outcome=outcome)


def _judged(where: str, path: str, suite: Suite, claim: Claim, evidence: Evidence) -> Checked:
    """A claim of today as a run would judge it that measured this evidence."""
    known = ClaimResult(str(suite.path), claim, judge_pair(claim, evidence), evidence)
    return _told(where, path, known)


def _told(where: str, path: str, known: ClaimResult) -> Checked:
    """What became of a claim of today, as of a test that has just been run."""
    claim, judged = known.claim, known.judgement
    assert judged is not None
    failed: Outcome = "failed" if claim.xfail is None else "xfailed"
    part = PartResult(where, failed if judged.state == "fails" else "passed", 0.0)
    known = replace(known, parts=(part,))
    says = f"{describe(claim)} ({path})"
    if known.evidence is not None and known.found is None:
        says += _without_control(known.evidence, judged.verdict)
        says += _without_kind(claim, known.evidence)
    word = outcome_of(known).word
    return Checked(where, says, known.state, judged.verdict, known.log10_p, outcome=word)


def _is_same_search(claim: Claim, then: Claim) -> bool:
    """Whether a claim of the nearest kin is of the same references as one of today."""
    mine, theirs = (
        (one.expect, one.candidate, one.reference, one.statistic, set(one.among), one.library)
        for one in (claim, then)
    )
    return claim.expect == NEAREST and mine == theirs


def _is_of(
    claim: Claim, suite: Suite, result: ClaimResult | None, evidence: Evidence, path: str
) -> bool:
    if claim.expect == NEAREST or (result is not None and result.found is not None):
        return False
    if result is not None:
        then = result.claim
        mine = (claim.candidate, claim.reference, claim.statistic)
        return (then.candidate, then.reference, then.statistic) == mine
    if evidence.statistic != claim.statistic:
        return False
    if path.replace("\\", "/").rpartition("/")[2] == file_name(claim.id, ".json"):
        return True
    sources = suite.models[claim.candidate].source, suite.models[claim.reference].source
    return all(
        record.source == source or record.source.startswith(f"{source}@")
        for record, source in zip((evidence.candidate, evidence.reference), sources, strict=True)
    )


def verify_model(stored: Sequence[Stored], name: str, digest: str) -> tuple[Checked, ...]:
    """Hold the digest of a model at hand against every piece of evidence that names it.

    ``name`` is a model's name in the suite or its source; "candidate" and "reference" are those of
    evidence without a suite.
    """
    return tuple(
        _model(where, name, record, digest)
        for file in stored
        for where, called, record in file.models()
        if name in {called, record.source}
    )


def _model(where: str, name: str, record: ModelRecord, digest: str) -> Checked:
    if record.digest == digest:
        return Checked(where, f"{name} is the model that was measured", "pass", "same digest", None)
    line = f"{name} has the digest {digest}, but {record.digest} was measured"
    return Checked(where, f"{name} is another model", "fail", "other digest", None, (line,))
