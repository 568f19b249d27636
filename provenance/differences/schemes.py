"""Schemes of rounding that are known number for number: each makes rows of a matrix, as read again.

bitsandbytes' 4 bits are the nearest of 16 levels times the largest absolute number of a block, a scale that
may be rounded itself [1]_. Its 8 bits are made of float16. llama.cpp's types are rounded and read by the
library gguf, which holds to llama.cpp's own reference code. Floats of few bits have scales that make the
largest number of a tensor, row or block the largest of theirs [2]_. The plain schemes are those of most
integer quantizers. K-types, importance matrices, and scales that were searched or learned are not tried.

References
----------
.. [1] https://github.com/bitsandbytes-foundation/bitsandbytes
.. [2] https://github.com/vllm-project/compressed-tensors
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import product
from typing import TYPE_CHECKING, Literal, Protocol

import torch

from provenance.differences.blocks import flat_blocks, row_blocks
from provenance.differences.codebooks import DYNAMIC, FLOAT8, FP4, NF4, both_signs
from provenance.loading.decode import FLOAT4

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Scheme", "schemes"]

GGUF_TYPES = ("Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "MXFP4")
GROUP = 32
"""Numbers of a row that share the scales of these types."""
BITS = (8, 4)
GROUPS = (0, 128, 64, 32)
"""Numbers that share a scale of whole numbers; 0 is a whole row."""
KEPT = (torch.float32, torch.bfloat16, torch.float16)
"""Types that scales are stored in."""
SIDE = 128
"""Rows and columns of a block that shares a scale of floats of 8 bits."""
BLOCKS = (64, 128, 32, 256, 512, 1024, 2048, 4096)
"""Sizes of the blocks of bitsandbytes' 4 bits, the commonest first."""
SCALES = 256
"""Scales of such blocks that are rounded together."""
NVFP4 = 16
"""Numbers that share a scale of NVFP4, which is a float of 8 bits itself."""

Ends = Literal["one less", "all", "zero"]
"""Whole numbers in use: as many on both sides of zero, one more below, or from a zero of their own."""
Share = Literal["nothing", "tensor", "row", "block"]
"""What shares a scale."""


