"""Read from model cards what models are made from. Strangers write cards, so that suites' limits hold.

`huggingface_hub.ModelCard` is not used: merge keys make it build what grows without end, and it does not
say in which line of a card a base stands.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance._text import without_home
from provenance.checkpoints.folder import ADAPTER_CONFIG, read_object
from provenance.checkpoints.formats import is_gguf
from provenance.checkpoints.hub import is_repo_id, read_texts
from provenance.errors import SourceError, SuiteError, one_line
from provenance.suite.gguf_cards import bases_of
from provenance.suite.yaml12 import read
from provenance.suite.yaml_limits import MAX_BYTES, shown
from provenance.vocabulary import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from provenance.suite.yaml12 import Document, YamlPath

CARD = "README.md"
MERGE = "mergekit_config.yml"
"""What mergekit writes beside a model that it has merged."""
FILES = (CARD, ADAPTER_CONFIG, MERGE)
MAX_BASES = 20
_KEYS = frozenset({"base_model", "base_model_relation"})
_FRONT = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Base:
    """A hub id that a card names as a base, and where it stands."""

    repo: str
    where: str

    @property
    def doubtful(self) -> bool:
        """Whether it may be a word, such as "none", and no id: only the hub can tell."""
        return "/" not in self.repo


@dataclass(frozen=True)
class Card:
    """What a folder or repository says of the origin of one model.

    Attributes
    ----------
    spec : ModelSpec
        The model, at the commit that the hub named.
    bases : tuple of Base
        The models that it is made from.
    relation : str or None
        How it is made from them: finetune, adapter, quantized, merge, or any other word of the card.
    notes : tuple of str
        What cannot be read, one line each.
    """

    spec: ModelSpec
    bases: tuple[Base, ...] = ()
    relation: str | None = None
    notes: tuple[str, ...] = ()


def read_card(spec: ModelSpec, endpoint: str | None = None) -> Card:
    """Read what a folder or repository says of the origin of its model; no weights are downloaded.

    That is its card; where the card names no base, what mergekit merged, or what an adapter is on.

    Raises
    ------
    SourceError
        If there is no such folder, it cannot be read, or the hub does not give the repository.
    """
    if spec.path is not None and is_gguf(spec.path) and Path(spec.path).is_file():
        return _card_of_gguf(spec, Path(spec.path))
    if spec.repo is None:
        try:
            return _card(spec, _local(Path(spec.path or "")))
        except OSError as error:
            raise SourceError(
                f"{spec.source}: its card cannot be read: {one_line(error)}"
            ) from None
    commit, files = read_texts(spec, FILES, MAX_BYTES, endpoint)
    pinned = ModelSpec(repo=spec.repo, revision=commit)
    return _card(pinned, files)


def _card_of_gguf(spec: ModelSpec, file: Path) -> Card:
    """What a GGUF file says of the origin of its model."""
    notes: list[str] = []
    named = bases_of(file, notes)
    bases = _bases([name for name, _ in named], lambda i: f"{file.name}: {named[i][1]}", notes)
    return Card(spec, bases, "merge" if len(bases) > 1 else None, tuple(notes))


def _local(folder: Path) -> dict[str, Path]:
    files = {name: folder / name for name in FILES}
    return {name: file for name, file in files.items() if file.is_file()}


def _card(spec: ModelSpec, files: Mapping[str, Path]) -> Card:
    notes: list[str] = []
    metadata, lines = _metadata(files[CARD], notes) if CARD in files else ({}, {})
    names = _listed(metadata.get("base_model"))
    bases = _bases(names, lambda i: f"{CARD}:{lines[i]}" if i in lines else CARD, notes)
    relation = metadata.get("base_model_relation")
    if bases:
        relation = relation if isinstance(relation, str) else _inferred(bases, files)
        return Card(spec, bases, relation, tuple(notes))
    if MERGE in files:
        bases = _merged(files[MERGE], notes)
        if bases:
            return Card(spec, bases, "merge" if len(bases) > 1 else None, tuple(notes))
    if ADAPTER_CONFIG in files:
        try:
            value = read_object(files[ADAPTER_CONFIG], MAX_BYTES).get("base_model_name_or_path")
        except SourceError as error:
            return Card(spec, notes=(*notes, str(error)))
        bases = _bases(_listed(value), lambda _: ADAPTER_CONFIG, notes)
        return Card(spec, bases, "adapter", tuple(notes))
    return Card(spec, notes=tuple(notes))


def _inferred(bases: tuple[Base, ...], files: Mapping[str, Path]) -> str | None:
    """Infer the relation as the hub does where the card has none, as far as that is sure.

    https://huggingface.co/docs/hub/model-cards#specifying-a-base-model
    """
    if len(bases) > 1:
        return "merge"
    return "adapter" if ADAPTER_CONFIG in files else None


def _merged(file: Path, notes: list[str]) -> tuple[Base, ...]:
    """Read which models mergekit merged, each once, with the line that names it."""
    text = _text(file, notes)
    if text is None:
        return ()
    try:
        document = read(text, file)
    except SuiteError as error:
        notes.append(f"{MERGE} cannot be read: {error.problems[0].message}")
        return ()
    named = {
        path: mark.line
        for path, mark in document.values.items()
        if path[-1:] in {("model",), ("base_model",)} or path[-2:] == ("model", "path")
    }
    found = {path: _at(document.value, path) for path in named}
    texts = {path: value for path, value in found.items() if isinstance(value, str)}
    lines = list(texts)
    # a revision after @, an adapter after +: https://github.com/arcee-ai/mergekit
    plain = [value.partition("+")[0].partition("@")[0].strip() for value in texts.values()]
    return _bases(plain, lambda i: f"{MERGE}:{named[lines[i]]}", notes)


def _at(value: Any, path: YamlPath) -> Any:
    for key in path:
        value = value[key]
    return value


def _text(file: Path, notes: list[str]) -> str | None:
    """The text of a file; None, with a note, of what is no file or too long."""
    about = file.stat()
    if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_BYTES:
        notes.append(f"{file.name} is no file of up to {MAX_BYTES} bytes: it was not read")
        return None
    return file.read_text(encoding="utf-8", errors="replace")


def _metadata(file: Path, notes: list[str]) -> tuple[dict[str, Any], dict[int, int]]:
    """Read the YAML at the head of a card; return it with the lines of its bases."""
    front = _FRONT.match(_text(file, notes) or "")
    if front is None:
        return {}, {}
    try:
        # the reader of suites refuses aliases that grow without end
        document = read(front[1], file, verbatim=_KEYS)
    except SuiteError as error:
        notes.append(f"the head of {CARD} cannot be read: {error.problems[0].message}")
        return {}, {}
    if not isinstance(document.value, dict):
        return {}, {}
    return document.value, dict(_lines(document))


def _lines(document: Document) -> Iterator[tuple[int, int]]:
    """Yield the index and the line of each base; one that is no list has the index 0."""
    for path, mark in document.values.items():
        index = {1: 0, 2: path[-1]}.get(len(path)) if path[:1] == ("base_model",) else None
        if isinstance(index, int):
            yield index, mark.line + 1  # the line of dashes stands before the first


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _bases(names: list[Any], where: Callable[[int], str], notes: list[str]) -> tuple[Base, ...]:
    bases: dict[str, Base] = {}
    strange = []
    for i, name in enumerate(names):
        if isinstance(name, str) and _can_be_id(name):
            bases.setdefault(name, Base(name, where(i)))
        else:
            strange.append(shown(without_home(str(name))))
    if strange:
        listed = ", ".join(strange[:3]) + (", ..." if len(strange) > 3 else "")
        notes.append(f"{len(strange)} of the bases that it names are no hub ids: {listed}")
    if len(bases) > MAX_BASES:
        notes.append(f"of {len(bases)} bases the first {MAX_BASES} were taken")
    return tuple(bases.values())[:MAX_BASES]


def _can_be_id(name: str) -> bool:
    """Whether it can be a hub id. Old ids have no owner, but a number is no id."""
    return is_repo_id(name) and ("/" in name or re.search("[A-Za-z]", name) is not None)
