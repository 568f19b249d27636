"""Finds the models in a folder by the names of files: checkpoints, adapters and GGUF files.

Other files are left out. Whether a model can be read shows when it is opened.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from provenance.checkpoints.folder import ADAPTER_CONFIG, CONFIG, listing
from provenance.checkpoints.formats import SPLIT_GGUF, ggufs
from provenance.checkpoints.pickles import pickles
from provenance.errors import SourceError
from provenance.vocabulary import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST_PART = "-00001-of-"


def models_in(folder: Path) -> dict[str, ModelSpec]:
    """Every model below a folder, by its path relative to it, sorted.

    A checkpoint is not looked into, nor is a folder whose name begins with a dot. Links are followed,
    but not in circles.

    Raises
    ------
    SourceError
        The folder cannot be read, or is a checkpoint itself.
    """
    names = listing(folder)
    if is_checkpoint(names):
        raise SourceError(f"{folder} is a checkpoint itself; give the folder that it is in")
    models = dict(_models(folder, folder, frozenset()))
    return dict(sorted(models.items()))


def _models(folder: Path, root: Path, above: frozenset[str]) -> Iterator[tuple[str, ModelSpec]]:
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        names = listing(folder)
    except SourceError:
        # not to be read: it may hold a model, so that opening it must say why it cannot be had
        yield _named(folder, root)
        return
    if is_checkpoint(names) and folder != root:
        yield _named(folder, root)
        return
    for name in names:
        inner = folder / name
        if name.startswith("."):
            continue
        if inner.is_dir():
            yield from _models(inner, root, above | {real})
        elif name in ggufs(names) and _is_whole_or_first(name):
            yield _named(inner, root)


def is_checkpoint(names: list[str]) -> bool:
    """Whether a folder with files of these names is a checkpoint, or an adapter."""
    weights = any(name.endswith(".safetensors") for name in names)
    return ADAPTER_CONFIG in names or (CONFIG in names and (weights or bool(pickles(names))))


def _is_whole_or_first(name: str) -> bool:
    """Whether a GGUF file is whole, or the first of several: opening that says that they must be joined."""
    return SPLIT_GGUF.search(name) is None or FIRST_PART in name


def _named(place: Path, root: Path) -> tuple[str, ModelSpec]:
    return place.relative_to(root).as_posix(), ModelSpec(path=str(place))
