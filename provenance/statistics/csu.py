"""`csu`: the constrained test of two up-projection weights (paper, sections 1.2 and 2.2.2, phi_U).

Match the rows of one matrix with the rows of the other by cosine; if the one model descends from the
other and no one has reordered it, each unit finds itself. The one-sided Spearman correlation between
the matching and the identity gives the p-value. No forward pass, no tokens.

What defeats it: permuting the MLP's units after training, flipping the signs of up rows (with down's
columns), rotating or permuting the residual stream, and any change of width. `match` survives these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from provenance.errors import ArchitectureError, DegenerateError
from provenance.statistics._constrained import ConstrainedResult, constrained
from provenance.statistics.pvalues import LEAST_UNITS, bonferroni
from provenance.statistics.symmetries import axes_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provenance.architecture.units import MLPActivations

__all__ = ["LIMIT", "ConstrainedResult", "CsuAllResult", "TensorTest", "csu", "csu_all"]

LIMIT = 4096
"""Units of a parameter that `csu_all` matches at most by default: the assignment is cubic."""


@dataclass(frozen=True, eq=False)
class TensorTest:
    """`csu` of one parameter.

    Attributes
    ----------
    name : str
        The parameter's.
    axis : int
        Whose slices were matched: 0 for rows, 1 for columns.
    exact : bool
        Whether a permutation of this axis leaves the model's function alone, so that the test is
        exact. False for a parameter that the axes tables do not know, whose rows are matched.
    result : ConstrainedResult
        Its ``units`` are those that were drawn, at most the limit.
    size : int
        Units of the axis before any were drawn.
    """

    name: str
    axis: int
    exact: bool
    result: ConstrainedResult
    size: int


@dataclass(frozen=True, eq=False)
class CsuAllResult:
    """Evidence from every parameter that the two models have alike.

    Attributes
    ----------
    statistic : str
        "csu_all".
    log10_p : float
        log10 of the least p-value times the number of tests (Bonferroni), at most 0.
    tensors : tuple of TensorTest
        By name.
    skipped : tuple of (str, str)
        Each other parameter's name and why it was not tested.
    """

    statistic: str
    log10_p: float
    tensors: tuple[TensorTest, ...]
    skipped: tuple[tuple[str, str], ...]

    def exact(self) -> bool:
        """Whether every test that was combined is exact."""
        return all(test.exact for test in self.tensors)

    def strongest(self) -> TensorTest:
        """Return the test with the least p-value."""
        return min(self.tensors, key=lambda test: test.result.log10_p)


def csu(candidate: torch.Tensor, reference: torch.Tensor, *, seed: int = 0) -> ConstrainedResult:
    """Test whether two up-projections were trained independently.

    Parameters
    ----------
    candidate, reference : Tensor
        (units, hidden) weights of equal shape, any floating dtype. Gate weights serve as well.
    seed : int
        Of the random orders that keep index order and ties from mattering.

    Returns
    -------
    ConstrainedResult
        One-sided: only a correlation towards the identity counts.

    Raises
    ------
    DegenerateError
        If shapes differ, a weight is not finite, or fewer than 8 rows are nonzero in both.

    Notes
    -----
    Null hypothesis: the two models were trained from independent random initialisations. Under it the
    matching is a uniformly random permutation, if the *reference*'s initialisation has exchangeable
    units and its training is equivariant to their permutation (SGD and Adam are) [1]_, Theorem 2.
    Of the candidate nothing is assumed. The matching's law is then exact; its Spearman tail is the paper's
    t law from 10 units on, and the exact permutation law below.

    Rows that are zero in either model are dropped from both: a zero row has no direction, and two at
    the same index would agree for reasons of their own, such as a shared mask.

    References
    ----------
    .. [1] Zhu, Ahmed, Kuditipudi, Liang. Independence Tests for Language Models. ICML 2025,
       arXiv:2502.12292, sections 2.1 and 2.2.2, Algorithms 2 and 3.
    """
    return constrained("csu", candidate, reference, live=_nonzero, seed=seed)


def csu_all(
    candidate: Mapping[str, torch.Tensor],
    reference: Mapping[str, torch.Tensor],
    *,
    seed: int = 0,
    limit: int = LIMIT,
) -> CsuAllResult:
    """Run `csu` over every matrix of equal name and shape, and combine by Bonferroni.

    Parameters
    ----------
    candidate, reference : mapping of str to Tensor
        Parameters by name. Values may be loaded on access: each is asked for once, and no more than one
        pair is held.
    seed : int
        Of the random orders and of the units drawn.
    limit : int
        Units matched at most; of a longer axis this many are drawn, the same in both models.

    Raises
    ------
    ArchitectureError
        If no parameter can be tested.
    ValueError
        If `limit` is below 8.

    Notes
    -----
    Null hypothesis and assumptions are `csu`'s. A parameter is matched along its first axis that a
    permutation of MLP units or of the residual stream runs through: rows of gate, up, down and o, columns
    of the embedding, the head, q, k and v. Rows of these would not be exact: heads and
    rotary pairs are not exchangeable, and a token's row means the same token in both models.

    The p-values are *dependent*: all residual axes share one permutation, gate and up of a block
    another. Fisher's method is invalid for them; Bonferroni holds whatever the dependence.

    What defeats it is what defeats `csu`, done to every parameter.
    """
    if limit < LEAST_UNITS:
        raise ValueError(f"limit is {limit}; a test needs at least {LEAST_UNITS} units")
    tensors: list[TensorTest] = []
    # Names by iteration: a mapping may answer ``in`` by loading the tensor.
    names = set(candidate), set(reference)
    skipped = [(name, "the reference has none") for name in names[0] - names[1]]
    skipped += [(name, "the candidate has none") for name in names[1] - names[0]]
    for name in sorted(names[0] & names[1]):
        try:
            tensors.append(_test(name, candidate, reference, seed, limit))
        except (ArchitectureError, DegenerateError) as error:
            skipped.append((name, str(error)))
    skipped.sort()
    if not tensors:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped[:3])
        raise ArchitectureError(f"the two models have no matrix that can be tested ({reasons})")
    least = min(test.result.log10_p for test in tensors)
    return CsuAllResult("csu_all", bonferroni(least, len(tensors)), tuple(tensors), tuple(skipped))


def _test(
    name: str,
    candidate: Mapping[str, torch.Tensor],
    reference: Mapping[str, torch.Tensor],
    seed: int,
    limit: int,
) -> TensorTest:
    """Test one parameter; as a function of its own, so that the pair is freed when it returns."""
    a, b = candidate[name], reference[name]
    if a.shape != b.shape or a.dim() != 2:
        raise ArchitectureError(
            f"shapes {tuple(a.shape)} and {tuple(b.shape)} are not those of two equal matrices"
        )
    axes = axes_of(name) or ()
    free = [axis for axis, kind in enumerate(axes) if kind in {"unit", "residual"}]
    axis = free[0] if free else 0
    size = a.shape[axis]
    if size > limit:
        drawn = np.sort(np.random.default_rng(seed).choice(size, limit, replace=False))
        index = torch.from_numpy(drawn)
        a, b = (x.index_select(axis, index.to(x.device)) for x in (a, b))
    if axis == 1:
        a, b = a.T, b.T
    return TensorTest(name, axis, bool(free), csu(a, b, seed=seed), size)


def _nonzero(rows: torch.Tensor) -> torch.Tensor:
    return (rows != 0).any(dim=1)


def csu_of_mlps(
    candidate: MLPActivations, reference: MLPActivations, *, seed: int = 0
) -> ConstrainedResult:
    """`csu` of two blocks as the registry's statistics take them."""
    return csu(candidate.up.T, reference.up.T, seed=seed)
