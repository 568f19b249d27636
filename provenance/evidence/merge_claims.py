"""Holds a claim of a merge with named parents against the shares that were found of them.

`provenance.differences.merge` measures the shares. They have no p-value: docs/kinds.md counts how often the
reading errs, on merges whose shares are known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from provenance.evidence.decide import decide_p
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.evidence.decomposition import Decomposition, MergeRecord, ParentKinship
    from provenance.evidence.records import Evidence
    from provenance.evidence.sparse_merge import SparseMerge
    from provenance.suite.claims import Claim

    Shares = Decomposition | SparseMerge

__all__ = ["MergeClaim", "MergeReading", "read_merge", "reading_of"]

WIDE = 0.1
"""Half of an interval of a share above which the matrices tell too different shares to judge a claim."""

Parents = tuple[tuple[str, float | None], ...]
"""Names of parents, and the shares that are claimed of them, if any are."""


@dataclass(frozen=True)
class MergeClaim:
    """What is claimed of a merge: its parents, and how far their shares may be from what is said."""

    candidate: str
    parents: Parents
    tolerance: float
    threshold: float

    @classmethod
    def of(cls, claim: Claim) -> MergeClaim:
        """The part of a suite's claim that is about parents."""
        return cls(claim.candidate, claim.parents, claim.tolerance, claim.threshold)


@dataclass(frozen=True)
class MergeReading:
    """What the shares say of a claim: that it holds, that something else was found, or neither, and why."""

    says: Literal["holds", "other", "unsure"]
    why: str


def reading_of(claim: Claim, evidence: Evidence) -> MergeReading:
    """What was found of the parents that a claim names."""
    return read_merge(MergeClaim.of(claim), evidence.merge)


def read_merge(claim: MergeClaim, record: MergeRecord | None) -> MergeReading:
    """Hold what is claimed of a merge's parents against what was measured; None: nothing was."""
    if record is None or len(record.parents) != len(claim.parents):
        return MergeReading("unsure", "the shares of the parents were not measured")
    named = zip((name for name, _ in claim.parents), record.parents, strict=True)
    stranger = next(filter(None, (_stranger(claim, *one) for one in named)), None)
    if stranger is not None:
        return stranger
    if record.fitted is None:
        return MergeReading("unsure", record.reason or "the parents could not be mapped")
    return _of_shares(claim, record.fitted)


def _stranger(claim: MergeClaim, name: str, parent: ParentKinship) -> MergeReading | None:
    """That a parent is not kin to the candidate, or not known to be; None where it is."""
    verdict = decide_p(parent.log10_p, claim.threshold)
    if verdict == "dependent":
        return None
    p = "no p-value" if parent.log10_p is None else f"p = {format_p(parent.log10_p)}"
    if verdict == "independent" and parent.doubt is None:
        return MergeReading("other", f"{claim.candidate} shows no kinship to {name} ({p})")
    doubt = "" if parent.doubt is None else f" {parent.doubt.rstrip('.')}"
    why = f"whether {claim.candidate} is kin to {name} is open ({p})"
    return MergeReading("unsure", f"{why}.{doubt}" if doubt else why)


def _of_shares(claim: MergeClaim, fitted: Decomposition) -> MergeReading:
    names = [name for name, _ in claim.parents]
    told = fitted.told
    # a merge of changes from a base is made of it, even where the changes' shares sum to 1
    base = None if fitted.sparse is None else fitted.sparse.base
    found = f"{_in_words(names, told)}; {fitted.left_in_words()}"
    if fitted.sparse is not None:
        found = f"{found}; {fitted.sparse.words()}"
    absent = [
        name
        for i, (name, share) in enumerate(claim.parents)
        if i != base
        and _is_absent(told, i, claim.tolerance)
        and (share is None or abs(share) > claim.tolerance)
    ]
    if absent:
        return MergeReading(
            "other", f"{claim.candidate} takes nothing of {' and '.join(absent)}: {found}"
        )
    said = [place for place, (_, share) in enumerate(claim.parents) if share is not None]
    if not (fitted.is_explained or (not said and fitted.is_explained_by_block)):
        return MergeReading("unsure", f"these parents alone do not make it up: {found}")
    if any(_half(told, place) > WIDE for place in said):
        return MergeReading("unsure", f"the shares differ from matrix to matrix: {found}")
    if any(_is_off(told, i, share, claim.tolerance) for i, (_, share) in enumerate(claim.parents)):
        return MergeReading("other", f"{claim.candidate} has {found}")
    return MergeReading("holds", found)


def _half(fitted: Shares, place: int) -> float:
    return (fitted.high[place] - fitted.low[place]) / 2


def _is_absent(fitted: Shares, place: int, tolerance: float) -> bool:
    """Whether a parent has no share, as surely as shares are known."""
    if _half(fitted, place) > WIDE or abs(fitted.shares[place]) > tolerance:
        return False
    return fitted.low[place] <= 0 <= fitted.high[place]


def _is_off(fitted: Shares, place: int, share: float | None, tolerance: float) -> bool:
    """Whether a share is neither near what is claimed, nor has an interval that holds it."""
    if share is None or abs(fitted.shares[place] - share) <= tolerance:
        return False
    return not fitted.low[place] <= share <= fitted.high[place]


def _in_words(names: Sequence[str], fitted: Shares) -> str:
    parts = (
        f"{_number(share)} of {name} ({_number(low)} to {_number(high)})"
        for name, share, low, high in zip(
            names, fitted.shares, fitted.low, fitted.high, strict=True
        )
    )
    return ", ".join(parts)


def _number(share: float) -> str:
    return f"{round(share, 3) + 0.0:g}"
