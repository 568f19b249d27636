"""How the numbers of a scale lie over the weight that they multiply."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.checkpoints.safetensors_header import StoredTensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Scale:
    """Numbers that the numbers of a weight's codes are multiplied by, each of them a block.

    Attributes
    ----------
    tensor : StoredTensor
        Where they lie, as a matrix: (rows of blocks of all matrices of the weight, blocks of a row).
    sides : tuple of int
        How many rows and columns of the weight a block has; the last blocks of a matrix may be smaller.
    matrix_rows : int
        The rows of a matrix of the weight, of which a stack has several.
    rows : int
        The rows of blocks of one matrix.
    is_shared : bool
        Whether all matrices of a stack have the same scale.
    divides : bool
        Whether the weight is divided by it.
    """

    tensor: StoredTensor
    sides: tuple[int, int]
    matrix_rows: int
    rows: int
    is_shared: bool = False
    divides: bool = False

    def place(self, row: int) -> int:
        """The row of blocks that a row of the weight is in."""
        matrix, inside = divmod(row, self.matrix_rows)
        return inside // self.sides[0] + (0 if self.is_shared else matrix * self.rows)

    def cover(self, run: range) -> range:
        """The rows of blocks that a run of the weight's rows lies in, without a gap."""
        if not run:
            return range(0)
        first, last = run[0], run[-1]
        if self.is_shared and first // self.matrix_rows != last // self.matrix_rows:
            return range(self.rows)
        return range(self.place(first), self.place(last) + 1)


def scale_of(
    tensor: StoredTensor, weight: Shape, block: Sequence[int] | None, *, divides: bool = False
) -> Scale | None:
    """A stored tensor as the scale of a weight: one number, one a row, or one a block.

    Parameters
    ----------
    tensor : StoredTensor
        The scale as it is stored.
    weight : tuple of int
        The shape of the weight; rows run along its last axis but one.
    block : sequence of int or None
        Rows and columns of a block, where a configuration says them.

    Returns
    -------
    Scale or None
        None where its shape is none that is known.
    """
    rows, columns = (1, *weight)[-2:]
    shape = tensor.shape
    if prod(shape) == 1:
        shape = (1, 1)
    elif len(shape) == 1 and len(weight) == 2 and shape[0] == rows:
        shape = (rows, 1)
    elif len(shape) != len(weight) or len(shape) < 2:
        return None
    lead, own = prod(shape[:-2]), prod(weight[:-2])
    if lead not in {1, own}:
        return None
    high, wide = block or (None, None)
    sides = _side(shape[-2], rows, high), _side(shape[-1], columns, wide)
    if sides[0] is None or sides[1] is None:
        return None
    return Scale(
        replace(tensor, shape=(lead * shape[-2], shape[-1])),
        sides=(sides[0], sides[1]),
        matrix_rows=max(rows, 1),
        rows=shape[-2],
        is_shared=lead == 1,
        divides=divides,
    )


def _side(blocks: int, size: int, side: int | None) -> int | None:
    """How many of ``size`` lie in each of so many blocks; None where they cannot be as many as that."""
    if blocks == 1:
        return max(size, 1)
    if blocks == size:
        return 1
    return side if side and blocks == -(-size // side) else None
