"""Measure how much nearer models are to one of two kin than to the other: children, and siblings of both.

``python -m benchmarks.leads --folder DIR --output docs/identify.md``

The base models are those of `benchmarks.kinds`. Of each, siblings are trained on the same text in other
orders and on another; then their children, for a quarter to four times as long, and checkpoints of one run.
What `provenance.differences.lead` finds of each model and two of its kin is kept.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._kept import Kept
from benchmarks._kinds_command import Counting
from benchmarks._lead_page import COUNTS, PAGE, SIBLINGS, LeadCount, LeadCounts, with_tables
from benchmarks._trained import BASE, Schedule, Trained
from benchmarks._zoo import Zoo, members
from benchmarks.kinds import SCALE, Workshop, read_text
from provenance.comparison.executor import Executor
from provenance.comparison.kept_lead import LEAD_VERSION
from provenance.differences.lead import lead_of
from provenance.errors import DegenerateError
from provenance.recipes.steps import load
from provenance.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks._zoo import Member, Scale

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
    """A schedule, on how many of the texts models that are asked about learn, and of how many bases."""

    schedule: Schedule
    texts: int = len(TEXTS)
    bases: int = BASES


TRAININGS = (Training(Schedule(20)), Training(Schedule(60), texts=2))


@dataclass(frozen=True)
class Asked:
    """A model and two of its kin, by their names: the population, and whether the first is the nearest."""

    group: str
    what: str
    model: str
    first: str
    second: str


def asked_of(family: Trained, texts: tuple[str, ...]) -> Iterator[Asked]:
    """Yield what is asked about, each model made before, on some of the texts."""
    first = family.make("first", BASE, TEXTS[0], 1)
    same = family.make("same", BASE, TEXTS[0], 2)
    other = family.make("other", BASE, TEXTS[1], 4)
    for times in TIMES:
        for text in texts:
            what = f"{family.schedule.words}; {times:g} times as long, on {text}"
            child = family.make(f"child {times:g} {text}", first, text, 7, times)
            since = f"child of the first, trained {times:g} times as long"
            for sibling, learned in ((same, TEXTS[0]), (other, TEXTS[1])):
                its = " whose text it learned" if text == learned != TEXTS[0] else ""
                yield Asked(f"{since}; a sibling of it{its}", what, child, first, sibling)
            yield Asked(f"{since}; its grandparent", what, child, first, BASE)
            model = family.make(f"model {times:g} {text}", BASE, text, 8, times)
            for sibling, learned in ((same, TEXTS[0]), (other, TEXTS[1])):
                its = " whose text it learned" if text == learned else ""
                group = f"{since}; another child of it{its}"
                yield Asked(group, what, model, BASE, sibling)
            none = f"{SIBLINGS}, trained {times:g} times as long"
            yield Asked(f"{none}; of one text", what, model, first, same)
            yield Asked(f"{none}; of two texts", what, model, first, other)
    for times in BRIEF:
        brief = family.make(f"brief {times:g}", BASE, TEXTS[0], 1, times)
        for text in texts:
            what = f"{family.schedule.words}; on {text}"
            group = f"{SIBLINGS}; one was trained {times:g} times as long as the other"
            yield Asked(group, what, f"model 1 {text}", brief, other)
    yield from _run(family)


def _run(family: Trained) -> Iterator[Asked]:
    """Yield checkpoints of one run."""
    names = [BASE]
    for number in range(1, CHECKPOINTS + 1):
        names.append(family.make(f"checkpoint {number}", names[-1], TEXTS[0], 20 + number))
    what = family.schedule.words
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
        for member in members(min(bases, training.bases), scale):
            key = member.name, training.schedule.words
            rows = kept.get(key, partial(_of_family, zoo, member, training))
            yield from (LeadCount(*row) for row in rows)


def _of_family(zoo: Zoo, member: Member, training: Training) -> list[tuple[str, str, Any]]:
    """The fields of `LeadCount` of each model and two of its kin, of one base trained in one way."""
    path = zoo.member(member)
    texts = {text: read_text(zoo, path, text) for text in TEXTS}
    rows = []
    with tempfile.TemporaryDirectory(dir=zoo.folder) as place:
        shop = Workshop(Executor(Store(Path(place) / "store"), "cpu"), Path(place))
        family = Trained(shop, load(path).eval(), texts, training.schedule)
        for asked in asked_of(family, TEXTS[: training.texts]):
            kin = [(family.side(one), family.blocks) for one in (asked.first, asked.second)]
            try:
                found = lead_of(family.side(asked.model), *kin, most=None)
            except DegenerateError as error:
                print(f"{member.name} {asked}: {error}", file=sys.stderr)
                continue
            said = found.words("first", "second")
            print(f"{member.name} {asked.group}, {asked.what}: {said}", file=sys.stderr)
            rows.append((asked.group, asked.what, asdict(found)))
    return rows


COUNTING = Counting("leads", __doc__, count, LeadCounts, with_tables, COUNTS, BASES, PAGE)


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    COUNTING.run(SCALE, arguments)


if __name__ == "__main__":
    main()
