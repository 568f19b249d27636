"""Who the kin of a model are among many references, as plain data."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from provenance.evidence.bounds import first_fault
from provenance.evidence.decide import SUSPICION, pair_p
from provenance.evidence.leads import LeadRecord  # noqa: TC001 - pydantic reads the annotations
from provenance.evidence.records import Evidence  # noqa: TC001 - pydantic reads the annotations
from provenance.statistics.pvalues import bonferroni, holm

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA = 1
Finding = Literal["kin", "in doubt", "none found", "not checked"]
"""What became of a reference. "none found" is no independence: only what decides was looked at."""
FINDINGS: tuple[Finding, ...] = get_args(Finding)


@dataclass(frozen=True)
class Closeness:
    """How close a model's units are to their nearest on the other side.

    Attributes
    ----------
    blocks : tuple of tuple
        Of each block of the model that was looked at, its index and its closeness, from 0 to 1: the mean
        over units of the cosine with the nearest unit, by gate. 1 for equals.
    measured_on : str
        The statistic on whose numbers: answers to token embeddings, weights, or activations.
    """

    blocks: tuple[tuple[int, float], ...]
    measured_on: str

    @property
    def mean(self) -> float:
        """The mean over the blocks."""
        return sum(value for _, value in self.blocks) / len(self.blocks)

    def exceeds(self, other: Closeness) -> bool:
        """Whether every block that both have is closer; of numbers of two kinds nothing is said."""
        if self.measured_on != other.measured_on:
            return False
        theirs = dict(other.blocks)
        pairs = [(value, theirs[index]) for index, value in self.blocks if index in theirs]
        return bool(pairs) and all(ours > value for ours, value in pairs)


@dataclass(frozen=True)
class Relative:
    """What one reference showed.

    Attributes
    ----------
    name, source : str
        What it was called, and where it is.
    log10_p : float or None
        log10 of its p-value, corrected for the looks at it; None where it is the same checkpoint, or was
        not compared.
    corrected : float or None
        The same, corrected over all references (Holm).
    finding : str
        See `Finding`.
    settled_by : str
        What was looked at: "digest", "3 of 30 blocks", "30 blocks".
    closeness : Closeness or None
        Of kin, how close their units are; it orders them.
    error : str or None
        Why it could not be compared, in one line.
    evidence : Evidence or None
        What its p-value was measured on.
    """

    name: str
    source: str
    log10_p: float | None = None
    corrected: float | None = None
    finding: Finding = "not checked"
    settled_by: str = ""
    closeness: Closeness | None = None
    error: str | None = None
    evidence: Evidence | None = field(default=None, repr=False)

    @property
    def same(self) -> bool:
        """Whether it is the very checkpoint that was to be identified."""
        return self.settled_by == DIGEST

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the evidence last."""
        close = None
        if self.closeness is not None:
            close = {"mean": self.closeness.mean, **asdict(self.closeness)}
        return {
            "name": self.name,
            "source": self.source,
            "finding": self.finding,
            "log10_p": self.log10_p,
            "corrected": self.corrected,
            "settled_by": self.settled_by,
            "closeness": close,
            "error": self.error,
            "evidence": None if self.evidence is None else self.evidence.to_dict(),
        }


DIGEST = "digest"
"""What settles a reference that is the very checkpoint: nothing need be compared."""


@dataclass(frozen=True)
class Identification:
    """One model against many references: the nearest kin first, then what shows least, then what failed.

    ``leads`` are those of the nearest kin over the few next ones, or why they are not known.
    """

    model: str
    digest: str
    alpha: float
    references: tuple[Relative, ...]
    leads: tuple[LeadRecord, ...] = ()

    @property
    def kin(self) -> tuple[Relative, ...]:
        """The references that are kin, the nearest first."""
        return tuple(one for one in self.references if one.finding == "kin")

    @property
    def nearest(self) -> Relative | None:
        """The nearest kin; None where no reference is kin."""
        return next(iter(self.kin), None)

    @property
    def as_near(self) -> tuple[Relative, ...]:
        """Further kin that may be as near as the first: not every block of theirs is less close.

        Where a lead tells which of the two is nearer, it decides.
        """
        first = self.nearest
        if first is None or first.same:
            return ()
        told = {one.other: one.lead.found for one in self.leads if one.lead is not None}
        return tuple(
            one
            for one in self.kin[1:]
            if told.get(one.name) == "farther"
            or (told.get(one.name) != "nearer" and not _nearer(first, one))
        )

    @property
    def failed(self) -> tuple[Relative, ...]:
        """The references that could not be compared."""
        return tuple(one for one in self.references if one.finding == "not checked")

    def named(self, name: str) -> Relative:
        """The reference of this name.

        Raises
        ------
        KeyError
            If there is none.
        """
        for one in self.references:
            if one.name == name:
                return one
        raise KeyError(name)

    def is_nearest(self, name: str) -> bool:
        """Whether the reference of this name is the nearest kin, and no other may be as near."""
        if self.named(name).same:  # another copy of it is no nearer
            return True
        return self.nearest is not None and self.nearest.name == name and not self.as_near

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "digest": self.digest,
            "alpha": self.alpha,
            "nearest": None if self.nearest is None else self.nearest.name,
            "as_near": [one.name for one in self.as_near],
            "leads": [one.to_dict() for one in self.leads],
            "references": [one.to_dict() for one in self.references],
        }

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(self.to_dict(), allow_nan=False)


