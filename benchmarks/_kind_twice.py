"""Changes of `benchmarks.kinds` whose reference was changed itself: rounded or pruned, then more."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from benchmarks._kind_change import SEED, Change, tuned, two_of_four
from fixtures import transforms
from fixtures.transforms.weights import inner_linears

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from transformers import PreTrainedModel

    Copy = Callable[[PreTrainedModel], PreTrainedModel]

NF4 = (-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.09105, 0.0)
NF4 += (0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.562617, 0.7229568, 1.0)
"""The levels of bitsandbytes' NF4, whose zero is one of them."""
LARGEST_FLOAT8 = 448.0
GROUP = 64
"""Numbers of a row that share one scale in NF4."""


def to_nf4(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy whose linear maps are rounded to NF4's levels in groups of 64, as bitsandbytes does."""

    def rounded(weight: torch.Tensor) -> torch.Tensor:
        # a row may be no multiple of a group: bitsandbytes cuts the flat tensor
        groups = weight.reshape(-1, GROUP)
        scales = groups.abs().amax(dim=1, keepdim=True).clamp_min(1e-30)
        levels = torch.tensor(NF4)
        nearest = ((groups / scales)[..., None] - levels).abs().argmin(dim=-1)
        return (levels[nearest] * scales).reshape(weight.shape)

    return _each(model, rounded)


def to_float8(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy whose linear maps went to float8 (e4m3) and back, a scale a row."""

    def rounded(weight: torch.Tensor) -> torch.Tensor:
        scales = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-30) / LARGEST_FLOAT8
        return (weight / scales).to(torch.float8_e4m3fn).float() * scales

    return _each(model, rounded)


def _each(
    model: PreTrainedModel, change: Callable[[torch.Tensor], torch.Tensor]
) -> PreTrainedModel:
    made = copy.deepcopy(model)
    for _, linear in inner_linears(made):
        linear.weight.data = change(linear.weight.data.float()).to(linear.weight.dtype)
    return made


QUANTIZED: dict[str, Copy] = {
    "4 bits, a scale a row": lambda m: transforms.round_trip(m, 4),
    "3 bits in groups of 32": lambda m: transforms.round_groups(m, 3, 32),
    "8 bits in groups of 32": lambda m: transforms.round_groups(m, 8, 32),
    "NF4": to_nf4,
    "float8": to_float8,
}
PRUNED: dict[str, Copy] = {
    "half zero": lambda m: transforms.prune_magnitude(m, 0.5),
    "two of every four zero": two_of_four,
}


def changes_of_changed() -> Iterator[Change]:
    """Yield changes of copies that were rounded or pruned first, in both orders."""
    for what, make in QUANTIZED.items():
        yield Change("quantized", "rounded", what, lambda m, _f, _i, c=make: c(m))
        yield Change(
            "pruned",
            "half zero, of a rounded copy",
            what,
            lambda m, _f, _i, c=make: transforms.prune_magnitude(c(m), 0.5),
            reference=lambda m, _f, _i, c=make: c(m),
        )
    for what, make in {**QUANTIZED, **PRUNED}.items():
        yield from _moved(what, make)
    for what, make in PRUNED.items():
        yield Change(
            "quantized",
            "rounded to 4 bits, of a pruned copy",
            what,
            lambda m, _f, _i, c=make: transforms.round_trip(c(m), 4),
            reference=lambda m, _f, _i, c=make: c(m),
        )
    yield Change(
        None,
        "two fine-tunes, both rounded",
        "4 bits, a scale a row",
        lambda _m, f, _i: transforms.round_trip(f, 4),
        reference=lambda m, _f, _i: transforms.round_trip(m, 4),
    )


def _moved(what: str, make: Copy) -> Iterator[Change]:
    yield Change(
        "finetune",
        "trained on, of a rounded or pruned copy",
        what,
        lambda m, _f, i, c=make: tuned(c(m), i),
        reference=lambda m, _f, _i, c=make: c(m),
    )
    for scale in (1e-4, 1e-2):
        yield Change(
            None,
            f"noise of {scale:g} deviations, on a rounded or pruned copy",
            what,
            lambda m, _f, _i, c=make, s=scale: transforms.add_noise(c(m), SEED, s),
            reference=lambda m, _f, _i, c=make: c(m),
        )
    yield Change(
        None,
        "a rounded or pruned copy, of it with noise of 0.01 deviations",
        what,
        lambda m, _f, _i, c=make: c(m),
        reference=lambda m, _f, _i, c=make: transforms.add_noise(c(m), SEED, 0.01),
    )
