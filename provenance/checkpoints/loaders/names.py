"""Names of files as others list them: which a checkpoint needs, and that each lies in its folder."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from provenance._text import visible
from provenance.checkpoints.formats import no_weights, unwanted, wanted
from provenance.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from provenance.vocabulary import ModelSpec

NAME_LIMIT = 255
WEIGHTS = re.compile(r"\.(safetensors|gguf|bin|pt|pth|ckpt)$", re.IGNORECASE)
"""How the names of files of weights end."""


def is_plain(name: str) -> bool:
    """Whether a name is that of a file right in a folder, and nothing else."""
    return (
        0 < len(name) <= NAME_LIMIT
        and name not in {".", ".."}
        and not set(name) & set("/\\:")
        and name.isprintable()
    )


def needed(names: Iterable[str], spec: ModelSpec, source: str) -> list[str]:
    """Those of the names of files right in a folder that a checkpoint needs.

    Raises
    ------
    SourceError
        If there is nothing to load.
    """
    plain = sorted({name for name in names if is_plain(name)})
    patterns = wanted(
        plain, allow_pickle=spec.allow_pickle, trust_remote_code=spec.trust_remote_code
    )
    if patterns is None:
        raise SourceError(f"{source} {no_weights(plain)}")
    others = unwanted(patterns)
    return [
        name
        for name in plain
        if any(fnmatchcase(name, pattern) for pattern in patterns)
        and not any(fnmatchcase(name, pattern) for pattern in others)
    ]


def place_of(name: str, label: str) -> PurePosixPath:
    """The place of a file below a folder, by the path that a stranger gives it.

    Raises
    ------
    SourceError
        If it leads out of the folder, or is no path of plain names.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or not all(map(is_plain, path.parts)):
        raise SourceError(f"{label}: {visible(name[:80])!r} is no place in a folder; it is refused")
    return path


def checkpoint_in(folder: Path, label: str) -> list[Path]:
    """The files of the first folder at or below one that holds weights, the topmost first.

    Raises
    ------
    SourceError
        If none does.
    """
    places = [folder, *sorted(place for place in folder.rglob("*") if place.is_dir())]
    for place in sorted(places, key=lambda one: len(one.parts)):
        files = (
            [file for file in sorted(place.iterdir()) if file.is_file()] if place.is_dir() else []
        )
        if any(WEIGHTS.search(file.name) for file in files):
            return files
    raise SourceError(f"{label} has no weights in it: neither safetensors nor GGUF")
