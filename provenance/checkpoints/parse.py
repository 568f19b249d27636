"""Read what a person types for a model, as a `ModelSpec`."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from provenance._text import closest, expanded
from provenance.checkpoints.folder import SINGLE
from provenance.checkpoints.formats import ADAPTER, SHARD, is_gguf
from provenance.checkpoints.hub import is_repo_id, is_revision
from provenance.checkpoints.loaders import scheme_of
from provenance.checkpoints.meant import hub_name, is_plainly_path, meant_model, meant_path
from provenance.errors import SourceError
from provenance.vocabulary import FINGERPRINT_SUFFIX, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Collection

_URL = re.compile(r"[a-z][a-z0-9]*://\S+", re.ASCII)
FORMS = (
    "write a folder (./model), a hub repository (org/name or org/name@revision), a URL "
    "(s3://bucket/model, ollama:name), or a recipe"
)


def parse(text: str, recipes: Collection[str] = (), *, typed: bool = True) -> ModelSpec:
    """Find the model that a person means by `text`.

    In this order: a URL, by its ``://`` or by the scheme of a loader; the prefixes ``recipe:``, ``path:``,
    ``repo:`` and ``hf:``; a folder that exists; a recipe's name; what can only be a path; a hub id with
    an optional ``@revision``. What has the form of a hub id is a mistyped path where its first part is a
    folder here, or where something here has nearly its name.

    Parameters
    ----------
    text : str
        What was typed.
    recipes : collection of str
        The names of all recipes.
    typed : bool
        Whether a person typed it here, so that it may be a mistyped path.

    Raises
    ------
    SourceError
        The folder or recipe is not there, or the text has none of these forms.

    Examples
    --------
    >>> parse("org/name@main").source
    'repo:org/name@main'
    """
    text = text.strip()
    hub = hub_name(text)
    if hub is not None and not os.path.lexists(text):
        raise SourceError(f"{text!r} is on the hub: write {hub}")
    if _URL.fullmatch(text) or (scheme_of(text) is not None and not os.path.lexists(text)):
        return ModelSpec(url=text)
    prefix, colon, rest = text.partition(":")
    if colon and prefix in {"recipe", "path", "repo", "hf"}:
        readers = {"recipe": lambda name: _recipe(name, recipes), "path": _path}
        return readers.get(prefix, _repo)(rest)
    if text and os.path.isdir(expanded(text)):  # noqa: PTH112  never raises
        return _path(text)
    if text in recipes:
        return ModelSpec(recipe=text)
    return _guess(text, recipes, typed=typed)


def _guess(text: str, recipes: Collection[str], *, typed: bool) -> ModelSpec:
    if _looks_like_path(text):
        return _path(text)
    if _namespace(text) in {_namespace(name) for name in recipes} - {None}:
        return _recipe(text, recipes)
    if typed:
        _refuse_typo(text)
    return _repo(text)


def _refuse_typo(text: str) -> None:
    """Refuse what has the form of a hub id, and is a path with a typo by all that is here."""
    folder, slash, name = text.partition("/")
    if "@" in text:  # no path is meant with a revision
        return
    hub = f"write repo:{text} if the hub's is meant" if is_repo_id(text) else FORMS
    near = meant_model(text)
    if near is not None:
        raise SourceError(f"there is no folder {text!r}; did you mean {near!r}? {hub}")
    if slash and is_repo_id(text) and os.path.isdir(folder):  # noqa: PTH112  never raises
        raise SourceError(f"there is no {name!r} in the folder {folder!r}; {hub}")


def _looks_like_path(text: str) -> bool:
    if text.startswith((".", "/", "~")) or "\\" in text:
        return True
    # A revision may have slashes of its own: org/name@refs/pr/1.
    return text.partition("@")[0].count("/") > 1 or os.path.isfile(text)  # noqa: PTH113  never raises


def _namespace(name: str) -> str | None:
    return name.partition("/")[0] if "/" in name else None


def _path(text: str) -> ModelSpec:
    folder = expanded(text)
    if text and os.path.isdir(folder):  # noqa: PTH112  never raises
        return ModelSpec(path=folder)
    if os.path.isfile(folder) and _is_model_file(folder):  # noqa: PTH113  never raises
        return ModelSpec(path=folder)
    if os.path.isfile(folder):  # noqa: PTH113  never raises
        home = os.path.dirname(folder) or "."  # noqa: PTH120
        raise SourceError(f"{text!r} is a file; give the folder that it is in: {home}")
    near = meant_path(folder)
    hint = "" if near is None else f"; did you mean {near!r}?"
    if not hint and text.count("/") == 1 and not is_plainly_path(text) and is_repo_id(text):
        hint = f"; a repository of the hub is repo:{text}"
    raise SourceError(f"there is no folder {text!r}{hint}")


def _is_model_file(file: str) -> bool:
    """Whether a file can stand for a model: weights that lie in no folder, or a fingerprint."""
    if file.endswith(FINGERPRINT_SUFFIX):
        return os.path.basename(file) not in {SINGLE, ADAPTER} and not SHARD.search(file)  # noqa: PTH119
    return is_gguf(file)


def _recipe(name: str, recipes: Collection[str]) -> ModelSpec:
    if name and (name in recipes or not recipes):
        return ModelSpec(recipe=name)
    near = closest(name, recipes)
    known = f"did you mean {near!r}?" if near else f"there are: {', '.join(sorted(recipes))}"
    raise SourceError(
        f"there is no recipe {name!r}; {known}; a suite's conftest.py can register more"
    )


def _repo(text: str) -> ModelSpec:
    if is_plainly_path(text):
        raise SourceError(f"{text!r} is a path and no repository: write path:{text}")
    name, at, revision = text.partition("@")
    if not is_repo_id(name) or (at and not is_revision(revision)):
        raise SourceError(f"{text!r} names no model; {FORMS}")
    return ModelSpec(repo=name, revision=revision or None)
