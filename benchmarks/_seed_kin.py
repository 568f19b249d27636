"""Copies of every model of the zoo, as kin whose verdicts are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks._power import ALL_TOGETHER, BASE, FINE, STRANGER, Change, tuned
from fixtures.recipes.steps import AddNoise, MergeLinear, PruneMagnitude
from provenance.recipes.steps import PermuteUnits, PruneWidth

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks._zoo import Member, Zoo

STEPS = 20
"""Of the fine-tunes: few, as the copies are many."""

MERGES = {
    "half of the model, half of a stranger": 0.5,
    "a quarter of the model, three quarters of a stranger": 0.75,
}
"""The stranger's weight in each merge: another model of the zoo."""


def changes(zoo: Zoo, member: Member) -> tuple[Change, ...]:
    """Return what is done to a model; noise and the order of units are drawn anew for each."""
    noise = AddNoise(member.seed, 0.5), PermuteUnits(member.seed)
    return (
        Change(f"fine-tuned for {STEPS} steps", "", (tuned(zoo, STEPS),)),
        Change("fine-tuned, then in every disguise", "", ALL_TOGETHER, FINE),
        Change("noise of 0.5 standard deviations, units permuted", "", noise),
        Change("70 % of the weights zero", "", (PruneMagnitude(0.7),)),
        Change("half of the units removed", "", (PruneWidth(member.units // 2),)),
        *(
            Change(kind, "", (MergeLinear(STRANGER, weight),), others=(STRANGER,))
            for kind, weight in MERGES.items()
        ),
    )


def copies(
    zoo: Zoo, chosen: Sequence[Member], paths: Sequence[Path]
) -> Iterator[tuple[Change, Member, Path, Path]]:
    """Yield every change with the model that it is done to, the changed checkpoint and the model's own."""
    for member, base in zip(chosen, paths, strict=True):
        known = {BASE: base, STRANGER: paths[fellow(member, chosen)]}
        known[FINE] = zoo.checkpoint(f"{member.name}-fine-tune", (tuned(zoo, STEPS),), base)
        for change in changes(zoo, member):
            others = {name: known[name] for name in change.others}
            name = f"{member.name}-copy"
            copy = zoo.checkpoint(name, change.steps, known[change.parent], others)
            yield change, member, copy, base


def fellow(member: Member, chosen: Sequence[Member]) -> int:
    """Return the place of the next model of the same shape, or of the first after the last."""
    alike = [place for place, one in enumerate(chosen) if one.shape == member.shape]
    after = alike.index(chosen.index(member)) + 1
    return alike[after % len(alike)]
