"""Outcomes in words: what became of a claim, of a control and of a run, and why a gate stops.

Every output takes its words from here: the terminal, Markdown, SARIF, JUnit, the report, `explain`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.evidence.wording import READINGS, count
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.evidence.results import ClaimResult, ClaimState, Results

ORDER: tuple[ClaimState, ...] = ("fail", "warn", "not run", "xfail", "skip", "pass")
"""States of claims, the most urgent first."""

NAMED = 5
"""Claims that a line names, of those that were not run."""

WORDS: dict[ClaimState, str] = {
    "fail": "false",
    "warn": "warning",
    "not run": "not run",
    "xfail": "known failure",
    "skip": "skipped",
    "pass": "holds",
}

TITLES = {
    "pass": "every claim that was checked holds",
    "warn": "no claim is newly found false, and not every one was run and holds",
    "fail": "the gate is closed",
}
"""What a whole run comes to, by its state."""


@dataclass(frozen=True)
class FailureKind:
    """One way for a claim not to hold; ``remedy`` says what to do next."""

    id: str
    name: str
    summary: str
    remedy: str


_MORE_TOKENS = "Raise `inputs: tokens` in the suite and run it again."

FAILURES = {
    kind.id: kind
    for kind in (
        FailureKind(
            "false-independence",
            "FalseIndependence",
            f"Models that are claimed to be independent are not: {READINGS}.",
            "Do not release the candidate as independent of the reference: find out how it was made, and "
            "from which seed. If the descent is meant, claim it with `expect: derived` or a closer kind.",
        ),
        FailureKind(
            "no-kinship",
            "NoKinship",
            "The claimed descent is not there: the models look independently trained.",
            "Check that both models are the ones that are meant, and the right revisions. If they are, "
            "the claim is not true of them: correct `expect`.",
        ),
        FailureKind(
            "other-kinship",
            "OtherKinship",
            "The models are kin, but not in the way that is claimed.",
            "Read what was measured: the shapes, the digests or the number of kin blocks speak against "
            "this kind of descent. `expect: derived` claims kinship of any kind.",
        ),
        FailureKind(
            "inconclusive",
            "Inconclusive",
            "The evidence is too weak to prove the claim and too strong to refute it.",
            _MORE_TOKENS,
        ),
        FailureKind(
            "not-checked",
            "NotChecked",
            "The claim could not be checked.",
            "Mend what the message names (a path, a revision, access, memory), and run it again: a claim "
            "that was not checked is not known to hold.",
        ),
        FailureKind(
            "control-without-power",
            "ControlWithoutPower",
            "The test does not find a disguised copy of the reference, so its independence means nothing.",
            "Use another statistic, or more tokens, until the positive control is found dependent.",
        ),
        FailureKind(
            "control-not-null",
            "ControlNotNull",
            "Blocks that do not correspond look dependent: no dependence of this pair can be believed.",
            "Use another statistic or other inputs: on this pair small p-values come too easily.",
        ),
        FailureKind(
            "unexpected-pass",
            "UnexpectedPass",
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
        return false_kind(result.claim.expect, judgement.verdict)
    failed = {control.kind for control in result.controls if control.holds is False}
    if "positive" in failed:
        return "control-without-power"
    if "null" in failed:
        return "control-not-null"
    if any(part.outcome == "xpassed" for part in result.parts):
        return "unexpected-pass"
    return "not-checked"


def false_kind(expect: str, verdict: str) -> str:
    """The id of the kind of failure of a claim that was judged and does not hold."""
    if verdict == "inconclusive":
        return "inconclusive"
    if expect == "independent":  # independent and yet false: a block that it names was not there
        return "false-independence" if verdict == "dependent" else "not-checked"
    return "no-kinship" if verdict == "independent" else "other-kinship"


def urgent_first(results: Results) -> tuple[ClaimResult, ...]:
    """The claims, the most urgent first, else in the order of their files."""
    return tuple(sorted(results.claims, key=lambda result: ORDER.index(result.state)))


def state_counts(results: Results) -> dict[ClaimState, int]:
    """How many claims are in each state, the most urgent first, without zeros."""
    states = [result.state for result in results.claims]
    return {state: states.count(state) for state in ORDER if state in states}


def headline(results: Results) -> str:
    """The whole run in one line."""
    parts = [f"{number} {WORDS[state]}" for state, number in state_counts(results).items()]
    return f"{count(len(results.claims), 'claim')}: {', '.join(parts)}" if parts else "no claims"


def verdict_of(result: ClaimResult) -> str:
    """The verdict in a word."""
    if result.judgement is not None:
        return result.judgement.verdict
    idle = result.error is None and result.state in {"not run", "skip"}
    return WORDS[result.state] if idle else "not checked"


def table_word(result: ClaimResult) -> str:
    """The outcome in the table at the end of a run: FALSE, WARN, ok, "known failure" or "not run".

    A failure of the positive control is left out: several claims share it, and it has a test of its own.
    """
    own = (part for part in result.parts if not part.nodeid.endswith("[positive]"))
    if any(part.outcome == "failed" for part in own):
        return "FALSE"
    warns = result.judgement is not None and result.judgement.state == "warns"
    if warns:
        return "WARN"
    return WORDS[result.state] if result.state in {"xfail", "not run", "skip"} else "ok"


def left_out(results: Results) -> str | None:
    """Say which claims a run did not check, or not to the end; None where it checked all."""
    names = [result.claim.id for result in results.claims if result.state in {"not run", "skip"}]
    if not names:
        return None
    shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    return f"{len(names)} of {count(len(results.claims), 'claim')} not run: {shown}"


def p_value(log10_p: float | None, absent: str = "-") -> str:
    """A p-value as people write it, or ``absent`` where there is none."""
    return absent if log10_p is None else format_p(log10_p)


def p_equation(log10_p: float | None) -> str:
    """A p-value as an equation."""
    return "no p-value" if log10_p is None else f"p = {format_p(log10_p)}"


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


CONTROL_OUTCOMES = {
    True: "as it must be",
    False: "not as it must be: what this claim measured cannot be relied on",
    None: "too little to tell",
}
"""What became of a control, by whether it holds."""

CONTROL_MEANINGS = {
    True: "The control holds.",
    False: "The control fails: do not believe what the statistic says of this pair.",
    None: "There was too little to tell.",
}


@dataclass(frozen=True)
class Status:
    """What became of a claim. ``mark`` says it without colour, ``word`` without either."""

    key: str
    mark: str
    word: str


STATUSES = {
    "false": Status("false", "✗", "false"),
    "failed": Status("failed", "✗", "failed"),
    "warned": Status("warned", "!", "warned"),
    "known": Status("known", "≈", "known to be false"),
    "skipped": Status("skipped", "–", "not checked"),
    "measured": Status("measured", "=", "measured"),
    "held": Status("held", "✓", "holds"),
}
"""By urgency."""

COUNTED = {
    "held": "held",
    "false": "false",
    "failed": "failed",
    "warned": "warned",
    "known": "known to be false",
    "skipped": "not checked",
    "measured": "measured, nothing claimed",
}
ALWAYS = ("held", "false", "warned", "skipped")


def status_of(result: ClaimResult) -> Status:
    """What became of one claim."""
    simple = {"warn": "warned", "xfail": "known", "skip": "skipped", "not run": "skipped"}
    state = result.state
    if state in simple:
        return STATUSES[simple[state]]
    if state == "fail":
        false = result.judgement is not None and result.judgement.state == "fails"
        return STATUSES["false" if false else "failed"]
    return STATUSES["measured" if result.claim.expect == "unknown" else "held"]


def status_counts(statuses: Sequence[Status]) -> tuple[tuple[str, int, str], ...]:
    """How many of each: key, number, word; the usual four always."""
    numbers = Counter(status.key for status in statuses)
    if set(numbers) == {"measured"}:
        return (("measured", numbers["measured"], COUNTED["measured"]),)
    return tuple(
        (key, numbers[key], word) for key, word in COUNTED.items() if numbers[key] or key in ALWAYS
    )


def outcome_of(statuses: Sequence[Status]) -> str:
    """The outcome of the whole in one sentence."""
    numbers = Counter(status.key for status in statuses)
    measured, held = numbers["measured"], numbers["held"]
    claimed = len(statuses) - measured
    if claimed == numbers["skipped"]:
        if not measured:
            return "Nothing was checked."
        pairs = "1 pair was" if measured == 1 else f"{measured} pairs were"
        return f"Nothing is claimed; {pairs} measured."
    whole = count(claimed, "claim")
    for key, (one, more) in _WRONG.items():
        if numbers[key]:
            return f"{numbers[key]} of {whole} {one if numbers[key] == 1 else more}."
    if held == claimed:
        return "The one claim holds." if claimed == 1 else f"All {claimed} claims hold."
    return f"{held} of {whole} {'holds' if held == 1 else 'hold'}; none is newly found false."


_WRONG = {
    "false": ("is false", "are false"),
    "failed": ("failed", "failed"),
    "warned": ("is in doubt", "are in doubt"),
}
