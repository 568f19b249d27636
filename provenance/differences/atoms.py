"""The value that the most of some inexact numbers agree on: what many share stands out as an atom."""

from __future__ import annotations

import torch

__all__ = ["atom"]


def atom(values: torch.Tensor, errors: torch.Tensor) -> tuple[float, int]:
    """Find the point that lies within the error of the most values.

    Parameters
    ----------
    values, errors : Tensor
        (n,) float64, n at least 1: numbers, and how far each may be off, 0 or more.

    Returns
    -------
    tuple of float and int
        The middle of the first stretch that the most intervals cover, and how many cover it.
    """
    ends = torch.cat([values - errors, values + errors])
    steps = torch.ones_like(ends, dtype=torch.int64)
    steps[len(values) :] = -1
    # stable: of equal ends an interval begins before another stops
    order = torch.argsort(ends, stable=True)
    depth = steps[order].cumsum(0)
    top = int(depth.argmax())
    middle = (ends[order[top]] + ends[order[top + 1]]) / 2
    return float(middle), int(depth[top])
