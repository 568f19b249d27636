"""PERMTEST: a p-value for any statistic of two models (paper, Algorithm 1, Theorem 1).

The order of a model's units is an accident of its initialisation: permuted, the model computes the same. So
the statistic of a candidate and a reference that know nothing of each other is like the statistic with
the reference permuted at random, and its rank among such draws is uniform. It is the *reference* that is
permuted, for it is the model whose training is assumed equivariant; of the candidate nothing is assumed.

`provenance.statistics.symmetries` has the group.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, SupportsFloat

import numpy as np

from provenance.statistics._paired_parameters import distance, map_paired
from provenance.statistics.pvalues import permutation_p
from provenance.statistics.symmetries import Symmetries, random_member

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from provenance.statistics.symmetries import Member, Parameters

__all__ = ["PermutationResult", "l2_permtest", "permtest"]


@dataclass(frozen=True)
class PermutationResult:
    """A statistic's rank among its values with the reference permuted.

    Attributes
    ----------
    statistic : str
        Its name.
    log10_p : float
        log10 of (1 + #{null > observed} + a random share of ties) / (trials + 1).
    observed : float
        The statistic of the models as they are; larger is more alike.
    null : tuple of float
        Its values with the reference permuted.
    trials : int
        Permutations drawn, T; p is at least 1 / (T + 1).
    """

    statistic: str
    log10_p: float
    observed: float
    null: tuple[float, ...] = field(repr=False)
    trials: int


def permtest(
    statistic: Callable[[Parameters, Parameters], SupportsFloat],
    candidate: Parameters,
    reference: Parameters,
    *,
    trials: int,
    seed: int,
    symmetries: Symmetries | None = None,
    name: str | None = None,
) -> PermutationResult:
    """Test independence by a statistic that has no null distribution of its own.

    Parameters
    ----------
    statistic : callable
        From the candidate's and the (permuted) reference's parameters to a number; larger is more
        alike. It is computed ``trials + 1`` times.
    candidate, reference : mapping of str to Tensor
        Parameters by name, possibly loaded on access.
    trials : int
        T, at least 1. The paper takes 99.
    seed : int
        Of the members and of the breaking of ties.
    symmetries : Symmetries, optional
        The group. By default the reference's, heads left where they are.
    name : str, optional
        The statistic's; by default the callable's.

    Raises
    ------
    ArchitectureError
        If the reference is not laid out like Llama.
    DegenerateError
        If a value of the statistic is NaN or infinite.
    ValueError
        If `trials` is below 1.

    Notes
    -----
    Null hypothesis: the two models were trained from independent random initialisations. Under it p
    is uniform on {1, .., T + 1} / (T + 1), whatever the statistic, if the *reference*'s initialisation is
    invariant under the group and its training equivariant to it [1]_, Theorem 1. Of the candidate
    nothing is assumed. Two-sided alternatives are not tested.

    What defeats it: a candidate permuted after training (the statistic is then as for strangers),
    and any statistic that the group leaves alone, such as `jsd`: all values tie, and p is random.

    References
    ----------
    .. [1] Zhu, Ahmed, Kuditipudi, Liang. Independence Tests for Language Models. ICML 2025,
       arXiv:2502.12292, Algorithm 1, Appendices A and D.
    """
    rng = np.random.default_rng(seed)
    drawn = _drawn(symmetries, reference, trials, rng)
    observed = float(statistic(candidate, reference))
    null = tuple(float(statistic(candidate, member.apply(reference))) for member in drawn)
    label = name or str(getattr(statistic, "__name__", type(statistic).__name__))
    return PermutationResult(label, permutation_p(observed, null, rng), observed, null, trials)


def l2_permtest(
    candidate: Parameters,
    reference: Parameters,
    *,
    trials: int,
    seed: int,
    symmetries: Symmetries | None = None,
) -> PermutationResult:
    """Return what `permtest` returns for the statistic `l2`, reading each parameter once.

    Parameters are as of `permtest`. All permutations of a tensor are made while it is in memory, so the
    cost of reading does not grow with ``trials``. Without `symmetries` the reference is read twice, at
    first for its shapes.
    """
    rng = np.random.default_rng(seed)
    drawn = _drawn(symmetries, reference, trials, rng)

    def distances(name: str, a: torch.Tensor, b: torch.Tensor) -> list[float]:
        return [
            distance(name, a, b),
            *(distance(name, a, member.permute(name, b)) for member in drawn),
        ]

    by_parameter = map_paired(distances, candidate, reference).values()
    observed, *null = (0.0 - math.fsum(column) for column in zip(*by_parameter, strict=True))
    log10_p = permutation_p(observed, null, rng)
    return PermutationResult("l2", log10_p, observed, tuple(null), trials)


def _drawn(
    symmetries: Symmetries | None, reference: Parameters, trials: int, rng: np.random.Generator
) -> list[Member]:
    if trials < 1:
        raise ValueError(f"trials is {trials}; a permutation test needs at least 1")
    group = symmetries or Symmetries.of(reference)
    return [random_member(group, rng) for _ in range(trials)]
