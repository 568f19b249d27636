"""How many digits the numbers of a matrix have, whatever type they are stored in."""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["LEAST", "UNIT", "Storage", "narrowest"]

UNIT = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.float16: 2.0**-11}
UNIT[torch.bfloat16] = 2.0**-8
"""By what share of itself rounding to a type moves a number at most."""
LEAST = {torch.float16: 2.0**-25}
"""What it moves the smallest numbers by, where these are not beyond reach."""
ROWS = 32
"""Rows that tell."""


def narrowest(matrix: torch.Tensor) -> torch.dtype:
    """The type of 16 bits that has the numbers of a matrix, of which some are looked at; else its own."""
    some = matrix[:ROWS]
    for dtype in (torch.bfloat16, torch.float16):
        if torch.equal(some.to(dtype).to(some.dtype), some):
            return dtype
    return matrix.dtype


@dataclass(frozen=True)
class Storage:
    """What storing a number changes it by at most: relative to it, and however small it is."""

    relative: float
    least: float = 0.0

    @classmethod
    def of(cls, stored: torch.Tensor) -> Storage:
        """That of the narrowest type that holds a tensor's numbers."""
        dtype = narrowest(stored)
        return cls(UNIT.get(dtype, UNIT[torch.float16]), LEAST.get(dtype, 0.0))
