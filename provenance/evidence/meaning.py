"""What a verdict on a pair means, for a person who has not read the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.evidence.decide import found_nothing
from provenance.evidence.doubts import doubts
from provenance.evidence.wording import READINGS, control_of_power

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provenance.evidence.records import Evidence
    from provenance.vocabulary import Role, Verdict

IN_SHORT: dict[Verdict, str] = {
    "dependent": "These two are kin.",
    "independent": "These two show no kinship.",
    "inconclusive": "Whether these two are kin stays open.",
}
KINSHIP = (
    f"Of the two models {READINGS}: independently trained models agree like this only by a chance of "
    "that size."
)
STRANGERS = "Nothing distinguishes the pair from two independently trained models."
BETWEEN = (
    "The agreement is too strong to be believed of independent models and too weak to prove "
    "descent: more tokens would decide."
)

WITHOUT_P = "A statistic without a p-value decides nothing."


def meaning(
    evidence: Evidence, verdict: Verdict, threshold: float, names: Mapping[Role, str]
) -> str:
    """Say what the verdict on a pair means, of which nothing is claimed; ``names`` are the sides'."""
    return f"{IN_SHORT[verdict]} {_reason(evidence, verdict, threshold, names)}"


def _reason(
    evidence: Evidence, verdict: Verdict, threshold: float, names: Mapping[Role, str]
) -> str:
    if evidence.log10_p is None:
        return WITHOUT_P
    if verdict == "dependent":
        return KINSHIP
    if verdict == "independent":
        return f"{STRANGERS} {control_of_power(evidence, names, threshold)}".rstrip()
    if found_nothing(evidence, evidence.blocks, threshold):
        return " ".join(doubts(evidence, names, threshold=threshold)) or BETWEEN
    return BETWEEN
