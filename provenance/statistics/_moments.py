"""What is computed of the inputs of an MLP alone, once for all MLPs that take them."""

from __future__ import annotations

from functools import cached_property

import torch
from torch.utils.weak import WeakTensorKeyDictionary

SAMPLE = 512
"""Inputs, evenly spaced, on which near gates are compared and a unit's activity is measured."""

_SKETCH = 32


class Moments:
    """Inputs less their mean, and sums over them, each made when it is first asked for.

    Attributes
    ----------
    basis : Tensor
        (tokens, hidden) float32: the inputs less their mean.
    mean : Tensor
        (hidden,) float32.
    length : Tensor
        Norm of all inputs, float32, a scalar: NaN or infinite where one of them is.
    """

    def __init__(self, inputs: torch.Tensor) -> None:
        values = inputs.float()
        self.mean = values.mean(dim=0)
        self.basis = values - self.mean
        # of the parts, which saves a sweep: the mean is orthogonal to what is left
        self.length = (self.basis.norm().square() + len(values) * self.mean.norm().square()).sqrt()

    @cached_property
    def gram(self) -> torch.Tensor:
        """Products of the basis with itself, (hidden, hidden) float32."""
        return self.basis.T @ self.basis

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
