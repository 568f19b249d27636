"""Pairs of strangers, small ones trained here and pretrained ones, and the exhibits of each pair."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from benchmarks._zoo import SMALL, Scale, Zoo, members
from provenance import Executor, InputsSpec, Store
from provenance.comparison.executor import as_spec
from provenance.comparison.plan import Comparison
from provenance.evidence.strangers import StrangerGroup, StrangerPair
from provenance.recipes.train import one_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

SCALE = Scale(hidden=64, units=128, steps=150, vocabulary=512, longest=4096)
"""Four blocks, or three: a profile of deviations needs three."""
TINY = Scale(**{**asdict(SMALL), "blocks": 4, "steps": 2})
ORDER = ("small", "pretrained")
DIGITS = 4
BLOCKS = 8
"""Of the candidate, whose units are looked at beside their likeliest partners."""


def small(folder: Path, count: int, *, tiny: bool) -> Mapping[str, Path]:
    """Train models of several shapes, texts and seeds; return their folders by name."""
    scale = TINY if tiny else SCALE
    zoo = Zoo(folder, scale)
    with one_thread():
        return {member.name: zoo.member(member) for member in members(count, scale)}


def pretrained(folder: Path) -> Mapping[str, Path]:
    """Return the checkpoint folders in a folder by name."""
    return {file.parent.name: file.parent for file in sorted(folder.glob("*/config.json"))}


def measured(
    models: Mapping[str, Path], store: Path, report: Callable[[str], None]
) -> tuple[StrangerPair, ...]:
    """Measure the exhibits of every two models; weights are read, and no model is run."""
    executor = Executor(Store(store), "cpu")
    pairs = []
    for candidate, reference in itertools.combinations(models, 2):
        report(f"{candidate} and {reference}")
        evidence = executor.evidence(_comparison(models[candidate], models[reference]))
        values = {
            one.name: round(one.value, DIGITS) for one in evidence.exhibits if one.value is not None
        }
        pairs.append(StrangerPair(candidate, reference, values))
    return tuple(pairs)


def _comparison(candidate: Path, reference: Path) -> Comparison:
    """The comparison of whole models, of which some blocks are tested for units that agree."""
    whole = Comparison.of(
        as_spec(candidate),
        as_spec(reference),
        InputsSpec(),
        "match_tokens",
        control=False,
        exhibits=True,
    )
    return replace(whole, sample=BLOCKS)


def with_group(
    groups: Iterable[StrangerGroup], counted: StrangerGroup
) -> tuple[StrangerGroup, ...]:
    """Put a group in the place of the one of its name, in the order in which they are shown."""
    by_name = {group.name: group for group in (*groups, counted)}
    return tuple(by_name[name] for name in ORDER if name in by_name)


def saved(groups: Iterable[StrangerGroup]) -> str:
    """Return groups as the text of the kept file, a pair a line."""
    return "[\n" + ",\n".join(_saved(group) for group in groups) + "\n]\n"


def _saved(group: StrangerGroup) -> str:
    fields = asdict(group)
    pairs = ",\n".join("  " + json.dumps(pair) for pair in fields.pop("pairs"))
    head = json.dumps(fields, indent=1, ensure_ascii=False).removesuffix("\n}")
    return f'{head},\n "pairs": [\n{pairs}\n ]\n}}'
