"""The exhibits of known strangers: models that were trained independently of each other.

``strangers.json`` beside this module is what ``python -m benchmarks.exhibits`` counted, pair by pair.
"""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 - part of the public dataclasses
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

FILE = "strangers.json"


@dataclass(frozen=True)
class StrangerPair:
    """Two models that no training joins, and their exhibits by name; without those that they have not."""

    candidate: str
    reference: str
    exhibits: Mapping[str, float]


@dataclass(frozen=True)
class StrangerGroup:
    """Pairs of strangers of one kind, and how they were measured.

    ``title`` heads their column, ``models`` says in a sentence what they are.
    """

    name: str
    title: str
    models: str
    command: str
    date: str
    machine: str
    versions: str
    pairs: tuple[StrangerPair, ...]

    @property
    def heading(self) -> str:
        """The title, and how many pairs it stands for."""
        return f"{self.title}, {len(self.pairs)} pairs"

    def values(self, exhibit: str) -> tuple[float, ...]:
        """The values of one exhibit, of the pairs that have it."""
        return tuple(
            pair.exhibits[exhibit] for pair in self.pairs if pair.exhibits.get(exhibit) is not None
        )


def read_groups(text: str) -> tuple[StrangerGroup, ...]:
    """The groups of a kept file."""
    return tuple(
        StrangerGroup(**{**group, "pairs": tuple(StrangerPair(**pair) for pair in group["pairs"])})
        for group in json.loads(text)
    )


@cache
def groups() -> tuple[StrangerGroup, ...]:
    """The groups that the package knows: small models, then pretrained ones."""
    return read_groups(files(__package__).joinpath(FILE).read_text("utf-8"))
