"""What is done to the models of `benchmarks.kinds`, at strengths down to where a kind cannot be seen."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks._kind_change import SEED, Change, tuned, two_of_four
from benchmarks._kind_schemes import SCHEMES
from benchmarks._kind_twice import QUANTIZED, changes_of_changed
from fixtures import transforms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch
    from transformers import PreTrainedModel

    from benchmarks._kind_change import Make
    from provenance.evidence.kinds import Kind

RANKS = (1, 4, 8, 16, 20, 32)
LOW_SCALES = (1e-2, 1e-3, 1e-4)
NOISES = (1e-6, 1e-4, 1e-2, 1e-1, 1.0)
FRACTIONS = (0.005, 0.01, 0.02, 0.05, 0.2, 0.5, 0.9)
BITS = (2, 3, 4, 6, 8)
GROUP = 32
LARGE_SCHEMES = (
    "NF4",
    "NF4, its scales rounded too",
    "FP4",
    "float8",
    "float8, a scale for 128 by 128",
)
LARGE_SCHEMES += ("as K-types, 4 bits", "as K-types, 6 bits")
"""What a pretrained model is rounded by."""
NARROW_SCHEMES = ("NF4", "NF4, its scales rounded too", "FP4", "float8", "float8, a scale a tensor")
NARROW_SCHEMES += ("as K-types, 3 bits", "as K-types, 4 bits", "as K-types, 6 bits")
"""Schemes whose numbers are kept in bfloat16 as well."""
TAUGHT_SCHEMES = ("NF4", "FP4", "float8", "as K-types, 3 bits", "as K-types, 4 bits")
TAUGHT_SCHEMES += ("as K-types, 6 bits",)
"""Schemes that what was changed before is rounded by, and what is changed after."""


def changes() -> Iterator[Change]:
    """Yield every change."""
    yield from _trained()
    yield from _adapters()
    yield from _quantized()
    yield from _by_schemes()
    yield from _pruned()
    yield from _permuted()
    yield from _others()
    yield from _hidden()
    yield from changes_of_changed()


def large_changes() -> Iterator[Change]:
    """Yield some changes of a pretrained model, without training, at weights in bfloat16 and in float32."""
    made: tuple[tuple[Kind | None, str, str, Callable[[PreTrainedModel], PreTrainedModel]], ...] = (
        ("adapter", "a low rank added", "rank 16, size 0.02", lambda m: _add(m, 16, 0.02)),
        ("adapter", "a low rank added", "rank 64, size 0.02", lambda m: _add(m, 64, 0.02)),
        ("quantized", "rounded, a scale a row", "4 bits", lambda m: transforms.round_trip(m, 4)),
        ("quantized", "rounded, a scale a row", "8 bits", lambda m: transforms.round_trip(m, 8)),
        ("quantized", "rounded in groups of 64", "4 bits", _in_groups),
        *(("quantized", "rounded", name, SCHEMES[name]) for name in LARGE_SCHEMES),
        (
            "pruned",
            "the smallest weights zero",
            "30%",
            lambda m: transforms.prune_magnitude(m, 0.3),
        ),
        ("permuted", "all disguises", "-", everything),
        (None, "noise", "0.01 deviations", lambda m: transforms.add_noise(m, SEED, 0.01)),
    )
    for narrow in (True, False):
        stored = "bfloat16" if narrow else "float32"
        for truth, what, strength, apply in made:
            yield Change(
                truth, f"{what}, in {stored}", strength, lambda m, _f, _i, a=apply: a(m), narrow
            )
        yield Change(
            None,
            f"the model, of it with noise, in {stored}",
            "0.01 deviations",
            lambda m, _f, _i: m,
            narrow,
            reference=lambda m, _f, _i: transforms.add_noise(m, SEED, 0.01),
        )


def _add(model: PreTrainedModel, rank: int, scale: float) -> PreTrainedModel:
    return transforms.lora_merge(model, SEED, rank, scale)


def _in_groups(model: PreTrainedModel) -> PreTrainedModel:
    return transforms.round_groups(model, 4, 64)


def _trained() -> Iterator[Change]:
    for steps, rate in ((2, 1e-5), (2, 1e-3), (5, 1e-3), (20, 1e-3), (60, 3e-3)):
        how = partial(_tune, steps=steps, rate=rate)
        yield Change("finetune", "trained on", f"{steps} steps at {rate:g}", how)
    for rate in (1e-6, 1e-3):
        how = partial(_tune, steps=5, rate=rate)
        yield Change(
            "finetune", "trained on, in bfloat16", f"5 steps at {rate:g}", how, narrow=True
        )


def _tune(
    model: PreTrainedModel, _fine: PreTrainedModel, ids: torch.Tensor, *, steps: int, rate: float
) -> PreTrainedModel:
    return tuned(model, ids, steps, rate)


def _adapters() -> Iterator[Change]:
    for rank in RANKS:
        yield Change("adapter", "a low rank added", f"rank {rank}, size 0.1", _low(rank, 0.1))
    for scale in LOW_SCALES:
        yield Change("adapter", "a low rank added", f"rank 4, size {scale:g}", _low(4, scale))
    for scale in (0.1, *LOW_SCALES[:2]):
        yield Change(
            "adapter",
            "a low rank added, in bfloat16",
            f"rank 4, size {scale:g}",
            _low(4, scale),
            narrow=True,
        )


def _low(rank: int, scale: float) -> Make:
    return lambda model, _fine, _ids: transforms.lora_merge(model, SEED, rank, scale)


def _quantized() -> Iterator[Change]:
    for bits in (4, 8):
        yield Change(
            "quantized",
            "rounded, a scale a row",
            f"{bits} bits",
            lambda m, _f, _i, b=bits: transforms.round_trip(m, b),
        )
    for bits in BITS:
        yield Change(
            "quantized",
            f"rounded in groups of {GROUP}",
            f"{bits} bits",
            lambda m, _f, _i, b=bits: transforms.round_groups(m, b, GROUP),
        )
    for bits in (4, 8):
        yield Change(
            "quantized",
            "rounded, stored in bfloat16",
            f"{bits} bits",
            lambda m, _f, _i, b=bits: transforms.round_trip(m, b),
            narrow=True,
        )


def _by_schemes() -> Iterator[Change]:
    for name, apply in SCHEMES.items():
        if name not in QUANTIZED:
            yield Change("quantized", "rounded", name, lambda m, _f, _i, a=apply: a(m))
    for name in NARROW_SCHEMES:
        apply = SCHEMES[name]
        how = "rounded, stored in bfloat16"
        yield Change("quantized", how, name, lambda m, _f, _i, a=apply: a(m), narrow=True)
    for name in ("NF4", "float8", "as K-types, 4 bits"):
        apply = SCHEMES[name]
        for first in (True, False):
            how = "rounded, then in other orders" if first else "in other orders, then rounded"
            made = partial(_in_orders, apply=apply, first=first)
            yield Change("quantized", how, name, made)


def _in_orders(
    model: PreTrainedModel,
    _fine: PreTrainedModel,
    _ids: torch.Tensor,
    *,
    apply: Callable[[PreTrainedModel], PreTrainedModel],
    first: bool,
) -> PreTrainedModel:
    return orders(apply(model)) if first else apply(orders(model))


def _pruned() -> Iterator[Change]:
    for share in FRACTIONS:
        yield Change(
            "pruned",
            "the smallest weights zero",
            f"{share:.1%}",
            lambda m, _f, _i, s=share: transforms.prune_magnitude(m, s),
        )
    yield Change("pruned", "two of every four zero", "50.0%", lambda m, _f, _i: two_of_four(m))
    yield Change(
        "pruned",
        "fewer units",
        "three quarters",
        lambda m, _f, _i: transforms.prune_width(m, m.config.intermediate_size * 3 // 4),
    )
    yield Change(
        "pruned",
        "fewer blocks",
        "one less",
        lambda m, _f, _i: transforms.prune_depth(m, [0, 2]),
        blocks=(0, 2),
    )
    yield Change(
        "pruned",
        "half zero, then all trained on",
        "20 steps",
        lambda m, _f, i: tuned(transforms.prune_magnitude(m, 0.5), i),
    )


DISGUISES: dict[str, Callable[[PreTrainedModel], PreTrainedModel]] = {
    "units in another order": lambda m: transforms.permute_mlp_units(m, SEED),
    "units scaled and negated": lambda m: transforms.rescale_mlp(m, SEED, signs=True),
    "heads in another order": lambda m: transforms.permute_heads(m, SEED),
    "residual stream in another order": lambda m: transforms.permute_residual_stream(m, SEED),
    "gains of norms moved": lambda m: transforms.rescale_norms(m, SEED, signs=True),
    "residual stream turned": lambda m: transforms.rotate_residual_stream(m, SEED),
}


def orders(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy with units, heads and the residual stream in other orders."""
    for name in (
        "units in another order",
        "heads in another order",
        "residual stream in another order",
    ):
        model = DISGUISES[name](model)
    return model


