"""Text that every Python already has, so that models can be trained and fed without a network.

The sources of the standard library are about 11 million characters of code, the topics of
``help()`` about half a million characters of prose (Python 3.11). Both are deterministic for one
Python installation; two versions of Python give two texts.
"""

from __future__ import annotations

import os
import random
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from provenance._text import expanded
from provenance.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["file_text", "stdlib_text", "text", "topics_text"]

_LEFT_OUT = frozenset(
    {
        "__pycache__",
        "dist-packages",
        "idlelib",
        "lib2to3",
        "site-packages",
        "test",
        "tests",
    }
)


CHARACTERS_A_TOKEN = 8
"""More than any tokenizer in use spends on a token of prose or code, on average."""


NAMED = ("stdlib", "topics")
"""Texts that come with Python; all others are files."""


def for_tokens(name_or_path: str, tokens: int, seed: int = 0) -> str:
    """Return text that is long enough for so many tokens, or all there is; as `text` otherwise."""
    return text(name_or_path, tokens * CHARACTERS_A_TOKEN, seed, or_less=True)


def text(name_or_path: str, characters: int, seed: int = 0, *, or_less: bool = False) -> str:
    """Return the first characters of a named text, or of a file.

    Parameters
    ----------
    name_or_path
        ``"stdlib"`` (see `stdlib_text`), ``"topics"`` (see `topics_text`), else the path of a
        UTF-8 file (see `file_text`). A file of one of these two names is ``./stdlib``.
    characters
        How many characters to return, at least 1.
    seed
        Orders the files or topics; a file has only its own order.
    or_less
        Return what there is where that is less than asked for.

    Raises
    ------
    InputError
        If there is no such text, or less of it than asked for.

    Examples
    --------
    >>> len(text("topics", 1000))
    1000
    """
    if name_or_path == "stdlib":
        return stdlib_text(characters, seed, or_less=or_less)
    if name_or_path == "topics":
        return topics_text(characters, seed, or_less=or_less)
    return file_text(name_or_path, characters, or_less=or_less)


def stdlib_text(characters: int, seed: int = 0, *, or_less: bool = False) -> str:
    """Return sources of Python's standard library, files in an order drawn from ``seed``.

    Tests, bundled applications and whatever else was installed are left out, and so are files
    that cannot be read as UTF-8.

    Raises
    ------
    InputError
        If the installation has fewer characters of source (some ship byte code only).
    """
    paths = _stdlib_files()
    random.Random(seed).shuffle(paths)  # noqa: S311 - an order of files, not a secret
    return _take(_readable(paths), characters, "the standard library's sources", or_less)


def topics_text(characters: int, seed: int = 0, *, or_less: bool = False) -> str:
    """Return prose: the language reference as ``help()`` has it, topics in an order from ``seed``.

    Raises
    ------
    InputError
        If ``pydoc_data.topics`` has fewer characters; it is never repeated, because a model would
        learn it by heart.
    """
    from pydoc_data.topics import topics  # half a megabyte, wanted by few

    names = sorted(topics)
    random.Random(seed).shuffle(names)  # noqa: S311 - an order of topics, not a secret
    return _take((topics[name] for name in names), characters, "pydoc_data.topics", or_less)


def file_text(path: str | Path, characters: int, *, or_less: bool = False) -> str:
    """Return the first ``characters`` of a UTF-8 file; what follows them is not read.

    Raises
    ------
    InputError
        If the file is missing, unreadable, not UTF-8, or shorter.
    """
    try:
        with Path(expanded(str(path))).open(encoding="utf-8") as file:
            return _take([file.read(max(characters, 0))], characters, f"text file {path}", or_less)
    except FileNotFoundError:
        raise InputError(
            f"no text file {path}: give the path of a UTF-8 file, 'stdlib' or 'topics'"
        ) from None
    except OSError as error:
        raise InputError(f"text file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"text file {path} is not UTF-8 (byte {error.start}: {error.reason})"
        ) from error


def _stdlib_files() -> list[Path]:
    """List the sources in an order that does not depend on the file system."""
    root = sysconfig.get_path("stdlib")
    paths = []
    for folder, subfolders, files in os.walk(root):
        # Pruned in place: site-packages may hold a hundred times as many files.
        subfolders[:] = [name for name in subfolders if name not in _LEFT_OUT]
        paths += [Path(folder, file) for file in files if file.endswith(".py")]
    return sorted(paths, key=Path.as_posix)


def _readable(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        try:
            yield path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue


def _take(parts: Iterable[str], characters: int, origin: str, or_less: bool) -> str:  # noqa: FBT001
    """Join parts until there are ``characters``, and cut there."""
    if characters < 1:
        raise InputError(f"characters must be at least 1, but got {characters}")
    taken: list[str] = []
    missing = characters
    for part in parts:
        taken.append(part[:missing])
        missing -= len(taken[-1])
        if missing == 0:
            return "".join(taken)
    if or_less:
        return "".join(taken)
    raise InputError(
        f"{origin}: {characters} characters are asked for, but there are {characters - missing}"
    )
