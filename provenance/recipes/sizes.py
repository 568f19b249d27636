"""How large a model is, told before it is there: what a plan of the work counts with."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Sizes"]


@dataclass(frozen=True)
class Sizes:
    """Numbers of a model, as far as its recipe, its configuration or its files tell them.

    Attributes
    ----------
    hidden, units, blocks, vocabulary : int
        Of a mixture, ``units`` are those of one expert.
    experts : int
        MLPs of a block.
    width : int
        Bytes of a stored parameter.
    counted : int or None
        The number of all parameters, where it is known; else it is estimated from the rest.
    """

    hidden: int
    units: int
    blocks: int
    vocabulary: int
    experts: int = 1
    width: int = 4
    counted: int | None = None

    @property
    def parameters(self) -> int:
        """All parameters: tied embeddings, attention of four square matrices, and gated MLPs."""
        if self.counted is not None:
            return self.counted
        return (self.vocabulary + 1) * self.hidden + self.blocks * self.block_parameters

    @property
    def block_parameters(self) -> int:
        """Parameters of a block, its two norms included."""
        return 4 * self.hidden**2 + 3 * self.hidden * self.units * self.experts + 2 * self.hidden

    @property
    def file_bytes(self) -> int:
        """Bytes of its weights on disk."""
        return self.parameters * self.width
