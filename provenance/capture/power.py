"""How well what the MLPs of a model are fed tells units apart: its effective rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

ROWS = 512
"""Positions that a rank is taken over, evenly spaced: real models reach 200."""

NOISE = 1e-9
"""A variance below this share of the mean square is rounding, as where all tokens are one."""


def effective_rank(fed: torch.Tensor) -> float:
    """Return how many directions hidden states fill: e to the entropy of their variances [1]_.

    Each row counts with length 1, since single tokens of great length occur in every model.

    Parameters
    ----------
    fed : Tensor
        (tokens, hidden), of any floating type.

    References
    ----------
    .. [1] O. Roy and M. Vetterli. The effective rank. EUSIPCO 2007.
    """
    step = -(-len(fed) // ROWS)
    rows = fed[::step].double()
    norms = rows.norm(dim=1, keepdim=True)
    rows = rows / torch.where(norms > 0, norms, 1.0)
    centred = rows - rows.mean(dim=0)
    eps = torch.finfo(fed.dtype).eps if fed.is_floating_point() else 0.0
    if float(centred.square().sum()) <= max(NOISE, (4 * eps) ** 2) * len(rows):
        return 1.0
    variances = torch.linalg.eigvalsh(centred @ centred.T).clamp_min(0.0)
    shares = variances[variances > 0] / variances.sum()
    return float((-(shares * shares.log()).sum()).exp())


def least_rank(records: Iterable[torch.Tensor]) -> float | None:
    """Return the least effective rank of what MLPs are fed; None where there are none."""
    return min((effective_rank(fed) for fed in records), default=None)
