"""The table of docs/report.md on how often a tree by distances is the one that a family was made by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._kind_page import COUNTS as KINDS
from benchmarks._kind_page import between
from benchmarks._kinds_command import Made, read_kept
from benchmarks._table import table
from provenance.evidence.family_trees import Edge, tree_edges

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COUNTS = KINDS.with_name("trees.json")
PAGE = Path("docs/report.md")
BEGIN, END = "<!-- counted by benchmarks.trees -->", "<!-- end of the trees -->"
FLOOR = -300.0
"""The p-value of every pair, log10: all kin of these are at their floor."""
LEFT_OUT = 4
"""One of so many pairs is left without a distance, in the rows that say so."""


@dataclass(frozen=True)
class TreeCount:
    """The distances in one family: its shape, how many texts it learned, and of each model its parent."""

    shape: str
    texts: int
    parents: tuple[int, ...]
    distances: tuple[tuple[int, int, Mapping[int, float]], ...]

    @property
    def truth(self) -> frozenset[frozenset[int]]:
        """The pairs of a parent and its child."""
        return frozenset(frozenset({i, parent}) for i, parent in enumerate(self.parents, 1))

    def drawn(self, *, directed: bool, every: int = 0) -> tuple[int, int, int, int]:
        """Draw the tree: edges that are right, of how many, those right with all blocks, of how many.

        Parameters
        ----------
        directed : bool
            Whether it is known of a model and its ancestor which is which.
        every : int
            One of so many pairs has no distance; 0: each has one.
        """
        edges = [
            Edge(
                one,
                other,
                FLOOR,
                directed and one in self._ancestors(other),
                {} if every and number % every == 0 else distances,
            )
            for number, (one, other, distances) in enumerate(self.distances)
        ]
        chosen, agreeing = tree_edges(edges, len(self.parents) + 1)
        drawn = {frozenset(edge) for edge in chosen}
        sure = {ends for ends in drawn if ends in agreeing and len({*agreeing[ends]}) == 1}
        truth = self.truth
        return len(drawn & truth), len(truth), len(sure & truth), len(sure)

    def _ancestors(self, model: int) -> set[int]:
        found = set()
        while model:
            model = self.parents[model - 1]
            found.add(model)
        return found


@dataclass(frozen=True)
class TreeCounts(Made):
    """What `benchmarks.trees` found, with what and where."""

    counted: tuple[TreeCount, ...]


def read_counts(file: Path = COUNTS) -> TreeCounts:
    """Read the counts that are kept."""
    return read_kept(file, TreeCounts, counted=_count)


def _count(
    shape: str,
    texts: int,
    parents: Sequence[int],
    distances: Sequence[tuple[int, int, Mapping[str, float]]],
) -> TreeCount:
    """A count as it was kept, in which numbers of blocks are texts."""
    far = tuple(
        (one, other, {int(block): distance for block, distance in own.items()})
        for one, other, own in distances
    )
    return TreeCount(shape, texts, tuple(parents), far)


def with_tables(page: str, counts: TreeCounts) -> str:
    """Return the page with its table made again; raises as `benchmarks._kind_page.between`."""
    return between(page, BEGIN, END, f"{_table(counts)}\n\n{counts.about}")


WAYS: dict[str, dict[str, int]] = {
    "nothing": {"directed": 0},
    "which of two descends from the other": {"directed": 1},
    "nothing, and no distance of every fourth pair": {"directed": 0, "every": LEFT_OUT},
}


def _table(counts: TreeCounts) -> str:
    rows = []
    groups = dict.fromkeys((one.shape, one.texts) for one in counts.counted)
    for shape, texts in groups:
        those = [one for one in counts.counted if (one.shape, one.texts) == (shape, texts)]
        for known, way in WAYS.items():
            directed, every = bool(way["directed"]), way.get("every", 0)
            drawn = [one.drawn(directed=directed, every=every) for one in those]
            right, of, sure, of_sure = (sum(column) for column in zip(*drawn, strict=True))
            whole = sum(one[0] == one[1] for one in drawn)
            learned = "one text" if texts == 1 else f"{texts} texts"
            rows.append(
                [
                    f"{shape} of {len(those[0].parents) + 1}, {learned}",
                    known,
                    f"{whole} of {len(those)}",
                    f"{right} of {of}",
                    f"{sure} of {of_sure}",
                ]
            )
    head = [
        "family",
        "known besides",
        "trees right",
        "edges right",
        "of those on which all blocks agree",
    ]
    return table(head, rows)
