"""Outcomes in words: what became of a claim, of a control and of a run, and what a gate makes of it.

Every output takes its words from here: the terminal, Markdown, SARIF, JUnit, the report, `explain`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from provenance.evidence.failures import failure_of
from provenance.evidence.wording import count
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.evidence.results import ClaimResult, ClaimState, Results

NAMED = 5
"""Claims that a line names, of those that were not run."""
Tone = Literal["bad", "doubt", "good", "plain"]


@dataclass(frozen=True)
class Outcome:
    """What became of a claim, in one word, and how several are ``counted``.

    ``exit_status`` is that of a run of pytest in which it is the worst. ``mark`` says it without colour,
    ``icon`` on GitHub.
    """

    key: str
    word: str
    counted: str
    exit_status: int
    tone: Tone
    mark: str
    icon: str

    @property
    def fails(self) -> bool:
        """Whether a gate stops at it."""
        return self.exit_status != 0

    def number(self, how_many: int) -> str:
        """Return a number of claims with this outcome, in words."""
        return f"{how_many} {self.word if how_many == 1 else self.counted}"


_BAD: tuple[Tone, str, str] = ("bad", "✗", ":x:")
_OPEN: tuple[Tone, str, str] = ("doubt", "?", ":x:")
_IDLE: tuple[Tone, str, str] = ("plain", "–", ":heavy_minus_sign:")

OUTCOMES = {
    outcome.key: outcome
    for outcome in (
        Outcome("false", "false", "false", 1, *_BAD),
        Outcome("other-kinship", "other kinship", "other kinship", 1, *_BAD),
        Outcome("too-few-blocks", "too few blocks", "too few blocks", 1, *_BAD),
        Outcome("control-failed", "control failed", "control failed", 1, *_BAD),
        Outcome("inconclusive", "inconclusive", "inconclusive", 1, *_OPEN),
        Outcome("not-checked", "not checked", "not checked", 1, *_OPEN),
        Outcome("unexpected-pass", "unexpected pass", "unexpected passes", 1, *_OPEN),
        Outcome("warned", "warned", "warned", 0, "doubt", "!", ":warning:"),
        Outcome("not-run", "not run", "not run", 0, *_IDLE),
        Outcome(
            "known", "known failure", "known failures", 0, "doubt", "≈", ":large_orange_diamond:"
        ),
        Outcome("skipped", "skipped", "skipped", 0, *_IDLE),
        Outcome("measured", "measured", "measured", 0, "plain", "=", ":information_source:"),
        Outcome("holds", "holds", "hold", 0, "good", "✓", ":white_check_mark:"),
    )
}
"""Every outcome by its key, the most urgent first. "false" is what was refuted, and nothing else."""

ALWAYS = ("false", "inconclusive", "not-checked", "holds")
"""Outcomes that a report counts though no claim has them."""

TITLES = {
    "pass": "every claim that was checked holds",
    "warn": "no claim is newly found false, and not every one was run and holds",
    "fail": "the gate is closed",
}
"""What a whole run comes to, by its state."""

_OF_STATE: dict[ClaimState, str] = {
    "warn": "warned",
    "not run": "not-run",
    "xfail": "known",
    "skip": "skipped",
}


def outcome_of(result: ClaimResult) -> Outcome:
    """What became of one claim."""
    kind = failure_of(result)
    if result.state == "fail" and kind is not None:
        return OUTCOMES[kind.outcome]
    done = "measured" if result.claim.expect == "unknown" else "holds"
    return OUTCOMES[_OF_STATE.get(result.state, done)]


def urgent_first(results: Results) -> tuple[ClaimResult, ...]:
    """The claims, the most urgent first, else in the order of their files."""
    order = list(OUTCOMES)
    return tuple(sorted(results.claims, key=lambda result: order.index(outcome_of(result).key)))


def urgent_last(results: Results) -> tuple[ClaimResult, ...]:
    """The claims, the most urgent last, else in the order of their files."""
    order = list(OUTCOMES)
    return tuple(sorted(results.claims, key=lambda result: -order.index(outcome_of(result).key)))


def counts(outcomes: Sequence[Outcome]) -> tuple[tuple[Outcome, int], ...]:
    """How many of each, the most urgent first, without zeros."""
    numbers = Counter(outcome.key for outcome in outcomes)
    return tuple((outcome, numbers[key]) for key, outcome in OUTCOMES.items() if numbers[key])


def shown_counts(outcomes: Sequence[Outcome]) -> tuple[tuple[Outcome, int], ...]:
    """The same with the zeros of `ALWAYS`, where anything is claimed."""
    found = {outcome.key: number for outcome, number in counts(outcomes)}
    if set(found) != {"measured"}:
        found = dict.fromkeys(ALWAYS, 0) | found
    return tuple((outcome, found[key]) for key, outcome in OUTCOMES.items() if key in found)


def headline(results: Results) -> str:
    """The whole run in one line: every claim counted once, and what gives pytest's exit status.

    Of an audit, what it found.
    """
    if results.audit is not None:
        return results.audit.finding
    unread = sum(not suite.claims for suite in results.suites)
    said = headline_of([outcome_of(result) for result in results.claims])
    return f"{count(unread, 'suite')} could not be read; {said}" if unread else said


def headline_of(outcomes: Sequence[Outcome]) -> str:
    """The counts of all outcomes in one line; those that fail first, with their exit status."""
    whole, found = count(len(outcomes), "claim"), counts(outcomes)
    if not found:
        return "no claims"
    if len(found) == 1 and found[0][0].key == "holds":
        return "the one claim holds" if len(outcomes) == 1 else f"all {whole} hold"
    if len(found) == 1 and found[0][0].key == "measured":
        return f"nothing is claimed; {count(len(outcomes), 'pair')} measured"
    failed, others = (
        ", ".join(outcome.number(number) for outcome, number in found if outcome.fails is fails)
        for fails in (True, False)
    )
    worst = max(outcome.exit_status for outcome, _ in found)
    closed = f"{failed} (exit status {worst})" if failed else ""
    return f"{whole}: {'; '.join(filter(None, (closed, others)))}"


def title(results: Results) -> str:
    """What the whole run comes to."""
    idle = all(not outcome_of(result).fails for result in results.claims)
    if results.state == "fail" and idle and all(suite.claims for suite in results.suites):
        return "nothing was checked"
    return TITLES[results.state]


def verdict_of(result: ClaimResult) -> str:
    """The verdict in a word."""
    if result.judgement is not None:
        return result.judgement.verdict
    idle = result.error is None and result.state in {"not run", "skip"}
    return OUTCOMES[_OF_STATE[result.state] if idle else "not-checked"].word


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
