"""What the units of an MLP do, and how much of it: on some of the MLP's inputs, in its own activation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from provenance.architecture.units import LinearMap
from provenance.errors import DegenerateError
from provenance.statistics._activations import activation_of, beyond
from provenance.statistics._moments import places

if TYPE_CHECKING:
    from collections.abc import Callable

    from provenance.architecture.units import MLPFactors

    Answers = tuple[torch.Tensor, torch.Tensor]

NOT_FINITE = "an MLP's down weights hold NaN or infinity"


@dataclass(frozen=True, eq=False)
class Core:
    """What the live units of an MLP do, in the order of their `Directions`.

    Attributes
    ----------
    activity : callable
        Computes the root mean square of what each one does before its way out, (k,) float32; see
        `activity_of`.
    ways_out : callable
        Reads the length of each one's down column, (k,) float32.
    """

    activity: Callable[[], torch.Tensor]
    ways_out: Callable[[], torch.Tensor]

    @cached_property
    def added(self) -> torch.Tensor:
        """The mean square of what each unit alone can add to the residual stream, (k,) float64.

        Raises
        ------
        DegenerateError
            If a way out is not finite.
        """
        return finite((self.activity().double() * self.ways_out().double()).square())


def finite(added: torch.Tensor) -> torch.Tensor:
    """What units add, refused where it is not finite.

    Raises
    ------
    DegenerateError
        If a value is not: answers are, so it is a way out.
    """
    if not bool(torch.isfinite(added).all()):
        raise DegenerateError(NOT_FINITE)
    return added


def activity_of(answers: Answers, activation: str) -> torch.Tensor:
    """How much units do: the root mean square of ``act(gate) up``.

    What units of any other gates could do as well does not count (`_activations.beyond`): pairs of units
    can share that at will, and have as much of it as they like.

    Parameters
    ----------
    answers : tuple of Tensor
        Of gate and of up, each (inputs, units).

    Returns
    -------
    Tensor
        (units,) float32.
    """
    gate, up = answers
    shapes = beyond(gate, activation_of(activation))
    return (shapes * up.double()).square().mean(dim=0).sqrt().float()


def sampled_answers(side: MLPFactors) -> Answers:
    """What gate and up of all units answer to some of what the MLP is fed, (inputs, units) float32 each."""
    assert side.gate is not None
    fed = side.fed[places(len(side.fed)).to(side.fed.device)].float()
    gate, up = (
        LinearMap(x.weight.float(), None if x.bias is None else x.bias.float())(fed)
        for x in (side.gate, side.up)
    )
    return gate, up


def share_of(side: MLPFactors, units: torch.Tensor) -> float:
    """The share of some units in the variance of what all add to the residual stream, each by itself.

    Parameters
    ----------
    units : Tensor
        (k,) int64.

    Raises
    ------
    DegenerateError
        If a way out is not finite.
    """
    assert side.down is not None
    gate, up = sampled_answers(side)
    done = activation_of(side.activation).function(gate.double()) * up.double()
    done -= done.mean(dim=0)
    ways_out = side.down().double().square().sum(dim=1)
    added = finite(done.square().mean(dim=0) * ways_out)
    return float(added[units].sum() / added.sum().clamp_min(torch.finfo(torch.float64).tiny))
