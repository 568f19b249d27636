"""The numbers that the codes of 4 and 8 bits stand for, in the types that quantizers round to.

References
----------
.. [1] Dettmers, Pagnoni, Holtzman, Zettlemoyer: QLoRA. 2023, arXiv 2305.14314.
.. [2] Dettmers, Lewis, Shleifer, Zettlemoyer: 8-bit optimizers via block-wise
   quantization. 2021, arXiv 2110.02861.
.. [3] Micikevicius et al.: FP8 formats for deep learning. 2022, arXiv 2209.05433.
.. [4] Open Compute Project: Microscaling formats (MX), version 1.0. 2023.
.. [5] https://github.com/ggml-org/ggml (IQ4_NL and IQ4_XS, whose 16 levels are the same)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch

from provenance.loading.decode import FLOAT4

__all__ = ["BOOKS", "DYNAMIC", "FLOAT8", "FP4", "NF4", "Book", "both_signs"]

NF4: tuple[float, ...] = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
)
NF4 += (-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725)
NF4 += (0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941)
NF4 += (0.7229568362236023, 1.0)
"""The levels of NF4 [1]_: of the largest number of a block, from the least to the largest."""
FP4 = (0.0, 0.0625 / 12, 2 / 12, 3 / 12, 4 / 12, 6 / 12, 8 / 12, 1.0)
"""The positive levels of bitsandbytes' FP4: of the largest number of a block."""
IQ4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
"""The levels of llama.cpp's types of 4 bits that are not linear [5]_."""
FLOAT8 = {"e5m2": torch.float8_e5m2, "e4m3": torch.float8_e4m3fn}
"""The floats of 8 bits [3]_, the coarser first: the other has its numbers too, save the largest ones."""
BLOCKS = (4096, 2048, 1024, 512, 256, 128, 64, 32)
"""Sizes of blocks that bitsandbytes offers, the largest first: most parts of a block look like blocks."""


@dataclass(frozen=True)
class Book:
    """The numbers of one type of few bits, of which every group of numbers has a multiple.

    Attributes
    ----------
    name : str
        As its makers call it.
    bits : int
        Of a code.
    levels : Tensor
        (levels,) float64 in ascending order.
    sizes : tuple of int
        Of the groups that share a scale, the largest first; 0 is a whole row.
    tops : tuple of float
        Levels that the number farthest from zero of a group may be.
    is_flat : bool
        Whether groups run on from one row to the next, or begin anew in each.
    """

    name: str
    bits: int
    levels: torch.Tensor
    sizes: tuple[int, ...]
    tops: tuple[float, ...]
    is_flat: bool = False


def both_signs(levels: tuple[float, ...]) -> torch.Tensor:
    """Levels and their negatives, each once, ascending, float64."""
    positive = torch.tensor(levels, dtype=torch.float64)
    return _ascending(torch.cat([-positive, positive]))


@cache
def _floats(dtype: torch.dtype) -> torch.Tensor:
    codes = torch.arange(256, dtype=torch.uint8).view(dtype).double()
    return _ascending(codes[codes.isfinite()])


def _ascending(levels: torch.Tensor) -> torch.Tensor:
    return torch.tensor(sorted(set(levels.tolist())), dtype=torch.float64)


def _book(name: str, bits: int, levels: torch.Tensor, sizes: tuple[int, ...]) -> Book:
    return Book(name, bits, levels, sizes, tuple(levels[levels > 0].tolist()))


BOOKS = (
    Book("NF4", 4, torch.tensor(NF4, dtype=torch.float64), BLOCKS, (-1.0, 1.0), is_flat=True),
    Book("FP4", 4, both_signs(FP4), BLOCKS, (-1.0, 1.0), is_flat=True),
    _book("float4", 4, both_signs(FLOAT4), (32, 16)),
    Book("IQ4", 4, torch.tensor(IQ4, dtype=torch.float64), (32,), tuple(map(float, IQ4))),
    *(_book(f"float8 ({name})", 8, _floats(dtype), (0, 128, 32)) for name, dtype in FLOAT8.items()),
)
"""What is looked for, the coarser before the finer that has all of its levels."""


@cache
def _dynamic() -> torch.Tensor:
    positive = []
    for decade in range(7):
        edges = torch.linspace(0.1, 1, 2**decade + 1)
        positive.append(10.0 ** (decade - 6) * (edges[:-1] + edges[1:]) / 2)
    levels = torch.cat(positive)
    return torch.cat([-levels, levels, torch.tensor([0.0, 1.0])]).sort().values


DYNAMIC = _dynamic()
"""The 256 levels that bitsandbytes rounds scales to [2]_, ascending, float32: fewer in lower decades."""
