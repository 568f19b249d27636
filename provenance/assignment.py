"""Exact linear assignment: the pairing of units that is most similar as a whole.

Greedy pairing depends on the order in which units are visited; the optimum does not, and it is what
the independence test is defined on (Zhu et al., arXiv:2502.12292, Algorithm 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from provenance.errors import DegenerateError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Assignment:
    """A pairing of rows with columns that uses every unit of the smaller side once.

    Attributes
    ----------
    rows, columns : numpy.ndarray of int64, shape (min(m, n),)
        Row ``rows[k]`` is paired with column ``columns[k]``. The smaller side's indices ascend
        (rows if m <= n), so two assignments of one shape list the same units in the same order.
        Read-only.
    total : float
        Sum of the similarities of the pairs, in float64.
    shape : tuple of int
        (m, n).
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    total: float
    shape: tuple[int, int]

    @property
    def partners(self) -> NDArray[np.int64]:
        """The larger side's index for each unit of the smaller side, shape (min(m, n),)."""
        return self.columns if self.shape[0] <= self.shape[1] else self.rows

    def column_of_row(self) -> NDArray[np.int64]:
        """Return the column of every row, -1 for a row without one; shape (m,)."""
        return _inverse(self.rows, self.columns, self.shape[0])

    def row_of_column(self) -> NDArray[np.int64]:
        """Return the row of every column, -1 for a column without one; shape (n,)."""
        return _inverse(self.columns, self.rows, self.shape[1])


def assign(similarity: torch.Tensor) -> Assignment:
    """Pair rows with columns so that the sum of their similarities is the largest possible.

    Parameters
    ----------
    similarity : torch.Tensor, shape (m, n)
        Floating point, on any device; m and n may differ. It is not changed.

    Returns
    -------
    Assignment
        min(m, n) pairs. Where several pairings have the largest sum, one of them.

    Raises
    ------
    DegenerateError
        If a similarity is NaN or infinite.
    ValueError
        If `similarity` is not a floating-point matrix with at least one row and one column.

    Notes
    -----
    Where the best partners of the smaller side are all different they are the optimum, since no
    unit can do better; so it is for two related models. Otherwise the Jonker-Volgenant algorithm
    solves the dense problem in float64 [1]_.

    References
    ----------
    .. [1] Crouse. On implementing 2D rectangular assignment algorithms. IEEE Transactions on
       Aerospace and Electronic Systems 52(4), 2016. (scipy.optimize.linear_sum_assignment)
    """
    _validate(similarity)
    m, n = similarity.shape
    wide = similarity.detach() if m <= n else similarity.detach().T
    partners = _best_partners(wide)
    if partners is None:
        partners = _solve_dense(wide)
    units = torch.arange(len(partners), device=wide.device)
    chosen = wide[units, torch.from_numpy(partners).to(wide.device)]
    smaller = np.arange(len(partners), dtype=np.int64)
    smaller.setflags(write=False)
    partners.setflags(write=False)
    rows, columns = (smaller, partners) if m <= n else (partners, smaller)
    return Assignment(rows, columns, float(chosen.cpu().double().sum()), (m, n))


def _validate(similarity: torch.Tensor) -> None:
    if similarity.ndim != 2 or not similarity.numel() or not similarity.is_floating_point():
        raise ValueError(
            f"similarity has shape {tuple(similarity.shape)} and dtype {similarity.dtype}; "
            "it must be a floating-point matrix with at least one row and one column"
        )
    least, greatest = torch.aminmax(similarity.detach())  # either is NaN where anything is
    if not (math.isfinite(least) and math.isfinite(greatest)):
        raise DegenerateError("a similarity is NaN or infinite, so no pairing is the best")


def _best_partners(wide: torch.Tensor) -> NDArray[np.int64] | None:
    """Return every row's best column, or None if two rows want the same one."""
    partners = wide.argmax(dim=1).cpu().numpy()  # (rows,)
    return partners if len(np.unique(partners)) == len(partners) else None


def _solve_dense(wide: torch.Tensor) -> NDArray[np.int64]:
    """Return every row's column in an optimal assignment; rows <= columns."""
    _, partners = linear_sum_assignment(wide.to("cpu", torch.float64).numpy(), maximize=True)
    return partners.astype(np.int64)


def _inverse(keys: NDArray[np.int64], values: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    partner = np.full(size, -1, dtype=np.int64)
    partner[keys] = values
    return partner
