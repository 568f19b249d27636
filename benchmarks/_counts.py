"""How often each verdict fell on which population: small files beside the benchmarks that counted them.

A benchmark saves its counts under ``benchmarks/counts``, where `benchmarks.error_rates` reads all of them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import networkx as nx

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

FOLDER = Path(__file__).with_name("counts")

VERDICTS = ("dependent", "independent", "inconclusive", "refused")
"""The verdicts on two models; ``refused`` pairs were not compared, and say why."""


@dataclass(frozen=True)
class Counted:
    """The verdicts on the pairs of models of one population.

    Parameters
    ----------
    population
        What the pairs are, as a reader who knows nothing of the benchmark understands it.
    truth
        Whether the pairs are kin or strangers, by how they were made.
    disjoint
        The most pairs among them that share no model: pairs that share one are not independent. All pairs
        of n models have n // 2; copies of one reference, however many, have one.
    statistic, threshold
        What was measured, and the p-value below which a pair is dependent.
    verdicts
        Pairs by verdict; a verdict that never fell may be left out.
    """

    population: str
    truth: Literal["kin", "strangers"]
    disjoint: int
    statistic: str
    threshold: float
    verdicts: Mapping[str, int]

    def __post_init__(self) -> None:
        unknown = sorted(self.verdicts.keys() - set(VERDICTS))
        if unknown:
            raise ValueError(f"verdicts are {', '.join(VERDICTS)}, and not {unknown[0]}")

    @property
    def pairs(self) -> int:
        """Pairs of models, the refused ones among them."""
        return sum(self.verdicts.values())


@dataclass(frozen=True)
class Source:
    """The counts of one command, and where they were made."""

    command: str
    date: str
    machine: str
    versions: str
    counted: tuple[Counted, ...]


def disjoint(pairs: Iterable[tuple[Hashable, Hashable]]) -> int:
    """Return the most pairs that share no model: the size of a maximum matching of the graph of pairs."""
    return len(nx.max_weight_matching(nx.Graph(list(pairs)), maxcardinality=True))


def save(source: Source, name: str, folder: Path = FOLDER) -> None:
    """Write the counts of one command; an older file of that name is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(source), indent=1, ensure_ascii=False)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def sources(folder: Path = FOLDER) -> Sequence[Source]:
    """Read every command's counts, in the order of the files' names."""
    return [_read(file) for file in sorted(folder.glob("*.json"))]


def _read(file: Path) -> Source:
    kept = json.loads(file.read_text(encoding="utf-8"))
    counted = tuple(Counted(**row) for row in kept.pop("counted"))
    return Source(**kept, counted=counted)
