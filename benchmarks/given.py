"""Measure how alike the differences of siblings from their base are, and those of descendants of siblings.

``python -m benchmarks.given --folder DIR --output docs/kinds.md``

The base models are those of `benchmarks.kinds`. Of each, siblings are trained at several lengths, on the
same text in other orders and on other texts; then one of them is trained on, merged, given an adapter,
rounded or disguised. What `provenance.differences.given` finds of each pair is kept.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._given_page import COUNTS, GivenCount, GivenCounts, with_tables
from benchmarks._kind_change import tuned
from benchmarks._kind_changes import everything
from benchmarks._kinds_command import Counting
from benchmarks._zoo import Zoo, members
from benchmarks.kinds import SCALE, Workshop, read_text
from fixtures import transforms
from provenance.comparison.executor import Executor
from provenance.differences.given import beyond_base
from provenance.errors import DegenerateError
from provenance.recipes.steps import load
from provenance.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from transformers import PreTrainedModel

    from benchmarks._zoo import Scale

    Models = Mapping[str, PreTrainedModel]

SAME = ("a", "b", "c")
"""Siblings on the same text, in other orders."""
TEXTS = ("prose", "code-1", "code-2")
TIMES = (0.25, 1, 4)
"""How long a child is trained, in times of its parent's training."""
SEED = 5
BASES = 4


@dataclass(frozen=True)
class Training:
    """How siblings are trained; ``few`` leaves out their children."""

    steps: int
    rate: float
    batch: int
    few: bool = False

    @property
    def words(self) -> str:
        """The settings, in words."""
        return f"{self.steps} steps of {self.batch} at {self.rate:g}"


TRAININGS = (
    Training(20, 1e-3, 4),
    Training(20, 1e-3, 32, few=True),
    Training(100, 1e-3, 4),
    Training(200, 1e-3, 8, few=True),
)


@dataclass(frozen=True)
class Related:
    """Two models of one base: the population that they belong to, and how they were made."""

    group: str
    what: str
    candidate: PreTrainedModel
    reference: PreTrainedModel


def related(base: PreTrainedModel, texts: Mapping[str, torch.Tensor]) -> Iterator[Related]:
    """Yield every pair of one base."""
    for training in TRAININGS:
        how = training.words

        def tune(
            start: PreTrainedModel, text: str, seed: int, times: float = 1, t: Training = training
        ) -> PreTrainedModel:
            steps = max(2, round(times * t.steps))
            return tuned(start, texts[text], steps, t.rate, batch=t.batch, seed=seed)

        same = {name: tune(base, "prose", seed) for seed, name in enumerate(SAME, 1)}
        for one, other in combinations(SAME, 2):
            yield Related("siblings, same text", how, same[one], same[other])
        others = {text: tune(base, text, 4) for text in TEXTS[1:]}
        for other in others.values():
            yield Related("siblings, other texts", how, same["a"], other)
        yield Related("siblings, other texts", how, *others.values())
        if training.few:
            continue
        first, second = same["a"], others["code-1"]
        for times in TIMES:
            for text in TEXTS[:2]:
                named = "the same text" if text == "prose" else "another text"
                child = tune(first, text, 7, times)
                yield Related(f"child, trained {times:g} times as long, {named}", how, child, first)
        yield from _made(how, first, second)
        # the same batches in the same order: nothing but the rate tells the two apart
        fast = tuned(
            base, texts["prose"], training.steps, training.rate * 2, batch=training.batch, seed=1
        )
        yield Related("siblings in one order, at twice the rate (made to fool)", how, first, fast)


def _made(how: str, first: PreTrainedModel, second: PreTrainedModel) -> Iterator[Related]:
    """Yield what is made of a sibling without training."""
    for weight in (0.7, 0.5, 0.3, 0.1):
        merged = transforms.merge_linear(second, first, weight)
        yield Related(f"merge, {weight:g} of it and the rest of a sibling", how, merged, first)
    adapted = transforms.lora_merge(first, SEED, 4, 0.05)
    yield Related("an adapter on it", how, adapted, first)
    yield Related("rounded to 8 bits", how, transforms.round_trip(first, 8), first)
    yield Related("rounded to 4 bits", how, transforms.round_trip(first, 4), first)
    yield Related("in all disguises", how, everything(first), first)


def count(folder: Path, scale: Scale, bases: int) -> Iterator[GivenCount]:
    """Yield what was found of each pair of each base model."""
    zoo = Zoo(folder, scale)
    for member in members(bases, scale):
        path = zoo.member(member)
        base = load(path).eval()
        texts = {text: read_text(zoo, path, text) for text in TEXTS}
        for pair in related(base, texts):
            with tempfile.TemporaryDirectory(dir=folder) as place:
                shop = Workshop(Executor(Store(Path(place) / "store"), "cpu"), Path(place))
                models = (pair.candidate, pair.reference, base)
                sides = [shop.side(one, str(i), narrow=False) for i, one in enumerate(models)]
                blocks = {i: i for i in range(member.blocks)}
                try:
                    found = beyond_base(sides[0], (sides[1], blocks), (sides[2], blocks))
                except DegenerateError as error:
                    print(f"{member.name} {pair.group}, {pair.what}: {error}", file=sys.stderr)
                    continue
            print(f"{member.name} {pair.group}, {pair.what}: {found}", file=sys.stderr)
            yield GivenCount(pair.group, pair.what, asdict(found))


COUNTING = Counting("given", __doc__, count, GivenCounts, with_tables, COUNTS, BASES)


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    COUNTING.run(SCALE, arguments)


if __name__ == "__main__":
    main()
