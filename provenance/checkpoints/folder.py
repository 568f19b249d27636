"""The names of a checkpoint's files, and how one of them is read: in its folder, within a limit."""

from __future__ import annotations

import json
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from provenance._text import visible
from provenance.errors import SourceError, one_line

CONFIG = "config.json"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER_CONFIG = "adapter_config.json"
TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)

CONFIG_LIMIT = 10 * 2**20
INDEX_LIMIT = 100 * 2**20


def read_object(file: Path, limit: int = CONFIG_LIMIT) -> dict[str, Any]:
    """Read the JSON object in `file`.

    Raises
    ------
    SourceError
        The file is larger than `limit` bytes, unreadable, not JSON, or not a JSON object.
    """
    try:
        about = file.stat()
        if not stat.S_ISREG(about.st_mode):  # reading a pipe would wait for ever
            raise SourceError(f"{file} is not a regular file")
        if about.st_size > limit:
            raise SourceError(f"{file} is {about.st_size:,} bytes; more than {limit:,} is refused")
        value = json.loads(file.read_bytes())
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{file} is not valid JSON ({one_line(error)}); save or download it again"
        ) from error
    if not isinstance(value, dict):
        raise SourceError(f"{file} holds a JSON {type(value).__name__}, not an object")
    return value


def listing(folder: Path) -> list[str]:
    """List the names in `folder`, sorted.

    Raises
    ------
    SourceError
        The folder cannot be read.
    """
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise SourceError(f"{folder} cannot be read: {error.strerror or error}") from error


def contained(folder: Path, name: str) -> Path:
    """Find the regular file `name` in `folder`; a link may lead into the ``blobs`` of its hub cache.

    Raises
    ------
    SourceError
        The name leads out of the folder, or there is no such regular file.
    """
    file = folder / name
    windows = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows.anchor or ".." in windows.parts:
        raise SourceError(f"{folder} names the file {name!r}, which is outside of the folder")
    try:
        target, root = file.resolve(strict=True), folder.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceError(
            f"{folder / visible(name[:200])} is missing; download or save the checkpoint again"
        ) from error
    if not any(target.is_relative_to(home) for home in _homes(root)):
        raise SourceError(f"{file} is a link out of its folder, to {target}; put the file itself")
    if not target.is_file():
        raise SourceError(f"{file} is not a regular file")
    return file


def _homes(root: Path) -> list[Path]:
    # A hub cache keeps <repo>/snapshots/<commit>/<name> -> ../../blobs/<etag>.
    if root.parent.name == "snapshots":
        return [root, root.parent.parent / "blobs"]
    return [root]
