"""`mode_connectivity`: the loss half-way between two models (linear mode connectivity).

Two models of one ancestor lie in one basin, and their average is about as good as they are; the average of
strangers is worthless. The barrier says how much worse. It has no null distribution of its own:
`provenance.statistics.permtest` gives it a p-value, at the cost of a loss for each permutation.

What defeats it: permuting, rotating or rescaling a model's parameters after training.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from provenance.errors import ArchitectureError, DegenerateError
from provenance.statistics._paired_parameters import map_paired

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

__all__ = ["midpoint", "mode_connectivity"]


def midpoint(
    candidate: Mapping[str, torch.Tensor], reference: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return the average of two models' parameters, parameter by parameter.

    Parameters
    ----------
    candidate, reference : mapping of str to Tensor
        Floating-point parameters by name, equal names and shapes.

    Returns
    -------
    dict of str to Tensor
        New tensors in the candidate's dtype and device; the arithmetic is at least float32.

    Raises
    ------
    ArchitectureError
        If names or shapes differ, or a parameter is not floating point (quantised weights: load
        them in floating point first).
    """

    def average(name: str, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        if not (a.is_floating_point() and b.is_floating_point()):
            raise ArchitectureError(f"parameter {name!r} is not floating point: it has no average")
        one, other = (_at_least_float32(x.detach()) for x in (a, b))
        return (one * 0.5 + other.to(one.device) * 0.5).to(a.dtype)

    return map_paired(average, candidate, reference)


def mode_connectivity(
    loss_of: Callable[[Mapping[str, torch.Tensor]], float],
    candidate: Mapping[str, torch.Tensor],
    reference: Mapping[str, torch.Tensor],
    ends: float | None = None,
) -> float:
    """Return minus the barrier: the mean loss of two models less the loss half-way between them.

    Parameters
    ----------
    loss_of : callable
        From parameters by name to the mean loss on a fixed set of inputs.
    candidate, reference : mapping of str to Tensor
        Floating-point parameters by name, equal names and shapes.
    ends : float, optional
        The mean loss of the two, where it is known: a permutation of the reference leaves it alone.

    Returns
    -------
    float
        Larger, or positive, is more alike.

    Raises
    ------
    ArchitectureError
        If names or shapes differ, or a parameter is not floating point.
    DegenerateError
        If a loss is NaN or infinite.

    Notes
    -----
    No null hypothesis of its own. Under a permutation test the null and assumptions are that
    test's [1]_, Algorithm 1. The barrier is that of [2]_.

    References
    ----------
    .. [1] Zhu, Ahmed, Kuditipudi, Liang. Independence Tests for Language Models. ICML 2025,
       arXiv:2502.12292.
    .. [2] Frankle, Dziugaite, Roy, Carbin. Linear Mode Connectivity and the Lottery Ticket
       Hypothesis. ICML 2020, arXiv:1912.05671.
    """
    if ends is None:
        ends = (loss_of(candidate) + loss_of(reference)) / 2
    between = loss_of(midpoint(candidate, reference))
    if not (math.isfinite(ends) and math.isfinite(between)):
        raise DegenerateError(
            f"the loss is {ends} at the models and {between} half-way: there is no barrier"
        )
    return ends - between


def _at_least_float32(x: torch.Tensor) -> torch.Tensor:
    return x if x.element_size() > 2 else x.float()
