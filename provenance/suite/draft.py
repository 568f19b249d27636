"""Draft a suite from what model cards claim, for a person to read, correct and run."""

from __future__ import annotations

import os
import re
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from provenance.checkpoints.checkpoint import parse
from provenance.errors import SourceError
from provenance.suite.model_cards import Card, read_card
from provenance.suite.read import loads
from provenance.suite.rules import claim_id
from provenance.suite.yaml_limits import find_unprintable
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
class DraftedSuite:
    """A suite as text, the number of its claims and models, and notes for its author."""

    text: str
    claims: int
    models: int
    notes: tuple[str, ...]


def draft_suite(
    models: Sequence[str],
    *,
    folder: Path | None = None,
    endpoint: str | None = None,
    on_card: Callable[[str], None] | None = None,
) -> DraftedSuite:
    """Draft a suite from the cards of models and of their bases.

    Parameters
    ----------
    models : sequence of str
        Hub ids, with or without ``@revision``, and folders.
    folder : pathlib.Path, optional
        The folder of the suite, if not the working directory: its paths are relative to it.
    endpoint : str, optional
        The hub's address; default: that of the environment.
    on_card : callable, optional
        Called with the source of each model whose card is read.

    Returns
    -------
    DraftedSuite
        A suite that `provenance.load_suite` reads. Models are pinned to the present commit. Two of the
        ``models`` that no card relates are `unknown` to each other. What several cards imply together is
        `derived`.

    Raises
    ------
    SourceError
        If one of the models is not there, or there is no pair.
    """
    cards = _read_all([_spec(text) for text in models], endpoint, on_card or (lambda _: None))
    names = _names(cards.by_source)
    pairs, remarks = _claims(cards, names)
    notes = [f"{names[source]}: {remark}" for source in remarks for remark in remarks[source]]
    pairs += _rest([names[source] for source in cards.given], pairs)
    if not pairs:
        why = "; ".join(notes) or "its card names no base model"
        raise SourceError(
            f"{models[0]}: there is nothing to compare it with ({why}): name one more model"
        )
    text = HEAD + "models:\n"
    for source, card in cards.by_source.items():
        text += _model_line(names[source], _placed(card.spec, folder), remarks[source])
    text += "pairs:\n" + "".join(pair.line() for pair in _told_apart(pairs))
    loads(text, Path("draft.suite.yaml"))
    return DraftedSuite(text, len(pairs), len(names), tuple(notes))


@dataclass(frozen=True)
class _Cards:
    """Cards by the source of their model: those ``given`` first, then their bases, nearest first.

    ``repos`` has the source of each repository. ``unknown`` says why a word of a card is no repository.
    """

    by_source: dict[str, Card]
    given: tuple[str, ...]
    repos: dict[str, str]
    unknown: dict[str, str]


@dataclass(frozen=True)
class _Pair:
    candidate: str
    reference: str
    expect: Relationship
    why: str
    id: str | None = None

    def line(self) -> str:
        pair = {"candidate": self.candidate, "reference": self.reference, "expect": self.expect}
        if self.expect == "merge":  # of which one parent alone shows no more than kinship
            pair["kind"] = "any"
        if self.id is not None:
            pair["id"] = self.id
        return f"  - {_flow(pair)} # {_comment(self.why)}\n"


def _spec(text: str) -> ModelSpec:
    spec = parse(text)
    if spec.repo is None and spec.path is None:
        raise SourceError(f"{text}: only a hub id or a folder has a card")
    return spec


def _read_all(
    specs: list[ModelSpec], endpoint: str | None, on_card: Callable[[str], None]
) -> _Cards:
    cards: dict[str, Card] = {}
    repos: dict[str, str] = {}
    unknown: dict[str, str] = {}
    for spec in specs:
        if spec.source not in cards:
            on_card(spec.source)
            cards[spec.source] = read_card(spec, endpoint)
            if spec.repo is not None:
                repos.setdefault(spec.repo, spec.source)
    given = tuple(cards)
    waiting = deque((base, 1) for card in cards.values() for base in card.bases)
    while waiting:
        base, depth = waiting.popleft()
        if base.repo in repos or base.repo in unknown or depth > DEPTH:
            continue
        if len(cards) >= MAX_MODELS:
            raise SourceError(f"more than {MAX_MODELS} models descend from each other: name fewer")
        spec = ModelSpec(repo=base.repo)
        on_card(spec.source)
        card, wrong = _base_card(spec, endpoint)
        if wrong is not None and base.doubtful:
            unknown[base.repo] = wrong
            continue
        cards[spec.source], repos[base.repo] = card, spec.source
        waiting.extend((further, depth + 1) for further in card.bases)
    return _Cards(cards, given, repos, unknown)


def _base_card(spec: ModelSpec, endpoint: str | None) -> tuple[Card, str | None]:
    """Read the card of a base, or say why it cannot be read."""
    try:
        return read_card(spec, endpoint), None
    except SourceError as error:
        return Card(spec, notes=(str(error),)), str(error)


