"""Decides between dependent, independent and inconclusive by p-values and a threshold.

Nothing here knows of a claim: `provenance.evidence.verdict` judges claims by what is decided here.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from provenance.evidence.doubts import doubts
from provenance.statistics import PAIR_STATISTICS
from provenance.statistics.pvalues import bonferroni, fisher
from provenance.statistics.universal import beyond_universal
from provenance.vocabulary import DECIDED, Thresholds, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.evidence.blocks import AlignedBlocks, BlockEvidence, PartEvidence
    from provenance.evidence.records import Evidence
    from provenance.vocabulary import Threshold, Verdict

SUSPICION = 1e-3
"""A p-value below this and not below the threshold is neither: inconclusive."""


def decide(evidence: Evidence, threshold: Threshold) -> Verdict:
    """Decide by all the blocks of the evidence, or by the statistic of the whole models."""
    if evidence.statistic not in PAIR_STATISTICS:
        return decide_some(evidence, evidence.blocks, threshold)
    return believed(decide_p(evidence.log10_p, whole(threshold)), evidence, (), threshold)


def decide_some(
    evidence: Evidence, blocks: Sequence[BlockEvidence], threshold: Threshold
) -> Verdict:
    """Decide over some blocks of the evidence, as `decide_blocks`, if independence can be believed."""
    return believed(decide_blocks(blocks, threshold), evidence, blocks, threshold)


def believed(
    verdict: Verdict, evidence: Evidence, blocks: Sequence[BlockEvidence], threshold: Threshold
) -> Verdict:
    """The verdict; independence is not believed where a copy could look like a stranger.

    `provenance.evidence.doubts` says why. Of a sample there is none at all: nothing was found in it.
    """
    if verdict != "independent":
        return verdict
    if evidence.scope == "sampled":
        return "not found"
    doubted = doubts(evidence, blocks=blocks, threshold=whole(threshold))
    return "inconclusive" if doubted else verdict


def decide_blocks(blocks: Sequence[BlockEvidence], threshold: Threshold) -> Verdict:
    """Decide over all blocks: by their combination (`aggregate`), and by the strongest block alone.

    A single block that was taken from the other model is lost among many that were not, so the
    strongest block counts as well, its p-value multiplied by the number of blocks (Bonferroni).
    The smaller of the two p-values counts, doubled (Bonferroni again). A block's own threshold decides of
    that block alone. What universal units may make (`beyond`) is inconclusive.
    """
    verdict = decide_p(judged_p(blocks), whole(threshold))
    if verdict == "dependent" and is_universal(blocks, threshold):
        return "inconclusive"
    small = any(is_below(b, level_of(b, threshold)) for b in blocks)
    return "inconclusive" if small and verdict == "independent" else verdict


def is_universal(blocks: Sequence[BlockEvidence], threshold: Threshold) -> bool:
    """Whether what all the blocks agree in is no more than universal units make."""
    return decide_p(judged_p(beyond(blocks)), whole(threshold)) != "dependent"


def beyond(blocks: Sequence[BlockEvidence]) -> tuple[BlockEvidence, ...]:
    """The blocks with the p-values of more agreement than universal units make.

    `provenance.statistics.universal` says why. Of several parts each has its own.
    """
    return tuple(
        block if block.log10_p is None else replace(block, log10_p=_beyond(block, block.log10_p))
        for block in blocks
    )


def _beyond(block: BlockEvidence, log10_p: float) -> float:
    tests = _plain_and_beyond(block.parts, block.units) or _plain_and_beyond((block,), block.units)
    if not tests:
        return log10_p
    price = log10_p - min(plain for plain, _ in tests)
    return min(0.0, max(log10_p, price + min(less for _, less in tests)))


def _plain_and_beyond(
    tests: Sequence[BlockEvidence | PartEvidence], units: tuple[int, int]
) -> list[tuple[float, float]]:
    """Of the tests that have numbers, log10 p of any agreement, and of more than universal units make."""
    return [
        (test.log10_p, beyond_universal(test.log10_p, test.correlation, test.live, units))
        for test in tests
        if test.log10_p is not None and test.correlation is not None
    ]


def judged_p(blocks: Sequence[BlockEvidence]) -> float | None:
    """The p-value that `decide_blocks` compares with the threshold, log10; None where no block has one."""
    log10_ps = [b.log10_p for b in blocks if b.log10_p is not None]
    combined = aggregate(blocks)
    if combined is None:
        return None
    strongest = bonferroni(min(log10_ps), len(log10_ps))
    return bonferroni(min(combined, strongest), 2)


def pair_p(evidence: Evidence) -> float | None:
    """The p-value that two models are kin by, log10: of the whole models, or of their blocks.

    That of blocks is `judged_p` of more agreement than universal units make (`beyond`).
    """
    of_blocks = evidence.statistic not in PAIR_STATISTICS
    return judged_p(beyond(evidence.blocks)) if of_blocks else evidence.log10_p


def found_nothing(
    evidence: Evidence, blocks: Sequence[BlockEvidence], threshold: Threshold
) -> bool:
    """Whether the numbers are those of strangers, whatever they are worth."""
    if evidence.statistic in PAIR_STATISTICS:
        return decide_p(evidence.log10_p, whole(threshold)) == "independent"
    return decide_blocks(blocks, threshold) == "independent"


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


def is_decided(evidence: Evidence) -> bool:
    """Whether every block shows kinship so clearly that no dearer part of the statistic is measured."""
    return all(b.log10_p is not None and b.log10_p < DECIDED for b in beyond(evidence.blocks))


def shows(block: BlockEvidence, threshold: Threshold) -> bool:
    """Whether the block shows kinship, at its own threshold where it has one, beyond universal units."""
    level = level_of(block, threshold)
    found = beyond((block,))[0].log10_p if is_below(block, level) else None
    return found is not None and found < math.log10(level)


def level_of(block: BlockEvidence, threshold: Threshold) -> float:
    """The threshold of a block: its own where it has one, else that of the pair."""
    return threshold.of(block.candidate_block) if isinstance(threshold, Thresholds) else threshold


def is_below(block: BlockEvidence, level: float) -> bool:
    """Whether the block's own p-value, of any agreement, is below a level."""
    return block.log10_p is not None and block.log10_p < math.log10(level)


def aggregate(blocks: Sequence[BlockEvidence]) -> float | None:
    """Fisher's combination of the blocks that have a p-value, log10; None where none has.

    Blocks that repeat each other (`BlockEvidence.counted_with`) count once: the least of their p-values,
    times their number (Bonferroni). That holds however they depend on each other, as Fisher's method does
    not.
    """
    ps = [[b.log10_p for b in group if b.log10_p is not None] for group in counted_groups(blocks)]
    return fisher([bonferroni(min(group), len(group)) for group in ps]) if ps else None


def counted_groups(blocks: Sequence[BlockEvidence]) -> list[list[BlockEvidence]]:
    """The tested blocks, those together that count once: most are alone."""
    groups: dict[int, list[BlockEvidence]] = {}
    for block in blocks:
        if block.log10_p is not None:
            first = block.candidate_block if block.counted_with is None else block.counted_with
            groups.setdefault(first, []).append(block)
    return list(groups.values())


def significant(evidence: Evidence, alpha: float) -> tuple[AlignedBlocks, ...]:
    """The pairs of the alignment of blocks whose p-value is below alpha over the whole table.

    Bonferroni over all cells of the table: the alignment was chosen from among them.
    """
    cells = sum(len(row) for row in evidence.cross)
    return tuple(
        pair for pair in evidence.alignment if bonferroni(pair.log10_p, cells) < math.log10(alpha)
    )
