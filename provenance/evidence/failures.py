"""The kinds of failure: in which way a claim does not hold, why, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.evidence.nearest import nearest_shortfall
from provenance.evidence.verdict import shortfall
from provenance.evidence.wording import READINGS

if TYPE_CHECKING:
    from provenance.evidence.results import ClaimResult


@dataclass(frozen=True)
class FailureKind:
    """One way for a claim not to hold; ``remedy`` says what to do next.

    ``outcome`` is the key of its word in `provenance.evidence.outcomes.OUTCOMES`.
    """

    id: str
    name: str
    outcome: str
    summary: str
    remedy: str


_AS_IT_SAYS = (
    "Mend what the message names. Where it names nothing but numbers, raise `inputs: tokens` in the suite "
    "and run it again."
)

FAILURES = {
    kind.id: kind
    for kind in (
        FailureKind(
            "false-independence",
            "FalseIndependence",
            "false",
            f"Models that are claimed to be independent are not: {READINGS}.",
            "Do not release the candidate as independent of the reference: find out how it was made, and "
            "from which seed. If the descent is meant, claim it with `expect: derived` or a closer kind.",
        ),
        FailureKind(
            "no-kinship",
            "NoKinship",
            "false",
            "The claimed descent is not there: the models look independently trained.",
            "Check that both models are the ones that are meant, and the right revisions. If they are, "
            "the claim is not true of them: correct `expect`.",
        ),
        FailureKind(
            "other-kinship",
            "OtherKinship",
            "other-kinship",
            "The models are kin, but not in the way that is claimed.",
            "Read what was measured: the shapes, the digests or the weights speak against this kind of "
            "descent. `expect: derived` claims kinship of any kind.",
        ),
        FailureKind(
            "not-nearest",
            "NotNearest",
            "false",
            "The nearest kin among the references is not the one that is claimed.",
            "Read which reference is nearer, or that none is kin, and check that the models are those that "
            "are meant. If they are, the claim is not true of them: correct `expect: {nearest: ...}`.",
        ),
        FailureKind(
            "too-few-blocks",
            "TooFewBlocks",
            "too-few-blocks",
            "The models are kin, but fewer blocks show it than the claim asks for.",
            "Read which blocks show none. Where that is meant, say how many must: "
            "`blocks: {at_least: 0.5}`.",
        ),
        FailureKind(
            "inconclusive",
            "Inconclusive",
            "inconclusive",
            "What was measured neither proves the claim nor refutes it: the message says why.",
            _AS_IT_SAYS,
        ),
        FailureKind(
            "not-checked",
            "NotChecked",
            "not-checked",
            "The claim could not be checked.",
            "Mend what the message names (a path, a revision, access, memory), and run it again: a claim "
            "that was not checked is not known to hold.",
        ),
        FailureKind(
            "control-without-power",
            "ControlWithoutPower",
            "control-failed",
            "The test does not find a disguised copy of the reference, so its independence means nothing.",
            "Use another statistic, or more tokens, until the positive control is found dependent.",
        ),
        FailureKind(
            "control-not-null",
            "ControlNotNull",
            "control-failed",
            "Blocks that do not correspond look dependent: no dependence of this pair can be believed.",
            "Use another statistic or other inputs: on this pair small p-values come too easily.",
        ),
        FailureKind(
            "unexpected-pass",
            "UnexpectedPass",
            "unexpected-pass",
            "A claim that the suite calls a known failure holds.",
            "Take `xfail` off the claim.",
        ),
    )
}
"""Every kind of failure, by its id."""


def failure_of(result: ClaimResult) -> FailureKind | None:
    """Say what stops a gate at a claim, or would; None where nothing does."""
    if result.state in {"pass", "skip", "not run"}:
        return None
    return FAILURES[_kind(result)]


def _kind(result: ClaimResult) -> str:
    judgement = result.judgement
    if judgement is None:
        return "not-checked"
    if judgement.state in {"fails", "warns"}:
        return shortfall_of(result).id
    failed = {control.kind for control in result.controls if control.holds is False}
    if "positive" in failed:
        return "control-without-power"
    if "null" in failed:
        return "control-not-null"
    if any(part.outcome == "xpassed" for part in result.parts):
        return "unexpected-pass"
    return "not-checked"


def shortfall_of(result: ClaimResult) -> FailureKind:
    """Say in what way a claim was judged not to hold."""
    assert result.judgement is not None
    if result.found is not None:
        return FAILURES[nearest_shortfall(result.claim, result.found) or "not-checked"]
    if result.evidence is None:
        return FAILURES["not-checked"]
    kind = shortfall(result.claim, result.evidence, result.judgement.verdict)
    if kind != "refuted":
        return FAILURES[kind]
    independent = result.claim.expect == "independent"
    return FAILURES["false-independence" if independent else "no-kinship"]


def reasons(result: ClaimResult) -> tuple[str, ...]:
    """Why the claim does not hold, a sentence or two each: measured, meaning, controls, errors."""
    judgement = result.judgement
    if judgement is None:
        return (f"could not be checked: {result.error or _first_failure(result)}",)
    if judgement.state in {"fails", "warns"}:
        return (judgement.measured, judgement.meaning)
    failed = (part.message for part in result.parts if part.outcome in {"failed", "xpassed"})
    return tuple(message for message in failed if message)


def _first_failure(result: ClaimResult) -> str:
    return next((part.message for part in result.parts if part.message), "no reason was given")
