"""How many pairs of blocks a comparison tests, and what that is in multiplications and assignments.

This follows `provenance.comparison.blocks`: which partners a block meets, and where a test ends early.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.comparison.limits import ALL, BEST, BLOCKS, SAMPLE
from provenance.statistics import PAIR_STATISTICS, REGISTRY
from provenance.vocabulary import PROBE_TOKENS

if TYPE_CHECKING:
    from provenance.comparison.plan import Comparison
    from provenance.estimate.constants import Constants
    from provenance.recipes.sizes import Sizes
    from provenance.statistics import Statistic


@dataclass(frozen=True)
class Matchings:
    """Tests of pairs of MLPs.

    Attributes
    ----------
    pairs : int
        How many.
    units : int
        Of the wider side of one.
    flops : float
        Multiplications and additions of all.
    solved : int
        Those whose assignments must be solved: of strangers. Of kin the partners are evident.
    """

    pairs: int = 0
    units: int = 0
    flops: float = 0.0
    solved: int = 0

    def __add__(self, other: Matchings) -> Matchings:
        """Both together; ``units`` are those of the wider."""
        return Matchings(
            self.pairs + other.pairs,
            max(self.units, other.units),
            self.flops + other.flops,
            self.solved + other.solved,
        )


def matchings(
    comparison: Comparison, candidate: Sizes, reference: Sizes, *, kin: bool
) -> Matchings:
    """What a comparison tests, if the two are kin, or strangers.

    Kin are taken to be decided by the first part on every block, which is true of copies that are not
    far from each other; strangers need every part.
    """
    parts = REGISTRY[comparison.statistic].components()
    if comparison.statistic in PAIR_STATISTICS:
        # a statistic of whole models reads both once for every permutation
        drawn = 1 + (comparison.permutations if parts[0].null == "permutations" else 0)
        both = candidate.parameters + reference.parameters
        return Matchings(drawn, max(candidate.units, reference.units), 4.0 * both * drawn)
    early = kin and comparison.extent in {"files", "decided"}
    measured = parts[:1] if early else parts
    if comparison.extent in {"files", "sampled"}:
        measured = tuple(part for part in measured if part.reads_files)
    found = Matchings()
    for part in measured:
        found += _of_part(part, comparison, candidate, reference, kin=kin)
    return found


def _of_part(
    part: Statistic, comparison: Comparison, candidate: Sizes, reference: Sizes, *, kin: bool
) -> Matchings:
    rows = min(comparison.sample or candidate.blocks, candidate.blocks)
    columns = reference.blocks
    blocks = _pairs_of_blocks(comparison, rows, candidate.blocks, columns, kin=kin)
    tried = 2 * min(BLOCKS, rows) if comparison.control and not kin else 0
    pairs = (blocks + tried) * _pairs_of_experts(candidate.experts, reference.experts)
    n, m = max(candidate.units, reference.units), min(candidate.units, reference.units)
    inner = _inner(part, comparison, candidate, reference)
    prepared = (rows + columns) * candidate.experts * _preparation(part, candidate, comparison)
    flops = prepared + pairs * 2 * 2 * n * m * inner
    if blocks > rows:  # the likeliest partners are found among all blocks
        flops += 2 * 2 * rows * columns * SAMPLE * n * min(inner, PROBE_TOKENS)
    return Matchings(pairs, n, float(flops), 0 if kin else blocks * (pairs // (blocks + tried)))


def _pairs_of_blocks(
    comparison: Comparison, rows: int, blocks: int, columns: int, *, kin: bool
) -> int:
    """How many blocks of the reference the candidate's blocks meet, all together."""
    if comparison.extent == "all":
        return rows * columns
    if comparison.cross or blocks != columns:
        early = kin and comparison.extent in {"files", "decided"} and columns > BEST
        return rows * (1 if early else min(BEST, columns))
    return rows if kin else rows * (1 + min(BEST, columns - 1))


def _pairs_of_experts(candidate: int, reference: int) -> int:
    """Of many, the likeliest partner of each: others are tested where that one is suspicious."""
    return candidate * (reference if reference <= ALL else 1)


def _inner(part: Statistic, comparison: Comparison, candidate: Sizes, reference: Sizes) -> int:
    """The inner dimension of the products of units."""
    hidden = min(candidate.hidden, reference.hidden)
    if part.basis == "embeddings":
        return PROBE_TOKENS
    if part.basis == "activations" and candidate.hidden != reference.hidden:
        return comparison.inputs.tokens
    return hidden


def _preparation(part: Statistic, sizes: Sizes, comparison: Comparison) -> int:
    """Multiplications and additions that make one MLP ready."""
    n, h = sizes.units, sizes.hidden
    if part.basis == "embeddings":
        return 2 * 2 * PROBE_TOKENS * n * h
    tokens = comparison.inputs.tokens if part.basis == "activations" else 0
    return 2 * (tokens * h * h + 2 * n * h * h)


def matching_seconds(work: Matchings, constants: Constants) -> float:
    """Processor seconds of matchings."""
    solved = work.solved * constants.assign * float(work.units) ** constants.exponent
    seconds = work.pairs * constants.matching + work.flops * constants.product_flop + solved
    return float(seconds)
