"""Whether a known scheme of rounding makes one matrix of another, number for number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from provenance.differences.digits import narrowest
from provenance.differences.schemes import schemes

if TYPE_CHECKING:
    from provenance.differences.schemes import Make, Scheme

__all__ = ["rederived"]

NARROW = (torch.bfloat16, torch.float16)
ROWS = 32
"""Rows that are made again: a scheme that gives all their numbers gives the others too."""
FEW = 2
"""Rows that a scheme must give before so many are made."""
MOST = 0.9
"""Share of the numbers of these that must come out equal."""
FEWEST = 64
"""Numbers that rounding must have changed at least, so that it tells anything."""
EXACT = 0.999
"""Share of these that must come out equal: machines multiply in different orders."""
EXACT_BUT_SCALES = 0.99
"""The same where scales were rounded too: of a few a machine takes the next level, and of their blocks."""
LAST = 2.0**-22
"""Relative size of what a product, or a mean, in another order changes."""
NEAR = 0.1
"""By what share of itself a number may differ that rounding the scales as well moves."""


def rederived(
    stored: torch.Tensor,
    counterpart: torch.Tensor,
    generator: torch.Generator,
    *,
    on_grid: bool = True,
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
    on_grid : bool
        Whether the candidate's numbers lie on a grid. Where they do not, only whole numbers of 8 bits are
        tried, which 16 bits of a float do not show.
    """
    if not stored.is_floating_point():
        return None
    stored = stored.to(narrowest(stored))
    if stored.dtype in NARROW and _is_cast(stored, counterpart):
        return str(stored.dtype).removeprefix("torch.")
    if not on_grid and stored.dtype not in NARROW:
        return None
    rows = torch.randperm(len(stored), generator=generator)[:ROWS]
    few = _Rows.of(stored, counterpart, rows[:FEW])
    for scheme in schemes(counterpart.shape[1]):
        if not (on_grid or scheme.is_hidden):
            continue
        if few.may_be(scheme) and _Rows.of(stored, counterpart, rows).are(scheme):
            return scheme.name
    return None


def _is_cast(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Whether a matrix is the other in a type of 16 bits, as a file of a wider type may hold it."""
    changed = int((ours.float() != theirs).sum())
    return changed >= FEWEST and torch.equal(theirs.to(ours.dtype), ours)


@dataclass(frozen=True)
class _Rows:
    """Some rows of the candidate's matrix, and what they are in the reference's.

    ``ours`` is as the candidate stores them, ``before`` the reference's in the same type, and ``moved``
    where these differ; ``rows`` are their numbers in ``whole``, the reference's matrix.
    """

    ours: torch.Tensor
    before: torch.Tensor
    moved: torch.Tensor
    whole: torch.Tensor
    rows: torch.Tensor

    @classmethod
    def of(cls, ours: torch.Tensor, theirs: torch.Tensor, rows: torch.Tensor) -> _Rows:
        some = ours.index_select(0, rows)
        before = theirs.index_select(0, rows).to(some.dtype)
        return cls(some, before, some != before, theirs, rows)

    def made(self, make: Make) -> torch.Tensor:
        """The rows as a scheme makes them, float32."""
        return make(self.whole, self.rows)

    def may_be(self, scheme: Scheme) -> bool:
        """Whether a scheme may have made them: cheap, and seldom wrong."""
        if scheme.like is None:
            return self._share(self.made(scheme.make))[0] >= MOST
        some = self.ours.float()
        near = (self.made(scheme.like) - some).abs() <= NEAR * some.abs()
        return float(near.double().mean()) >= MOST

    def are(self, scheme: Scheme) -> bool:
        """Whether a scheme makes them."""
        share, count = self._share(self.made(scheme.make))
        return count >= FEWEST and share >= (EXACT if scheme.like is None else EXACT_BUT_SCALES)

    def _share(self, made: torch.Tensor) -> tuple[float, int]:
        """The share of equal numbers among those that rounding changes, and how many these are."""
        stored, last = made.to(self.ours.dtype), LAST * made.abs()
        equal = (stored == self.ours) | ((made - self.ours.float()).abs() <= last)
        # what lies on the scheme's levels already is computed again, and may come out in another last digit
        same = (stored == self.before) | ((made - self.before.float()).abs() <= last)
        changed = ~same | self.moved
        count = int(changed.sum())
        return (int((equal & changed).sum()) / count if count else 0.0), count
