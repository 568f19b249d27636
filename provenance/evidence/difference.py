"""How the weights of two kin differ once one is mapped onto the other: what `provenance.differences` finds.

Nothing here is a test: no number has a p-value. `provenance.evidence.kinds` reads a kind of descent off it,
and docs/kinds.md counts how often that errs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from provenance.evidence.bounds import LARGEST, are_shares, first_fault

ResidualKind = Literal["same", "permuted", "rotated", "selected"]
"""How the coordinates of the residual stream are mapped: not at all, by an order, by an orthogonal matrix,
or, of a narrower candidate, by a choice of the reference's."""
GridKind = Literal["even", "levels", "codes"]
"""A grid of equal steps, few levels a group at any distances, or those of a known type times a scale."""
Tokens = Literal["by id", "by text"]
"""How the rows of embeddings were paired."""
Moved = Literal["units", "scales", "heads", "values"]
"""What of a block was in another order or scale."""
SHORT = 32
"""Numbers of a group, at most, that may lie on a grid with nothing but rounding beside it, and in which no
error of one number is made up for in others."""
EQUAL = 0.999
"""Share of equal numbers from which a matrix counts as unchanged: a few round the other way."""
Structure = Literal["none", "scattered", "n:m", "rows", "columns"]
"""Where new zeros are: nowhere, anywhere, so many of every few, in whole rows, in whole columns."""


@dataclass(frozen=True)
class Grid:
    """The grid that the numbers of a matrix lie on.

    Attributes
    ----------
    kind : str
        "even", "levels" or "codes", see `GridKind`.
    bits : int
        Bits that number the levels which were seen in a group, 1 to 8.
    group : int
        Numbers of a row that share one grid; 0 for whole rows.
    within : float or None
        Share of the differences that are no larger than one step of the grid; None where the reference
        could not be mapped number by number.
    nearest : float or None
        The same of half a step, which is all that rounding to the nearest level moves; of equal steps in
        groups of 16 or 32, whose scales are searched, beside the ends of a group.
    quarter : float or None
        The same of a quarter of a step: half of what was rounded, whatever it was, and all that moved
        little. None in records of older versions too.
    shared : bool
        Whether the reference's numbers lie on such a grid as well, though they are others: two models that
        were both rounded.
    """

    kind: GridKind
    bits: int
    group: int
    within: float | None = None
    nearest: float | None = None
    quarter: float | None = None
    shared: bool = False

    def fault(self) -> str | None:
        """What no measurement gives; None where nothing is wrong."""
        if not (1 <= self.bits <= 8 and self.group >= 0):
            return "a grid has 1 to 8 bits, and a group no fewer than 0 numbers"
        shares = (self.within, self.nearest, self.quarter)
        return None if are_shares(shares) else "the shares of a grid are from 0 to 1"

    @property
    def is_of_nearest(self) -> bool:
        """Whether whoever rounds to such a grid takes the nearest level, and moves nothing before."""
        return self.kind == "codes" or 0 < self.group <= SHORT


