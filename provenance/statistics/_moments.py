"""What is computed of the inputs of an MLP alone, once for all MLPs that take them."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise

import torch
from torch.utils.weak import WeakTensorKeyDictionary

SAMPLE = 512
"""Inputs, evenly spaced, on which near gates are compared and a unit's activity is measured."""

_SKETCH = 32
_PARTS = 4


class Moments:
    """Inputs less their mean, and sums over them, each made when it is first asked for.

    Attributes
    ----------
    basis : Tensor
        (tokens, hidden) float32: the inputs less their mean.
    mean : Tensor
        (hidden,) float32.
    power : Tensor
        Mean square norm of the columns of the basis, float32, a scalar.
    length : Tensor
        Norm of all inputs, float32, a scalar: NaN or infinite where one of them is.
    """

    def __init__(self, inputs: torch.Tensor) -> None:
        values = inputs.float()
        self.mean = values.mean(dim=0)
        self.basis = values - self.mean
        whole = self.basis.norm().square()
        self.power = whole / self.basis.shape[1]
        # of the parts, which saves a sweep: the mean is orthogonal to what is left
        self.length = (whole + len(values) * self.mean.norm().square()).sqrt()

    def squares(self, weight: torch.Tensor) -> torch.Tensor:
        """Square norms of ``basis @ w`` for every row w of a weight, (units, hidden): (units,) float32."""
        total = torch.zeros(len(weight), device=weight.device)
        for columns, products in self._halves:
            part = weight[:, : columns.stop] @ products
            total += torch.linalg.vecdot(part, weight[:, columns])
        return total

    @cached_property
    def sizes(self) -> torch.Tensor:
        """Sums of squares of the inputs by dimension, (hidden,) float32."""
        about_mean: torch.Tensor = self.basis.square().sum(dim=0)
        return about_mean + len(self.basis) * self.mean.square()

    @cached_property
    def _halves(self) -> list[tuple[slice, torch.Tensor]]:
        """Products of the basis with itself, some columns at a time, down to the diagonal.

        Those above the diagonal are doubled and stand for those below it, so that two fifths of the
        arithmetic are saved here and in `squares`.
        """
        hidden = self.basis.shape[1]
        ends = [hidden * k // _PARTS for k in range(_PARTS + 1)]
        halves = []
        for columns in (slice(start, stop) for start, stop in pairwise(ends) if start < stop):
            products = self.basis[:, : columns.stop].T @ self.basis[:, columns]
            products[: columns.start] *= 2
            halves.append((columns, products))
        return halves

    @cached_property
    def mixtures(self) -> torch.Tensor:
        """A few random mixtures of the basis, (32, hidden) float32, always the same."""
        generator = torch.Generator().manual_seed(0)
        mixing = torch.randn(_SKETCH, len(self.basis), generator=generator)
        return mixing.to(self.basis.device) @ self.basis

    def sampled(self) -> torch.Tensor:
        """Some of the basis, evenly spaced, (at most `SAMPLE`, hidden) float32."""
        return self.basis[places(len(self.basis)).to(self.basis.device)]


def places(tokens: int) -> torch.Tensor:
    """Where the sampled inputs are, int64."""
    return torch.linspace(0, tokens - 1, min(SAMPLE, tokens)).long()


def moments(inputs: torch.Tensor) -> Moments:
    """What is computed of inputs, (tokens, hidden); kept while they are, for all experts of a block."""
    known = _MOMENTS.get(inputs)
    if known is None:
        known = _MOMENTS[inputs] = Moments(inputs)
    found: Moments = known
    return found


_MOMENTS = WeakTensorKeyDictionary()
