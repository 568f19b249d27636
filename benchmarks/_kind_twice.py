"""Changes of `benchmarks.kinds` whose reference was changed itself: rounded or pruned, then more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks._kind_change import SEED, Change, tuned, two_of_four
from benchmarks._kind_schemes import SCHEMES
from fixtures import transforms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from transformers import PreTrainedModel

    Copy = Callable[[PreTrainedModel], PreTrainedModel]

QUANTIZED: dict[str, Copy] = {
    "4 bits, a scale a row": lambda m: transforms.round_trip(m, 4),
    "3 bits in groups of 32": lambda m: transforms.round_groups(m, 3, 32),
    "8 bits in groups of 32": lambda m: transforms.round_groups(m, 8, 32),
    "NF4": SCHEMES["NF4"],
    "float8": SCHEMES["float8"],
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
