"""What the normalisations before MLPs do, measured on numbers and not read off their names.

A root-mean-square norm, or LayerNorm, multiplies what it has scaled by its weight plus an offset, which is
1 for Gemma. That is all that is needed to put embeddings through a norm without its code.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from provenance.errors import DegenerateError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

NormKind = Literal["rms", "layer", "unknown"]
OFFSETS = (0.0, 1.0)
CLOSE = 1e-3
"""Largest difference, where inputs have a mean square of 1: a norm's epsilon moves them by less."""


@dataclass(frozen=True)
class Norm:
    """A normalisation as numbers.

    ``kind`` "rms": inputs over their root mean square; "layer": their mean taken out first. They are
    multiplied by the parameter ``weight`` plus ``offset``, and ``bias`` is added. "unknown": another thing;
    ``reason`` says why where that is known.
    """

    kind: NormKind
    offset: float = 0.0
    weight: str | None = None
    bias: str | None = None
    reason: str | None = None

    def __call__(self, x: torch.Tensor, read: Callable[[str], torch.Tensor]) -> torch.Tensor:
        """Normalise hidden states of mean square 1, (tokens, hidden) float32.

        Raises
        ------
        DegenerateError
            If what the norm does is not known.
        """
        if self.kind == "unknown":
            what = f"what the norm of {self.weight or 'the MLPs'} does is not known"
            raise DegenerateError(self.reason or what)
        weight, bias = (
            None if name is None else read(name).to(x.device).float()
            for name in (self.weight, self.bias)
        )
        return _normalised(x, self.kind, self.offset, weight, bias)


def _normalised(
    x: torch.Tensor,
    kind: NormKind,
    offset: float,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
) -> torch.Tensor:
    centred = x - x.mean(dim=1, keepdim=True) if kind == "layer" else x
    scaled = centred / centred.square().mean(dim=1, keepdim=True).sqrt()
    scaled = scaled if weight is None else scaled * (weight + offset)
    return scaled if bias is None else scaled + bias


def measure_norms(model: nn.Module, widths: Mapping[str, int]) -> Mapping[str, Norm]:
    """What norms of a model do, by their paths, each with the width of what it normalises.

    The model may be without numbers.
    """
    return {
        path: measure_norm(model.get_submodule(path), path, width) for path, width in widths.items()
    }


def measure_norm(module: nn.Module, path: str, width: int) -> Norm:
    """Find what a norm does by trying it on random numbers, with random parameters."""
    names = [name for name, _ in module.named_parameters()]
    unknown = Norm("unknown", weight=path)
    if not set(names) <= {"weight", "bias"} or next(module.buffers(), None) is not None:
        return unknown
    copy = deepcopy(module).to_empty(device="cpu").float()
    generator = torch.Generator().manual_seed(0)
    parameters: dict[str, torch.Tensor] = {}
    for name, parameter in copy.named_parameters():
        parameters[name] = torch.randn(parameter.shape, generator=generator)
        parameter.data.copy_(parameters[name])
    x = torch.randn(8, width, generator=generator)
    x = x / x.square().mean(dim=1, keepdim=True).sqrt()
    try:
        with torch.inference_mode():
            out = copy(x)
    # a module of a checkpoint's own code raises anything
    except Exception:  # noqa: BLE001
        return unknown
    for kind in ("rms", "layer"):
        for offset in OFFSETS:
            weight, bias = parameters.get("weight"), parameters.get("bias")
            if torch.allclose(
                out, _normalised(x, kind, offset, weight, bias), atol=CLOSE, rtol=CLOSE
            ):
                named = {name: f"{path}.{name}" for name in parameters}
                return Norm(kind, offset, named.get("weight"), named.get("bias"))
    return unknown
