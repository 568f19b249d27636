"""Holds a claim that is given a base against what was found that the two models share beyond it.

Nothing here has a p-value but the kinship of the candidate and the base.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.evidence.decide import decide_p
from provenance.evidence.given import SAID
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    from provenance.evidence.given import Found, GivenRecord
    from provenance.evidence.records import Evidence
    from provenance.suite.claims import Claim

__all__ = ["GivenReading", "given_doubt", "given_objection", "given_of", "given_seen", "read_given"]


@dataclass(frozen=True)
class GivenReading:
    """What two share beyond a base, and why that is said, in one sentence without a full stop."""

    found: Found
    why: str


def read_given(
    record: GivenRecord | None, name: str, candidate: str, threshold: float
) -> GivenReading:
    """Say what two models share beyond a base that is called by a name; None: it was not measured."""
    if record is None:
        return GivenReading("not known", f"what they share beyond {name} was not measured")
    if decide_p(record.base.log10_p, threshold) != "dependent":
        p = "no p-value" if record.base.log10_p is None else f"p = {format_p(record.base.log10_p)}"
        return GivenReading("not known", f"{candidate} is not found kin to {name} ({p})")
    made = record.difference
    if made is None:
        return GivenReading("not known", record.reason or f"{name} could not be mapped")
    return GivenReading(made.found, f"given {name}, {made.words()}: {SAID[made.found]}")


def given_of(claim: Claim, evidence: Evidence) -> GivenReading:
    """What was found of the base that a claim is given."""
    assert claim.given is not None
    return read_given(evidence.given, claim.given, claim.candidate, claim.threshold)


def given_objection(claim: Claim, evidence: Evidence) -> str | None:
    """Say that a claim of descent, given a base, is not borne out; None where it is, or is open."""
    if claim.given is None or given_of(claim, evidence).found != "as siblings":
        return None
    return f"The two are kin, but {given_of(claim, evidence).why}."


def given_doubt(claim: Claim, evidence: Evidence) -> str | None:
    """Say why it is open whether two share more than a base explains; None where it is known."""
    if claim.given is None or given_of(claim, evidence).found != "not known":
        return None
    alone = "" if claim.expect == "independent" else " Without `given` kinship alone is claimed."
    return (
        f"The two are kin, but whether by more than {claim.given} is open: "
        f"{given_of(claim, evidence).why}.{alone}"
    )


def given_seen(claim: Claim, evidence: Evidence) -> str:
    """What the two share beyond the base, as a sentence; empty where the claim is given none."""
    if claim.given is None:
        return ""
    why = given_of(claim, evidence).why
    if why.startswith(claim.candidate):  # a name is written as the suite has it
        return f"{why}."
    return f"{why[0].upper()}{why[1:]}."