@dataclass(frozen=True)
class MatrixDifference:
    """The difference between one matrix of the candidate and its counterpart, mapped onto it.

    Attributes
    ----------
    name : str
        Of the candidate's parameter; of a part of one, with what it is: "... (gate)".
    block, reference_block : int or None
        None outside of the blocks.
    shape : tuple of int
        Rows and columns; one axis of a vector.
    relative : float
        Size of the difference over that of the reference (Frobenius), 0 or more.
    unchanged : float
        Share of the numbers that are equal, up to the rounding of the stored types.
    untouched_rows : float
        Share of the rows of which all are.
    rank : int or None
        Singular values of the difference above the edge of noise (`provenance.differences.spectrum`); of at
        most ``ranks``. None of a vector, or where nothing differs.
    ranks : int
        The most that could be counted: the lesser axis of what was looked at.
    carried : float or None
        Share of the squared size of the difference that these carry.
    noise : float or None
        Deviation of what they leave, over that of the reference's numbers.
    rounding : float
        What the narrower of the stored types rounds a number by at most, relative to it.
    tolerance : float
        What of it counts as no change, relative to a number: 0 where both are stored in one type and the
        map only reorders.
    zeros : float
        Share of zeros in the candidate's matrix.
    new_zeros : float
        Share of numbers that are zero in the candidate alone.
    structure : str
        Where new zeros are, see `Structure`.
    kept : float
        Of the numbers that are not newly zero, the share that is unchanged.
    zeroed : float or None
        Deviation of the reference's numbers where the candidate has new zeros, over that of all its
        numbers; None where there are none, and in records of older versions.
    made_by : str or None
        The scheme of rounding that makes the candidate's numbers of the reference's, number for number;
        None where none that was tried does, and in records of older versions.
    strayed : float or None
        Share of the numbers that differ by more than rounding leaves, new zeros not among them; None in
        records of older versions.
    grid : Grid or None
        The grid of the candidate's numbers; None where they lie on none, or the reference's are near the
        same levels.
    fitted : bool
        Whether scales of its rows or columns were fitted, which takes a part of the difference away and
        leaves its rank unknown.
    """

    name: str
    block: int | None
    reference_block: int | None
    shape: tuple[int, ...]
    relative: float
    unchanged: float
    untouched_rows: float
    rank: int | None
    ranks: int
    carried: float | None
    noise: float | None
    rounding: float
    tolerance: float
    zeros: float
    new_zeros: float
    structure: Structure
    kept: float
    grid: Grid | None = None
    fitted: bool = False
    zeroed: float | None = None
    made_by: str | None = None
    strayed: float | None = None

    def fault(self) -> str | None:
        """What no measurement gives; None where nothing is wrong."""
        shares = (self.unchanged, self.untouched_rows, self.carried, self.zeros, self.new_zeros)
        spectrum = (self.rank, self.carried, self.noise)
        sizes = (self.relative, self.noise, self.zeroed)
        wrong = {
            "a matrix has numbers": min(self.shape, default=1) < 1,
            "sizes are 0 or more, and none is endless": not all(
                size is None or 0 <= size <= LARGEST for size in sizes
            ),
            "shares are from 0 to 1": not are_shares(
                (*shares, self.kept, self.strayed, self.rounding, self.tolerance)
            ),
            "rank, what it carries and noise are known together": len(
                {one is None for one in spectrum}
            )
            > 1,
            "a rank is from 0 to the most there can be": not 0 <= (self.rank or 0) <= self.ranks,
            "ranks are those of its lesser axis at most": not 1
            <= self.ranks
            <= min(self.shape, default=1),
            "both of its blocks are known, or neither": (self.block is None)
            != (self.reference_block is None),
        }
        return first_fault(wrong) or (None if self.grid is None else self.grid.fault())

    @property
    def is_changed(self) -> bool:
        """Whether too many numbers differ for rounding the other way."""
        return self.unchanged < EQUAL

    @property
    def is_edited(self) -> bool:
        """Whether few numbers differ, and some by more than rounding leaves."""
        zeroed = self.zeroed is not None and self.zeroed > self.rounding
        return not self.is_changed and (bool(self.strayed) or zeroed)

    @property
    def is_equal(self) -> bool:
        """Whether all numbers are equal, but for what rounding leaves where types or maps differ."""
        strict = self.tolerance == 0 and self.unchanged < 1
        return not (self.is_changed or self.is_edited or strict)

    @property
    def is_kept(self) -> bool:
        """Whether all numbers are equal that are not newly zero."""
        return self.kept >= EQUAL and not self.strayed

    @property
    def own_grid(self) -> Grid | None:
        """The grid of the candidate's numbers, where the reference's lie on none."""
        return None if self.grid is None or self.grid.shared else self.grid

    @property
    def moved_elsewhere(self) -> float:
        """Deviation of the difference beside new zeros, over that of the reference's numbers."""
        zeros = self.new_zeros * (self.zeroed or 0.0) ** 2
        left = max(0.0, self.relative**2 - zeros) / max(1e-30, 1 - self.new_zeros)
        return math.sqrt(left)


