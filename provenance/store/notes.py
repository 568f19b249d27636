"""Notes beside the entries of a store: small texts that all who share it see, each replaced as a whole.

An entry never changes; a note says how things stand, such as which parts of a plan have ended.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from provenance.errors import StoreError
from provenance.store.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from provenance.store.objects import Objects

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")

NOTE_BYTES = 2**20


class Notes(Protocol):
    """Notes, wherever they are."""

    def write(self, name: str, text: str) -> None:
        """Note a text, in the place of what was noted under this name.

        Parameters
        ----------
        name : str
            Words of small letters, digits and ``._-``, with slashes between them.
        text : str
            What whoever reads then sees, or what was there before: never half of it.
        """

    def read(self, name: str) -> str | None:
        """Return what was noted, or None."""

    def names(self, prefix: str) -> list[str]:
        """Return the names below ``prefix/``, sorted."""

    def remove(self, name: str) -> None:
        """Remove a note, if there is one."""


class FolderNotes:
    """The notes in one folder.

    Parameters
    ----------
    folder : pathlib.Path
        Made when something is first noted, for its owner's eyes alone.
    usable : callable
        A context manager that turns what the file system refuses into an error for people.
    """

    def __init__(self, folder: Path, usable: Callable[[], AbstractContextManager[None]]) -> None:
        self._folder = folder
        self._usable = usable

    def write(self, name: str, text: str) -> None:
        """Note a text; see `Notes`."""
        path = self._path(name)
        with self._usable():
            write_whole(path, text)

    def read(self, name: str) -> str | None:
        """Return what was noted, or None."""
        with self._usable(), suppress(FileNotFoundError):
            return self._path(name).read_text(encoding="utf-8")
        return None

    def names(self, prefix: str) -> list[str]:
        """Return the names below ``prefix/``, sorted."""
        below = self._path(prefix)
        with self._usable():
            found = [path for path in below.glob("**/*") if path.is_file()]
        names = sorted(path.relative_to(self._folder).as_posix() for path in found)
        return [name for name in names if _NAME.fullmatch(name)]  # not those of unfinished writing

    def remove(self, name: str) -> None:
        """Remove a note, if there is one."""
        with self._usable():
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / _checked(name)


class DistantNotes:
    """The notes at a URL, each put at once.

    Parameters
    ----------
    objects : Objects
        What is at the URL.
    prefix : str
        Below what they are there.
    """

    def __init__(self, objects: Objects, prefix: str) -> None:
        self._objects = objects
        self._prefix = prefix

    def write(self, name: str, text: str) -> None:
        """Note a text; see `Notes`.

        Raises
        ------
        StoreError
            If it is longer than any machine would read, or the URL cannot be written.
        """
        data = text.encode()
        if len(data) > NOTE_BYTES:
            raise StoreError(f"{name}: a note has at most {NOTE_BYTES} bytes")
        self._objects.write(self._at(name), data)

    def read(self, name: str) -> str | None:
        """Return what was noted, or None.

        Raises
        ------
        StoreError
            If what is there is no note, or the URL cannot be read.
        """
        found = self._objects.read(self._at(name), NOTE_BYTES)
        if found is None:
            return None
        text = found.decode(errors="replace")
        if len(found) > NOTE_BYTES or text.encode() != found:
            raise StoreError(f"{self._objects.url}/{self._at(name)} is no note; remove it")
        return text

    def names(self, prefix: str) -> list[str]:
        """Return the names below ``prefix/``, sorted."""
        below = _checked(prefix)
        names = sorted(f"{below}/{name}" for name in self._objects.sizes(self._at(prefix)))
        return [name for name in names if _NAME.fullmatch(name)]

    def remove(self, name: str) -> None:
        """Remove a note, if there is one."""
        self._objects.remove(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self._prefix}/{_checked(name)}"


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a note")
    return name
