"""The blocks of a matrix that share a scale, of some of its rows, and the rows made of blocks again."""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["Blocks", "flat_blocks", "row_blocks"]


@dataclass(frozen=True)
class Blocks:
    """Blocks that cover some rows.

    Attributes
    ----------
    numbers : Tensor
        (blocks, size of a block), zero where the matrix, or a row, has ended.
    places : Tensor
        (blocks,) int64: which blocks of the matrix they are.
    columns : int
        Of the matrix.
    offsets : Tensor
        (rows,) int64: where a row begins in its blocks.
    """

    numbers: torch.Tensor
    places: torch.Tensor
    columns: int
    offsets: torch.Tensor

    def rows(self, made: torch.Tensor) -> torch.Tensor:
        """Put blocks, or what was made of them number by number, together to the rows."""
        along = made.reshape(len(self.offsets), -1)
        return along.gather(1, self.offsets[:, None] + torch.arange(self.columns))


def flat_blocks(matrix: torch.Tensor, rows: torch.Tensor, size: int) -> Blocks:
    """Blocks of a matrix as one run of numbers, row after row: a block may be of two rows.

    Parameters
    ----------
    matrix : Tensor
        (rows, columns).
    rows : Tensor
        (chosen,) int64.
    size : int
        Numbers of a block.
    """
    columns = matrix.shape[1]
    count = columns // size + (0 if columns % size == 0 else 2)
    first = rows * columns // size
    index = first[:, None] * size + torch.arange(count * size)
    inside = index < matrix.numel()
    flat = matrix.reshape(-1)
    numbers = torch.where(inside, flat[index.clamp_max(matrix.numel() - 1)], 0)
    places = first[:, None] + torch.arange(count)
    return Blocks(
        numbers.reshape(-1, size), places.reshape(-1), columns, rows * columns - first * size
    )


def row_blocks(matrix: torch.Tensor, rows: torch.Tensor, size: int) -> Blocks:
    """Blocks that begin anew in every row; ``size`` 0 is a whole row. See `flat_blocks`."""
    some = matrix.index_select(0, rows)
    columns = matrix.shape[1]
    size = size or columns
    count = -(-columns // size)
    padded = torch.nn.functional.pad(some, (0, count * size - columns))
    places = rows[:, None] * count + torch.arange(count)
    return Blocks(padded.reshape(-1, size), places.reshape(-1), columns, torch.zeros_like(rows))
