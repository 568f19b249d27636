"""Measure how much nearer models are to one of two kin than to the other: children, and siblings of both.

``python -m benchmarks.leads --folder DIR --output docs/identify.md``

The base models are those of `benchmarks.kinds`. Of each, siblings are trained on the same text in other
orders and on another; then their children, for a quarter to four times as long, and checkpoints of one run.
What `provenance.differences.lead` finds of each model and two of its kin is kept.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._kept import Kept
from benchmarks._kind_change import tuned
from benchmarks._kinds_command import parser, publish
from benchmarks._lead_page import COUNTS, PAGE, SIBLINGS, LeadCount, LeadCounts, with_tables
from benchmarks._page import about_machine
from benchmarks._zoo import Zoo, members
from benchmarks.kinds import SCALE, Workshop, read_text
from provenance.comparison.executor import Executor
from provenance.comparison.kept_lead import LEAD_VERSION
from provenance.differences.lead import lead_of
from provenance.errors import DegenerateError
from provenance.recipes.steps import load
from provenance.recipes.train import one_thread
from provenance.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from transformers import PreTrainedModel

    from benchmarks._zoo import Member, Scale
    from provenance.differences.side import Side
    from provenance.evidence.leads import Lead

COMMAND = "python -m benchmarks.leads --folder models --output docs/identify.md"
TEXTS = ("prose", "code-1", "code-2")
"""What the first and the second sibling learned, what the third did, and a text of neither."""
TIMES = (0.25, 1, 4)
"""How long a model is trained, in times of what its parent, or its siblings, were."""
BRIEF = (0.25, 0.5)
"""How long a sibling is trained that is nearer to the base than the others are."""
CHECKPOINTS = 4
BASES = 3


@dataclass(frozen=True)
class Training:
    """How siblings are trained, and on how many of the texts models that are asked about are."""

    steps: int
    texts: int = len(TEXTS)
    rate: float = 1e-3
    batch: int = 4

    @property
    def words(self) -> str:
        """The settings, in words."""
        return f"{self.steps} steps of {self.batch} at {self.rate:g}"


TRAININGS = (Training(20), Training(60, texts=2))


@dataclass(frozen=True)
class Asked:
    """A model and two of its kin, by their names: the population, and whether the first is the nearest."""

    group: str
    what: str
    model: str
    first: str
    second: str


@dataclass
class Family:
    """The models of one base that are trained in one way, by name, each made and opened once."""

    shop: Workshop
    base: PreTrainedModel
    texts: Mapping[str, torch.Tensor]
    training: Training
    models: dict[str, PreTrainedModel] = field(default_factory=dict)
    sides: dict[str, Side] = field(default_factory=dict)

    def make(self, name: str, start: str, text: str, seed: int, times: float = 1) -> str:
        """Train a model on from another one, and return its name."""
        if name not in self.models:
            steps = max(2, round(times * self.training.steps))
            self.models[name] = tuned(
                self.models.get(start, self.base),
                self.texts[text],
                steps,
                self.training.rate,
                batch=self.training.batch,
                seed=seed,
            )
        return name

    def lead(self, asked: Asked) -> Lead:
        """The lead of the first over the second."""
        blocks = {i: i for i in range(self.base.config.num_hidden_layers)}
        model, first, second = map(self._side, (asked.model, asked.first, asked.second))
        return lead_of(model, (first, blocks), (second, blocks), most=None)

    def _side(self, name: str) -> Side:
        if name not in self.sides:
            model = self.models.get(name, self.base)
            self.sides[name] = self.shop.side(model, str(len(self.sides)), narrow=False)
        return self.sides[name]

    def asked(self) -> Iterator[Asked]:
        """Yield what is asked about, each model made before."""
        first = self.make("first", "base", TEXTS[0], 1)
        same = self.make("same", "base", TEXTS[0], 2)
        other = self.make("other", "base", TEXTS[1], 4)
        for times in TIMES:
            for text in TEXTS[: self.training.texts]:
                what = f"{self.training.words}; {times:g} times as long, on {text}"
                child = self.make(f"child {times:g} {text}", first, text, 7, times)
                since = f"child of the first, trained {times:g} times as long"
                for sibling, learned in ((same, TEXTS[0]), (other, TEXTS[1])):
                    its = " whose text it learned" if text == learned != TEXTS[0] else ""
                    yield Asked(f"{since}; a sibling of it{its}", what, child, first, sibling)
                yield Asked(f"{since}; its grandparent", what, child, first, "base")
                model = self.make(f"model {times:g} {text}", "base", text, 8, times)
                for sibling, learned in ((same, TEXTS[0]), (other, TEXTS[1])):
                    its = " whose text it learned" if text == learned else ""
                    group = f"{since}; another child of it{its}"
                    yield Asked(group, what, model, "base", sibling)
                none = f"{SIBLINGS}, trained {times:g} times as long"
                yield Asked(f"{none}; of one text", what, model, first, same)
                yield Asked(f"{none}; of two texts", what, model, first, other)
        for times in BRIEF:
            brief = self.make(f"brief {times:g}", "base", TEXTS[0], 1, times)
            for text in TEXTS[: self.training.texts]:
                what = f"{self.training.words}; on {text}"
                group = f"{SIBLINGS}; one was trained {times:g} times as long as the other"
                yield Asked(group, what, f"model 1 {text}", brief, other)
        yield from self._run()

    def _run(self) -> Iterator[Asked]:
        """Yield checkpoints of one run."""
        names = ["base"]
        for number in range(1, CHECKPOINTS + 1):
            names.append(self.make(f"checkpoint {number}", names[-1], TEXTS[0], 20 + number))
        what = self.training.words
        for earlier in names[1:-2]:
            group = "a later checkpoint of a run; the last but one of it and an earlier one"
            yield Asked(group, what, names[-1], names[-2], earlier)
        for later in names[3:]:
            group = "an earlier checkpoint of a run; the next of it and a later one"
            yield Asked(group, what, names[1], names[2], later)


def count(folder: Path, scale: Scale, bases: int) -> Iterator[LeadCount]:
    """Yield what was found of each model and two of its kin, of each base model.

    What is found of a family is kept beside the models, so that a run that was stopped goes on.
    """
    zoo = Zoo(folder, scale)
    kept = Kept(folder / "leads.jsonl", f"{scale} {LEAD_VERSION}")
    for training in TRAININGS:
        for member in members(bases, scale):
            key = member.name, training.words
            rows = kept.get(key, partial(_of_family, zoo, member, training))
            yield from (LeadCount(*row) for row in rows)


def _of_family(zoo: Zoo, member: Member, training: Training) -> list[tuple[str, str, Any]]:
    """The fields of `LeadCount` of each model and two of its kin, of one base trained in one way."""
    path = zoo.member(member)
    texts = {text: read_text(zoo, path, text) for text in TEXTS}
    rows = []
    with tempfile.TemporaryDirectory(dir=zoo.folder) as place:
        shop = Workshop(Executor(Store(Path(place) / "store"), "cpu"), Path(place))
        family = Family(shop, load(path).eval(), texts, training)
        for asked in family.asked():
            try:
                found = family.lead(asked)
            except DegenerateError as error:
                print(f"{member.name} {asked}: {error}", file=sys.stderr)
                continue
            said = found.words("first", "second")
            print(f"{member.name} {asked.group}, {asked.what}: {said}", file=sys.stderr)
            rows.append((asked.group, asked.what, asdict(found)))
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    options = parser("leads", __doc__, COUNTS, BASES)
    options.set_defaults(output=PAGE)
    given = options.parse_args(arguments)
    with one_thread():
        rows = tuple(count(given.folder, SCALE, given.bases))
    made = LeadCounts(COMMAND, **about_machine(), counted=rows)
    publish(given, made, with_tables)


if __name__ == "__main__":
    main()