def reference_p(evidence: Evidence, looks: int) -> float | None:
    """The p-value of a reference by one of several looks at it, log10; None where there is none."""
    log10_p = pair_p(evidence)
    return None if log10_p is None else bonferroni(log10_p, looks)


def concluded(measured: Sequence[Relative], alpha: float) -> tuple[Relative, ...]:
    """Correct the p-values over all references (Holm), those that failed included, and say who is kin."""
    tested = [one for one in measured if one.log10_p is not None]
    values = [one.log10_p for one in tested if one.log10_p is not None]
    corrected = dict(zip(map(id, tested), holm(values, len(measured)), strict=True))
    return tuple(_found(one, corrected.get(id(one)), alpha) for one in measured)


def at_level(found: Identification, alpha: float) -> Identification:
    """The same references judged at another level."""
    bare = [replace(one, corrected=None, finding="not checked") for one in found.references]
    references = in_order(concluded(bare, alpha))
    again = replace(found, alpha=alpha, references=references)
    others = {one.name for one in again.kin[1:]}
    names = [one.nearest and one.nearest.name for one in (found, again)]
    if names[0] != names[1]:  # the leads are another's
        return replace(again, leads=())
    return replace(again, leads=tuple(one for one in found.leads if one.other in others))


def check_identification(found: Identification) -> str | None:
    """Say the first thing that cannot be, of what somebody wrote; None where all follows from numbers."""
    references = found.references
    ps = [one.log10_p for one in references if one.log10_p is not None]
    wrong = {
        "alpha is no level": not 0 < found.alpha < 1,
        "there is no reference": not references,
        "two references have one name": len({one.name for one in references}) < len(references),
        "a log10 p-value of a reference is above 0": any(p > 0 for p in ps),
        "a closeness is no share, or of no block": not all(map(_is_closeness, references)),
        "a reference was neither compared nor has an error": not all(
            one.same or (one.log10_p is None) == (one.error is not None) for one in references
        ),
    }
    fault = first_fault(wrong)
    if fault is not None:
        return fault
    again = {one.name: one for one in at_level(found, found.alpha).references}
    for one in references:
        derived = again[one.name]
        if one.finding != derived.finding or not _is_same(one.corrected, derived.corrected):
            return "what is said of a reference does not follow from the p-values"
    if [one.name for one in in_order(references)] != [one.name for one in references]:
        return "the references are in no order"
    return _fault_of_leads(found)


def _fault_of_leads(found: Identification) -> str | None:
    """What of the leads cannot be; None where nothing is wrong."""
    others = [one.other for one in found.leads]
    if len(set(others)) < len(others) or not {*others} <= {one.name for one in found.kin[1:]}:
        return "a lead is over none of the other kin, or over one twice"
    return next((fault for one in found.leads if (fault := one.fault()) is not None), None)


def _is_closeness(one: Relative) -> bool:
    close = one.closeness
    if close is None:
        return True
    return bool(close.blocks) and all(0 <= value <= 1 for _, value in close.blocks)


def _is_same(ours: float | None, theirs: float | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-9)


def in_order(references: Sequence[Relative]) -> tuple[Relative, ...]:
    """The nearest kin first, then what shows least, then what failed."""

    def key(one: Relative) -> tuple[int, bool, float, float]:
        close = 0.0 if one.closeness is None else one.closeness.mean
        return FINDINGS.index(one.finding), not one.same, -close, one.log10_p or 0.0

    return tuple(sorted(references, key=key))


def _found(one: Relative, corrected: float | None, alpha: float) -> Relative:
    if one.same:
        return replace(one, finding="kin")
    if corrected is None:
        return one
    p = 10.0**corrected
    finding: Finding = "kin" if p < alpha else "in doubt" if p < SUSPICION else "none found"
    return replace(one, corrected=corrected, finding=finding)


def _nearer(one: Relative, other: Relative) -> bool:
    if one.closeness is None or other.closeness is None:
        return False
    return one.closeness.exceeds(other.closeness)
