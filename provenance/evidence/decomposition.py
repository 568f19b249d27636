"""What share each of several parents has in a merge: what `provenance.differences.merge` measures.

No number has a p-value. An interval says how far the shares differ from matrix to matrix, and supposes that
matrices are independent.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    parents: tuple[str, ...]
    shares: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    left_over: float
    blocks: tuple[BlockShares, ...]
    matrices: int

    @property
    def is_explained(self) -> bool:
        """Whether the parents make up the model, but for `EXPLAINED`."""
        return self.left_over <= EXPLAINED

    def words(self) -> str:
        """What the shares say, in a sentence."""
        parts = " + ".join(
            f"{share:.3g} x {parent}"
            for share, parent in zip(self.shares, self.parents, strict=True)
        )
        left = f"{100 * self.left_over:.2g}% of the distance to the nearest is left over"
        if self.is_explained:
            return f"A combination of these parents: {parts}; {left}."
        return f"Not of these parents alone, or not of one share each: nearest is {parts}; {left}."
