"""What two descendants of one base share beyond it: how alike their differences from the base are.

No number here has a p-value. How alike the differences of siblings are was counted (docs/kinds.md), and
depends on what they were trained on; so what lies above all of them is called more than siblings share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from provenance.evidence.bounds import p_fault
from provenance.evidence.decomposition import ParentKinship  # noqa: TC001 - pydantic reads it

__all__ = ["MOST_OF_OTHERS", "MOST_OF_SIBLINGS", "SAID", "Found", "GivenDifference", "GivenRecord"]

MOST_OF_SIBLINGS = 0.6
"""`GivenDifference.low` above which two share more than any siblings did (`benchmarks.given`)."""
MOST_OF_OTHERS = 0.1
"""`GivenDifference.weak` and ``kept`` up to which two share no more than siblings did that learned other
texts. Noise on a copy hides a cosine, and no share."""

Found = Literal["more", "as siblings", "not known"]
"""What two share beyond their base: more than siblings do; as siblings of other texts do; neither."""
SAID: dict[Found, str] = {
    "more": "more than siblings share",
    "as siblings": "no more than siblings share that learned other texts",
    "not known": "siblings that learned the same text may share as much, and so may distant descendants",
}
"""The same in words."""


@dataclass(frozen=True)
class GivenDifference:
    """How alike the differences of two models from a base are, matrix by matrix.

    Attributes
    ----------
    cosine : float
        The median cosine of the two differences, -1 to 1.
    weak, low : float
        The median, and the tenth part from below, of the cosines without the strong directions of either.
    kept, share : float
        The share of the reference's difference that the candidate's has, by least squares: the median
        without the strong directions, and of the whole.
    sizes : tuple of float
        The candidate's and the reference's difference over the base's size.
    matrices : int
        Matrices that were looked at.
    """

    cosine: float
    weak: float
    low: float
    kept: float
    share: float
    sizes: tuple[float, float]
    matrices: int

    def words(self) -> str:
        """The numbers, and what they say, in one sentence without a full stop."""
        return (
            f"the cosine of their differences from it is {self.cosine:.2f}, and {self.weak:.2f} without "
            f"the strongest directions ({self.low:.2f} in a tenth of {self.matrices} matrices)"
        )

    @property
    def found(self) -> Found:
        """What this says."""
        if self.low > MOST_OF_SIBLINGS:
            return "more"
        shared = max(abs(self.weak), abs(self.kept))
        return "as siblings" if shared <= MOST_OF_OTHERS else "not known"


@dataclass(frozen=True)
class GivenRecord:
    """The base that a claim is given, whether the candidate is kin to it, and what is shared beyond it.

    ``difference`` is None where ``reason`` says why nothing could be measured.
    """

    base: ParentKinship
    difference: GivenDifference | None = None
    reason: str | None = None

    def fault(self) -> str | None:
        """What no measurement gives; None where nothing is wrong."""
        if (self.difference is None) == (self.reason is None):
            return "it has either a difference or a reason why there is none"
        fault = None if self.difference is None else _fault_of_difference(self.difference)
        return fault or p_fault(self.base.log10_p)


def _fault_of_difference(made: GivenDifference) -> str | None:
    cosines = (made.cosine, made.weak, made.low)
    if any(abs(cosine) > 1 + 1e-9 for cosine in cosines) or not math.isfinite(
        made.share + made.kept
    ):
        return "a cosine is from -1 to 1"
    if made.low > made.weak:
        return "a tenth of the cosines is below their median"
    return None if min(*made.sizes, made.matrices) > 0 else "sizes and numbers are above 0"
