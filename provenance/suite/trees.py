"""The trees of a suite's ``lineage:``: which model descends from which, and what every pair is.

They are read even where they are wrong, so that every mistake is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.suite.yaml12 import YamlPath


@dataclass(frozen=True)
class Node:
    """A model of a tree; ``path`` has the names from the root to it."""

    path: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.path[-1]

    @property
    def parent(self) -> str | None:
        """The name of its parent; None at a root."""
        return self.path[-2] if len(self.path) > 1 else None

    @property
    def at(self) -> YamlPath:
        """Its path in the document."""
        return ("lineage", *self.path)


@dataclass(frozen=True)
class Kin:
    """A pair of the trees: the candidate is written after the reference, and so after its ancestors."""

    candidate: Node
    reference: Node

    @property
    def expect(self) -> Literal["derived", "independent"]:
        """What the candidate is to the reference: models of one tree have a common ancestor."""
        return "derived" if self.candidate.path[0] == self.reference.path[0] else "independent"


def nodes(trees: Any) -> list[Node]:
    """List every model of the trees, in the order of the file."""
    return list(_nodes(trees, ()))


def kin(trees: Any) -> list[Kin]:
    """List every pair of models, ordered by candidate and then by reference."""
    models = nodes(trees)
    return [Kin(one, other) for i, one in enumerate(models) for other in models[:i]]


def _nodes(tree: Any, above: tuple[str, ...]) -> Iterator[Node]:
    for name, below in tree.items() if isinstance(tree, dict) else ():
        yield Node((*above, name))
        yield from _nodes(below, (*above, name))
