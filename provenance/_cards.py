"""What model cards say of where models come from; strangers write them, so they are read as suites are."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance import _hub
from provenance._weights import read_object
from provenance._yaml import read
from provenance.errors import SourceError, SuiteError
from provenance.vocabulary import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

CARD, ADAPTER = "README.md", "adapter_config.json"
MAX_BYTES = 1 << 20
MAX_BASES = 20
_KEYS = frozenset({"base_model", "base_model_relation"})
_FRONT = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Card:
    """What is said of one model.

    Attributes
    ----------
    spec : ModelSpec
        The model, at the commit that the hub named.
    bases : tuple of str
        What it says it is made from: hub ids, as they are written.
    relation : str or None
        The hub's word for how: finetune, adapter, quantized, merge, or whatever is written.
    where : str
        Which file says so.
    notes : tuple of str
        What could not be read, a line each.
    """

    spec: ModelSpec
    bases: tuple[str, ...] = ()
    relation: str | None = None
    where: str = CARD
    notes: tuple[str, ...] = ()


def read_card(spec: ModelSpec, endpoint: str | None = None) -> Card:
    """Read what a folder or a repository says of its origin; no weights are fetched.

    Raises
    ------
    SourceError
        If there is no such folder, or the hub does not give the repository.
    """
    if spec.repo is None:
        return _said(spec, _local(Path(spec.path or "")))
    commit, files = _hub.read_texts(spec, (CARD, ADAPTER), MAX_BYTES, endpoint)
    pinned = ModelSpec(repo=spec.repo, revision=commit)
    return _said(pinned, files)


def _local(folder: Path) -> dict[str, Path]:
    files = {name: folder / name for name in (CARD, ADAPTER)}
    return {name: file for name, file in files.items() if file.is_file()}


def _said(spec: ModelSpec, files: Mapping[str, Path]) -> Card:
    notes: list[str] = []
    said = _metadata(files[CARD], notes) if CARD in files else {}
    bases = _bases(said.get("base_model"), notes)
    relation = said.get("base_model_relation")
    if bases:
        relation = relation if isinstance(relation, str) else _inferred(bases, files)
        return Card(spec, bases, relation, CARD, tuple(notes))
    if ADAPTER in files:
        try:
            named = read_object(files[ADAPTER], MAX_BYTES).get("base_model_name_or_path")
        except SourceError as error:
            return Card(spec, notes=(*notes, str(error)))
        return Card(spec, _bases(named, notes), "adapter", ADAPTER, tuple(notes))
    return Card(spec, notes=tuple(notes))


def _inferred(bases: tuple[str, ...], files: Mapping[str, Path]) -> str | None:
    """What the hub takes it for where the card does not say, as far as that is sure.

    https://huggingface.co/docs/hub/model-cards#specifying-a-base-model
    """
    if len(bases) > 1:
        return "merge"
    return "adapter" if ADAPTER in files else None


def _metadata(file: Path, notes: list[str]) -> dict[str, Any]:
    """The YAML at the head of a card."""
    about = file.stat()
    if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_BYTES:
        notes.append(f"{CARD} is no file of up to {MAX_BYTES} bytes: it was not read")
        return {}
    front = _FRONT.match(file.read_text(encoding="utf-8", errors="replace"))
    if front is None:
        return {}
    try:
        # a suite's reader: it refuses what a few lines can blow up into
        found = read(front[1], file, verbatim=_KEYS).value
    except SuiteError as error:
        notes.append(f"the head of {CARD} cannot be read: {error.problems[0].message}")
        return {}
    return found if isinstance(found, dict) else {}


def _bases(value: Any, notes: list[str]) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else [value] if value else []
    found = dict.fromkeys(
        base for base in listed if isinstance(base, str) and _hub.is_repo_id(base) and "/" in base
    )
    strange = len(listed) - len(found)
    if strange > 0:
        notes.append(f"{strange} of the bases that it names are no hub ids, or stand there twice")
    if len(found) > MAX_BASES:
        notes.append(f"of {len(found)} bases the first {MAX_BASES} were taken")
    return tuple(found)[:MAX_BASES]
