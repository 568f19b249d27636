"""Models that differ in their first weights alone: all pairs judged, their copies, and all their blocks."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from benchmarks import _seed_blocks
from benchmarks._judged import Judged, judge
from benchmarks._kept import Kept
from benchmarks._page import about_machine
from benchmarks._seed_kin import changes, copies
from benchmarks._zoo import Zoo, tokenizer_of, twins
from provenance import Executor, InputsSpec, Store
from provenance.comparison.executor import MEASURE_VERSION
from provenance.evidence.doubts import MOST_NEARNESS
from provenance.recipes import CODE_VERSION
from provenance.recipes.steps import load
from provenance.recipes.train import next_token_loss, one_thread
from provenance.statistics import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks._null import Trial
    from benchmarks._zoo import Member, Scale

TOLD_EVERY = 20


@dataclass(frozen=True)
class Trained:
    """Losses on held-out code before and after the training, in nats a token, and processor seconds."""

    before: float
    after: float
    seconds: float


@dataclass(frozen=True)
class Found:
    """What is kept of a run: all of it, or of one that was stopped the part that is done.

    Attributes
    ----------
    zoo, trained
        The models, and how their training went, by name.
    strangers
        By the places of the two models in the zoo.
    kin
        By kind of copy, and by the place of the model that was copied.
    blocks
        The tests of pairs of blocks by statistic.
    seconds
        Processor seconds of the block tests.
    about
        The machine.
    """

    zoo: tuple[Member, ...]
    trained: dict[str, Trained]
    strangers: dict[tuple[int, int], Judged]
    kin: dict[str, dict[int, Judged]]
    blocks: dict[str, list[Trial]]
    seconds: float
    about: dict[str, str]

    @property
    def pairs(self) -> int:
        """All pairs of the models, judged or not yet."""
        return len(self.zoo) * (len(self.zoo) - 1) // 2

    def alike(self, a: int, b: int) -> bool:
        """Whether two models have one shape."""
        return self.zoo[a].shape == self.zoo[b].shape


class Run:
    """One folder of models and of results; a run that was stopped goes on where it was.

    Raises
    ------
    ValueError
        If the folder has results of other settings.
    """

    def __init__(self, folder: Path, count: int, scale: Scale) -> None:
        self._zoo = Zoo(folder, scale)
        self._members = twins(count, scale)
        settings = (
            f"{scale}, models {CODE_VERSION}, evidence {MEASURE_VERSION}, "
            f"{REGISTRY['kinship'].versions()}, nearness {MOST_NEARNESS}, {torch.__version__}"
        )
        self._models, self._judged, self._tables = (
            Kept(folder / f"{name}.jsonl", settings) for name in ("models", "judged", "blocks")
        )

    def measure(self, report: Callable[[str], None]) -> None:
        """Train and compare what is not kept yet."""
        self._models.get(["about"], about_machine)
        with one_thread():
            paths = [self._train(member, report) for member in self._members]
            executor = Executor(Store(self._zoo.folder / "store"), "cpu")
            inputs = InputsSpec(text=self._zoo.text("held-out").name, tokens=self._zoo.scale.tokens)
            for change, member, copy, base in copies(self._zoo, self._members, paths):
                report(f"kin: {member.name}, {change.kind}")
                measured = partial(_judged, copy, base, inputs, executor)
                self._judged.get([member.name, change.kind], measured)
            for a, b in _told("strangers", self._pairs(), report):
                measured = partial(_judged, paths[a], paths[b], inputs, executor)
                self._judged.get(self._names(a, b), measured)
            for a, b in _told("blocks", self._pairs(), report):
                tables = partial(_seed_blocks.tables, paths[a], paths[b], inputs, executor)
                self._tables.get(self._names(a, b), tables)

    def found(self) -> Found:
        """Return what is kept."""
        kin: dict[str, dict[int, Judged]] = {}
        for place, member in enumerate(self._members):
            for change in changes(self._zoo, member):
                kept = self._judged.find([member.name, change.kind])
                if kept is not None:
                    kin.setdefault(change.kind, {})[place] = Judged.of(kept)
        strangers: dict[tuple[int, int], Judged] = {}
        blocks: dict[str, list[Trial]] = {}
        seconds = 0.0
        for a, b in sorted(self._pairs()):
            kept = self._judged.find(self._names(a, b))
            if kept is not None:
                strangers[a, b] = Judged.of(kept)
            kept = self._tables.find(self._names(a, b))
            if kept is not None:
                seconds += kept["seconds"]
                for name, found in _seed_blocks.trials(a, b, kept["tables"]).items():
                    blocks.setdefault(name, []).extend(found)
        trained = {
            member.name: Trained(**kept)
            for member in self._members
            if (kept := self._models.find([member.name])) is not None
        }
        about = self._models.get(["about"], about_machine)
        return Found(self._members, trained, strangers, kin, blocks, seconds, about)

    def _pairs(self) -> list[tuple[int, int]]:
        """Return all pairs of models, in an order of which every beginning is a fair sample."""
        pairs = list(itertools.combinations(range(len(self._members)), 2))
        random.Random(0).shuffle(pairs)  # noqa: S311 - an order, and no secret
        return pairs

    def _names(self, a: int, b: int) -> tuple[str, str]:
        return self._members[a].name, self._members[b].name

    def _train(self, member: Member, report: Callable[[str], None]) -> Path:
        report(f"training {member.name} of {len(self._members)}")
        path = self._zoo.member(member)
        self._models.get([member.name], partial(self._trained, member, path))
        return path

    def _trained(self, member: Member, path: Path) -> dict[str, float]:
        scale = self._zoo.scale
        ids = self._zoo.held_out(scale.tokens, member)
        windows = ids[: len(ids) // scale.length * scale.length].view(-1, scale.length)
        untrained = self._zoo.begin(member).draw(tokenizer_of(path).eos_token_id)
        with torch.inference_mode():
            before, after = (
                next_token_loss(model.eval(), windows).item() for model in (untrained, load(path))
            )
        return {"before": before, "after": after, "seconds": self._zoo.seconds(path)}


def _judged(one: Path, other: Path, inputs: InputsSpec, executor: Executor) -> dict[str, Any]:
    return judge(one, other, inputs, executor).as_json()


def _told(
    what: str, pairs: Sequence[tuple[int, int]], report: Callable[[str], None]
) -> Iterator[tuple[int, int]]:
    """Yield pairs, and report how many are done now and then."""
    for done, pair in enumerate(pairs):
        if done % TOLD_EVERY == 0:
            report(f"{what}: {done} of {len(pairs)} pairs")
        yield pair
