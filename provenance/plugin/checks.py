"""What a generated test does: get the evidence, judge it, and say in words why a claim is false."""

from __future__ import annotations

import os
import re
import warnings
from typing import TYPE_CHECKING, NoReturn

import pytest

from provenance._text import without_home
from provenance.comparison.plan import comparison, negative_control, positive_control
from provenance.errors import ProvenanceError, ProvenanceWarning
from provenance.evidence.null_control import null_control
from provenance.evidence.results import ClaimResult, ControlResult
from provenance.evidence.verdict import Judgement, decide, describe, judge_block
from provenance.plugin import options
from provenance.plugin.outputs import junit
from provenance.plugin.outputs.write import write
from provenance.plugin.results import attach, judged
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    from pathlib import Path

    from provenance.comparison.executor import Executor
    from provenance.evidence.records import Evidence
    from provenance.plugin.collection import SuiteFile
    from provenance.suite.read import Claim

VERDICT, ALL_BLOCKS = "verdict", "blocks"
POSITIVE, NULL = "positive", "null"


def check(request: pytest.FixtureRequest, provenance: Executor, claim: Claim, part: str) -> None:
    """Check one part of a claim.

    ``block3``, ``blocks`` (all at once), ``verdict``, or a control: ``null``, ``positive``.
    """
    __tracebackhide__ = True
    where = _where(request, claim)
    suite = _suite_file(request).suite
    if part == POSITIVE:
        _check_positive(request, provenance, claim)
        return
    try:
        evidence = provenance.evidence(comparison(suite, claim))
        null = provenance.evidence(negative_control(suite, claim)) if part == NULL else None
    except ProvenanceError as error:
        why = without_home(str(error))
        result = ClaimResult(_suite_file(request).nodeid, claim, error=why)
        _record(request, result, where)
        _attach(request, result)
        if part == VERDICT:
            junit.describe(request.node, result, None)
        _fail(f"claimed   {describe(claim)} ({where})\ncould not be checked: {why}")
    finally:
        _clear(provenance)
    result = judged(request.config, _suite_file(request).nodeid, claim, evidence)
    _record(request, result, where)
    _attach(request, result)
    kept = _keep(request, claim, evidence)
    if part == VERDICT:
        junit.describe(request.node, result, kept)
    if null is not None:
        _check_null(request, claim, null)
        return
    judgements = _judgements(result, part)
    _act(claim, where, judgements)
    if part == VERDICT and suite.controls and claim.expect == "independent":
        _check_positive(request, provenance, claim)


def _check_positive(request: pytest.FixtureRequest, provenance: Executor, claim: Claim) -> None:
    """A test that does not see a disguised copy has no power, and independence means nothing."""
    __tracebackhide__ = True
    says = (
        f"control   a disguised copy of {claim.reference} is dependent on it, by {claim.statistic}"
    )
    try:
        evidence = provenance.evidence(positive_control(_suite_file(request).suite, claim))
    except ProvenanceError as error:
        _fail(f"{says}\ncould not be checked: {without_home(str(error))}")
    finally:
        _clear(provenance)
    found = decide(evidence, claim.threshold)
    _attach_control(
        request,
        claim,
        ControlResult("positive", found == "dependent", evidence.log10_p, evidence),
    )
    if found != "dependent":
        _fail(
            f"{says}\n"
            f"measured  {found}, p = {format_p(evidence.log10_p or 0.0)} "
            f"(threshold {claim.threshold:.2g})\n"
            f"meaning   The test has no power on this model, so that nothing it finds independent is "
            "to be believed: a claim of independence is inconclusive."
        )


def _check_null(request: pytest.FixtureRequest, claim: Claim, evidence: Evidence) -> None:
    __tracebackhide__ = True
    found = null_control(evidence)
    _attach_control(request, claim, ControlResult("null", found.holds, found.log10_p, evidence))
    if found.log10_p is None:
        pytest.skip(f"{found.count} blocks against others: too few to test their p-values")
    if not found.holds:
        _fail(
            f"control   blocks of {claim.candidate} and {claim.reference} that do not correspond look "
            f"independent ({_where(request, claim)})\n"
            f"measured  their {found.count} p-values are smaller than uniform ones: "
            f"p = {format_p(found.log10_p)} by Kolmogorov-Smirnov\n"
            "meaning   On this pair small p-values come too easily: do not believe a dependence."
        )


def _suite_file(request: pytest.FixtureRequest) -> SuiteFile:
    from provenance.plugin.collection import SuiteFile

    found = request.node.getparent(SuiteFile)
    assert isinstance(found, SuiteFile)
    return found


def _attach(request: pytest.FixtureRequest, result: ClaimResult) -> None:
    attach(request.node, _suite_file(request), result)


def _attach_control(request: pytest.FixtureRequest, claim: Claim, control: ControlResult) -> None:
    _attach(request, ClaimResult(_suite_file(request).nodeid, claim, controls=(control,)))


def _where(request: pytest.FixtureRequest, claim: Claim) -> str:
    file = os.path.relpath(_suite_file(request).path, request.config.invocation_params.dir)
    return f"{file}:{claim.mark.line}"


def _clear(provenance: Executor) -> None:
    from provenance.plugin.progress import Progress

    if isinstance(provenance.on_stage, Progress):
        provenance.on_stage.clear()


def _judgements(result: ClaimResult, part: str) -> list[Judgement]:
    claim, evidence, judgement = result.claim, result.evidence, result.judgement
    assert evidence is not None
    assert judgement is not None
    if part not in {VERDICT, ALL_BLOCKS}:
        return [judge_block(claim, evidence, int(part.removeprefix("block")))]
    blocks = result.blocks
    if part == VERDICT or not blocks:  # without a block to judge, the pair's judgement says why
        return [judgement]
    return [judge_block(claim, evidence, block.candidate_block) for block in blocks]


def _act(claim: Claim, where: str, judgements: list[Judgement]) -> None:
    __tracebackhide__ = True
    failures = [j for j in judgements if j.state == "fails"]
    if failures:
        measured = "\n          ".join(j.measured for j in failures)
        _fail(
            f"claimed   {describe(claim)} ({where})\n"
            f"measured  {measured}\n"
            f"meaning   {failures[0].meaning}"
        )
    warned = [j for j in judgements if j.state == "warns"]
    if warned:
        measured = "; ".join(j.measured for j in warned)
        says = f"{describe(claim)}: {measured}. {warned[0].meaning}"
        warnings.warn_explicit(says, ProvenanceWarning, where.rpartition(":")[0], claim.mark.line)
    states = {j.state for j in judgements}
    if states == {"not applicable"}:
        pytest.skip(judgements[0].measured)
    if states == {"not required"}:
        pytest.xfail(f"{judgements[0].measured}. {judgements[0].meaning}")


def _fail(text: str) -> NoReturn:
    __tracebackhide__ = True
    # from None: what was raised before is our own, and its frames tell the user nothing
    raise pytest.fail.Exception(text) from None


def _record(request: pytest.FixtureRequest, result: ClaimResult, where: str) -> None:
    junit.summarize(request.node, result, where, len(_suite_file(request).suite.claims))


def _keep(request: pytest.FixtureRequest, claim: Claim, evidence: Evidence) -> Path | None:
    folder = options.evidence_folder(request.config)
    if folder is None:
        return None
    suite = re.sub(r"[^A-Za-z0-9._-]+", "-", _suite_file(request).nodeid)
    path = folder / suite / f"{claim.id}.json"
    complaints = list(write(path, evidence.to_json() + "\n"))
    if complaints:
        _fail(complaints[0])
    return path
