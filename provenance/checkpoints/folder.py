"""The names of a checkpoint's files, and how one of them is read: in its folder, within a limit."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from provenance._text import visible
from provenance.errors import SourceError, one_line

CONFIG = "config.json"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER_CONFIG = "adapter_config.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SENTENCEPIECE = ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model")
VOCABULARIES = (*SENTENCEPIECE, TOKENIZER, "vocab.json", "vocab.txt")
"""Files of which a tokenizer has one at least, unless its ids are bytes or it has code of its own."""
TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    TOKENIZER_CONFIG,
    *VOCABULARIES,
)
OF_BYTES = frozenset({"ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer"})
"""Tokenizers that have no vocabulary: their ids are bytes or characters."""

BYTE_ORDER_MARK = "\ufeff"
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
        text = file.read_bytes().decode("utf-8")
        if text.startswith(BYTE_ORDER_MARK):
            raise SourceError(
                f"{file} begins with a byte order mark, which transformers does not read; save it as "
                "UTF-8 without one"
            )
        value = json.loads(text)
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{file} is not valid JSON ({one_line(error)}); save or download it again"
        ) from error
    if not isinstance(value, dict):
        raise SourceError(f"{file} holds a JSON {type(value).__name__}, not an object")
    return value


def tokenizer_files(folder: Path) -> list[str]:
    """The files of the tokenizer in ``folder``; none where they are files around one that is not there."""
    names = [name for name in TOKENIZER_FILES if os.path.lexists(folder / name)]
    has_one = not set(names).isdisjoint(VOCABULARIES) or _needs_no_vocabulary(folder)
    return names if has_one else []


def _needs_no_vocabulary(folder: Path) -> bool:
    try:
        settings = read_object(contained(folder, TOKENIZER_CONFIG))
    except SourceError:
        return False
    return bool(settings.get("auto_map")) or str(settings.get("tokenizer_class")) in OF_BYTES


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
