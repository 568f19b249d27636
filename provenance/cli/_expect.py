"""`provenance compare --expect`: one pair held against one claim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from provenance.vocabulary import RELATIONSHIPS

if TYPE_CHECKING:
    from provenance import Evidence
    from provenance.evidence.results import ClaimResult
    from provenance.suite.claims import Claim
    from provenance.vocabulary import Relationship, StatisticName

EXPECT = click.option(
    "--expect",
    type=click.Choice([kind for kind in RELATIONSHIPS if kind != "unknown"]),
    help="Claim that CANDIDATE is this to REFERENCE, as in a suite; exits 1 where it does not hold.",
)


def claim_of(
    expect: Relationship,
    statistic: StatisticName,
    alpha: float,
    *,
    cross: bool,
    exhaustive: bool,
    sample: int | None = None,
) -> Claim:
    """The claim that a suite of this one pair would make."""
    from provenance.evidence.doubts import NAMES
    from provenance.suite.claims import Blocks, Claim
    from provenance.suite.yaml12 import Mark

    return Claim(
        id="compare",
        candidate=NAMES["candidate"],
        reference=NAMES["reference"],
        expect=expect,
        statistic=statistic,
        alpha=alpha,
        threshold=alpha,
        blocks=Blocks(cross=cross),
        tags=(),
        xfail=None,
        skip=None,
        mark=Mark(1, 1, 1, 1),
        exhaustive=exhaustive,
        sample=sample,
        kind="measured",
    )


def judged(claim: Claim, evidence: Evidence) -> ClaimResult:
    """What the evidence says of the claim."""
    from provenance.evidence.results import ClaimResult
    from provenance.evidence.verdict import judge_pair

    return ClaimResult("", claim, judge_pair(claim, evidence), evidence)


def holds(result: ClaimResult) -> bool:
    """Whether the claim holds: it neither fails nor is in doubt."""
    return result.judgement is not None and result.judgement.state == "holds"


def as_fields(result: ClaimResult) -> dict[str, Any]:
    """The claim and what became of it, as JSON values."""
    return {"relation": result.claim.expect, "holds": holds(result), **_failure(result)}


def sentence(result: ClaimResult) -> str:
    """What became of the claim, for a person."""
    from provenance.evidence.wording import describe

    says = describe(result.claim)
    if holds(result):
        return f"holds: {says}"
    failure = _failure(result)
    return f"does not hold ({failure['failure']}): {says}. {failure['why']}"


def _failure(result: ClaimResult) -> dict[str, str]:
    from provenance.evidence.failures import shortfall_of

    judgement = result.judgement
    if judgement is None or holds(result):
        return {}
    return {"failure": shortfall_of(result).id, "why": judgement.meaning}
