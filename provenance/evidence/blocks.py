"""What was measured of one block, in parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from provenance.evidence.bounds import MOST, p_fault
from provenance.statistics.pvalues import FEWEST_RANKED

MATCHINGS = 256
"""Units of a block whose partners are kept: enough to see a line or a cloud, little to store."""
NOT_MEASURED = "not measured: "
"""Begins the reason of a part that is defined, and was not needed."""
BlockState = Literal["tested", "degenerate"]


@dataclass(frozen=True)
class PartEvidence:
    """What one statistic of several showed on one pair of blocks; see `BlockEvidence`."""

    statistic: str
    log10_p: float | None
    correlation: float | None
    live: tuple[int, int]
    agreeing: int
    reason: str | None = None
    fits: tuple[float, float] | None = None
    nearness: float | None = None


@dataclass(frozen=True)
class MLPEvidence:
    """The best partner of one MLP of the candidate among the MLPs of the reference's block.

    ``candidate`` and ``reference`` are names within a block: "expert 3", "MLP". The p-value is corrected
    for the number of the reference's MLPs. All but ``candidate`` are None where no test is defined.
    """

    candidate: str
    reference: str | None
    log10_p: float | None
    correlation: float | None


@dataclass(frozen=True)
class AlignedBlocks:
    """A pair of the best one-to-one map of blocks, with its p-value, not corrected for the choice.

    ``candidate_units[k]`` is ``reference_units[k]``: the units that gate and up match to the same
    partner, in the candidate's order. ``reference_units`` thus says which units of a wider reference
    were kept, and in which order. Independent models share a unit or two by chance.
    """

    candidate_block: int
    reference_block: int
    log10_p: float
    candidate_units: tuple[int, ...] = field(default=(), repr=False)
    reference_units: tuple[int, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class BlockEvidence:
    """What one block of the candidate showed against one block of the reference.

    Attributes
    ----------
    candidate_block, reference_block : int
        Indices of transformer blocks, from 0.
    log10_p : float or None
        log10 of the block's p-value, finite; None exactly where ``state`` is not "tested".
    correlation : float or None
        Spearman correlation between the gate matching and the up matching, in [-1, 1].
    units : tuple of int
        Hidden units of the candidate's and of the reference's MLP.
    live : tuple of int
        Those of them that are not dead on these inputs, and so took part.
    agreeing : int
        Units that gate and up match to the same partner, of ``min(live)``.
    state : str
        "tested", or "degenerate" where no test is defined; ``reason`` then says why.
    parts : tuple of PartEvidence
        Where several statistics were combined (Bonferroni), what each showed. The block's
        other numbers are then those of the strongest.
    fits : tuple of float or None
        Of `generalized`, how well the candidate's and the reference's MLP were imitated: R^2, at most
        1, of what no affine map explains. ``live`` and ``agreeing`` then count units of the imitations.
    mlps : tuple of str or None
        Where a block has several MLPs (experts), the best pair of one of the candidate's and one of
        the reference's. All numbers are of that pair, ``log10_p`` corrected for the number of pairs.
    experts : tuple of MLPEvidence
        The best partner of each of the candidate's experts.
    matchings : tuple of tuple of int, or None
        The partners of at most `MATCHINGS` units of the narrower block, evenly spaced: by gate, and by
        up. They are units of the wider block, or of the reference's where both are as wide. None for
        a statistic that has no two matchings.
    untested : tuple of str
        Of a tested block, what should have been tested as well and could not be, and why: statistics of
        several, by name, and MLPs of several.
    nearness : float or None
        How near its units are to those of any block that it met, by gate or by up alone: 0 by chance, 1 for
        equals (`provenance.statistics._nearness`). None where no part looks at that, or none had to.
    counted_with : int or None
        The first of the candidate's blocks with which this one counts once, where that is another: the two
        have one partner, or the blocks or their partners are kin (`provenance.comparison.repeats`).
    """

    candidate_block: int
    reference_block: int
    log10_p: float | None
    correlation: float | None
    units: tuple[int, int]
    live: tuple[int, int]
    agreeing: int
    state: BlockState = "tested"
    reason: str | None = None
    parts: tuple[PartEvidence, ...] = ()
    fits: tuple[float, float] | None = None
    mlps: tuple[str, str] | None = None
    experts: tuple[MLPEvidence, ...] = ()
    matchings: tuple[tuple[int, ...], tuple[int, ...]] | None = field(default=None, repr=False)
    untested: tuple[str, ...] = ()
    nearness: float | None = None
    counted_with: int | None = None

    def fault(self) -> str | None:
        """Why no measurement gives these values, in words; None where one may."""
        numbers = (self.log10_p, self.correlation)
        if (self.state == "tested") != all(number is not None for number in numbers):
            return "log10_p and correlation belong to a tested block"
        fault = self._fault_of_numbers()
        if fault is not None:
            return fault
        if self.fits is not None and max(self.fits) > 1:
            return f"a fit is {max(self.fits)}, above 1"
        fault = self._fault_of_matchings()
        if fault is not None:
            return fault
        if self.counted_with is not None and not 0 <= self.counted_with < self.candidate_block:
            return f"counted_with is {self.counted_with}, no block before it"
        return None

    def _fault_of_numbers(self) -> str | None:
        if not 0 <= min(self.units) <= max(self.units) <= MOST:
            return _UNITS
        tested: tuple[BlockEvidence | PartEvidence | MLPEvidence, ...]
        tested = (self, *self.parts, *self.experts)
        tests: tuple[BlockEvidence | PartEvidence, ...] = (self, *self.parts)
        faults = (*map(_fault_of_test, tested), *map(_fault_of_units, tests))
        return next(filter(None, faults), None)

    def _fault_of_matchings(self) -> str | None:
        gate, up = self.matchings or ((), ())
        if len(gate) != len(up) or len(gate) > MATCHINGS:
            return f"matchings are two lists of one length, at most {MATCHINGS} units"
        if gate and min(*gate, *up) < 0:
            return "units of matchings are numbered from 0"
        return None


_UNITS = "numbers of units are 0 or more"


def _fault_of_test(test: BlockEvidence | PartEvidence | MLPEvidence) -> str | None:
    fault = p_fault(test.log10_p)
    if fault is None and test.correlation is not None and abs(test.correlation) > 1:
        fault = f"correlation is {test.correlation}, beyond 1"
    return fault


def _fault_of_units(test: BlockEvidence | PartEvidence) -> str | None:
    if test.nearness is not None and not 0 <= test.nearness <= 1:
        return f"nearness is {test.nearness}, which is from 0 to 1"
    if not 0 <= min(*test.live, test.agreeing) <= max(*test.live, test.agreeing) <= MOST:
        return _UNITS
    if test.log10_p is not None and min(test.live) < FEWEST_RANKED:
        return f"log10_p is of {min(test.live)} units, too few to rank"
    return None
