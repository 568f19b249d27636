"""The bounds of the values that evidence may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LEAST = -1e15
"""Below every log10 p-value: models with billions of units give -1e12, and sums of more overflow."""
MOST = 2**63 - 1
"""Above every count: units, permutations."""
LARGEST = 1e100
"""Above every share, and every ratio of two sizes: no quotient of numbers that float32 holds is larger."""
ROUNDED = 1e-6
"""What shares may sum to beside 1, over the largest of them."""


def first_fault(wrong: Mapping[str, bool]) -> str | None:
    """The first of several faults that is there; None where none is."""
    return next((what for what, is_there in wrong.items() if is_there), None)


def p_fault(log10_p: float | None) -> str | None:
    """Why this is no log10 of a p-value, in words; None where it is, or there is none."""
    if log10_p is not None and log10_p > 0:
        return f"log10_p is {log10_p}, above 0"
    if log10_p is not None and log10_p < LEAST:
        return f"log10_p is {log10_p}, below any that is measured"
    return None


def are_shares(numbers: Iterable[float | None]) -> bool:
    """Whether numbers are from 0 to 1, as far as they are there."""
    return all(number is None or 0 <= number <= 1 for number in numbers)


def are_inside(shares: Iterable[float], low: Iterable[float], high: Iterable[float]) -> bool:
    """Whether every share lies in its interval, which has two ends."""
    spans = zip(low, shares, high, strict=True)
    return all(-LARGEST < a <= share <= b < LARGEST for a, share, b in spans)


def are_whole(shares: Sequence[float]) -> bool:
    """Whether shares sum to 1, as far as numbers of their size can."""
    return abs(sum(shares) - 1) <= ROUNDED * max(1.0, *map(abs, shares)) < LARGEST


def are_blocks(indices: Iterable[int]) -> bool:
    """Whether numbers are those of blocks, each once."""
    found = list(indices)
    return len(set(found)) == len(found) and min(found, default=0) >= 0
