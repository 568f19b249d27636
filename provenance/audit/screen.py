"""The screen of an audit: a few blocks of a pair first, and all of them where those show anything.

Only the test of all blocks calls a pair dependent, and it is run where the screen lets the pair through.
So a screen calls no pair dependent that the whole test would not. It costs power where kinship is in blocks
that it does not look at.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from provenance.audit.records import ScreenedBlock
from provenance.evidence.decide import decide
from provenance.statistics import PAIR_STATISTICS

if TYPE_CHECKING:
    from provenance.comparison.plan import Comparison
    from provenance.evidence.records import Evidence

SAMPLE = 3
"""Blocks of the candidate that are tested first."""
LEAST_BLOCKS = 8
"""A candidate of fewer blocks is tested whole: a screen would save little."""
LEVEL = 0.05
"""Below this p-value of any one screened block, all blocks are tested. The level is not divided by the
number of blocks: a seventh of all strangers is tested whole for nothing, and fewer kin are missed."""


def screen_of(comparison: Comparison, blocks: int | None) -> Comparison | None:
    """The comparison of a few blocks that comes before one of all blocks; None where none does.

    Parameters
    ----------
    comparison : Comparison
        Of all blocks.
    blocks : int or None
        How many the candidate has, None where that is not known.
    """
    if comparison.statistic in PAIR_STATISTICS or (blocks or 0) < LEAST_BLOCKS:
        return None
    return replace(comparison, sample=SAMPLE, difference=False)


def strangers(evidence: Evidence, threshold: float) -> bool:
    """Whether a screen shows nothing: every screened block was tested, and none is below `LEVEL`.

    Nor below the pair's own threshold, should that be greater. What shows no independence on these blocks
    shows none by a screen either.
    """
    level = math.log10(max(LEVEL, threshold))
    nothing = all(b.log10_p is not None and b.log10_p >= level for b in evidence.blocks)
    return nothing and decide(evidence, threshold) == "independent"


def screened_blocks(evidence: Evidence) -> tuple[ScreenedBlock, ...]:
    """What a screen found, block by block."""
    return tuple(
        ScreenedBlock(b.candidate_block, b.reference_block, b.log10_p)
        for b in evidence.blocks
        if b.log10_p is not None
    )
