"""What the hidden units of one gated MLP answer to a set of inputs, whole or in factors.

The answers of a projection are ``inputs @ weight.T + bias``. The inputs are narrower than the answers (a
third to an eighth), are the same for gate and up, and similarities of units can be computed from the
factors without ever making the answers: so the factors are what is captured and kept, wherever a
projection is a plain linear map whose weight can be read from the checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import torch

Projection = Literal["gate", "up"]
PROJECTIONS: tuple[Projection, Projection] = ("gate", "up")


@dataclass(frozen=True)
class MLPActivations:
    """What one block's gate and up projections put out, each (tokens, units), one dtype and device."""

    gate: torch.Tensor
    up: torch.Tensor

    def dense(self) -> MLPActivations:
        """Itself."""
        return self

    def live(self) -> torch.Tensor:
        """Indices of units that vary over the tokens in gate and in up, (k,) int64."""
        varies = [(x.amax(dim=0) > x.amin(dim=0)) for x in (self.gate, self.up)]
        return (varies[0] & varies[1]).nonzero().squeeze(1)


@dataclass(frozen=True)
class LinearMap:
    """A projection: ``weight``, (units, hidden), and ``bias``, (units,) or None."""

    weight: torch.Tensor
    bias: torch.Tensor | None = None

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """What the units answer to inputs, (tokens, hidden): (tokens, units)."""
        answers: torch.Tensor = inputs @ self.weight.T
        return answers if self.bias is None else answers + self.bias


@dataclass(frozen=True)
class MLPFactors:
    """What one block's MLP is fed, (tokens, hidden), and its two projections; one dtype and device."""

    inputs: torch.Tensor
    gate: LinearMap
    up: LinearMap

    def dense(self) -> MLPActivations:
        """The projections' outputs."""
        return MLPActivations(self.gate(self.inputs), self.up(self.inputs))


MLPUnits: TypeAlias = MLPActivations | MLPFactors
