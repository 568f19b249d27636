"""Count how often a family's tree by distances is the one that it was made by.

``python -m benchmarks.trees --folder DIR --output docs/report.md``

The base models are those of `benchmarks.kinds`. From each, chains, stars and trees of two levels are
trained, every model on one text or on one of several; all pairs are measured.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._kept import Kept
from benchmarks._kinds_command import Counting
from benchmarks._trained import BASE, Schedule, Trained
from benchmarks._tree_page import COUNTS, PAGE, TreeCount, TreeCounts, with_tables
from benchmarks._zoo import Zoo, members
from benchmarks.kinds import SCALE, Workshop, read_text
from provenance.comparison.executor import Executor
from provenance.comparison.records import DIFFERENCE_VERSION
from provenance.differences.measure import measure
from provenance.evidence.family_trees import block_distances
from provenance.recipes.steps import load
from provenance.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks._zoo import Member, Scale

TEXTS = ("prose", "code-1", "code-2")
SHAPES: dict[str, tuple[int, ...]] = {
    "chain": (0, 1, 2),
    "star": (0, 0, 0),
    "two levels": (0, 0, 1, 1, 2, 2),
}
"""Of each model after the base, which is 0, the number of its parent."""
SCHEDULE = Schedule(20)
BASES = 3


def count(folder: Path, scale: Scale, bases: int) -> Iterator[TreeCount]:
    """Yield the distances in each family; those of a family are kept beside the models."""
    zoo = Zoo(folder, scale)
    kept = Kept(folder / "trees.jsonl", f"{scale} {SCHEDULE.words} {DIFFERENCE_VERSION}")
    for member in members(bases, scale):
        for shape, parents in SHAPES.items():
            for texts in (1, len(TEXTS)):
                found = kept.get(
                    (member.name, shape, str(texts)),
                    partial(_distances, zoo, member, parents, TEXTS[:texts]),
                )
                print(f"{member.name} {shape}, {texts} texts: {found}", file=sys.stderr)
                yield TreeCount(shape, texts, parents, tuple(map(_row, found)))


def _distances(
    zoo: Zoo, member: Member, parents: tuple[int, ...], names: tuple[str, ...]
) -> list[Any]:
    """The distances of all pairs: two numbers of models, and that of each block."""
    path = zoo.member(member)
    texts = {text: read_text(zoo, path, text) for text in names}
    with tempfile.TemporaryDirectory(dir=zoo.folder) as place:
        shop = Workshop(Executor(Store(Path(place) / "store"), "cpu"), Path(place))
        family = Trained(shop, load(path).eval(), texts, SCHEDULE)
        models = [BASE]
        for number, parent in enumerate(parents, 1):
            text = names[number % len(names)]
            models.append(family.make(f"model {number}", models[parent], text, number))
        rows = []
        for one, other in combinations(range(len(models)), 2):
            record = measure(
                family.side(models[other]), family.side(models[one]), family.blocks, most=None
            )
            rows.append([one, other, sorted(block_distances(record).items())])
    return rows


def _row(kept: Any) -> tuple[int, int, Mapping[int, float]]:
    one, other, distances = kept
    return one, other, {int(block): far for block, far in distances}


COUNTING = Counting("trees", __doc__, count, TreeCounts, with_tables, COUNTS, BASES, PAGE)


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    COUNTING.run(SCALE, arguments)


if __name__ == "__main__":
    main()
