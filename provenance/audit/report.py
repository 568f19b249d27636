"""An audit as `Results`, for what draws and stores results: every pair is a claim ``unknown``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provenance._text import without_home
from provenance.audit.finding import finding
from provenance.audit.records import shown_inputs
from provenance.audit.registry import NOWHERE
from provenance.comparison.records import versions
from provenance.evidence.audits import AuditRecord
from provenance.evidence.results import ClaimResult, PartResult, Results, SuiteRecord
from provenance.evidence.verdict import judge_pair
from provenance.suite.claims import Blocks, Claim

if TYPE_CHECKING:
    from provenance.audit.records import Audit, AuditedPair
    from provenance.audit.registry import Registry


def audit_results(audit: Audit, registry: Registry) -> Results:
    """Make results in which each pair is a claim ``unknown`` with its evidence.

    A pair that could not be judged has failed, with its reason; one that is ignored, or that need not be
    judged, is skipped. The claim of a
    screened pair covers the screened blocks alone, and its judgement says so.
    """
    claims = [
        *(_judged(pair, audit, registry) for pair in audit.pairs),
        *(_ignored(names, registry) for names in audit.ignored),
    ]
    sources = {model.name: model.source for model in audit.models}
    declared = tuple(result.claim for result in claims)
    path, inputs = without_home(str(registry.path)), shown_inputs(registry)
    record = SuiteRecord(path, registry.digest, inputs, sources, declared, controls=False)
    results = Results.gather((record,), tuple(claims), versions(), audit.created)
    return replace(results, audit=_record(audit))


def _record(audit: Audit) -> AuditRecord:
    return AuditRecord(
        finding=finding(audit),
        families=audit.families,
        changes=tuple(change.line for change in audit.changes),
        since=audit.since_created,
        nights=audit.nights,
    )


def _claim(
    candidate: str,
    reference: str,
    registry: Registry,
    blocks: tuple[int, ...] = (),
    skip: str | None = None,
) -> Claim:
    return Claim(
        id=f"{candidate}-vs-{reference}",
        candidate=candidate,
        reference=reference,
        expect="unknown",
        statistic=registry.statistic,
        alpha=registry.alpha,
        threshold=registry.threshold,
        blocks=Blocks(blocks or None),
        tags=(),
        xfail=None,
        skip=skip,
        mark=registry.marks.get(candidate, NOWHERE),
    )


def _judged(pair: AuditedPair, audit: Audit, registry: Registry) -> ClaimResult:
    path = without_home(str(registry.path))
    evidence = audit.evidence.get(pair.key or "")
    blocks = tuple(block.candidate_block for block in pair.screened)
    claim = _claim(pair.candidate, pair.reference, registry, blocks)
    allowed = [registry.allowed[name] for name in sorted(pair.names & registry.allowed.keys())]
    if allowed and not pair.judged:
        skip = f"not judged, which is allowed ({allowed[0]}): {pair.error or 'nothing could be tested'}"
        return ClaimResult(path, replace(claim, skip=skip))
    if evidence is None:
        part = PartResult(f"{path}::{claim.id}", "failed", 0.0, pair.error)
        return ClaimResult(path, claim, error=pair.error, parts=(part,))
    part = PartResult(f"{path}::{claim.id}", "passed", 0.0)
    judged = judge_pair(claim, evidence)
    if pair.screened:
        judged = replace(judged, meaning=audit.meaning(pair) or "")
    return ClaimResult(path, claim, judged, evidence, parts=(part,))


def _ignored(names: tuple[str, str, str], registry: Registry) -> ClaimResult:
    candidate, reference, reason = names
    path = without_home(str(registry.path))
    return ClaimResult(path, _claim(candidate, reference, registry, skip=reason))
