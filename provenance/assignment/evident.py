"""Finds partners that are evident from a part of the vectors, and proves them for the whole.

Units of a model and of its fine-tune are nearly equal. The product of two vectors is that of their first
coordinates, plus at most the product of the lengths of what is left (Cauchy and Schwarz). If a unit's
similarity to its partner is above that bound for all others, no other needs to be looked at in full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from provenance.assignment.similarity import Products

PART = 4
"""One coordinate in so many is looked at first."""

ALIKE = 0.9
"""Cosine of most of a few units to their best partners, from which on it is worth a try."""

LEAST = 64
"""Of fewer coordinates the whole product is as soon made."""

_SAMPLE = 32
_ROWS = 256


class Evident(NamedTuple):
    """Every row's best column, int64, and its similarity, float64; each (m,)."""

    partners: NDArray[np.int64]
    best: NDArray[np.float64]


def evident_partners(products: Products) -> Evident | None:
    """Find the best column of every row without the whole matrix.

    Returns
    -------
    Evident or None
        None where partners are not evident, or something is not finite.
    """
    a, b = products.a.detach(), products.b.detach()
    if a.dtype != torch.float32 or a.shape[1] < LEAST or not _is_worth_a_try(a, b, products):
        return None
    part = a.shape[1] // PART
    rests = b[:, part:].norm(dim=1)
    # products in float32 are off by no more than this, each
    rounding = 2 * a.shape[1] * 2.0**-24 * b.norm(dim=1).max()
    partners = torch.empty(len(a), dtype=torch.int64, device=a.device)
    best = torch.empty(len(a), device=a.device)
    unsure: list[torch.Tensor] = []
    for start in range(0, len(a), _ROWS):
        rows = a[start : start + _ROWS]
        bounds = _sized(rows[:, :part] @ b[:, :part].T, products)
        bounds += rows[:, part:].norm(dim=1)[:, None] * rests
        found = _best_columns(bounds)
        reached = _sized((rows * b[found]).sum(dim=1), products)
        bounds.scatter_(1, found[:, None], -torch.inf)
        proven = bounds.amax(dim=1) + rounding * rows.norm(dim=1) < reached
        partners[start : start + len(rows)], best[start : start + len(rows)] = found, reached
        unsure.append((~proven).nonzero().squeeze(1) + start)
        if sum(map(len, unsure)) > len(a) // PART:
            return None
    left = torch.cat(unsure)
    if len(left):
        whole = _sized(a[left] @ b.T, products).max(dim=1)
        if not bool(torch.isfinite(whole.values).all()):
            return None
        partners[left], best[left] = whole.indices, whole.values
    return Evident(partners.cpu().numpy(), best.to("cpu", torch.float64).numpy())


def _best_columns(values: torch.Tensor) -> torch.Tensor:
    """The greatest value's place in every row, int64; on a CPU numpy is 20 times as fast as torch."""
    if values.device.type == "cpu":
        return torch.from_numpy(values.numpy().argmax(axis=1))
    return values.argmax(dim=1)


def _is_worth_a_try(a: torch.Tensor, b: torch.Tensor, products: Products) -> bool:
    rows = a[:: max(1, len(a) // _SAMPLE)]
    best = _sized(rows @ b.T, products).max(dim=1)
    sizes = rows.norm(dim=1) * b[best.indices].norm(dim=1)
    return bool((best.values > ALIKE * sizes).float().mean() > 1 - 1 / PART)


def _sized(values: torch.Tensor, products: Products) -> torch.Tensor:
    return values.abs_() if products.absolute else values