class Make(Protocol):
    """Makes rows of a matrix as a scheme does."""

    def __call__(self, matrix: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return some rows, float32 (chosen, columns), of a whole matrix, float32 (rows, columns)."""


@dataclass(frozen=True)
class Scheme:
    """A scheme of rounding.

    Attributes
    ----------
    name : str
        As it is said to users.
    make : Make
        Makes the numbers.
    like : Make or None
        Makes nearly the same ones of the rows alone, where `make` reads the whole matrix at some cost.
    is_hidden : bool
        Whether it has whole numbers of 8 bits, whose steps 16 bits of a float round away.
    """

    name: str
    make: Make
    like: Make | None = None
    is_hidden: bool = False


def schemes(columns: int) -> Iterator[Scheme]:
    """Yield the schemes that a matrix of so many columns may have been rounded by, the plainest first."""
    yield from _whole_numbers(columns, KEPT[:1], ("one less",), GROUPS[:1])
    yield Scheme("LLM.int8", _llm_int8, is_hidden=True)
    if columns % GROUP == 0 and find_spec("gguf") is not None:
        for name in GGUF_TYPES:
            yield Scheme(name, partial(_as_gguf, name=name), is_hidden=name == "Q8_0")
    yield from _blockwise()
    yield from _floats()
    yield from _whole_numbers(columns, KEPT, ("one less", "all", "zero"), GROUPS)


def _llm_int8(matrix: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    some = matrix.index_select(0, rows).half().float()
    return _steps(some, bits=8, ends="one less", kept=torch.float32)


def _as_gguf(matrix: torch.Tensor, rows: torch.Tensor, *, name: str) -> torch.Tensor:
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize, quantize

    kind = GGMLQuantizationType[name]
    some = matrix.index_select(0, rows).numpy()
    made: torch.Tensor = torch.from_numpy(dequantize(quantize(some, kind), kind))
    return made


# whole numbers


def _whole_numbers(
    columns: int,
    types: tuple[torch.dtype, ...],
    ends: tuple[Ends, ...],
    groups: tuple[int, ...],
) -> Iterator[Scheme]:
    for bits, group, end, kept in product(BITS, groups, ends, types):
        if group and columns % group:
            continue
        scale = "a scale and a zero" if end == "zero" else "a scale"
        name = f"{bits} bits, {scale} {f'for {group} numbers' if group else 'a row'}"
        make = partial(_to_steps, bits=bits, group=group, ends=end, kept=kept)
        yield Scheme(name, make, is_hidden=bits == max(BITS))


def _to_steps(
    matrix: torch.Tensor,
    rows: torch.Tensor,
    *,
    bits: int,
    group: int = 0,
    ends: Ends = "one less",
    kept: torch.dtype = torch.float32,
) -> torch.Tensor:
    """The nearest of equal steps up to the farthest number of a row or group."""
    blocks = row_blocks(matrix, rows, group)
    return blocks.rows(_steps(blocks.numbers, bits=bits, ends=ends, kept=kept))


def _steps(groups: torch.Tensor, *, bits: int, ends: Ends, kept: torch.dtype) -> torch.Tensor:
    half = 2 ** (bits - 1)
    if ends == "zero":
        low = groups.amin(dim=1, keepdim=True).clamp_max(0)
        high = groups.amax(dim=1, keepdim=True).clamp_min(0)
        scales = _scales(high - low, 2 * half - 1, kept)
        zeros = (-low / scales).round()
        return ((groups / scales + zeros).round().clamp(0, 2 * half - 1) - zeros) * scales
    steps = half - 1 if ends == "one less" else half - 0.5
    scales = _scales(groups.abs().amax(dim=1, keepdim=True), steps, kept)
    return (groups / scales).round().clamp(-half, half - 1) * scales


def _scales(largest: torch.Tensor, steps: float, kept: torch.dtype) -> torch.Tensor:
    """What makes the largest numbers so many steps, as it is stored; 1 where that is nothing."""
    scales = (largest / steps).to(kept).float()
    return torch.where(scales > 0, scales, 1.0)


# the nearest of some levels, in blocks of the matrix as one run of numbers


def _blockwise() -> Iterator[Scheme]:
    for size, (name, levels) in product(
        BLOCKS, (("NF4", torch.tensor(NF4)), ("FP4", both_signs(FP4).float()))
    ):
        plain = partial(_to_levels, levels=levels, size=size, double=False)
        yield Scheme(f"{name} in blocks of {size}", plain)
        double = partial(_to_levels, levels=levels, size=size, double=True)
        yield Scheme(f"{name} in blocks of {size}, its scales rounded too", double, plain)


def _to_levels(
    matrix: torch.Tensor, rows: torch.Tensor, *, levels: torch.Tensor, size: int, double: bool
) -> torch.Tensor:
    blocks = flat_blocks(matrix, rows, size)
    largest = blocks.numbers.abs().amax(dim=1, keepdim=True)
    wanted = blocks.numbers * (1 / largest.clamp_min(torch.finfo(torch.float32).tiny))
    if double:
        whole = _rounded_scales(_largest(matrix, size))
        largest = whole[blocks.places.clamp_max(len(whole) - 1)][:, None]
    return blocks.rows(_nearest(wanted, levels) * largest)


def _nearest(numbers: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """The nearest of ascending levels to each number; the lower of two that are as near."""
    return levels[torch.bucketize(numbers, (levels[1:] + levels[:-1]) / 2)]


def _largest(matrix: torch.Tensor, size: int) -> torch.Tensor:
    """The largest absolute number of every block of a whole matrix, (blocks,)."""
    flat = matrix.reshape(-1)
    padded = torch.nn.functional.pad(flat, (0, -len(flat) % size))
    return padded.reshape(-1, size).abs().amax(dim=1)


def _rounded_scales(scales: torch.Tensor) -> torch.Tensor:
    """Scales less their mean, rounded in blocks themselves, and the mean again."""
    mean = scales.mean()
    inner = torch.nn.functional.pad(scales - mean, (0, -len(scales) % SCALES))
    groups = inner.reshape(-1, SCALES)
    largest = groups.abs().amax(dim=1, keepdim=True)
    wanted = groups * (1 / largest.clamp_min(torch.finfo(torch.float32).tiny))
    return (_nearest(wanted, DYNAMIC) * largest).reshape(-1)[: len(scales)] + mean


# floats of few bits


def _floats() -> Iterator[Scheme]:
    said: dict[Share, str] = {
        "nothing": "without a scale",
        "row": "a scale a row",
        "tensor": "a scale a tensor",
        "block": f"a scale for {SIDE} by {SIDE} numbers",
    }
    for name, dtype in reversed(FLOAT8.items()):
        for share, words in said.items():
            for kept in KEPT[:1] if share == "nothing" else (*KEPT[:2], None):
                make = partial(_to_float8, dtype=dtype, share=share, kept=kept)
                yield Scheme(f"float8 ({name}), {words}", make)
    yield Scheme("NVFP4", _nvfp4)


def _to_float8(
    matrix: torch.Tensor,
    rows: torch.Tensor,
    *,
    dtype: torch.dtype,
    share: Share,
    kept: torch.dtype | None,
) -> torch.Tensor:
    """Rows in a float of 8 bits; ``kept`` is the type of the scales, None: powers of two."""
    some = matrix.index_select(0, rows)
    most = torch.finfo(dtype).max
    largest = _shared(matrix, rows, share)
    if largest is None:
        return some.clamp(-most, most).to(dtype).float()
    if kept is None:
        scales = _scales(largest, most, torch.float32).log2().ceil().exp2()
    else:
        scales = _scales(largest, most, kept)
    return (some / scales).clamp(-most, most).to(dtype).float() * scales


def _shared(matrix: torch.Tensor, rows: torch.Tensor, share: Share) -> torch.Tensor | None:
    """The largest absolute number of what shares a scale, for every number of the rows or for all."""
    if share == "nothing":
        return None
    if share == "tensor":
        low, high = matrix.aminmax()
        return torch.maximum(-low, high)
    if share == "row":
        return matrix.index_select(0, rows).abs().amax(dim=1, keepdim=True)
    along = rows // SIDE * SIDE
    bands = torch.stack(
        [matrix[first : first + SIDE].abs().amax(dim=0) for first in along.tolist()]
    )
    blocks = row_blocks(bands, torch.arange(len(rows)), SIDE)
    return blocks.rows(blocks.numbers.amax(dim=1, keepdim=True).expand(-1, SIDE))


def _nvfp4(matrix: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    blocks = row_blocks(matrix, rows, NVFP4)
    dtype, most = FLOAT8["e4m3"], FLOAT4[-1]
    whole = float(matrix.abs().amax()) / (most * torch.finfo(dtype).max) or 1.0
    largest = blocks.numbers.abs().amax(dim=1, keepdim=True)
    scales = (largest / most / whole).to(dtype).float() * whole
    wanted = blocks.numbers / torch.where(scales > 0, scales, 1.0)
    return blocks.rows(_nearest(wanted, both_signs(FLOAT4).float()) * scales)
