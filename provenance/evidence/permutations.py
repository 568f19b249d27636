"""What a permutation test can show: its p-value is no smaller than one over its draws and one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provenance.evidence.records import Evidence

ROUNDING = 1e-9
"""Of a log10 p-value."""


def at_bound(evidence: Evidence, threshold: float) -> str | None:
    """Say that a p-value is the least that its permutations allow, and is not below the threshold.

    None where it is not, or is below: then it decides.
    """
    drawn, log10_p = evidence.permutations, evidence.log10_p
    if drawn is None or log10_p is None:
        return None
    if log10_p > ROUNDING - math.log10(drawn + 1) or log10_p < math.log10(threshold):
        return None
    return (
        f"By {evidence.statistic} the two are more alike than with each of {drawn} permutations of the "
        f"reference. With so many p cannot be smaller than 1/{drawn + 1}, and the threshold is "
        f"{threshold:.2g}: at least {math.ceil(1 / threshold)} permutations are needed, or another "
        "statistic."
    )
