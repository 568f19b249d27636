"""Copies and students of the zoo's models, of which a library that holds the models is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fixtures.recipes.steps import (
    AddNoise,
    Distil,
    LoraSettings,
    MergeLinear,
    PruneMagnitude,
    RoundTrip,
    TrainLora,
    UpscaleDepth,
)
from fixtures.recipes.zoo import ALL_DISGUISES
from provenance.recipes.settings import TrainSettings
from provenance.recipes.steps import PermuteUnits, PruneDepth, PruneWidth, RescaleUnits, Step, Train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from benchmarks._zoo import Member, Zoo

STUDENT = "a student of its outputs, from other weights"
TUNED, LOW_RANK = "trained on with other text", "a low rank trained, and merged"
ORDER: tuple[Step, ...] = (PermuteUnits(seed=61), RescaleUnits(seed=62))


@dataclass(frozen=True)
class Copy:
    """A model that was made from another: what was done, where it lies, and whether it has its weights."""

    what: str
    place: Path
    kin: bool = True


def copies(zoo: Zoo, member: Member) -> Iterator[Copy]:
    """Yield the copies of one model of the zoo, each made once, and a student of it, which is none."""
    base = zoo.member(member)
    text = zoo.text("code-3" if member.text == "prose" else "prose")
    settings = _settings(zoo, seed=3)
    tuned = zoo.checkpoint("tuned", (Train(text, settings),), base)
    low = zoo.checkpoint("lora", (TrainLora(text, LoraSettings(settings)),), base)
    yield Copy(TUNED, tuned)
    yield Copy(LOW_RANK, low)
    merge = MergeLinear("low", 0.5)
    yield Copy("the average of these two", zoo.checkpoint("merged", (merge,), tuned, {"low": low}))
    for what, steps in _changes(member).items():
        yield Copy(what, zoo.checkpoint("changed", steps, base))
    for what, steps in _of_tuned().items():
        yield Copy(f"trained on, then {what}", zoo.checkpoint("hidden", steps, tuned))
    student = Distil(zoo.text(member.text), 1000 + member.seed, _settings(zoo, seed=5))
    yield Copy(STUDENT, zoo.checkpoint("student", (student,), base), kin=False)


def _settings(zoo: Zoo, seed: int) -> TrainSettings:
    """The settings of half as many steps as the model itself was trained for."""
    scale = zoo.scale
    return TrainSettings(scale.steps // 2, 4, scale.length, 1e-3, min(10, scale.steps // 4), seed)


def _changes(member: Member) -> Mapping[str, tuple[Step, ...]]:
    last = member.blocks - 1
    return {
        "rounded to 8 bits": (RoundTrip(8),),
        "rounded to 4 bits": (RoundTrip(4),),
        "the smallest half of the weights zero": (PruneMagnitude(0.5),),
        "three quarters of the units": (PruneWidth(member.units * 3 // 4),),
        "without the first block": (PruneDepth(tuple(range(1, member.blocks))),),
        "the last block twice": (UpscaleDepth((*range(member.blocks), last)),),
        "noise of 0.1 deviations": (AddNoise(41, 0.1),),
        "units in another order, and rescaled": ORDER,
        "all disguises": ALL_DISGUISES,
    }


def _of_tuned() -> Mapping[str, tuple[Step, ...]]:
    return {
        "all disguises": ALL_DISGUISES,
        "rounded to 4 bits, its units in another order": (RoundTrip(4), *ORDER),
    }


def made(
    zoo: Zoo, members: tuple[Member, ...], report: Callable[[str], None]
) -> dict[str, tuple[Path, tuple[Copy, ...]]]:
    """Return each model of the zoo with its copies, by its name; ``report`` is told of each."""
    found = {}
    for member in members:
        report(f"{member.name}: its copies")
        found[member.name] = zoo.member(member), tuple(copies(zoo, member))
    return found
