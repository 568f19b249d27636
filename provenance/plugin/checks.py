"""What a generated test does: get the evidence, judge it, and say in words why a claim is false."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, NoReturn

import pytest

from provenance._text import file_name, without_home
from provenance.comparison.plan import NULL, VERDICT, block_of
from provenance.errors import ProvenanceError, ProvenanceWarning
from provenance.evidence.decide import decide
from provenance.evidence.null_control import null_control
from provenance.evidence.results import ClaimResult, ControlResult
from provenance.evidence.verdict import Judgement, judge_block
from provenance.evidence.wording import describe
from provenance.plugin import options
from provenance.plugin.folding import HEADLINE
from provenance.plugin.messages import (
    block_headline,
    blocks_message,
    claim_headline,
    claim_message,
)
from provenance.plugin.outputs import junit
from provenance.plugin.outputs.write import write
from provenance.plugin.results import attach, found_result, judged
from provenance.statistics.pvalues import format_p
from provenance.vocabulary import NEAREST

if TYPE_CHECKING:
    from pathlib import Path

    from provenance.comparison.executor import Executor
    from provenance.comparison.plan import Comparison
    from provenance.evidence.records import Evidence
    from provenance.plugin.cases import Case


def check(request: pytest.FixtureRequest, provenance: Executor, case: Case) -> None:
    """Check one part of a claim."""
    __tracebackhide__ = True
    if case.claim.expect == NEAREST:
        _check_nearest(request, provenance, case)
        return
    needed = case.needs()
    if needed.pair is not None:
        _check_pair(request, provenance, case, needed.pair, needed.null)
    if needed.positive is not None:
        _check_positive(request, provenance, case, needed.positive)


def _check_pair(
    request: pytest.FixtureRequest,
    provenance: Executor,
    case: Case,
    pair: Comparison,
    null: Comparison | None,
) -> None:
    """Check a claim against the evidence on its pair, or on its negative control where one is given."""
    __tracebackhide__ = True
    where = case.where(request.config.invocation_params.dir)
    try:
        evidence = provenance.evidence(pair)
        null_evidence = None if null is None else provenance.evidence(null)
    except ProvenanceError as error:
        _unchecked(request, case, where, error)
    finally:
        _clear(provenance)
    result = judged(request.config, case, evidence)
    _publish(request, case, result)
    if null_evidence is not None:
        _check_null(request, case, null_evidence)
    else:
        _act(request, case, where, result)


def _check_nearest(request: pytest.FixtureRequest, provenance: Executor, case: Case) -> None:
    """Check a claim of the nearest kin: its references are looked at until each is settled."""
    __tracebackhide__ = True
    from provenance.identification import identify_claimed

    where = case.where(request.config.invocation_params.dir)
    try:
        found = identify_claimed(case.suite, case.claim, provenance)
    except ProvenanceError as error:
        _unchecked(request, case, where, error)
    finally:
        _clear(provenance)
    result = found_result(case, found)
    _publish(request, case, result)
    _act(request, case, where, result)


def _check_positive(
    request: pytest.FixtureRequest, provenance: Executor, case: Case, control: Comparison
) -> None:
    """A test that does not see a disguised copy has no power, and independence means nothing."""
    __tracebackhide__ = True
    claim = case.claim
    says = (
        f"control   a disguised copy of {claim.reference} is dependent on it, by {claim.statistic}"
    )
    try:
        evidence = provenance.evidence(control)
    except ProvenanceError as error:
        reason = without_home(str(error))
        _fail(request, f"not checked: {reason}", f"{says}\ncould not be checked: {reason}")
    finally:
        _clear(provenance)
    verdict = decide(evidence, claim.threshold)
    _attach_control(
        request,
        case,
        ControlResult("positive", verdict == "dependent", evidence.log10_p, evidence),
    )
    if verdict != "dependent":
        _fail(
            request,
            f"p = {format_p(evidence.log10_p or 0.0)}, no power",
            f"{says}\n"
            f"measured  {verdict}, p = {format_p(evidence.log10_p or 0.0)} "
            f"(threshold {claim.threshold:.2g})\n"
            f"meaning   The test has no power on this model, so that nothing it finds independent is "
            "to be believed: a claim of independence is inconclusive.",
        )


def _check_null(request: pytest.FixtureRequest, case: Case, evidence: Evidence) -> None:
    """P-values of blocks that do not correspond must not be smaller than uniform ones."""
    __tracebackhide__ = True
    control = null_control(evidence)
    _attach_control(request, case, ControlResult("null", control.holds, control.log10_p, evidence))
    if control.log10_p is None:
        pytest.skip(f"{control.count} blocks against others: too few to test their p-values")
    if not control.holds:
        _fail(
            request,
            f"p = {format_p(control.log10_p)}, not uniform",
            f"control   blocks of {case.claim.candidate} and {case.claim.reference} that do not "
            f"correspond look independent ({case.where(request.config.invocation_params.dir)})\n"
            f"measured  their {control.count} p-values are smaller than uniform ones: "
            f"p = {format_p(control.log10_p)} by Kolmogorov-Smirnov\n"
            "meaning   On this pair small p-values come too easily: do not believe a dependence.",
        )


def _publish(request: pytest.FixtureRequest, case: Case, result: ClaimResult) -> None:
    """Attach a result to the test's report, and keep its evidence where the options say so."""
    where = case.where(request.config.invocation_params.dir)
    junit.summarize(request.node, result, where, len(case.suite.claims))
    attach(request.node, case, result)
    kept = _keep(request, case, result)
    if case.part == VERDICT:
        junit.describe(request.node, result, kept)


