"""Sizes of differences, which no finite number makes infinite: squares of float32 overflow it."""

from __future__ import annotations

import torch

__all__ = ["size_of"]


def size_of(tensor: torch.Tensor) -> float:
    """The Frobenius norm, summed in float64."""
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64))
