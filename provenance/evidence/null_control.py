"""The null control of a pair: the p-values of blocks that do not correspond must look uniform.

These p-values are in the pair's own table of blocks against blocks, outside the alignment.
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
"""A null control fails where its p-values are smaller than uniform ones with this p-value."""


@dataclass(frozen=True)
class NullControl:
    """The null control of one pair.

    ``log10_p`` is of the one-sided Kolmogorov-Smirnov test against p-values that are too small; None
    where there are fewer than `LEAST_NULL`. ``count`` is their number.
    """

    log10_p: float | None
    count: int

    @property
    def holds(self) -> bool | None:
        """Whether the p-values look like those of independent blocks; None where there are too few."""
        return None if self.log10_p is None else self.log10_p >= math.log10(NULL_ALPHA)


def null_control(evidence: Evidence) -> NullControl:
    """Test the p-values off the alignment of a pair's table of blocks against uniformity.

    Parameters
    ----------
    evidence : Evidence
        As `null_p_values` takes it.
    """
    from scipy.stats import kstest

    p_values = [10.0**log10_p for log10_p in null_p_values(evidence)]
    if len(p_values) < LEAST_NULL:
        return NullControl(None, len(p_values))
    test = kstest(p_values, "uniform", alternative="greater")
    return NullControl(math.log10(max(float(test.pvalue), 1e-300)), len(p_values))


def null_p_values(evidence: Evidence) -> tuple[float, ...]:
    """The log10 p-values off the alignment of a pair's table: of blocks that do not correspond.

    Parameters
    ----------
    evidence : Evidence
        Of every block against every block, by one statistic (a combination's p-values are not
        uniform, only no smaller).
    """
    blocks = crossed_blocks(evidence)
    if blocks is None:
        return ()
    rows, columns = blocks
    aligned = {(pair.candidate_block, pair.reference_block) for pair in evidence.alignment}
    return tuple(
        log10_p
        for row, cells in zip(rows, evidence.cross, strict=True)
        for column, log10_p in zip(columns, cells, strict=True)
        if log10_p is not None and (row, column) not in aligned
    )


def crossed_blocks(evidence: Evidence) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The blocks of the candidate and of the reference that the rows and columns of ``cross`` are of.

    None where evidence has no table, or one of another shape.
    """
    skipped = evidence.reference.skipped
    rows = tuple(block.candidate_block for block in evidence.blocks)
    columns = tuple(
        index for index in range(evidence.reference.blocks) if str(index) not in skipped
    )
    shape = {len(cells) for cells in evidence.cross}
    return (rows, columns) if len(evidence.cross) == len(rows) and shape == {len(columns)} else None
