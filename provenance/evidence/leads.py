"""How much nearer a model is to one of two kin than to the other, in units of what those two differ by.

Squared distances add up along a family's tree, as long as models learn apart from each other. So what a
model is farther from the second kin than from the first, over what the two differ by, is 1 where its way
leads through the first, however long it was trained since, and 0 where it left the way between them in the
middle. No number here has a p-value: the leads of siblings were counted (docs/identify.md).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

from provenance.evidence.bounds import LARGEST, first_fault

__all__ = ["LEAD_OF_HALF", "LEAD_OF_SIBLINGS", "Lead", "LeadFound", "LeadRecord"]

LEAD_OF_SIBLINGS = 0.8
"""`Lead.low` above which a model is nearer to one of two than their siblings were (`benchmarks.leads`).

That of siblings rises with the length of training on one text, so that it is well above the highest."""

LEAD_OF_HALF = 0.5
"""`Lead.lead` above which the way between the two is left in the half of the first.

An adapter lies at its base without its strong directions, and there siblings of it lead to it as children
do; with them, these leave the way in the middle."""

LeadFound = Literal["nearer", "farther", "not told"]
"""Nearer to the first than siblings of both are; nearer to the second; neither."""


@dataclass(frozen=True)
class Lead:
    """The lead of the first of two kin over the second, matrix by matrix.

    Attributes
    ----------
    blocks : tuple of (int, float, float)
        Of each block that was looked at, its index in the model, and how far its matrices are from those of
        the first and of the second: the middle of them, relative to their size.
    between : float
        The same of the first and the second; the middle of the blocks.
    lead : float
        What the model is farther from the second than from the first, over what the two differ by, all
        squared; the median over matrices.
    weak, low, high : float or None
        The same without the strong directions of either difference: the median, and the tenth part from
        below and from above. None where a difference is of low rank, so that nothing is left.
    matrices : int
        Matrices that were looked at.
    """

    blocks: tuple[tuple[int, float, float], ...]
    between: float
    lead: float
    weak: float | None
    low: float | None
    high: float | None
    matrices: int

    @property
    def distances(self) -> tuple[float, float]:
        """How far the model is from the first and from the second: the middle of the blocks."""
        return median(one[1] for one in self.blocks), median(one[2] for one in self.blocks)

    @property
    def ratio(self) -> float | None:
        """The distance to the second over that to the first; None where the first is no distance away."""
        first, second = self.distances
        return second / first if first > 0 else None

    @property
    def agreeing(self) -> int:
        """In how many blocks the first is nearer than the second."""
        return sum(first < second for _, first, second in self.blocks)

    @property
    def found(self) -> LeadFound:
        """What this says."""
        if self.low is None or self.high is None or abs(self.lead) <= LEAD_OF_HALF:
            return "not told"
        if self.low > LEAD_OF_SIBLINGS and self.lead > 0:
            return "nearer"
        return "farther" if self.high < -LEAD_OF_SIBLINGS and self.lead < 0 else "not told"

    def words(self, first: str, second: str) -> str:
        """The numbers, and what they say, in a clause; the two by their names."""
        near, far = self.distances
        times = "" if self.ratio is None else f", {self.ratio:.2f} times as far"
        lead = self.lead if self.weak is None else self.weak
        said = {
            "nearer": f"nearer to {first} than siblings of both are",
            "farther": f"nearer to {second} than siblings of both are",
            "not told": "siblings of both may lie so",
        }[self.found]
        return (
            f"its weights are {near:.2g} from {first} and {far:.2g} from {second}{times}; {first} is "
            f"nearer in {self.agreeing} of {len(self.blocks)} blocks, with a lead of {lead:.2f} of what "
            f"the two differ by: {said}"
        )

    def fault(self) -> str | None:
        """What no measurement gives; None where nothing is wrong."""
        far = [number for _, *both in self.blocks for number in both]
        shares = (self.lead, self.weak, self.low, self.high)
        quantiles = self.low, self.weak, self.high
        known = [one for one in quantiles if one is not None]
        wrong = {
            "a lead is of no block or matrix": not self.blocks or self.matrices < 1,
            "a distance is below 0": min([*far, self.between], default=0.0) < 0,
            "a distance is endless": not all(one <= LARGEST for one in (*far, self.between)),
            "a lead is endless": not all(
                abs(one) <= LARGEST**2 for one in shares if one is not None
            ),
            "a ratio of distances is endless": bool(self.blocks)
            and not (self.ratio or 0.0) <= LARGEST,
            "the quantiles of a lead are in no order": len(known) not in {0, 3}
            or sorted(known) != known,
            "a block of a lead stands twice": len({one[0] for one in self.blocks})
            < len(self.blocks),
            "a block of a lead is below 0": min((one[0] for one in self.blocks), default=0) < 0,
        }
        return first_fault(wrong)


@dataclass(frozen=True)
class LeadRecord:
    """The lead of the nearest kin over another, or a reason why it is not known."""

    other: str
    lead: Lead | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with what follows from the lead."""
        made = self.lead
        if made is None:
            return asdict(self)
        near, far = made.distances
        derived = {"found": made.found, "distances": [near, far], "ratio": made.ratio}
        lead = {**derived, "agreeing": made.agreeing, **asdict(made)}
        return {"other": self.other, "lead": lead, "reason": None}

    def words(self, first: str) -> str:
        """What is said of it, in a clause."""
        if self.lead is not None:
            return self.lead.words(first, self.other)
        return f"how much nearer than {self.other} is not known: {self.reason}"

    def fault(self) -> str | None:
        """What no measurement gives; None where nothing is wrong."""
        if (self.lead is None) == (self.reason is None):
            return "it has either a lead or a reason why there is none"
        return None if self.lead is None else self.lead.fault()
