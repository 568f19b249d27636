"""What became of claims, in the words of the report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from provenance.evidence.wording import describe
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.evidence.results import ClaimResult


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


def status(result: ClaimResult) -> Status:
    """What became of one claim."""
    simple = {"warn": "warned", "xfail": "known", "skip": "skipped", "not run": "skipped"}
    state = result.state
    if state in simple:
        return STATUSES[simple[state]]
    if state == "fail":
        false = result.judgement is not None and result.judgement.state == "fails"
        return STATUSES["false" if false else "failed"]
    return STATUSES["measured" if result.claim.expect == "unknown" else "held"]


def sentence(result: ClaimResult) -> str:
    """The claim as a sentence; where nothing is claimed, the two models."""
    claim = result.claim
    if claim.expect == "unknown":
        return f"{claim.candidate} and {claim.reference}"
    return describe(claim)


def p_or_dash(log10_p: float | None) -> str:
    """A p-value, or a dash."""
    return "–" if log10_p is None else format_p(log10_p)


def counts(statuses: Sequence[Status]) -> tuple[tuple[str, int, str], ...]:
    """How many of each: key, number, word; the usual four always."""
    found = Counter(one.key for one in statuses)
    if set(found) == {"measured"}:
        return (("measured", found["measured"], "measured, nothing claimed"),)
    return tuple(
        (key, found[key], word) for key, word in COUNTED.items() if found[key] or key in ALWAYS
    )


def outcome(statuses: Sequence[Status]) -> str:
    """The outcome of the whole in one sentence."""
    found = Counter(one.key for one in statuses)
    claimed = len(statuses) - found["measured"]
    if claimed == found["skipped"]:
        measured = _many(found["measured"], "pair was", "pairs were")
        return f"Nothing is claimed; {measured} measured." if measured[0] != "0" else _NOTHING
    whole = _many(claimed, "claim", "claims")
    for key, (one, more) in _WRONG.items():
        if found[key]:
            return f"{found[key]} of {whole} {one if found[key] == 1 else more}."
    held = found["held"]
    if held == claimed:
        return "The one claim holds." if claimed == 1 else f"All {claimed} claims hold."
    return f"{held} of {whole} {'holds' if held == 1 else 'hold'}; none is newly found false."


_NOTHING = "Nothing was checked."
_WRONG = {
    "false": ("is false", "are false"),
    "failed": ("failed", "failed"),
    "warned": ("is in doubt", "are in doubt"),
}


def _many(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def spoken_date(created: str) -> str:
    """A date and time in UTC as people write it; what is no date, as it is."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"
