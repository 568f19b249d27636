"""Copies that were rounded by schemes in use: of bitsandbytes, llama.cpp, and to floats of 8 bits.

They are written here once more, in the slow obvious way, so that what is counted is not read by the code
that made it; the levels alone are the package's.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING

import torch

from fixtures.transforms.weights import inner_linears
from provenance.differences.codebooks import DYNAMIC, FP4, NF4

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

    Copy = Callable[[PreTrainedModel], PreTrainedModel]
    Round = Callable[[torch.Tensor], torch.Tensor]

__all__ = ["SCHEMES", "rounded_by"]

GROUP = 64
"""Numbers that share one scale in bitsandbytes' 4 bits."""
SCALES = 256
"""Scales that are rounded together."""
SIDE = 128
"""Rows and columns that share one scale of floats of 8 bits."""
SUB = {2: 16, 3: 16, 4: 32, 5: 32, 6: 16}
"""Numbers of a sub-block of llama.cpp's K-types, by their bits."""
STRETCHES = torch.linspace(0.8, 1.1, 13)
"""Scales that are tried, of that which reaches the farthest number."""


def rounded_by(change: Round, model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy with another matrix, made of its own in float32, in the place of each linear map's."""
    made = copy.deepcopy(model)
    for _, linear in inner_linears(made):
        linear.weight.data = change(linear.weight.data.float()).to(linear.weight.dtype)
    return made


def _nearest(numbers: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    return levels[(numbers[..., None] - levels).abs().argmin(dim=-1)]


def _cut(weight: torch.Tensor, size: int) -> torch.Tensor:
    """The matrix as one run of numbers, in groups, with zeros after its end."""
    flat = weight.reshape(-1)
    return torch.nn.functional.pad(flat, (0, -len(flat) % size)).reshape(-1, size)


def bitsandbytes(weight: torch.Tensor, levels: tuple[float, ...], *, double: bool) -> torch.Tensor:
    """The nearest levels, in groups of the flat matrix; ``double`` rounds the scales as well."""
    groups = _cut(weight, GROUP)
    scales = groups.abs().amax(dim=1, keepdim=True).clamp_min(1e-30)
    codes = _nearest(groups / scales, torch.tensor(levels))
    if double:
        mean = scales.mean()
        some = _cut(scales - mean, SCALES)
        farthest = some.abs().amax(dim=1, keepdim=True).clamp_min(1e-30)
        again = _nearest(some / farthest, DYNAMIC) * farthest + mean
        scales = again.reshape(-1, 1)[: len(scales)]
    return (codes * scales).reshape(-1)[: weight.numel()].reshape(weight.shape)


def float8(
    weight: torch.Tensor, dtype: torch.dtype = torch.float8_e4m3fn, share: str = "row"
) -> torch.Tensor:
    """To float8 and back, with a scale a row, a tensor, a block, or none."""
    largest = weight.abs()
    if share == "row":
        largest = largest.amax(dim=1, keepdim=True)
    elif share == "tensor":
        largest = largest.amax()
    elif share == "block":
        largest = largest.clone()
        for band in largest.split(SIDE, dim=0):
            for block in band.split(SIDE, dim=1):
                block.fill_(block.max())
    most = torch.finfo(dtype).max
    scales = largest.clamp_min(1e-30) / most if share != "none" else torch.ones(())
    return (weight / scales).clamp(-most, most).to(dtype).float() * scales


def k_type(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """As llama.cpp's K-types: sub-blocks whose searched scales, and least numbers, are rounded themselves.

    Of 2, 4 and 5 bits the least number of a sub-block is a level, of 3 and 6 bits zero is one. A row is one
    block here, of as many numbers as it has.
    """
    blocks = weight.reshape(len(weight), -1, SUB[bits])  # (rows, sub-blocks, numbers)
    steps = 2**bits - 1
    if bits in (3, 6):
        low = torch.zeros_like(blocks[..., :1])
        reach = blocks.abs().amax(dim=2, keepdim=True) / 2 ** (bits - 1)
        least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    else:
        low = blocks.amin(dim=2, keepdim=True).clamp_max(0)
        reach = (blocks.amax(dim=2, keepdim=True) - low) / steps
        least, most = 0, steps
    low = _few_bits(low)

    def codes(scale: torch.Tensor) -> torch.Tensor:
        return ((blocks - low) / scale).round().clamp(least, most)

    best, error = reach, torch.full_like(reach, torch.inf)
    for stretch in STRETCHES:
        scale = _few_bits(reach * stretch).clamp_min(1e-30)
        off = ((codes(scale) * scale + low - blocks).square() * blocks.square()).sum(
            2, keepdim=True
        )
        best, error = torch.where(off < error, scale, best), torch.minimum(off, error)
    return (codes(best) * best + low).reshape(weight.shape)


def _few_bits(scales: torch.Tensor) -> torch.Tensor:
    """Scales of a row as multiples of 6 bits of one, which is kept in float16."""
    unit = (scales.abs().amax(dim=1, keepdim=True) / 63).half().float().clamp_min(1e-7)
    return (scales / unit).round() * unit


def mxfp4(weight: torch.Tensor) -> torch.Tensor:
    """Floats of 4 bits, with a power of two for 32 numbers."""
    groups = weight.reshape(-1, 32)
    scales = groups.abs().amax(dim=1, keepdim=True).clamp_min(1e-30).log2().floor().sub(2).exp2()
    levels = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
    levels = torch.cat([-levels.flip(0), levels[1:]])
    return (_nearest(groups / scales, levels) * scales).reshape(weight.shape)


def _fp4() -> tuple[float, ...]:
    return tuple(sorted({*FP4, *(-level for level in FP4)}))


ROUNDS: dict[str, Round] = {
    "NF4": partial(bitsandbytes, levels=NF4, double=False),
    "NF4, its scales rounded too": partial(bitsandbytes, levels=NF4, double=True),
    "FP4": partial(bitsandbytes, levels=_fp4(), double=False),
    "FP4, its scales rounded too": partial(bitsandbytes, levels=_fp4(), double=True),
    "float8": float8,
    "float8, a scale a tensor": partial(float8, share="tensor"),
    "float8, a scale for 128 by 128": partial(float8, share="block"),
    "float8, no scale": partial(float8, share="none"),
    "float8 (e5m2)": partial(float8, dtype=torch.float8_e5m2),
    "float4 (MXFP4)": mxfp4,
    "as K-types, 2 bits": partial(k_type, bits=2),
    "as K-types, 3 bits": partial(k_type, bits=3),
    "as K-types, 4 bits": partial(k_type, bits=4),
    "as K-types, 5 bits": partial(k_type, bits=5),
    "as K-types, 6 bits": partial(k_type, bits=6),
    "NF4, along columns": lambda weight: bitsandbytes(weight.T, NF4, double=False).T.contiguous(),
    "float8, a scale a column": lambda weight: float8(weight.T).T.contiguous(),
    "4 bits, a scale a column": lambda weight: _whole(weight.T, 4).T.contiguous(),
}


def _whole(weight: torch.Tensor, bits: int) -> torch.Tensor:
    scales = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-30) / (2 ** (bits - 1) - 1)
    return (weight / scales).round() * scales


SCHEMES: dict[str, Copy] = {name: partial(rounded_by, change) for name, change in ROUNDS.items()}
"""Copies by what was done to their linear maps."""