@dataclass(frozen=True)
class BlockMap:
    """How one block of the candidate was mapped onto the reference's.

    ``units`` says how many of the candidate's units found their own, of how many; ``moved`` what was in
    another order or scale: "units", "scales", "heads", "values"; ``reason`` why a part was not mapped.
    """

    candidate_block: int
    reference_block: int
    units: tuple[int, int]
    moved: tuple[Moved, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class DifferenceRecord:
    """The difference between two kin.

    Attributes
    ----------
    residual : str
        See `ResidualKind`.
    folded : bool
        Whether the gains of norms were multiplied into what reads them first, on both sides.
    tokens : str
        See `Tokens`.
    fit : float
        Relative size of what is left between the embeddings after the map, which says how far to trust it.
    blocks : tuple of BlockMap
        The blocks that were looked at.
    of_blocks : tuple of int
        Blocks of the candidate and of the reference in all.
    hidden : tuple of int
        Widths of the residual streams.
    units : tuple of int
        Units of an MLP, of the blocks that were looked at, at most.
    matrices : tuple of MatrixDifference
        What was compared.
    left_out : tuple of str
        Parameters of these blocks, and outside of blocks, that could not be mapped.
    reason : str or None
        Why nothing was measured; None where something was.
    """

    residual: ResidualKind = "same"
    folded: bool = False
    tokens: Tokens = "by id"
    fit: float = 0.0
    blocks: tuple[BlockMap, ...] = ()
    of_blocks: tuple[int, int] = (0, 0)
    hidden: tuple[int, int] = (0, 0)
    units: tuple[int, int] = (0, 0)
    matrices: tuple[MatrixDifference, ...] = ()
    left_out: tuple[str, ...] = ()
    reason: str | None = None

    def fault(self, blocks: tuple[int, int]) -> str | None:
        """What no measurement of two models of so many blocks gives; None where nothing is wrong."""
        if self.reason is not None:
            return "it has a reason why there is none" if self.matrices or self.blocks else None
        pairs = [(one.candidate_block, one.reference_block) for one in self.blocks]
        inside = {(one.block, one.reference_block) for one in self.matrices} - {(None, None)}
        names = [one.name for one in self.matrices]
        wrong = {
            "it has neither matrices of blocks nor a reason why there are none": not inside,
            "a matrix stands twice": len(set(names)) < len(names),
            "a block stands twice": len({ours for ours, _ in pairs}) < len(pairs),
            "its models have other numbers of blocks": self.of_blocks != blocks,
            "a block is none of those that there are": not all(
                0 <= ours < blocks[0] and 0 <= theirs < blocks[1] for ours, theirs in pairs
            ),
            "a matrix is of no block that was looked at": not inside <= set(pairs),
            "widths are 0 or more": min(*self.hidden, *self.units) < 0,
            "units that were found are some of those that there are": not all(
                0 <= one.units[0] <= one.units[1] for one in self.blocks
            ),
            "what is left of embeddings is 0 or more, and not endless": not 0
            <= self.fit
            <= LARGEST,
        }
        return first_fault(wrong) or next(
            (fault for one in self.matrices if (fault := one.fault())), None
        )

    @property
    def moved(self) -> tuple[str, ...]:
        """What was mapped back, in words, each once: nothing where the two lie number on number."""
        whats: list[str] = [] if self.residual == "same" else [self.residual]
        whats += ["norms"] if self.folded and self.residual != "rotated" else []
        whats += ["tokens"] if self.tokens == "by text" else []
        whats += [what for block in self.blocks for what in block.moved]
        return tuple(dict.fromkeys(_MOVED[what] for what in whats))


_MOVED = {
    "permuted": "the order of the residual stream",
    "rotated": "a rotation of the residual stream",
    "selected": "a choice of the residual stream",
    "norms": "the gains of norms",
    "tokens": "the numbers of tokens",
    "units": "the order of units",
    "scales": "the scales of units",
    "heads": "the order of heads",
    "values": "the order of values",
}
