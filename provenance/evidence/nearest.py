"""Judges a claim of the nearest kin: that among many references it is this one, or that none is kin.

What was found of the references (`Identification`) is all that is needed: no model, and no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from provenance.evidence.meaning import KINSHIP
from provenance.evidence.verdict import Judgement
from provenance.evidence.wording import count
from provenance.statistics.pvalues import format_p
from provenance.vocabulary import NO_KIN

if TYPE_CHECKING:
    from provenance.evidence.relatives import Finding, Identification, Relative
    from provenance.suite.claims import Claim
    from provenance.vocabulary import Verdict

NearestShortfall = Literal["not-nearest", "inconclusive", "not-checked"]
"""In what way a claim of the nearest kin does not hold: only the first is a false one."""

HEAD = ("reference", "finding", "p", "p over all", "closeness", "looked at")
"""What is shown of each reference; see `cells_of`."""

_VERDICTS: dict[Finding, Verdict] = {
    "kin": "dependent",
    "in doubt": "inconclusive",
    "none found": "not found",
    "not checked": "inconclusive",
}
_ORDER = "Closeness orders kin; it does not say which of two came first."
_NONE = (
    "No reference shows kinship where it was looked at. That is no independence, of which a claim compares "
    "all of a pair."
)


def judge_nearest(claim: Claim, found: Identification) -> Judgement:
    """Judge a claim of the nearest kin.

    The verdict is on the pair of the candidate and the reference that is claimed; where no kin is claimed,
    on the candidate and all references.
    """
    short = nearest_shortfall(claim, found)
    verdict, measured = _verdict(claim, found), _measured(claim, found)
    if short is None:
        meaning = _NONE if claim.reference == NO_KIN else f"{KINSHIP} {_ORDER}"
        return Judgement("holds", verdict, measured, meaning)
    lenient = claim.inconclusive == "warn" and claim.xfail is None and short == "inconclusive"
    return Judgement("warns" if lenient else "fails", verdict, measured, _why(claim, found, short))


def nearest_shortfall(claim: Claim, found: Identification) -> NearestShortfall | None:
    """Say in what way the claim does not hold; None where it does.

    A reference that could not be compared might be the nearest, so that the claim is then not checked,
    unless what was compared refutes it.
    """
    if claim.reference == NO_KIN:
        if found.kin:
            return "not-nearest"
        in_doubt = any(one.finding == "in doubt" for one in found.references)
        return "not-checked" if found.failed else "inconclusive" if in_doubt else None
    claimed = found.named(claim.reference)
    if claimed.finding == "none found":
        return "not-nearest"
    if claimed.finding != "kin":
        return "inconclusive" if claimed.finding == "in doubt" else "not-checked"
    if found.is_nearest(claimed.name):
        return None if claimed.same or not found.failed else "not-checked"
    return "inconclusive" if claimed in (found.nearest, *found.as_near) else "not-nearest"


def compared_with(claim: Claim, found: Identification) -> Relative | None:
    """The reference that a claim is shown beside: the one that it names, or of none the likeliest kin.

    None where no evidence was measured on it.
    """
    if claim.reference != NO_KIN:
        named = found.named(claim.reference)
        return None if named.evidence is None else named
    measured = [one for one in found.references if one.evidence is not None]
    return min(measured, key=lambda one: one.corrected or 0.0, default=None)


def nearest_log10_p(claim: Claim, found: Identification) -> float | None:
    """log10 of the claim's p-value over all references: of the one that it names, or of none the least.

    None where that is the very checkpoint, or was not compared.
    """
    if claim.reference != NO_KIN:
        return found.named(claim.reference).corrected
    ps = (one.corrected for one in found.references)
    return min((p for p in ps if p is not None), default=None)


def nearest_in_words(found: Identification) -> str:
    """Who is the nearest kin, in one sentence."""
    first, number = found.nearest, count(len(found.references), "reference")
    if first is None:
        return f"no kin found among {number}"
    if first.same:
        return f"nearest kin: {first.name}, the very checkpoint"
    said = f"nearest kin: {first.name}, {_p(first)} over {number}"
    also = ", ".join(one.name for one in found.as_near)
    return f"{said}; as near, by some blocks: {also}" if also else said


def leads_in_words(found: Identification) -> tuple[str, ...]:
    """How much nearer the nearest kin is than each of the next ones, in a clause each."""
    first = found.nearest
    return () if first is None else tuple(one.words(first.name) for one in found.leads)


def cells_of(one: Relative) -> tuple[str, ...]:
    """What one reference showed, under `HEAD`."""
    close = "-" if one.closeness is None else f"{one.closeness.mean:.4f}"
    ps = ("-" if p is None else format_p(p) for p in (one.log10_p, one.corrected))
    return one.name, one.finding, *ps, close, one.settled_by or "-"


def _verdict(claim: Claim, found: Identification) -> Verdict:
    if claim.reference != NO_KIN:
        return _VERDICTS[found.named(claim.reference).finding]
    findings = {one.finding for one in found.references}
    order: tuple[Finding, ...] = ("kin", "in doubt", "not checked", "none found")
    return _VERDICTS[next(finding for finding in order if finding in findings)]


def _measured(claim: Claim, found: Identification) -> str:
    """What was found, and of the reference that is claimed where that is another."""
    said = f"{nearest_in_words(found)} (threshold {claim.threshold:.2g})"
    said = "; ".join([said, *leads_in_words(found)])
    if claim.reference != NO_KIN and claim.reference != getattr(found.nearest, "name", None):
        claimed = found.named(claim.reference)
        p = "" if claimed.corrected is None else f", {_p(claimed)} over all"
        said += f"; {claimed.name}: {claimed.finding}{p}"
    if found.failed:
        said += f"; {count(len(found.failed), 'reference')} could not be compared"
    return said


def _why(claim: Claim, found: Identification, short: NearestShortfall) -> str:
    if short == "not-checked":
        failed = next((one for one in found.failed if one.name == claim.reference), found.failed[0])
        return f"{failed.name} could not be compared, which might be the nearest: {failed.error}"
    if short == "inconclusive":
        doubted = [one.name for one in found.references if one.finding == "in doubt"]
        named = [name for name in doubted if claim.reference in {name, NO_KIN}]
        if named:
            return f"Whether {' and '.join(named)} is kin stays open: the agreement is too weak to say."
        return (
            "By some blocks another reference is as near, so that which is the nearest stays open."
        )
    if found.nearest is None:
        return "The claim is false: no reference shows kinship."
    if claim.reference == NO_KIN:
        return f"The claim is false: {found.nearest.name} is kin."
    return f"The claim is false: the nearest kin is {found.nearest.name}."


def _p(one: Relative) -> str:
    return "no p-value" if one.corrected is None else f"p = {format_p(one.corrected)}"
