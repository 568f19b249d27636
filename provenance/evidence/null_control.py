"""The negative control: p-values of blocks that do not correspond must look uniform.

Blocks off the alignment of a pair's table of blocks against blocks behave like blocks of strangers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provenance.evidence.records import Evidence

LEAST_NULL = 6
"""Below this many p-values a test of uniformity says nothing."""

NULL_ALPHA = 1e-3
"""A negative control fails where its p-values are smaller than uniform ones with this p-value."""


@dataclass(frozen=True)
class NullControl:
    """The negative control of one pair.

    ``log10_p`` is of the one-sided Kolmogorov-Smirnov test against p-values that are too small; None
    where there are fewer than `LEAST_NULL`.
    """

    log10_p: float | None
    count: int

    def holds(self) -> bool:
        """Whether the p-values look like those of independent blocks."""
        return self.log10_p is None or self.log10_p >= math.log10(NULL_ALPHA)


def null_p_values(evidence: Evidence) -> tuple[float, ...]:
    """The log10 p-values off the alignment of a pair's table: of blocks that do not correspond.

    Parameters
    ----------
    evidence : Evidence
        Of every block against every block, by one statistic (a combination's p-values are not
        uniform, only no smaller).
    """
    aligned = {(pair.candidate_block, pair.reference_block) for pair in evidence.alignment}
    rows, columns = crossed_blocks(evidence)
    return tuple(
        log10_p
        for row, line in zip(rows, evidence.cross, strict=True)
        for column, log10_p in zip(columns, line, strict=True)
        if log10_p is not None and (row, column) not in aligned
    )


def crossed_blocks(evidence: Evidence) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which blocks of the candidate and of the reference the rows and columns of ``cross`` are of."""
    skipped = evidence.reference.skipped
    columns = (index for index in range(evidence.reference.blocks) if str(index) not in skipped)
    return tuple(block.candidate_block for block in evidence.blocks), tuple(columns)


def null_control(evidence: Evidence) -> NullControl:
    """Test the p-values off the alignment of a pair's table of blocks against uniformity.

    Parameters
    ----------
    evidence : Evidence
        As `null_p_values` takes it.
    """
    from scipy.stats import kstest

    null = [10.0**log10_p for log10_p in null_p_values(evidence)]
    if len(null) < LEAST_NULL:
        return NullControl(None, len(null))
    found = kstest(null, "uniform", alternative="greater")
    return NullControl(math.log10(max(float(found.pvalue), 1e-300)), len(null))
