"""From what a person names as references to models: single ones, and folders of models and fingerprints."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from provenance._text import expanded, without_home
from provenance.audit.folder import is_checkpoint, models_in
from provenance.checkpoints.folder import SINGLE, listing
from provenance.checkpoints.formats import ADAPTER, SHARD
from provenance.comparison.executor import as_spec
from provenance.errors import SourceError
from provenance.identification.library import LibraryError, faults, is_library, read_library
from provenance.vocabulary import FINGERPRINT_SUFFIX, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from os import PathLike

    from provenance.identification.library import Library


FOREIGN = (
    "holds fingerprints of modelDNA: single weights at fixed places, which a renumbering of units moves, "
    "so that no p-value follows from them; give the models, or fingerprints by provenance library add"
)
"""What fingerprints of another tool are, and what to give instead: a predicate."""


def references_of(
    named: Iterable[str | PathLike[str] | ModelSpec], model: ModelSpec | None = None
) -> dict[str, ModelSpec]:
    """The references that are named, by name: each once, in the order given.

    Parameters
    ----------
    named : iterable of str, path or ModelSpec
        Models as `provenance.compare` takes them, and folders of models: every checkpoint, GGUF file and
        fingerprint below one is a reference, and of a library every fingerprint of its index.
    model : ModelSpec, optional
        The model that is to be identified, which is no reference of its own.

    Raises
    ------
    SourceError
        If nothing is there under a name, or there is no reference at all.
    """
    found: dict[str, ModelSpec] = {}
    places = {_place(model)}
    for one in named:
        for name, spec in _read(one).items():
            if _place(spec) not in places:
                places.add(_place(spec))
                found.setdefault(name, spec)
    if not found:
        raise SourceError("there is no reference: name a model, or a folder with models in it")
    return found


def _read(named: str | PathLike[str] | ModelSpec) -> Mapping[str, ModelSpec]:
    if isinstance(named, ModelSpec):
        return {named.source: named}
    folder = Path(expanded(os.fspath(named)))
    if _is_foreign(folder):
        raise SourceError(f"{without_home(os.fspath(named))} {FOREIGN}")
    if not folder.is_dir() or is_checkpoint(listing(folder)):
        return {without_home(os.fspath(named)): as_spec(named)}
    if is_library(folder):
        return _of_library(folder, without_home(os.fspath(named)).rstrip("/"))
    models = {**models_in(folder), **dict(_fingerprints(folder))}
    if not models:
        raise SourceError(f"{folder} has no checkpoint, GGUF file or fingerprint in it")
    home = without_home(os.fspath(named)).rstrip("/")
    return {f"{home}/{name}": spec for name, spec in sorted(models.items())}


def _is_foreign(place: Path) -> bool:
    """Whether a file, or a folder, holds fingerprints of modelDNA."""
    if place.is_dir():
        return any((place / "fingerprints").glob("*.json.gz"))
    return place.name.endswith((".json.gz", ".base")) and place.is_file()


def _of_library(folder: Path, home: str) -> dict[str, ModelSpec]:
    """The fingerprints of a library, by its names for them; raises where a file is not what it says."""
    library = read_library(folder)
    wrong = faults(folder, library)
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise LibraryError(f"{wrong[0]}{more}; `provenance library verify {home}` says them all")
    return {f"{home}/{name}": spec for name, spec in fingerprints_of(folder, library).items()}


def fingerprints_of(folder: Path, library: Library) -> dict[str, ModelSpec]:
    """The fingerprints of a library, by its names for them."""
    return {one.name: ModelSpec(path=str(folder / one.file)) for one in library.entries}


def _fingerprints(root: Path) -> Iterator[tuple[str, ModelSpec]]:
    """Every fingerprint below a folder that is in no checkpoint; opening one shows whether it is sound."""
    for place, folders, files in os.walk(root):
        if is_checkpoint(files):
            folders.clear()
            continue
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        for name in files:
            if name.endswith(FINGERPRINT_SUFFIX) and not _is_part_of_model(name):
                file = Path(place, name)
                yield file.relative_to(root).as_posix(), ModelSpec(path=str(file))


def _is_part_of_model(name: str) -> bool:
    """Whether a file of weights belongs to a checkpoint, by its name."""
    return name in {SINGLE, ADAPTER} or SHARD.search(name) is not None


def _place(spec: ModelSpec | None) -> object:
    """What tells whether two specs name one model: the real path, or all of the spec."""
    if spec is None or spec.path is None:
        return spec
    return os.path.realpath(expanded(spec.path)), spec.base, spec.dtype, spec.component
