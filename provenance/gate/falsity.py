"""Why a gate stops at a claim: one kind of falsity a claim, in words that every output shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.evidence.wording import describe
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    from provenance.evidence.results import ClaimResult, Results, State

ORDER: tuple[State, ...] = ("fail", "warn", "not run", "xfail", "skip", "pass")
"""States of claims, the most urgent first."""

WORDS: dict[State, str] = {
    "fail": "false",
    "warn": "warning",
    "not run": "not run",
    "xfail": "known failure",
    "skip": "skipped",
    "pass": "holds",
}


@dataclass(frozen=True)
class Falsity:
    """One way for a claim not to hold; ``remedy`` says what to do next."""

    id: str
    name: str
    summary: str
    remedy: str


_MORE_TOKENS = "Raise `inputs: tokens` in the suite and run it again."

FALSITIES = {
    kind.id: kind
    for kind in (
        Falsity(
            "false-independence",
            "FalseIndependence",
            "Models that are claimed to be independent share a lineage.",
            "Do not release the candidate as independent of the reference: find out how it was made. If "
            "the descent is meant, claim it with `expect: derived` or a closer kind.",
        ),
        Falsity(
            "no-kinship",
            "NoKinship",
            "The claimed descent is not there: the models look independently trained.",
            "Check that both models are the ones that are meant, and the right revisions. If they are, "
            "the claim is not true of them: correct `expect`.",
        ),
        Falsity(
            "other-kinship",
            "OtherKinship",
            "The models are kin, but not in the way that is claimed.",
            "Read what was measured: the shapes, the digests or the number of kin blocks speak against "
            "this kind of descent. `expect: derived` claims kinship of any kind.",
        ),
        Falsity(
            "inconclusive",
            "Inconclusive",
            "The evidence is too weak to prove the claim and too strong to refute it.",
            _MORE_TOKENS,
        ),
        Falsity(
            "not-checked",
            "NotChecked",
            "The claim could not be checked.",
            "Mend what the message names (a path, a revision, access, memory), and run it again: a claim "
            "that was not checked is not known to hold.",
        ),
        Falsity(
            "control-without-power",
            "ControlWithoutPower",
            "The test does not find a disguised copy of the reference, so its independence means nothing.",
            "Use another statistic, or more tokens, until the positive control is found dependent.",
        ),
        Falsity(
            "control-not-null",
            "ControlNotNull",
            "Blocks that do not correspond look dependent: no dependence of this pair can be believed.",
            "Use another statistic or other inputs: on this pair small p-values come too easily.",
        ),
        Falsity(
            "unexpected-pass",
            "UnexpectedPass",
            "A claim that the suite calls a known failure holds.",
            "Take `xfail` off the claim.",
        ),
    )
}
"""Every kind, by its id."""


def falsity(result: ClaimResult) -> Falsity | None:
    """Say what kind of falsity stops a gate at a claim, or would; None where nothing does."""
    if result.state in {"pass", "skip", "not run"}:
        return None
    return FALSITIES[_kind(result)]


def _kind(result: ClaimResult) -> str:
    judgement = result.judgement
    if judgement is None:
        return "not-checked"
    if judgement.state in {"fails", "warns"}:
        return _false(result.claim.expect, judgement.verdict)
    failed = {control.kind for control in result.controls if control.holds is False}
    if "positive" in failed:
        return "control-without-power"
    if "null" in failed:
        return "control-not-null"
    if any(part.outcome == "xpassed" for part in result.parts):
        return "unexpected-pass"
    return "not-checked"


def _false(expect: str, verdict: str) -> str:
    if verdict == "inconclusive":
        return "inconclusive"
    if expect == "independent":  # independent and yet false: a block that it names was not there
        return "false-independence" if verdict == "dependent" else "not-checked"
    return "no-kinship" if verdict == "independent" else "other-kinship"


def urgent_first(results: Results) -> tuple[ClaimResult, ...]:
    """The claims, the most urgent first, else in the order of their files."""
    return tuple(sorted(results.claims, key=lambda result: ORDER.index(result.state)))


def counts(results: Results) -> dict[State, int]:
    """How many claims are in each state, the most urgent first, without zeros."""
    states = [result.state for result in results.claims]
    return {state: states.count(state) for state in ORDER if state in states}


def headline(results: Results) -> str:
    """The whole run in one line."""
    found = counts(results)
    parts = [f"{number} {WORDS[state]}" for state, number in found.items()]
    total = len(results.claims)
    claims = "1 claim" if total == 1 else f"{total} claims"
    return f"{claims}: {', '.join(parts)}" if parts else "no claims"


def verdict_of(result: ClaimResult) -> str:
    """The verdict in a word."""
    if result.judgement is not None:
        return result.judgement.verdict
    idle = result.error is None and result.state in {"not run", "skip"}
    return WORDS[result.state] if idle else "not checked"


def p_of(result: ClaimResult) -> str:
    """The p-value of the claim as people write it, or a dash."""
    return "-" if result.log10_p is None else format_p(result.log10_p)


def reasons(result: ClaimResult) -> tuple[str, ...]:
    """Why the claim does not hold, a sentence or two each: measured, meaning, controls, errors."""
    said: list[str] = []
    judgement = result.judgement
    if judgement is None:
        said.append(f"could not be checked: {result.error or _first_failure(result)}")
    elif judgement.state in {"fails", "warns"}:
        said += [judgement.measured, judgement.meaning]
    else:
        failed = [part.message for part in result.parts if part.outcome in {"failed", "xpassed"}]
        said += [message for message in failed if message]
    return tuple(said)


def _first_failure(result: ClaimResult) -> str:
    return next((part.message for part in result.parts if part.message), "no reason was given")


def sentence(result: ClaimResult) -> str:
    """What is claimed, as a sentence."""
    return describe(result.claim)
