"""Changes of small models at rising strengths: training, merging, pruning, retraining, noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from benchmarks._zoo import FULL, SMALL, Scale, Zoo, members
from fixtures.recipes.steps import (
    AddNoise,
    MergeLinear,
    PruneMagnitude,
    RetrainMlp,
    RetrainSettings,
)
from provenance.recipes.settings import TrainSettings
from provenance.recipes.steps import PruneWidth, Step, Train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

OTHER = "other"
LEAST = "0"
"""The share at which a merge is the stranger itself: no kin of the base."""


@dataclass(frozen=True)
class Size:
    """What is trained, and how far each kind of change goes.

    Parameters
    ----------
    scale
        Of the models.
    rates
        Learning rates of further training, and the steps of the longest at each.
    lengths
        Steps after which a training is looked at, rising: each goes on from the one before.
    elsewhere
        The longest training of every base but the first.
    fitting
        Steps in which a new MLP learns what the old one did.
    healing
        Steps for which a model trains on after all its MLPs were retrained.
    merged, weights, units
        Shares of the base that are left, in per cent.
    noises
        Deviations of the noise, in those of a matrix's entries.
    """

    scale: Scale
    rates: tuple[tuple[float, int], ...]
    lengths: tuple[int, ...]
    elsewhere: int
    fitting: int
    healing: tuple[int, ...]
    merged: tuple[int, ...]
    weights: tuple[int, ...]
    units: tuple[int, ...]
    noises: tuple[float, ...]

    def up_to(self, steps: int) -> Size:
        """Return the same with no training longer than that."""
        lengths, healing = (
            tuple(n for n in trained if n <= steps) for trained in (self.lengths, self.healing)
        )
        return replace(self, lengths=lengths, healing=healing)


SHARES = (50, 30, 20, 10, 5)
NOISES = (0.5, 1.0, 2.0, 3.0, 4.0, 8.0)
WHOLE = Size(
    replace(FULL, steps=1000),
    rates=((3e-3, 30_000), (1e-3, 10_000), (1e-4, 10_000)),
    lengths=(10, 30, 100, 300, 1000, 3000, 10_000, 30_000),
    elsewhere=1000,
    fitting=1000,
    healing=(10, 30, 100, 300, 1000, 3000),
    merged=(50, 30, 25, 20, 10, 5, 2, 0),
    weights=SHARES,
    units=SHARES,
    noises=NOISES,
)
TRIAL = Size(SMALL, ((3e-3, 10),), (5, 10), 5, 50, (5,), (50, 0), (5,), (50, 5), (0.5, 8.0))


class Stock:
    """Models that were trained apart from each other, alike in all but their initial weights or batches."""

    def __init__(self, folder: Path, size: Size, count: int) -> None:
        self.size = size
        self.zoo = Zoo(folder, size.scale)
        self.bases = tuple(self.zoo.member(member) for member in members(count, size.scale))

    def stranger(self, base: int) -> Path:
        """Return the model with which a base is merged: the next one."""
        return self.bases[(base + 1) % len(self.bases)]

    def changed(self, name: str, base: int, *steps: Step) -> Path:
        """Return the checkpoint of a changed base."""
        others = {OTHER: self.stranger(base)}
        needed = {need: others[need] for step in steps for need in step.needs}
        return self.zoo.checkpoint(name, steps, self.bases[base], needed)


@dataclass(frozen=True)
class Curve:
    """One kind of change: ``make`` yields the checkpoints of a base (its number), weakest change first.

    Parameters
    ----------
    picture
        Curves of one picture have one axis of strengths.
    series
        What tells them apart there.
    strengths
        As the axis writes them, the weakest change first.
    population
        What the changed models are, for those who count verdicts.
    """

    picture: str
    series: str
    strengths: tuple[str, ...]
    population: str
    make: Callable[[Stock, int], Iterator[Path]]


def curves(size: Size) -> tuple[Curve, ...]:
    """Return every curve, those that cost most at the end."""
    return (*_merged(size), *_pruned(size), _noised(size), *_retrained(size), *_trained(size))


def brief(number: float) -> str:
    """Write a strength as short as an axis needs it: 300, 1k, 0.5."""
    return f"{number / 1000:g}k" if number >= 1000 else f"{number:g}"


def _each(
    name: str, steps: Sequence[Callable[[Scale], Step]], stock: Stock, base: int
) -> Iterator[Path]:
    for step in steps:
        yield stock.changed(name, base, step(stock.zoo.scale))


def _merged(size: Size) -> Iterator[Curve]:
    def make(stock: Stock, base: int) -> Iterator[Path]:
        for share in size.merged:  # 0 is the stranger itself
            step = MergeLinear(OTHER, 1 - share / 100)
            yield stock.changed("merged", base, step) if share else stock.stranger(base)

    yield Curve(
        "merging",
        "small Llamas",
        tuple(map(brief, size.merged)),
        "A small Llama and its merge with an independent one, {} % of it in the merge",
        make,
    )


def _pruned(size: Size) -> Iterator[Curve]:
    by_weight = [lambda _, kept=kept: PruneMagnitude(1 - kept / 100) for kept in size.weights]
    yield Curve(
        "pruning",
        "weights, by magnitude",
        tuple(map(brief, size.weights)),
        "A small Llama and itself with the largest {} % of the weights, the others zero",
        partial(_each, "sparse", by_weight),
    )
    by_unit = [
        lambda scale, kept=kept: PruneWidth(max(1, round(kept / 100 * scale.units)))
        for kept in size.units
    ]
    yield Curve(
        "pruning",
        "units, by width",
        tuple(map(brief, size.units)),
        "A small Llama and itself with {} % of the units of every MLP",
        partial(_each, "narrow", by_unit),
    )


def _noised(size: Size) -> Curve:
    steps = [lambda _, noise=noise: AddNoise(41, noise) for noise in size.noises]
    return Curve(
        "noise",
        "small Llamas",
        tuple(map(brief, size.noises)),
        "A small Llama and itself with noise of {} standard deviations on every matrix",
        partial(_each, "noisy", steps),
    )


def _retrained(size: Size) -> Iterator[Curve]:
    blocks = range(1, size.scale.blocks + 1)

    def some(stock: Stock, base: int) -> Iterator[Path]:
        for count in blocks:
            yield stock.changed("again", base, _again(stock, count))

    yield Curve(
        "retraining",
        "MLPs retrained",
        tuple(map(brief, blocks)),
        f"A small Llama of {len(blocks)} blocks and itself with the MLPs of {{}} of them retrained",
        some,
    )

    def healed(stock: Stock, base: int) -> Iterator[Path]:
        every = stock.changed("again", base, _again(stock, size.scale.blocks))
        return stages(stock.zoo, every, "code-0", 1e-3, size.healing)

    yield Curve(
        "healing",
        "all MLPs retrained, then all trained on",
        tuple(map(brief, size.healing)),
        "A small Llama and itself with every MLP retrained, and then all of it for {} steps",
        healed,
    )


def _again(stock: Stock, count: int) -> Step:
    settings = RetrainSettings(steps=stock.size.fitting, length=stock.zoo.scale.length)
    return RetrainMlp(stock.zoo.text("code-0"), tuple(range(count)), settings)


def _trained(size: Size) -> Iterator[Curve]:
    for rate, longest in size.rates:

        def make(
            stock: Stock, base: int, rate: float = rate, longest: int = longest
        ) -> Iterator[Path]:
            last = longest if base == 0 else size.elsewhere
            lengths = [n for n in size.lengths if n <= last]
            return stages(stock.zoo, stock.bases[base], "prose", rate, lengths)

        yield Curve(
            "training",
            f"learning rate {rate:g}",
            tuple(map(brief, size.lengths)),
            f"A small Llama and itself trained on other text for {{}} steps at {rate:g}",
            make,
        )


def stages(zoo: Zoo, begun: Path, text: str, rate: float, lengths: Sequence[int]) -> Iterator[Path]:
    """Train once, and yield the checkpoint after each number of steps.

    Each stage begins with new moments of AdamW and a short warm-up, and draws other batches.
    """
    done = 0
    for number, length in enumerate(lengths, start=1):
        steps = length - done
        settings = TrainSettings(steps, 4, zoo.scale.length, rate, min(10, steps // 2), seed=number)
        begun, done = zoo.checkpoint("trained", (Train(zoo.text(text), settings),), begun), length
        yield begun