def everything(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy in all disguises together."""
    for disguise in DISGUISES.values():
        model = disguise(model)
    return model


def _permuted() -> Iterator[Change]:
    for name, disguise in DISGUISES.items():
        yield Change("permuted", name, "-", lambda m, _f, _i, d=disguise: d(m))
    yield Change("permuted", "all disguises", "-", lambda m, _f, _i: everything(m))
    yield Change("permuted", "orders, in bfloat16", "-", lambda m, _f, _i: orders(m), narrow=True)


def _others() -> Iterator[Change]:
    """Yield what no word of a claim but `derived` names, or what a merge needs its other parent for."""
    for scale in NOISES:
        yield Change(
            None,
            "noise",
            f"{scale:g} deviations",
            lambda m, _f, _i, s=scale: transforms.add_noise(m, SEED, s),
        )
    for weight in (0.5, 0.1):
        yield Change(
            None,
            "merged with a fine-tune",
            f"{weight:.0%} of it",
            lambda m, f, _i, w=weight: transforms.merge_linear(m, f, w),
        )
    for bits in (4, 8):
        yield Change(
            None,
            "trained on, then rounded",
            f"{bits} bits",
            lambda _m, f, _i, b=bits: transforms.round_trip(f, b),
        )
    for name in TAUGHT_SCHEMES:
        apply = SCHEMES[name]
        yield Change(None, "trained on, then rounded", name, lambda _m, f, _i, a=apply: a(f))
        for scale in (1e-6, 1e-3, 1e-2):
            yield Change(
                None,
                f"rounded, then noise of {scale:g} deviations",
                name,
                lambda m, _f, _i, a=apply, s=scale: transforms.add_noise(a(m), SEED, s),
            )
    for scale in (1e-3, 1e-2, 1e-1):
        yield Change(
            None,
            "rounded to 4 bits, then noise",
            f"{scale:g} deviations",
            lambda m, _f, _i, s=scale: transforms.add_noise(transforms.round_trip(m, 4), SEED, s),
        )


def _hidden() -> Iterator[Change]:
    """Yield the kinds in disguise: in other orders, and turned."""
    made: dict[Kind, Make] = {
        "finetune": lambda _m, f, _i: f,
        "adapter": _low(4, 0.1),
        "quantized": lambda m, _f, _i: transforms.round_trip(m, 4),
        "pruned": lambda m, _f, _i: transforms.prune_magnitude(m, 0.5),
    }
    for kind, make in made.items():
        for how, hide in (("in other orders", orders), ("in all disguises", everything)):
            yield Change(
                kind, f"{kind}, then hidden", how, lambda m, f, i, k=make, h=hide: h(k(m, f, i))
            )
