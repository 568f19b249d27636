"""Whether a known scheme of rounding makes one matrix of another, number for number.

llama.cpp's types are rounded and read by the library gguf, which holds to llama.cpp's own reference code.
The plain schemes are those of most integer quantizers: the nearest of equal steps up to the largest
absolute number of a row. K-types, importance matrices and clipped ranges are not tried.
"""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["rederived"]

GGUF_TYPES = ("Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")
GROUP = 32
"""Numbers of a row that share the scales of these types."""
BITS = (8, 4)
ROWS = 32
"""Rows that are made again: a scheme that gives all their numbers gives the others too."""
FEWEST = 64
"""Numbers that rounding must have changed at least, so that it tells anything."""
EXACT = 0.999
"""Share of these that must come out equal: machines multiply in different orders."""


def rederived(
    stored: torch.Tensor, counterpart: torch.Tensor, generator: torch.Generator
) -> str | None:
    """Name the scheme that makes a matrix of its counterpart; None where none of those that are tried does.

    Parameters
    ----------
    stored : Tensor
        (rows, columns), the candidate's as its files have it.
    counterpart : Tensor
        (rows, columns), float32, the reference's in the same place and order.
    generator : torch.Generator
        Chooses the rows that are looked at.
    """
    if not stored.is_floating_point():
        return None
    rows = torch.randperm(len(stored), generator=generator)[:ROWS]
    ours, theirs = stored.index_select(0, rows), counterpart.index_select(0, rows)
    before = theirs.to(ours.dtype)
    for name, scheme in _schemes(ours.shape[1]):
        made = scheme(theirs).to(ours.dtype)
        changed = (made != before) | (ours != before)
        if int(changed.sum()) < FEWEST:
            continue
        if float((made == ours)[changed].double().mean()) >= EXACT:
            return name
    return None


def _schemes(columns: int) -> Iterator[tuple[str, Callable[[torch.Tensor], torch.Tensor]]]:
    for bits in BITS:
        yield f"{bits} bits, a scale a row", partial(_to_largest, bits=bits)
    if columns % GROUP == 0 and find_spec("gguf") is not None:
        for name in GGUF_TYPES:
            yield name, partial(_as_gguf, name=name)


def _to_largest(rows: torch.Tensor, *, bits: int) -> torch.Tensor:
    highest = 2 ** (bits - 1) - 1
    scales = rows.abs().amax(dim=1, keepdim=True) / highest
    scales[scales == 0] = 1
    made: torch.Tensor = (rows / scales).round() * scales
    return made


def _as_gguf(rows: torch.Tensor, *, name: str) -> torch.Tensor:
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize, quantize

    kind = GGMLQuantizationType[name]
    made: torch.Tensor = torch.from_numpy(dequantize(quantize(rows.numpy(), kind), kind))
    return made
