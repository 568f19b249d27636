"""What share each of several parents has in a merge: what `provenance.differences.merge` measures.

No share has a p-value. An interval says how far the shares differ from matrix to matrix, and supposes that
matrices are independent.
"""

from __future__ import annotations

from dataclasses import dataclass

from provenance._text import per_cent
from provenance.evidence.bounds import are_blocks, are_inside, are_shares, are_whole, p_fault
from provenance.evidence.sparse_merge import SparseMerge  # noqa: TC001 - pydantic reads it

EXPLAINED = 0.1
"""What is left over of a merge of the parents at most: of the distance to the nearest of them."""


@dataclass(frozen=True)
class BlockShares:
    """The shares of the parents in one block, in the order of the parents, and what they leave over."""

    block: int
    shares: tuple[float, ...]
    left_over: float


@dataclass(frozen=True)
class Decomposition:
    """A model as a combination of others, whose shares sum to 1.

    Attributes
    ----------
    parents : tuple of str
        Where the parents come from.
    shares, low, high : tuple of float
        The share of each parent over all matrices, and a 95% interval; a share may be negative, or above 1.
    left_over : float
        The size of what the combination leaves, over the distance to the nearest parent; 0 to 1.
    blocks : tuple of BlockShares
        The same of each block that was looked at.
    matrices : int
        Matrices that were fitted.
    sparse : SparseMerge, optional
        Where the merge left changes out number by number, what they show; it then stands for the rest.
    left_out : tuple of str
        Parameters of the model, in these blocks, that could not be mapped onto every parent.
    """

    parents: tuple[str, ...]
    shares: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    left_over: float
    blocks: tuple[BlockShares, ...]
    matrices: int
    sparse: SparseMerge | None = None
    left_out: tuple[str, ...] = ()

    @property
    def looked(self) -> tuple[int, ...]:
        """The blocks of which something is told."""
        parts = () if self.sparse is None else self.sparse.blocks
        return (*(one.block for one in self.blocks), *(one.block for one in parts))

    @property
    def told(self) -> Decomposition | SparseMerge:
        """What the shares are read off: the numbers one by one where they tell, else the least squares."""
        return self.sparse or self

    @property
    def is_explained(self) -> bool:
        """Whether the parents make up the model, but for `EXPLAINED`, or number by number."""
        return self.sparse is not None or self.left_over <= EXPLAINED

    @property
    def is_explained_by_block(self) -> bool:
        """Whether they make up every block, whatever share they have in each."""
        return bool(self.blocks) and all(block.left_over <= EXPLAINED for block in self.blocks)

    def words(self) -> str:
        """What the shares say, in a sentence."""
        parts = " + ".join(
            f"{round(share, 3) + 0.0:.3g} x {parent}"
            for share, parent in zip(self.told.shares, self.parents, strict=True)
        )
        left = self.left_in_words()
        if self.sparse is not None:
            base = self.parents[self.sparse.base]
            return f"A merge of parts onto {base}: {parts}; {self.sparse.words()}; {left}."
        if self.is_explained:
            return f"A combination of these parents: {parts}; {left}."
        return f"Not of these parents alone, or not of one share each: nearest is {parts}; {left}."

    def left_in_words(self) -> str:
        """How much the combination leaves over, and what it was not looked for in."""
        left = f"{per_cent(self.told.left_over)} of the distance to the nearest is left over"
        if not self.left_out:
            return left
        more = f" and {len(self.left_out) - 1} more" if len(self.left_out) > 1 else ""
        return f"{left}, and {self.left_out[0]}{more} could not be mapped"


@dataclass(frozen=True)
class ParentKinship:
    """Whether one of a merge's parents is kin to it.

    ``log10_p`` is that of the pair, as it is judged; None where nothing could be tested. ``doubt`` says
    what speaks against believing that the two are strangers, where they look like it; None: nothing does.
    """

    source: str
    digest: str
    log10_p: float | None
    doubt: str | None = None


@dataclass(frozen=True)
class MergeRecord:
    """The parents that a claim names of a merge, and what share each has in it.

    ``fitted`` is None where ``reason`` says why no share could be measured.
    """

    parents: tuple[ParentKinship, ...]
    fitted: Decomposition | None = None
    reason: str | None = None

    def fault(self, blocks: int) -> str | None:
        """What no measurement of a model of so many blocks gives; None where nothing is wrong."""
        if (self.fitted is None) == (self.reason is None):
            return "it has either shares or a reason why there are none"
        fault = None if self.fitted is None else self._fault_of_fit(self.fitted)
        faults = (fault, *(p_fault(one.log10_p) for one in self.parents))
        looked = () if self.fitted is None else self.fitted.looked
        outside = (
            None if set(looked) <= set(range(blocks)) else "a block is none of those that there are"
        )
        return next(filter(None, (*faults, outside)), None)

    def _fault_of_fit(self, fitted: Decomposition) -> str | None:
        if fitted.parents != tuple(one.source for one in self.parents):
            return "its shares are of other parents"
        if len({one.digest for one in self.parents}) < len(self.parents):
            return "two of its parents are one model"
        return _fault_of_shares(fitted, len(self.parents))


def _fault_of_shares(fitted: Decomposition, parents: int) -> str | None:
    rows = (fitted.parents, fitted.shares, fitted.low, fitted.high)
    if any(len(row) != parents for row in (*rows, *(block.shares for block in fitted.blocks))):
        return f"its parents are {parents}, and each has one share and interval"
    if not are_inside(fitted.shares, fitted.low, fitted.high):
        return "a share is outside of its interval"
    if not all(map(are_whole, (fitted.shares, *(block.shares for block in fitted.blocks)))):
        return "shares sum to 1"
    if fitted.matrices < 2 or not are_blocks(block.block for block in fitted.blocks):
        return "it is of two matrices or more, and of each block once"
    left = (fitted.left_over, *(block.left_over for block in fitted.blocks))
    if not are_shares(left):
        return "what is left over is from 0 to 1"
    return None if fitted.sparse is None else fitted.sparse.fault(parents)
