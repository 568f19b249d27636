"""What an activation does to a gate beyond a polynomial: all of it that no other units can do.

``silu(z) - silu(-z) = z``, and so it is for GELU and ReLU. Units in pairs of opposed gates hence compute
any product of two linear maps, with whatever gates, and a unit's gate can be negated where such pairs make
up for it. What is left of a unit for certain is what its activation adds to a polynomial: for SiLU
``z tanh(z / 2) / 2``, which is the same for z and -z. `beyond` takes the polynomial out.

=====================================  ======  ===================================
activation                             degree  beyond the polynomial, -z gives
=====================================  ======  ===================================
SiLU, GELU, ReLU, hard-swish, softplus      1  the same
sigmoid, tanh                               0  the opposite
squared ReLU                                2  the opposite
=====================================  ======  ===================================

Others (ELU, Mish) have no such identity. A degree of 1 costs them nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 - as everybody does

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Activation:
    """An elementwise function, and the degree of the polynomials that units of any gates can make."""

    function: Callable[[torch.Tensor], torch.Tensor]
    degree: int


def _quick_gelu(z: torch.Tensor) -> torch.Tensor:
    return z * torch.sigmoid(1.702 * z)


def _squared_relu(z: torch.Tensor) -> torch.Tensor:
    return torch.relu(z).square()


_KNOWN: tuple[tuple[str, Activation], ...] = (
    (r"relu.*(squared|square|pow)|relu2", Activation(_squared_relu, 2)),
    (r"quick_?gelu", Activation(_quick_gelu, 1)),
    (r"gelu", Activation(F.gelu, 1)),
    (r"leaky_?relu", Activation(F.leaky_relu, 1)),
    (r"relu6", Activation(F.relu6, 1)),
    (r"(^|\W|_)relu|^relu", Activation(torch.relu, 1)),
    (r"hard_?swish", Activation(F.hardswish, 1)),
    (r"hard_?sigmoid$", Activation(F.hardsigmoid, 0)),
    (r"softplus", Activation(F.softplus, 1)),
    (r"mish", Activation(F.mish, 1)),
    (r"(^|\W|_)c?elu", Activation(F.elu, 1)),
    (r"sigmoid$", Activation(torch.sigmoid, 0)),
    (r"tanh$", Activation(torch.tanh, 0)),
)
SILU = Activation(F.silu, 1)


def activation_of(name: str) -> Activation:
    """Look an activation up by the name that a trace gives it; one that is not known is taken for SiLU.

    Parameters
    ----------
    name : str
        `MLPRecord.activation`: the class of a module (``SiLUActivation``, ``GELUTanh``), or operations in
        order (``sigmoid+mul``).
    """
    words = name.lower()
    return next((known for pattern, known in _KNOWN if re.search(pattern, words)), SILU)


def known_activation(name: str) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """The elementwise function that a configuration's word means; None of a word that is not known."""
    words = name.lower()
    if words in {"silu", "swish"}:
        return SILU.function
    if words in {"gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_accurate"}:
        return partial(F.gelu, approximate="tanh")
    found = next((known for pattern, known in _KNOWN if re.search(pattern, words)), None)
    return None if found is None else found.function


def beyond(answers: torch.Tensor, activation: Activation) -> torch.Tensor:
    """What an activation makes of gates' answers beyond the best polynomial of its degree in them.

    Parameters
    ----------
    answers : Tensor
        (inputs, units) floating point: before the activation.

    Returns
    -------
    Tensor
        (inputs, units) float64.
    """
    z = answers.double()
    rest = activation.function(z)
    known: list[torch.Tensor] = []
    power = torch.ones_like(z)
    scale = z.abs().amax(dim=0).clamp_min(torch.finfo(torch.float64).tiny)
    for _ in range(activation.degree + 1):
        column = power
        for _ in range(2):  # twice is enough for an orthogonal basis
            for other in known:
                column = column - other * (other * column).sum(dim=0)
        length = column.norm(dim=0)
        # a power that the lower ones make up, as of an answer that takes two values, is none
        there = length > 1e-7 * math.sqrt(len(z))
        known.append(torch.where(there, column / length.clamp_min(1e-300), 0.0))
        power = power * (z / scale)
    for _ in range(2):
        for column in known:
            rest = rest - column * (column * rest).sum(dim=0)
    return rest
