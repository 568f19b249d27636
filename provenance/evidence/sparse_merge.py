"""A merge that left changes of its parents out number by number: what is read of its traces.

`provenance.differences.sparse` reads them. Nothing here has a p-value: docs/kinds.md counts what is read on
merges that were made in known ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from provenance.evidence.bounds import are_blocks, are_inside, are_whole, first_fault

__all__ = ["BlockParts", "Kept", "Method", "Mixed", "SparseMerge"]

Mixed = Literal["sum", "mean"]
"""What is made of the changes that a number keeps: their weighted sum, or their weighted mean."""
Kept = Literal["largest", "random", "otherwise"]
"""Which changes a merge keeps."""
Method = Literal["TIES", "DARE", "DARE-TIES", "sparse"]
"""What a merge is called; sparse: none of the others."""

FITS = 0.998
"""Least share of the numbers that tell which the rule must make, up to rounding."""
TELLING = 1000
"""Numbers that must tell at least."""


@dataclass(frozen=True)
class BlockParts:
    """The same of one block: see `SparseMerge`."""

    block: int
    shares: tuple[float, ...]
    densities: tuple[float | None, ...]
    fits: float


@dataclass(frozen=True)
class SparseMerge:
    """How each number of a merge is made of its base and of the changes of other parents that it keeps.

    Attributes
    ----------
    base : int
        The place of the base among the parents.
    mixed : str
        See `Mixed`.
    kept : str
        See `Kept`.
    elected : bool or None
        Whether no number mixes changes of both signs, though chance would have some do; None: too few
        would to tell.
    shares, low, high : tuple of float
        What each parent's change is multiplied by where all are kept, times its density where numbers
        are kept at random; the base has the rest. With a 95% interval, by the spread over matrices.
    densities : tuple of float or None
        The share of each parent's changes that is kept; None of the base, 0 of a parent that is not used.
    fits : float
        The share of the numbers that tell which the rule makes, up to what storing them rounds away.
    telling, looked : int
        Numbers whose possible values lie so far apart that they tell, of those that were looked at.
    left_over : float
        The size of what the rule leaves, over the distance to the nearest parent.
    blocks : tuple of BlockParts
        The same of each block.
    """

    base: int
    mixed: Mixed
    kept: Kept
    elected: bool | None
    shares: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    densities: tuple[float | None, ...]
    fits: float
    telling: int
    looked: int
    left_over: float
    blocks: tuple[BlockParts, ...]

    @property
    def method(self) -> Method:
        """What such a merge is called."""
        several = sum(bool(one) for one in self.densities) > 1
        if self.kept == "largest" and (self.elected or not several):
            return "TIES"
        if self.kept == "random":
            return "DARE-TIES" if self.elected else "DARE"
        return "sparse"

    def words(self) -> str:
        """What was read, without the parents' shares, in a clause."""
        how = {
            "largest": "the largest changes of each parent are kept",
            "random": "changes are kept at random",
            "otherwise": "some changes of each parent are kept",
        }[self.kept]
        signs = ", signs elected" if self.elected else ""
        kept = " and ".join(f"{one:.3g}" for one in self.densities if one)
        fits = f"{100 * self.fits:.4g}% of {self.telling} numbers that tell"
        return f"{self.method}: {how}{signs}, a share of {kept}; {fits} fit to the rounding"

    def fault(self, parents: int) -> str | None:
        """What no measurement gives; None where nothing is wrong."""
        rows = (self.shares, self.low, self.high, self.densities)
        dense_rows = (self.densities, *(block.densities for block in self.blocks))
        inner = (row for one in self.blocks for row in (one.shares, one.densities))
        if any(len(row) != parents for row in (*rows, *inner)) or not 0 <= self.base < parents:
            return f"its parents are {parents}, one of them the base"
        dense = [one for row in dense_rows for one in row]
        without = [(i, one is None) for row in dense_rows for i, one in enumerate(row)]
        parts = (self.left_over, self.fits, *(block.fits for block in self.blocks), *dense)
        wrong = {
            "a share is outside of its interval": not are_inside(self.shares, self.low, self.high),
            "shares sum to 1": not all(
                map(are_whole, (self.shares, *(one.shares for one in self.blocks)))
            ),
            "changes are left out, and others kept": not any(one and one < 1 for one in dense),
            "the base, and no other parent, has no density": any(
                is_none != (i == self.base) for i, is_none in without
            ),
            "densities, fits and what is left over are from 0 to 1": not all(
                one is None or 0 <= one <= 1 for one in parts
            ),
            "too few numbers tell or fit to read a merge off them": (
                not self.blocks or self.fits < FITS or self.telling < TELLING
            ),
            "a mean has changes of both signs": self.mixed == "mean" and not self.elected,
            "each block stands once": not are_blocks(one.block for one in self.blocks),
            "more numbers tell than were looked at": self.telling > self.looked,
        }
        return first_fault(wrong)
