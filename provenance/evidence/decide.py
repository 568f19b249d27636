"""Decides between dependent, independent and inconclusive by p-values and a threshold.

Nothing here knows of a claim: `provenance.evidence.verdict` judges claims by what is decided here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from provenance.evidence.doubts import doubts
from provenance.statistics import PAIR_STATISTICS
from provenance.statistics.pvalues import bonferroni, fisher
from provenance.vocabulary import DECIDED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.evidence.records import AlignedBlocks, BlockEvidence, Evidence
    from provenance.vocabulary import Verdict

SUSPICION = 1e-3
"""A p-value below this and not below the threshold is neither: inconclusive."""


def decide(evidence: Evidence, threshold: float) -> Verdict:
    """Decide by all the blocks of the evidence, or by the statistic of the whole models."""
    if evidence.statistic not in PAIR_STATISTICS:
        return decide_some(evidence, evidence.blocks, threshold)
    verdict = decide_p(evidence.log10_p, threshold)
    if verdict == "independent" and _at_floor(evidence):
        return "inconclusive"  # no permutation was as extreme: more of them might have said more
    return verdict


def decide_some(evidence: Evidence, blocks: Sequence[BlockEvidence], threshold: float) -> Verdict:
    """Decide over some blocks of the evidence, as `decide_blocks`; see `believed`."""
    return believed(decide_blocks(blocks, threshold), evidence)


def believed(verdict: Verdict, evidence: Evidence) -> Verdict:
    """The verdict; independence is not believed of a model that hides most of itself, or is fed noise.

    `provenance.evidence.doubts` says why.
    """
    return "inconclusive" if verdict == "independent" and doubts(evidence) else verdict


def decide_blocks(blocks: Sequence[BlockEvidence], threshold: float) -> Verdict:
    """Decide over all blocks: by Fisher's combination, and by the strongest block alone.

    A single block that was taken from the other model is lost among many that were not, so the
    strongest block counts as well, its p-value multiplied by the number of blocks (Bonferroni).
    The smaller of the two p-values counts, doubled (Bonferroni again).
    """
    log10_ps = [b.log10_p for b in blocks if b.log10_p is not None]
    if not log10_ps:
        return "inconclusive"
    strongest = bonferroni(min(log10_ps), len(log10_ps))
    verdict = decide_p(bonferroni(min(fisher(log10_ps), strongest), 2), threshold)
    kin = any(shows(b, threshold) for b in blocks)
    return "inconclusive" if kin and verdict == "independent" else verdict


def decide_p(log10_p: float | None, threshold: float) -> Verdict:
    """Dependent below the threshold, independent from `SUSPICION` up, else inconclusive.

    Parameters
    ----------
    log10_p : float or None
        A p-value; None where nothing could be tested.
    threshold : float
        A p-value, in (0, 1).
    """
    if log10_p is None:
        return "inconclusive"
    if log10_p < math.log10(threshold):
        return "dependent"
    return "independent" if log10_p >= math.log10(SUSPICION) else "inconclusive"


def _at_floor(evidence: Evidence) -> bool:
    """Whether PERMTEST's p-value is the least that so many permutations can show."""
    drawn, log10_p = evidence.permutations, evidence.log10_p
    return drawn is not None and log10_p is not None and log10_p <= -math.log10(drawn + 1) + 1e-9


def is_decided(evidence: Evidence) -> bool:
    """Whether every block shows kinship so clearly that no dearer part of the statistic is measured."""
    return all(b.log10_p is not None and b.log10_p < DECIDED for b in evidence.blocks)


def shows(block: BlockEvidence, threshold: float) -> bool:
    """Whether the block shows kinship."""
    return block.log10_p is not None and block.log10_p < math.log10(threshold)


def aggregate(blocks: Sequence[BlockEvidence]) -> float | None:
    """Fisher's combination of the blocks that have a p-value, log10; None where none has."""
    log10_ps = [b.log10_p for b in blocks if b.log10_p is not None]
    return fisher(log10_ps) if log10_ps else None


def significant(evidence: Evidence, alpha: float) -> tuple[AlignedBlocks, ...]:
    """The pairs of the alignment of blocks whose p-value is below alpha over the whole table.

    Bonferroni over all cells of the table: the alignment was chosen from among them.
    """
    cells = sum(len(row) for row in evidence.cross)
    return tuple(
        pair for pair in evidence.alignment if bonferroni(pair.log10_p, cells) < math.log10(alpha)
    )
