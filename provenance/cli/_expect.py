"""`provenance compare --expect`: one pair held against one claim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from provenance.vocabulary import RELATIONSHIPS

if TYPE_CHECKING:
    from provenance.evidence.results import ClaimResult

EXPECT = click.option(
    "--expect",
    type=click.Choice([kind for kind in RELATIONSHIPS if kind != "unknown"]),
    help="Claim that CANDIDATE is this to REFERENCE, as in a suite; exits 1 where it does not hold.",
)


def as_fields(result: ClaimResult) -> dict[str, Any]:
    """The claim and what became of it, as JSON values."""
    from provenance.evidence.single_claim import holds

    return {"relation": result.claim.expect, "holds": holds(result), **_failure(result)}


def sentence(result: ClaimResult) -> str:
    """What became of the claim, for a person."""
    from provenance.evidence.single_claim import holds
    from provenance.evidence.wording import describe

    says = describe(result.claim)
    if holds(result):
        return f"holds: {says}"
    failure = _failure(result)
    return f"does not hold ({failure['failure']}): {says}. {failure['why']}"


def _failure(result: ClaimResult) -> dict[str, str]:
    from provenance.evidence.failures import shortfall_of
    from provenance.evidence.single_claim import holds

    judgement = result.judgement
    if judgement is None or holds(result):
        return {}
    return {"failure": shortfall_of(result).id, "why": judgement.meaning}
