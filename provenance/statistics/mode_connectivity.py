"""`mode_connectivity`: the loss on the straight path between two models (linear mode connectivity).

Two models of one ancestor lie in one basin, and their average is about as good as they are; the average of
strangers is worthless. The barrier says how much worse. It has no null distribution of its own:
`provenance.statistics.permtest` gives it a p-value, at the cost of a loss for each permutation.

What defeats it: permuting, rotating or rescaling a model's parameters after training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.errors import ArchitectureError, DegenerateError
from provenance.statistics._paired_parameters import map_paired

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

__all__ = ["ModeConnectivityResult", "interpolate", "midpoint", "mode_connectivity"]


@dataclass(frozen=True)
class ModeConnectivityResult:
    """Losses on the path from the candidate (weight 0) to the reference (weight 1).

    Attributes
    ----------
    statistic : str
        "mode_connectivity".
    barrier : float
        Loss at the midpoint minus the mean loss of the ends; *smaller*, or negative, is more alike.
    weights, losses : tuple of float
        The reference's weight in each average, increasing, and the loss there.
    """

    statistic: str
    barrier: float
    weights: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def value(self) -> float:
        """Minus the barrier: larger is more alike, as a permutation test needs it."""
        return -self.barrier

    def __float__(self) -> float:
        return self.value

    def highest(self) -> float:
        """Return the most by which a loss exceeds the straight line between the ends' losses."""
        first, last = self.losses[0], self.losses[-1]
        return max(
            loss - ((1 - w) * first + w * last)
            for w, loss in zip(self.weights, self.losses, strict=True)
        )


def interpolate(
    candidate: Mapping[str, torch.Tensor], reference: Mapping[str, torch.Tensor], weight: float
) -> dict[str, torch.Tensor]:
    """Return ``(1 - weight) * candidate + weight * reference``, parameter by parameter.

    Parameters
    ----------
    candidate, reference : mapping of str to Tensor
        Floating-point parameters by name, equal names and shapes.
    weight : float
        The reference's.

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

    def between(name: str, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        if not (a.is_floating_point() and b.is_floating_point()):
            raise ArchitectureError(f"parameter {name!r} is not floating point: it has no average")
        start, end = (_at_least_float32(x.detach()) for x in (a, b))
        return (start * (1 - weight) + end.to(start.device) * weight).to(a.dtype)

    return map_paired(between, candidate, reference)


def midpoint(
    candidate: Mapping[str, torch.Tensor], reference: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return the average of two models' parameters; see `interpolate`."""
    return interpolate(candidate, reference, 0.5)


def mode_connectivity(
    loss_of: Callable[[Mapping[str, torch.Tensor]], float],
    candidate: Mapping[str, torch.Tensor],
    reference: Mapping[str, torch.Tensor],
    weights: Sequence[float] = (0.0, 0.5, 1.0),
) -> ModeConnectivityResult:
    """Measure the loss along the straight path between two models.

    Parameters
    ----------
    loss_of : callable
        From parameters by name to the mean loss on a fixed set of inputs.
    candidate, reference : mapping of str to Tensor
        Floating-point parameters by name, equal names and shapes; the ends are handed on as they are.
    weights : sequence of float
        The reference's weights, increasing from 0 to 1, with 0.5 among them.

    Raises
    ------
    ArchitectureError
        If names or shapes differ, or a parameter is not floating point.
    DegenerateError
        If a loss is NaN or infinite.
    ValueError
        If `weights` are not increasing from 0 to 1 with 0.5 among them.

    Notes
    -----
    No null hypothesis of its own. Under a permutation test the null and assumptions are that
    test's [1]_, Algorithm 1.

    References
    ----------
    .. [1] Zhu, Ahmed, Kuditipudi, Liang. Independence Tests for Language Models. ICML 2025,
       arXiv:2502.12292.
    .. [2] Frankle, Dziugaite, Roy, Carbin. Linear Mode Connectivity and the Lottery Ticket
       Hypothesis. ICML 2020, arXiv:1912.05671.
    """
    path = [float(w) for w in weights]
    if path != sorted(set(path)) or not path or (path[0], path[-1]) != (0, 1) or 0.5 not in path:
        raise ValueError(
            f"weights are {tuple(path)}; they must increase from 0 to 1 with 0.5 among them"
        )
    ends = {0.0: candidate, 1.0: reference}
    losses = [
        _finite(loss_of(ends[w] if w in ends else interpolate(candidate, reference, w)), w)
        for w in path
    ]
    barrier = losses[path.index(0.5)] - (losses[0] + losses[-1]) / 2
    return ModeConnectivityResult("mode_connectivity", barrier, tuple(path), tuple(losses))


def _at_least_float32(x: torch.Tensor) -> torch.Tensor:
    return x if x.element_size() > 2 else x.float()


def _finite(loss: float, weight: float) -> float:
    value = float(loss)
    if not math.isfinite(value):
        raise DegenerateError(f"the loss at weight {weight} is {value}; there is no barrier")
    return value
