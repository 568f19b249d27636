"""A matrix of similarities that is read a few rows at a time, and may never be whole in memory."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

WHOLE_BYTES = 256 << 20
"""A matrix up to this size (8192 x 8192 in float32) is held whole, so that nothing is computed twice."""

TILE_BYTES = 16 << 20
"""At most this much of a larger matrix is asked for at once. It is enough rows for a matrix product to be
near its best speed: at 28672 columns 68 of 76 GFLOP/s on the machine of benchmarks/RESULTS.md."""

DEVICE_TILE_BYTES = 128 << 20
"""The same for a GPU, where a small tile costs more to start than to compute."""

CHUNK_BYTES = 2 << 20
"""On a CPU a tile is worked on in pieces that stay in the cache."""


class Similarity(Protocol):
    """An (m, n) matrix that can say what stands in some of its rows."""

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n)."""

    @property
    def device(self) -> torch.device:
        """Where the rows are, and where they are searched."""

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Rows start to stop, (stop - start, n) floating point; the same in every call."""

    def transposed(self) -> Similarity:
        """The (n, m) matrix of the same entries."""


@dataclass(frozen=True, eq=False)
class Products:
    """The inner products of two sets of vectors, computed when they are asked for.

    Attributes
    ----------
    a, b : torch.Tensor
        (m, k) and (n, k), of one floating-point type on one device. Cosines, if the rows have length 1.
    absolute : bool
        Whether similarity is the absolute value of the product.

    Raises
    ------
    ValueError
        If `a` and `b` are not such matrices, or one of them has no row.
    """

    a: torch.Tensor
    b: torch.Tensor
    _: KW_ONLY
    absolute: bool = False

    def __post_init__(self) -> None:
        a, b = self.a, self.b
        alike = (a.dtype, a.device, a.shape[1:]) == (b.dtype, b.device, b.shape[1:])
        if not (alike and a.ndim == 2 and len(a) and len(b) and a.is_floating_point()):
            raise ValueError(
                f"a has shape {tuple(a.shape)}, {a.dtype}, on {a.device}, and b {tuple(b.shape)}, "
                f"{b.dtype}, on {b.device}; they must be floating-point matrices alike in all but rows"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n)."""
        return len(self.a), len(self.b)

    @property
    def device(self) -> torch.device:
        """Where the factors are."""
        return self.a.device

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Compute rows start to stop, (stop - start, n)."""
        product = self.a[start:stop].detach() @ self.b.detach().T
        return product.abs_() if self.absolute else product

    def transposed(self) -> Products:
        """The products of `b` with `a`."""
        return Products(self.b, self.a, absolute=self.absolute)

    def reordered(self, rows: torch.Tensor, columns: torch.Tensor) -> Products:
        """The products of rows of `a` with rows of `b`, both (k,) int64, in another order."""
        a, b = (
            x.index_select(0, order.to(x.device))
            for x, order in ((self.a, rows), (self.b, columns))
        )
        return Products(a, b, absolute=self.absolute)


@dataclass(frozen=True, eq=False)
class Matrix:
    """A matrix that is whole already."""

    values: torch.Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n)."""
        m, n = self.values.shape
        return m, n

    @property
    def device(self) -> torch.device:
        """Where the values are."""
        return self.values.device

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Return a view of rows start to stop, (stop - start, n)."""
        return self.values[start:stop]

    def transposed(self) -> Matrix:
        """Return a view with rows and columns exchanged."""
        return Matrix(self.values.T)


def hold_small(similarity: Similarity) -> Similarity:
    """Hold a matrix whole, contiguous and in a type that is computed in, where it is small enough."""
    m, n = similarity.shape
    if m * n * torch.float32.itemsize > WHOLE_BYTES:
        return similarity
    return Matrix(_plain(similarity.rows(0, m)))


def tiles(similarity: Similarity) -> Iterator[tuple[int, torch.Tensor]]:
    """Read a matrix from top to bottom.

    Yields
    ------
    start : int
        Index of the tile's first row.
    tile : torch.Tensor
        (rows, n), contiguous, float64 if the similarity is, otherwise float32; not to be written to.
    """
    m, _ = similarity.shape
    step = _rows_of(
        TILE_BYTES if similarity.device.type == "cpu" else DEVICE_TILE_BYTES, similarity
    )
    piece = _rows_of(CHUNK_BYTES, similarity) if similarity.device.type == "cpu" else step
    for top in range(0, m, step):
        tile = _plain(similarity.rows(top, min(top + step, m)))
        for start in range(0, len(tile), piece):
            yield top + start, tile[start : start + piece]


class Scratch:
    """Memory for what is computed of a tile, used again for the next one.

    Fresh pages cost as much as the arithmetic.
    """

    def __init__(self) -> None:
        self._space: torch.Tensor | None = None

    def like(self, tile: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Return uninitialized values of a tile's shape; those returned before are lost."""
        if self._space is None or len(self._space) < len(tile):
            self._space = torch.empty_like(tile, dtype=dtype or tile.dtype)
        return self._space[: len(tile)]


def _rows_of(size: int, similarity: Similarity) -> int:
    return max(1, size // (similarity.shape[1] * torch.float32.itemsize))


def _plain(values: torch.Tensor) -> torch.Tensor:
    dtype = torch.float64 if values.dtype == torch.float64 else torch.float32
    return values.to(dtype).contiguous()
