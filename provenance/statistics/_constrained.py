"""What `csu` and `csh` share: match units by cosine, and compare the matching with the identity."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from provenance.assignment.solve import assign
from provenance.errors import DegenerateError
from provenance.statistics.pvalues import LEAST_UNITS, spearman
from provenance.vocabulary import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ConstrainedResult:
    """Evidence that the units of two models correspond in the order in which they stand.

    Attributes
    ----------
    statistic : str
        "csu" or "csh".
    log10_p : float
        log10 of the one-sided p-value, at least ``-log10(live!)``.
    correlation : float
        Spearman correlation between the matching and the identity.
    units, live : int
        Units of either model; those that are live in both, which alone took part.
    matching : ndarray
        (live, 2) int64: the pairs (candidate unit, reference unit) of the optimal assignment, in the
        models' own numbering. The first column is the random order in which units were ranked.
    """

    statistic: str
    log10_p: float
    correlation: float
    units: int
    live: int
    matching: NDArray[np.int64] = field(repr=False)
    nearness: None = None

    def agreeing(self) -> int:
        """Units that are matched to the unit at their own index."""
        return len(self.survivors())

    def survivors(self) -> NDArray[np.int64]:
        """Units that are matched to the unit at their own index, (k, 2) int64, ascending."""
        alike: NDArray[np.int64] = self.matching[self.matching[:, 0] == self.matching[:, 1]]
        return alike[np.argsort(alike[:, 0])]

    def matchings(self, most: int) -> None:
        """None: there is one matching, and the identity."""

    def imitation_fits(self) -> None:
        """None: the units themselves are matched."""


def constrained(
    statistic: str,
    candidate: torch.Tensor,
    reference: torch.Tensor,
    *,
    live: Callable[[torch.Tensor], torch.Tensor],
    seed: int,
) -> ConstrainedResult:
    """Match the rows of two matrices by cosine and correlate the matching with the identity.

    Parameters
    ----------
    statistic : str
        The name that the result and the errors carry.
    candidate, reference : Tensor
        (units, features), equal shapes.
    live : callable
        From a float32 matrix to its mask of units that can be matched, (units,) bool.
    seed : int
        Of the two random orders described below.

    Raises
    ------
    DegenerateError
        If shapes differ, an entry is not finite, or fewer than `LEAST_UNITS` units are live in both.

    Notes
    -----
    Units dead in either model are dropped from *both*: the identity pairs a unit with the one at its
    own index, so a unit whose partner is dead has nothing to be compared with. Given which
    indices are dropped, the order of the reference's other units is as uniform as before, so the
    test stays exact.

    Both models' units are renumbered by one random order, in which they are also ranked: it
    leaves the identity the identity, while a likeness of whole stretches of indices (all early units
    alike, say) no longer looks like a correlation. The candidate's units are then handed to the solver in
    a second random order, so that nothing it does with ties can favour the identity.
    """
    values = zip(ROLES, (candidate, reference), strict=True)
    sides = [_validated(statistic, role, x) for role, x in values]
    if sides[0].shape != sides[1].shape:
        raise DegenerateError(
            f"{statistic} pairs the units of equal index, so shapes must be equal, but the "
            f"candidate's is {tuple(sides[0].shape)} and the reference's {tuple(sides[1].shape)}"
        )
    units = len(sides[0])
    alive = (live(sides[0]) & live(sides[1]).to(sides[0].device)).nonzero().squeeze(1).cpu().numpy()
    if len(alive) < LEAST_UNITS:
        raise DegenerateError(
            f"{len(alive)} of {units} units are live in both models; {statistic} needs {LEAST_UNITS}"
        )
    rng = np.random.default_rng(seed)
    numbering = rng.permutation(alive)  # (live,), the unit that has each number
    shuffle = rng.permutation(len(alive))  # (live,), in which the solver sees the candidate
    assignment = assign(_cosine(sides[0], numbering[shuffle], sides[1], numbering))
    partners = np.empty(len(alive), dtype=np.int64)
    partners[shuffle] = assignment.columns  # square: row k of the solver's is number shuffle[k]
    test = spearman(np.arange(len(alive)), partners)
    return ConstrainedResult(
        statistic=statistic,
        log10_p=test.log10_p,
        correlation=test.correlation,
        units=units,
        live=len(alive),
        matching=np.stack([numbering, numbering[partners]], axis=1),
    )


def _validated(statistic: str, role: str, x: torch.Tensor) -> torch.Tensor:
    if x.dim() != 2:
        raise DegenerateError(
            f"{statistic} needs a matrix, but the {role}'s shape is {tuple(x.shape)}"
        )
    values = x.detach().float()
    if not bool(torch.isfinite(values).all()):
        raise DegenerateError(f"the {role}'s values hold NaN or infinity; {statistic} is undefined")
    return values


def _cosine(
    a: torch.Tensor, a_units: NDArray[np.int64], b: torch.Tensor, b_units: NDArray[np.int64]
) -> torch.Tensor:
    """Return cosines (len(a_units), len(b_units)) between rows, float32."""
    return _unit_rows(a, a_units) @ _unit_rows(b, b_units).to(a.device).T


def _unit_rows(x: torch.Tensor, units: NDArray[np.int64]) -> torch.Tensor:
    rows = x[torch.from_numpy(units).to(x.device)]
    # the largest entry first: squares of any float32 values neither overflow nor vanish
    rows = rows / rows.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    unit: torch.Tensor = rows / rows.norm(dim=1, keepdim=True)
    return unit
