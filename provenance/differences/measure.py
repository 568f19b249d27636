"""The difference between two kin: maps one onto the other, block by block, and looks at every matrix.

Of a deep model some blocks are looked at, evenly spread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from provenance.differences.align import Alignment
from provenance.differences.matrix import Pair, look
from provenance.errors import DegenerateError
from provenance.vocabulary import BLOCKS_OF_DIFFERENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from provenance.differences.side import Side
    from provenance.evidence.difference import DifferenceRecord, MatrixDifference

__all__ = ["measure", "spread"]


def spread(blocks: Sequence[int], most: int | None) -> tuple[int, ...]:
    """At most so many of some blocks, evenly spread, the first and the last among them; None: all."""
    if most is None or len(blocks) <= most:
        return tuple(blocks)
    places = torch.linspace(0, len(blocks) - 1, most).round().int().tolist() if most > 1 else [0]
    return tuple(blocks[place] for place in places)


def measure(
    candidate: Side,
    reference: Side,
    blocks: Mapping[int, int],
    *,
    most: int | None = BLOCKS_OF_DIFFERENCE,
    seed: int = 0,
    on_block: Callable[[int, int], None] | None = None,
) -> DifferenceRecord:
    """Map the reference onto the candidate and measure what is left.

    Parameters
    ----------
    candidate, reference : Side
        Two models that are kin.
    blocks : Mapping of int to int
        The reference's block that each block of the candidate's is kin to.
    most : int, optional
        Blocks that are looked at; None for all.
    seed : int
        Of what is drawn at random: rows and columns of large matrices, tokens.
    on_block : callable, optional
        Told how many blocks are done, of how many.

    Raises
    ------
    DegenerateError
        Nothing could be mapped.
    SourceError
        A tensor cannot be read.
    """
    if not blocks:
        raise DegenerateError("no block of the two is kin, so that nothing maps one onto the other")
    generator = torch.Generator().manual_seed(seed % 2**63)
    matrices: list[MatrixDifference] = []

    def visit(name: str, at: tuple[int, int] | None, pair: Pair) -> None:
        matrices.append(look(name, at, pair, generator))

    alignment = Alignment(candidate, reference, visit)
    alignment.embed(seed)
    chosen = spread(sorted(blocks), most)
    alignment.fold(chosen[0], blocks[chosen[0]])
    for done, block in enumerate(chosen):
        if on_block is not None:
            on_block(done, len(chosen))
        alignment.block(block, blocks[block])
    alignment.outside()
    return alignment.record(matrices)
