"""The trees of a suite's ``lineage:``: who descends from whom, and what that says of every pair.

They are read as they are written, whatever is wrong with them, so that every mistake is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.suite.yaml12 import YamlPath


@dataclass(frozen=True)
class Node:
    """A model of a tree. ``path`` is where it is written, below ``lineage``; its parts are names."""

    path: tuple[str, ...]

    @property
    def name(self) -> str:
        """The model."""
        return self.path[-1]

    @property
    def parent(self) -> str | None:
        """The model that it descends from; None at a root."""
        return self.path[-2] if len(self.path) > 1 else None

    @property
    def at(self) -> YamlPath:
        """Where the document has it."""
        return ("lineage", *self.path)


@dataclass(frozen=True)
class Kin:
    """What the trees say of a pair: the later written is the candidate.

    An ancestor is written before its descendants, and so is always the reference.
    """

    candidate: Node
    reference: Node

    @property
    def expect(self) -> Literal["derived", "independent"]:
        """Models of one tree have a common ancestor; those of different ones have none."""
        return "derived" if self.candidate.path[0] == self.reference.path[0] else "independent"


def nodes(trees: Any) -> list[Node]:
    """Every model of the trees, in the order of the file."""
    return list(_nodes(trees, ()))


def kin(trees: Any) -> list[Kin]:
    """Every pair of models, in the order of their candidates and then of their references."""
    models = nodes(trees)
    return [Kin(one, other) for i, one in enumerate(models) for other in models[:i]]


def _nodes(tree: Any, above: tuple[str, ...]) -> Iterator[Node]:
    for name, below in tree.items() if isinstance(tree, dict) else ():
        yield Node((*above, name))
        yield from _nodes(below, (*above, name))
