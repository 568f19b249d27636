"""Which of a parent's changes a merge keeps: the largest, some at random, or others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Spread", "density_of_largest", "is_random", "unevenness"]

MISTAKEN = 0.01
"""Share of the numbers on the wrong side of the best threshold at most, and of those that either side has a
tenth, where the largest were kept."""
UNEVEN = 2.0
"""Most `unevenness` of numbers that are kept at random, on average over matrices: 1 is expected."""
STEEP = 4.0
"""Most deviations of the score of sizes of these from what is expected."""
COUNTED = 5000
"""Numbers that must tell at least, so that a preference for larger ones shows."""
PER_LINE = 8
"""Numbers of a row or column from which its share counts."""
FEWEST_LINES = 16
TENTHS = 10
TIED = 2.0**-7
"""Relative distance from the threshold within which sizes count as equal to it: bfloat16 has many such."""


def density_of_largest(
    sizes: torch.Tensor, kept: torch.Tensor, every: torch.Tensor
) -> float | None:
    """Find the share of numbers that are kept, where these are the largest; None: they are not.

    Parameters
    ----------
    sizes, kept : Tensor
        (n,) float64 and bool: sizes of changes, and which are kept.
    every : Tensor
        (m,) float64: the sizes of those too of which that is not known.
    """
    number = len(sizes)
    total = int(kept.sum())
    if not 0 < total < number:
        return None
    order = torch.argsort(sizes, descending=True)
    above = kept[order].cumsum(0)  # (n,): kept among the largest 1, 2, ...
    places = torch.arange(1, number + 1)
    wrong = (places - above) + (total - above)
    best = int(wrong.argmin())
    threshold = float(sizes[order[best]])
    apart = (sizes - threshold).abs() > TIED * threshold
    mistaken = int(((sizes > threshold) != kept)[apart].sum())
    rarer = min(total, number - total)
    if mistaken > MISTAKEN * number or mistaken > rarer / 10:
        return None
    return float((every >= threshold).double().mean())


@dataclass(frozen=True)
class Spread:
    """How numbers that are kept lie among those of one matrix that tell.

    Attributes
    ----------
    counted : int
        The numbers that tell.
    score, variance : float
        The sum over those that are kept of the rank of their size, less what it would be on average, were
        they chosen at random; and its variance.
    tenths, lines : float
        The `unevenness` over tenths by size, and the larger of that over rows and over columns.
    """

    counted: int
    score: float
    variance: float
    tenths: float
    lines: float

    @classmethod
    def of(
        cls, sizes: torch.Tensor, kept: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
    ) -> Spread:
        """That of the sizes (n,), whether each is kept, and where it stands."""
        number = len(sizes)
        ranks = sizes.argsort().argsort()
        centred = (ranks.double() + 0.5) / number - 0.5
        share = float(kept.double().mean())
        return cls(
            counted=number,
            score=float(centred[kept].sum()),
            variance=share * (1 - share) * float(centred.square().sum()),
            tenths=unevenness(kept, ranks * TENTHS // number, 1),
            lines=max(unevenness(kept, one, FEWEST_LINES) for one in (rows, columns)),
        )


def is_random(spreads: Sequence[Spread]) -> bool | None:
    """Whether numbers of some matrices were kept whatever their size, row and column.

    None where too few tell that: `COUNTED`.
    """
    variance = sum(one.variance for one in spreads)
    if not variance:
        return None
    steep = abs(sum(one.score for one in spreads)) / variance**0.5 > STEEP
    counted = sum(one.counted for one in spreads)
    tenths, lines = (
        sum(one.counted * value for one, value in zip(spreads, values, strict=True)) / counted
        for values in ([one.tenths for one in spreads], [one.lines for one in spreads])
    )
    if steep or tenths > UNEVEN or lines > UNEVEN:
        return False
    return True if counted >= COUNTED else None


def unevenness(kept: torch.Tensor, groups: torch.Tensor, fewest: int) -> float:
    """How much more the share that is kept varies over groups than it would by chance.

    That is the mean over groups of the squared deviation of its number from what is expected, over the
    variance of a binomial law. 1.0 where fewer groups than ``fewest`` have `PER_LINE` numbers.
    """
    share = float(kept.double().mean())
    if not 0 < share < 1:
        return 1.0
    of = torch.bincount(groups).double()
    in_each = torch.bincount(groups, weights=kept.double(), minlength=len(of))
    counted = of >= PER_LINE
    if int(counted.sum()) < fewest:
        return 1.0
    of, in_each = of[counted], in_each[counted]
    squares = (in_each - share * of).square() / (of * share * (1 - share))
    return float(squares.mean())
