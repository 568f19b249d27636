"""The bounds of the values that evidence may hold."""

from __future__ import annotations

LEAST = -1e15
"""Below every log10 p-value: models with billions of units give -1e12, and sums of more overflow."""
MOST = 2**63 - 1
"""Above every count: units, permutations."""


def p_fault(log10_p: float | None) -> str | None:
    """Why this is no log10 of a p-value, in words; None where it is, or there is none."""
    if log10_p is not None and log10_p > 0:
        return f"log10_p is {log10_p}, above 0"
    if log10_p is not None and log10_p < LEAST:
        return f"log10_p is {log10_p}, below any that is measured"
    return None
