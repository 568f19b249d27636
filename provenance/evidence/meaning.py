"""What a verdict on a pair means, for a person who has not read the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.evidence.decide import (
    beyond,
    decide_p,
    found_nothing,
    is_below,
    judged_p,
    level_of,
    shows,
)
from provenance.evidence.doubts import doubts, doubts_of_models
from provenance.evidence.permutations import at_bound
from provenance.evidence.wording import READINGS, control_of_power, sample_of
from provenance.statistics import REGISTRY
from provenance.statistics.pvalues import format_p
from provenance.statistics.universal import UNIVERSAL
from provenance.vocabulary import whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provenance.evidence.blocks import BlockEvidence
    from provenance.evidence.records import Evidence
    from provenance.vocabulary import Role, Threshold, Verdict

IN_SHORT: dict[Verdict, str] = {
    "dependent": "These two are kin.",
    "independent": "These two show no kinship.",
    "not found": "These two show no kinship where a sample of them was looked at.",
    "inconclusive": "Whether these two are kin stays open.",
}
KINSHIP = (
    f"Of the two models {READINGS}: independently trained models agree like this only by a chance of "
    "that size."
)
STRANGERS = "Nothing distinguishes the pair from two independently trained models."
BETWEEN = (
    "The agreement is too strong to be believed of independent models and too weak to prove descent"
)

WITHOUT_P = "A statistic without a p-value decides nothing."


def meaning(
    evidence: Evidence,
    verdict: Verdict,
    threshold: Threshold,
    names: Mapping[Role, str],
    blocks: Sequence[BlockEvidence] | None = None,
) -> str:
    """Say what the verdict on a pair means, of which nothing is claimed.

    Parameters
    ----------
    names : mapping
        What each side is called.
    blocks : sequence of BlockEvidence, optional
        Those that were judged; all of them by default.
    """
    judged = evidence.blocks if blocks is None else blocks
    return f"{IN_SHORT[verdict]} {_reason(evidence, verdict, threshold, names, judged)}"


def _reason(
    evidence: Evidence,
    verdict: Verdict,
    threshold: Threshold,
    names: Mapping[Role, str],
    blocks: Sequence[BlockEvidence],
) -> str:
    if evidence.log10_p is None:
        return WITHOUT_P
    if verdict == "dependent":
        return KINSHIP
    level = whole(threshold)
    if verdict == "independent":
        return f"{STRANGERS} {control_of_power(evidence, names, level)}".rstrip()
    if verdict == "not found":
        return not_found(evidence, names, level)
    if found_nothing(evidence, blocks, threshold):
        return " ".join(doubts(evidence, names, blocks, level)) or between(evidence)
    return at_bound(evidence, level) or few_units(blocks, threshold) or between(evidence)


def few_units(blocks: Sequence[BlockEvidence], threshold: Threshold) -> str | None:
    """Say that a small p-value of what was found inconclusive may come from universal units alone.

    None where the p-value is not below the threshold.
    """
    if decide_p(judged_p(blocks), whole(threshold)) == "dependent":
        return few_units_at(judged_p(beyond(blocks)))
    small = [b for b in blocks if is_below(b, level_of(b, threshold)) and not shows(b, threshold)]
    return few_units_at(beyond(small)[0].log10_p) if small else None


def few_units_at(log10_p: float | None) -> str:
    """Say that universal units may explain what agrees, with the p-value of more agreement than theirs."""
    says = (
        "The p-value is small, but so few units agree that models that never met could share them"
    )
    if log10_p is None:
        return f"{says}."
    return (
        f"{says}: with {UNIVERSAL:.0%} of the units taken for universal, p = {format_p(log10_p)}."
    )


def not_found(evidence: Evidence, names: Mapping[Role, str], threshold: float) -> str:
    """Say what a sample in which nothing was found looked at, what that is worth, and what shows more."""
    doubted = " ".join(doubts_of_models(evidence, names, threshold))
    return " ".join(filter(None, (sample_of(evidence, names), _NO_INDEPENDENCE, doubted)))


_NO_INDEPENDENCE = (
    "The rest may be kin: this is no independence. A larger sample shows more, and the whole models, "
    "compared without one, show all."
)


def between(evidence: Evidence) -> str:
    """Say that the numbers are neither those of kin nor of strangers, and what would decide."""
    more = more_of(evidence)
    return f"{BETWEEN}: more {more} would decide." if more else f"{BETWEEN}."


def more_of(evidence: Evidence) -> str | None:
    """What a test could be given more of, to show more; None where it reads all that there is."""
    if evidence.permutations is not None:
        return "permutations"
    row = REGISTRY.get(evidence.statistic)
    bases = set() if row is None else {part.basis for part in row.components()}
    return "tokens" if bases & {"activations", "embeddings"} else None
