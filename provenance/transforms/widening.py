"""More MLP units than before, and the same function: what a matching of units can be hidden behind.

The models that come out are ordinary checkpoints of the same architecture with a larger
``intermediate_size``.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from provenance.errors import ArchitectureError
from provenance.transforms._axes import UNIT_WEIGHTS, axes_of, unit_counts

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

    Make: TypeAlias = Callable[["_Mlp"], "_Mlp"]

__all__ = ["add_decoys", "add_idle_units", "duplicate_units", "split_units"]

Idle = Literal["zero", "dead", "random"]


class _Mlp:
    """The rows of one block's gate, up and down, one a unit: each (units, hidden)."""

    def __init__(self, gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor) -> None:
        self.gate, self.up, self.down = gate, up, down

    def __add__(self, other: _Mlp) -> _Mlp:
        pairs = ((self.gate, other.gate), (self.up, other.up), (self.down, other.down))
        return _Mlp(*(torch.cat(pair) for pair in pairs))


def duplicate_units(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy with every MLP unit twice, each with half of its way out.

    Raises
    ------
    ArchitectureError
        If the MLPs are not Llama's, without biases.
    """

    def twice(mlp: _Mlp) -> _Mlp:
        half = _Mlp(mlp.gate, mlp.up, mlp.down / 2)
        return half + half

    return _widened(model, twice)


def split_units(
    model: PreTrainedModel, seed: int, *, scale: float = 3.0, jitter: float = 0.0
) -> PreTrainedModel:
    """Return a copy with every MLP unit split in two, neither of which looks like it.

    With up rows ``u / 2 + r`` and ``u / 2 - r`` and gate and down as before, the two do together what
    the unit did, whatever r is.

    Parameters
    ----------
    model
        Left as it was.
    seed
        Draws r and the jitter.
    scale
        Deviation of r, in deviations of the up matrix.
    jitter
        Deviation of what is added to the gate of the one half and taken from that of the other, in
        deviations of the gate matrix. Above 0 the function is no longer kept.

    Raises
    ------
    ArchitectureError
        As `duplicate_units`.
    """
    generator = torch.Generator().manual_seed(seed)

    def split(mlp: _Mlp) -> _Mlp:
        apart = _noise(mlp.up, scale, generator)
        moved = _noise(mlp.gate, jitter, generator)
        one = _Mlp(mlp.gate + moved, mlp.up / 2 + apart, mlp.down)
        return one + _Mlp(mlp.gate - moved, mlp.up / 2 - apart, mlp.down)

    return _widened(model, split)


def add_idle_units(
    model: PreTrainedModel, seed: int, kind: Idle, *, share: float = 1.0
) -> PreTrainedModel:
    """Return a copy with units that do nothing.

    Parameters
    ----------
    model
        Left as it was.
    seed
        Draws their rows.
    kind
        ``zero``: all of a unit is zero. ``dead``: gate and up are zero, the way out is not.
        ``random``: gate and up are random, and the way out is zero.
    share
        How many, as a share of the units that there are.

    Raises
    ------
    ArchitectureError
        As `duplicate_units`.
    """
    generator = torch.Generator().manual_seed(seed)

    def add(mlp: _Mlp) -> _Mlp:
        count = round(share * len(mlp.up))
        made = [
            torch.randn(count, x.shape[1], generator=generator).to(x) * x.std()
            for x in (mlp.gate, mlp.up, mlp.down)
        ]
        silent = {"zero": (0, 1, 2), "dead": (0, 1), "random": (2,)}[kind]
        return mlp + _Mlp(
            *(torch.zeros_like(x) if which in silent else x for which, x in enumerate(made))
        )

    return _widened(model, add)


def add_decoys(
    model: PreTrainedModel,
    like: PreTrainedModel,
    seed: int,
    *,
    strength: float = 0.0,
    jitter: float | None = None,
) -> PreTrainedModel:
    """Return a copy with units that look like another model's, gate and up crossed.

    Each decoy has the gate row of one unit of ``like`` and the up row of another: whoever seeks the
    units of ``like`` by gate and by up finds two decoys, and never twice the same.

    Parameters
    ----------
    model
        Left as it was.
    like
        The model that is to be hidden from, with the same hidden size.
    seed
        Draws who is crossed with whom, and the noise.
    strength
        Deviation of the decoys' ways out, in deviations of the down matrix. At 0 they do nothing and
        the function is kept.
    jitter
        Where given, every decoy has a twin with the opposite way out and another gate, apart by so many
        deviations of the gate matrix: at 0 they cancel, whatever the strength.

    Raises
    ------
    ArchitectureError
        As `duplicate_units`.
    """
    generator = torch.Generator().manual_seed(seed)
    others = iter(_mlps(like))

    def add(mlp: _Mlp) -> _Mlp:
        other = next(others)
        crossed = other.up[torch.randperm(len(other.up), generator=generator)]
        out = _noise(other.down, strength, generator)
        if jitter is None:
            return mlp + _Mlp(other.gate, crossed, out)
        moved = _noise(other.gate, jitter, generator)
        one, twin = (_Mlp(other.gate + s * moved, crossed, s * out) for s in (1, -1))
        return mlp + one + twin

    return _widened(model, add)


def _noise(like: torch.Tensor, scale: float, generator: torch.Generator) -> torch.Tensor:
    """Gaussian noise of a matrix's shape, of so many of its deviations."""
    return torch.randn(like.shape, generator=generator).to(like) * (scale * like.std())


def _widened(model: PreTrainedModel, make: Make) -> PreTrainedModel:
    """Return a copy whose MLPs are what is made of them."""
    widened = copy.deepcopy(model)
    for block, mlp in enumerate(_mlps(model)):
        made = make(mlp)
        module = widened.model.layers[block].mlp
        rows = {"gate_proj": made.gate, "up_proj": made.up, "down_proj": made.down.T}
        for name, weight in rows.items():
            linear = module.get_submodule(name)
            linear.weight = torch.nn.Parameter(weight.contiguous())
            linear.out_features, linear.in_features = weight.shape
        module.intermediate_size = len(made.up)
    widened.config.intermediate_size = len(made.up)
    return widened


def _mlps(model: PreTrainedModel) -> list[_Mlp]:
    """The MLPs of a model, one a block, or a refusal of the model."""
    for name, (block, axes) in axes_of(model).items():
        if block is not None and ".mlp." in name and len(axes) == 1:
            raise ArchitectureError(f"{name}: MLPs with biases are not widened")
    found = []
    for block in sorted(unit_counts(model)):
        gate, up, down = (
            model.get_parameter(f"model.layers.{block}.{name}").detach() for name in UNIT_WEIGHTS
        )
        found.append(_Mlp(gate, up, down.T))
    return found
