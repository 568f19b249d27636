"""Makes numbers of rows of quantized weights: what codes stand for, times their scales."""

from __future__ import annotations

from functools import cache
from math import prod
from typing import TYPE_CHECKING

import torch

from provenance.checkpoints.coded.parts import EXPONENTS
from provenance.checkpoints.coded.weights import NUMBERS_A_BYTE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provenance.checkpoints.coded.grids import Scale
    from provenance.checkpoints.coded.weights import Code, CodedWeight

FLOAT4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""The positive numbers of 4 bits: a sign, two of the exponent, one of the fraction [1]_.

.. [1] https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf
"""
EXPONENT_OF_ONE = 127
AT_ONCE = 2**20
"""Bytes of codes that are looked up at once: an index of a byte takes four."""


def decoded(
    weight: CodedWeight, run: range, codes: torch.Tensor, numbers: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Some rows of a weight, (len(run), columns) float32.

    Parameters
    ----------
    weight : CodedWeight
        What they are rows of.
    run : range
        Their numbers, along all axes but the last.
    codes : Tensor
        (len(run), bytes of a row) uint8.
    numbers : sequence of Tensor
        Of each scale the rows that `provenance.checkpoints.coded.grids.Scale.cover` names, of any type.
    """
    made = _looked_up(codes, weight.code)
    for scale, stored in zip(weight.scales, numbers, strict=True):
        first = scale.cover(run).start
        places = torch.tensor([scale.place(row) - first for row in run], dtype=torch.int64)
        _multiply(made, _as_numbers(stored, scale)[places], scale)
    return made


def decoded_whole(weight: CodedWeight, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """All of a weight, float32, from its stored tensors by their names."""
    rows = range(prod(weight.shape[:-1]))
    codes = tensors[weight.stored].contiguous().reshape(len(rows), -1).view(torch.uint8)
    numbers = [
        tensors[scale.tensor.name].reshape(scale.tensor.shape)[list(scale.cover(rows))]
        for scale in weight.scales
    ]
    return decoded(weight, rows, codes, numbers).reshape(weight.shape)


def _looked_up(codes: torch.Tensor, code: Code) -> torch.Tensor:
    table = _table(code)
    rows, width = codes.shape
    made = torch.empty(rows, width * table.shape[1])
    some = max(1, AT_ONCE // max(width, 1))
    for start in range(0, rows, some):
        part = codes[start : start + some]
        made[start : start + some] = table[part.int()].reshape(len(part), -1)
    return made


@cache
def _table(code: Code) -> torch.Tensor:
    """What each byte stands for, (256, numbers of a byte) float32."""
    every = torch.arange(256, dtype=torch.uint8)
    if NUMBERS_A_BYTE.get(code, 1) == 2:
        halves = torch.arange(16) - 8.0 if code == "offset4" else _float4()
        return torch.stack([halves[(every & 15).int()], halves[(every >> 4).int()]], dim=1)
    if code == "offset8":
        return (every.float() - 128)[:, None]
    kinds = {
        "float8_e4m3": torch.float8_e4m3fn,
        "float8_e5m2": torch.float8_e5m2,
        "int8": torch.int8,
    }
    return every.view(kinds[code]).float()[:, None]


def _float4() -> torch.Tensor:
    positive = torch.tensor(FLOAT4)
    return torch.cat([positive, -positive])


def _as_numbers(stored: torch.Tensor, scale: Scale) -> torch.Tensor:
    """The numbers of a scale, float32."""
    if scale.tensor.dtype not in EXPONENTS:
        return stored.float()
    exponents = stored.contiguous().view(torch.uint8).int() - EXPONENT_OF_ONE
    return torch.ldexp(torch.ones(exponents.shape), exponents)


def _multiply(made: torch.Tensor, numbers: torch.Tensor, scale: Scale) -> None:
    """Multiply rows by the numbers of their blocks, (rows, blocks of a row), in place."""
    side = scale.sides[1]
    if scale.divides:
        numbers = numbers.reciprocal()
    for block, column in enumerate(numbers.unbind(dim=1)):
        made[:, block * side : (block + 1) * side] *= column[:, None]