def _attach_control(request: pytest.FixtureRequest, case: Case, control: ControlResult) -> None:
    attach(request.node, case, ClaimResult(case.nodeid, case.claim, controls=(control,)))


def _clear(provenance: Executor) -> None:
    from provenance.plugin.progress import Progress

    if isinstance(provenance.on_stage, Progress):
        provenance.on_stage.clear()


def _judgements(case: Case, result: ClaimResult) -> list[Judgement]:
    """What a part says of the claim: of one block, of each block, or of the pair."""
    claim, evidence, of_pair = case.claim, result.evidence, result.judgement
    assert of_pair is not None
    if result.found is not None:
        return [of_pair]
    assert evidence is not None
    index = block_of(case.part)
    if index is not None:
        return [judge_block(claim, evidence, index)]
    if case.part == VERDICT or not result.blocks:  # the pair's judgement says why there is no block
        return [of_pair]
    return [judge_block(claim, evidence, block.candidate_block) for block in result.blocks]


def _act(request: pytest.FixtureRequest, case: Case, where: str, result: ClaimResult) -> None:
    __tracebackhide__ = True
    claim, judgements = case.claim, _judgements(case, result)
    failures = [j for j in judgements if j.state == "fails"]
    if failures and case.part == VERDICT:
        _fail(request, claim_headline(result), claim_message(result, where))
    if failures:
        headline = block_headline(result, block_of(case.part), failures)
        _fail(request, headline, blocks_message(failures, len(judgements), where), alone=False)
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


def _unchecked(
    request: pytest.FixtureRequest, case: Case, where: str, error: ProvenanceError
) -> NoReturn:
    """Publish that a claim could not be checked, and fail."""
    __tracebackhide__ = True
    reason = without_home(str(error))
    _publish(request, case, ClaimResult(case.nodeid, case.claim, error=reason))
    _fail_unchecked(request, case, where, reason)


def _fail_unchecked(
    request: pytest.FixtureRequest, case: Case, where: str, reason: str
) -> NoReturn:
    __tracebackhide__ = True
    headline = f"not checked: {reason}"
    if case.part in {VERDICT, NULL}:
        text = f"claimed   {describe(case.claim)} ({where})\ncould not be checked: {reason}"
        _fail(request, headline, text)
    _fail(request, headline, f"could not be checked: {reason} ({where})", alone=False)


def _fail(
    request: pytest.FixtureRequest, headline: str, text: str, *, alone: bool = True
) -> NoReturn:
    """Fail; a text that does not stand ``alone``, as a block's, has no line of YAML above it."""
    __tracebackhide__ = True
    request.node.stash[HEADLINE] = headline
    # from None: what was raised before is our own, and its frames tell the user nothing
    raise pytest.fail.Exception(text, pytrace=alone) from None


def _keep(request: pytest.FixtureRequest, case: Case, result: ClaimResult) -> Path | None:
    """Write the evidence to the folder of ``--provenance-evidence``, if there is one of either.

    Of a claim of the nearest kin it is that of all its references.
    """
    folder = options.evidence_folder(request.config)
    kept = result.evidence if result.found is None else result.found
    if folder is None or kept is None:
        return None
    suite = file_name(re.sub(r"[^A-Za-z0-9._-]+", "-", case.nodeid))
    path = folder / suite / file_name(case.claim.id, ".json")
    complaints = list(write(path, kept.to_json() + "\n"))
    if complaints:
        _fail(request, complaints[0], complaints[0])
    return path