def _names(cards: dict[str, Card]) -> dict[str, str]:
    """Name each model by the end of its id, and by more of it where two would be the same."""
    names: dict[str, str] = {}
    for source, card in cards.items():
        place = card.spec.repo or str(Path(card.spec.path or "").resolve())
        short = _clean(place.rpartition("/")[2])
        revision = source.partition("@")[2] if card.spec.repo is not None else ""
        longer = [_clean(f"{short}-{revision}")] if revision else []
        possible = _candidates(short, *longer, _clean(card.spec.repo or card.spec.path or ""))
        names[source] = next(name for name in possible if name not in names.values())
    return names


def _clean(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")


def _candidates(*wanted: str) -> list[str]:
    return [name for name in wanted if name] + [f"model-{i}" for i in range(MAX_MODELS)]


def _claims(cards: _Cards, names: dict[str, str]) -> tuple[list[_Pair], dict[str, list[str]]]:
    """Return the pairs that cards claim, and the remarks on each model."""
    pairs = []
    remarks = {source: list(card.notes) for source, card in cards.by_source.items()}
    for source, card in cards.by_source.items():
        for base in card.bases:
            key = cards.repos.get(base.repo)
            if base.repo in cards.unknown:
                remarks[source].append(f"{base.repo!r} was left out: {cards.unknown[base.repo]}")
            elif key is None:
                remarks[source].append(f"{base.repo} was not looked up, {DEPTH} bases away")
            elif key == source:
                remarks[source].append("its card names the model itself as its base")
            else:
                why = f"its {base.where}: {card.relation or 'made from it'}"
                pairs.append(_Pair(names[source], names[key], expected_of(card.relation), why))
    return pairs, remarks


def expected_of(relation: str | None) -> Relationship:
    """Translate a relation; any other word than the hub's says only that the model is derived."""
    return _WORDS.get(relation or "", "derived")


def _rest(given: list[str], pairs: list[_Pair]) -> list[_Pair]:
    """Make the pairs of named models that no single card claims."""
    claimed = {frozenset({pair.candidate, pair.reference}) for pair in pairs}
    bases: dict[str, list[str]] = {}
    for pair in pairs:
        bases.setdefault(pair.candidate, []).append(pair.reference)
    return [
        _by_way(given[i], given[j], bases)
        or _by_way(given[j], given[i], bases)
        or _Pair(given[i], given[j], "unknown", "no card says: derived, or independent?")
        for i in range(len(given))
        for j in range(i)
        if frozenset({given[i], given[j]}) not in claimed
    ]


def _by_way(candidate: str, reference: str, bases: Mapping[str, Sequence[str]]) -> _Pair | None:
    """Find a chain of cards by which the candidate descends from the reference."""
    ways = {candidate: ""}
    waiting = deque([candidate])
    while waiting:
        name = waiting.popleft()
        for base in bases.get(name, ()):
            if base == reference:
                return _Pair(
                    candidate, reference, "derived", f"cards say so, by way of {ways[name]}"
                )
            if base not in ways:
                ways[base] = f"{ways[name]}, {base}" if ways[name] else base
                waiting.append(base)
    return None


def _told_apart(pairs: list[_Pair]) -> list[_Pair]:
    """Give an id to each pair whose default id is taken."""
    taken: set[str] = set()
    apart = []
    for pair in pairs:
        joined = claim_id(pair.candidate, pair.reference, None)
        free = (f"{joined}-{i}" for i in range(2, len(pairs) + 3))
        name = joined if joined not in taken else next(id_ for id_ in free if id_ not in taken)
        taken.add(name)
        apart.append(pair if name == joined else replace(pair, id=name))
    return apart


def _placed(spec: ModelSpec, folder: Path | None) -> ModelSpec:
    """Make a path relative to the folder of the suite."""
    if spec.path is None or folder is None or Path(spec.path).is_absolute():
        return spec
    path = Path(os.path.relpath(spec.path, folder)).as_posix()
    return replace(spec, path=path if path.startswith("..") else f"./{path}")


def _model_line(name: str, spec: ModelSpec, remarks: Sequence[str]) -> str:
    fields = {"path": spec.path, "repo": spec.repo, "revision": spec.revision}
    given = {key: value for key, value in fields.items() if value is not None}
    why = f" # {_comment('; '.join(remarks))}" if remarks else ""
    return f"  {_scalar(name)}: {_flow(given)}{why}\n"


def _flow(fields: dict[str, str]) -> str:
    dumped = yaml.safe_dump(fields, default_flow_style=True, sort_keys=False, width=10_000)
    return str(dumped).strip()


def _scalar(text: str) -> str:
    return str(yaml.safe_dump(text, width=10_000)).removesuffix("...\n").strip()


def _comment(text: str) -> str:
    """Make one line without control characters for a comment."""
    line = " ".join(text.split())[:300]
    return line if find_unprintable(line) is None else ascii(line)
