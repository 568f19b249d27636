"""Drafts a suite of what model cards claim, for a person to read, correct and run."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from provenance._cards import Card, read_card
from provenance._yaml_limits import find_unprintable
from provenance.errors import SourceError
from provenance.sources import parse
from provenance.suite import loads
from provenance.vocabulary import ModelSpec, Relationship

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DEPTH = 5
MAX_MODELS = 100
_WORDS: Mapping[str, Relationship] = {
    "finetune": "finetune",
    "adapter": "adapter",
    "quantized": "quantized",
    "merge": "merge",
}
HEAD = """\
# Drafted from what model cards say. Read every line: a card is a claim, and this suite tests it.
version: 1
"""


@dataclass(frozen=True)
class Draft:
    """A suite as text, and what its author should know; ``claims`` and ``models`` count what it has."""

    text: str
    claims: int
    models: int
    notes: tuple[str, ...]


def draft_suite(
    models: Sequence[str],
    *,
    endpoint: str | None = None,
    on_card: Callable[[str], None] | None = None,
) -> Draft:
    """Read the cards of models, and of what they say they are made from.

    Parameters
    ----------
    models : sequence of str
        Hub ids, with or without ``@revision``, and folders.
    endpoint : str, optional
        The hub's address, if not the one of the environment.
    on_card : callable, optional
        Told the source of each model whose card is read.

    Returns
    -------
    Draft
        A suite that `provenance.load_suite` reads. Models are pinned to the commit that the hub names
        now. Two of the ``models`` of which no card says anything are `unknown` to each other.

    Raises
    ------
    SourceError
        If one of the models is not there, or nothing is said of any pair.
    """
    cards = _read_all([_spec(text) for text in models], endpoint, on_card)
    names = _names(cards)
    pairs, notes = _claims(cards, names)
    pairs += _unknown([names[source] for source in _sources(cards, len(models))], pairs)
    if not pairs:
        raise SourceError(
            f"{models[0]}: its card names no base model, and there is no other model to compare it with: "
            "name one more"
        )
    text = HEAD + _models_text(cards, names) + "pairs:\n" + "".join(pair.line() for pair in pairs)
    loads(text, Path("draft.suite.yaml"))
    return Draft(text, len(pairs), len(names), tuple(notes))


@dataclass(frozen=True)
class _Pair:
    candidate: str
    reference: str
    expect: Relationship
    why: str

    def line(self) -> str:
        pair = {"candidate": self.candidate, "reference": self.reference, "expect": self.expect}
        return f"  - {_flow(pair)} # {_comment(self.why)}\n"


def _spec(text: str) -> ModelSpec:
    spec = parse(text)
    if spec.repo is None and spec.path is None:
        raise SourceError(f"{text}: only a hub id or a folder has a card")
    return spec


def _read_all(
    given: list[ModelSpec], endpoint: str | None, on_card: Callable[[str], None] | None
) -> dict[str, Card]:
    """Cards by what they are of: those given first, then their bases, nearest first."""
    cards: dict[str, Card] = {}
    waiting = deque((spec, 0) for spec in given)
    while waiting:
        spec, depth = waiting.popleft()
        key = _key(spec)
        if key in cards:
            continue
        if len(cards) >= MAX_MODELS:
            raise SourceError(f"more than {MAX_MODELS} models descend from each other: name fewer")
        if on_card is not None:
            on_card(spec.source)
        cards[key] = _card(spec, endpoint, required=depth == 0)
        if depth < DEPTH:
            waiting.extend((ModelSpec(repo=base), depth + 1) for base in cards[key].bases)
    return cards


def _card(spec: ModelSpec, endpoint: str | None, *, required: bool) -> Card:
    try:
        return read_card(spec, endpoint)
    except SourceError as error:
        if required:
            raise
        return Card(spec, notes=(str(error),))


def _key(spec: ModelSpec) -> str:
    return spec.repo if spec.repo is not None else f"path:{spec.path}"


def _sources(cards: dict[str, Card], count: int) -> list[str]:
    return list(cards)[:count]


def _names(cards: dict[str, Card]) -> dict[str, str]:
    """A name for each model: the end of its id, with more of it where two would be the same."""
    names: dict[str, str] = {}
    for source in cards:
        whole = re.sub(r"[^A-Za-z0-9._-]+", "-", source.removeprefix("path:")).strip("-._")
        short = whole if "/" not in source else re.sub(r"[^A-Za-z0-9._-]+", "-", Path(source).name)
        name = next(n for n in _candidates(short.strip("-._"), whole) if n not in names.values())
        names[source] = name
    return names


def _candidates(short: str, whole: str) -> list[str]:
    return [name for name in (short, whole) if name] + [f"model-{i}" for i in range(MAX_MODELS)]


def _claims(cards: dict[str, Card], names: dict[str, str]) -> tuple[list[_Pair], list[str]]:
    pairs, notes = [], []
    for source, card in cards.items():
        notes += [f"{names[source]}: {note}" for note in card.notes]
        for base in card.bases:
            if base == source:
                notes.append(f"{names[source]}: its card names the model itself as its base")
            elif base in names:
                why = f"its {card.where}: {card.relation or 'made from it'}"
                expect = _expect(card.relation)
                pairs.append(_Pair(names[source], names[base], expect, why))
            else:
                notes.append(f"{names[source]}: {base} was not looked up, {DEPTH} bases away")
    return pairs, notes


def _expect(relation: str | None) -> Relationship:
    """The hub's words are ours; another says no more than that the one is made from the other."""
    return _WORDS.get(relation or "", "derived")


def _unknown(given: list[str], pairs: list[_Pair]) -> list[_Pair]:
    said = {frozenset({pair.candidate, pair.reference}) for pair in pairs}
    return [
        _Pair(given[i], given[j], "unknown", "no card says: derived, or independent?")
        for i in range(len(given))
        for j in range(i)
        if frozenset({given[i], given[j]}) not in said
    ]


def _models_text(cards: dict[str, Card], names: dict[str, str]) -> str:
    lines = ["models:\n"]
    for source, card in cards.items():
        spec = card.spec
        fields = {"path": spec.path, "repo": spec.repo, "revision": spec.revision}
        given = {key: value for key, value in fields.items() if value is not None}
        why = "" if not card.notes else f" # {_comment('; '.join(card.notes))}"
        lines.append(f"  {_scalar(names[source])}: {_flow(given)}{why}\n")
    return "".join(lines)


def _flow(fields: dict[str, str]) -> str:
    dumped = yaml.safe_dump(fields, default_flow_style=True, sort_keys=False, width=10_000)
    return str(dumped).strip()


def _scalar(text: str) -> str:
    return str(yaml.safe_dump(text, width=10_000)).removesuffix("...\n").strip()


def _comment(text: str) -> str:
    """One line that no escape and no control character leaves."""
    line = " ".join(text.split())[:300]
    return line if find_unprintable(line) is None else ascii(line)
