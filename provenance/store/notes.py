"""Notes beside the entries of a store: small texts that every user of it sees, each replaced as a whole.

An entry never changes; a note is the present state of something, such as a cluster's progress.
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
    """Notes in a folder or at a URL."""

    def write(self, name: str, text: str) -> None:
        """Write a note, and replace the one of this name.

        Parameters
        ----------
        name : str
            Words of small letters, digits and ``._-``, with slashes between them.
        text : str
            Readers see all of it, or all of the former text.
        """

    def read(self, name: str) -> str | None:
        """Return the text of a note, or None."""

    def names(self, prefix: str) -> list[str]:
        """Return the names below ``prefix/``, sorted."""

    def remove(self, name: str) -> None:
        """Remove a note, if there is one."""


class FolderNotes:
    """The notes in one folder.

    Parameters
    ----------
    folder : pathlib.Path
        Made with the first note, for its owner alone.
    usable : callable
        A context manager that turns an error of the file system into a StoreError.
    """

    def __init__(self, folder: Path, usable: Callable[[], AbstractContextManager[None]]) -> None:
        self._folder = folder
        self._usable = usable

    def write(self, name: str, text: str) -> None:
        """Write a note; see `Notes`."""
        path = self._path(name)
        with self._usable():
            write_whole(path, text)

    def read(self, name: str) -> str | None:
        """Return the text of a note, or None."""
        with self._usable(), suppress(FileNotFoundError):
            return self._path(name).read_text(encoding="utf-8")
        return None

    def names(self, prefix: str) -> list[str]:
        """Return the names below ``prefix/``, sorted."""
        below = self._path(prefix)
        with self._usable():
            files = [path for path in below.glob("**/*") if path.is_file()]
        names = sorted(path.relative_to(self._folder).as_posix() for path in files)
        return [name for name in names if _NAME.fullmatch(name)]  # not temporary files

    def remove(self, name: str) -> None:
        """Remove a note, if there is one."""
        with self._usable():
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / _checked(name)


class SharedNotes:
    """The notes at a URL, each put at once.

    Parameters
    ----------
    objects : Objects
        The objects at the URL.
    prefix : str
        The prefix of the names of their objects.
    """

    def __init__(self, objects: Objects, prefix: str) -> None:
        self._objects = objects
        self._prefix = prefix

    def write(self, name: str, text: str) -> None:
        """Write a note; see `Notes`.

        Raises
        ------
        StoreError
            If the text has more than `NOTE_BYTES`, or the URL cannot be written.
        """
        data = text.encode()
        if len(data) > NOTE_BYTES:
            raise StoreError(f"{name}: a note has at most {NOTE_BYTES} bytes")
        self._objects.write(self._at(name), data)

    def read(self, name: str) -> str | None:
        """Return the text of a note, or None.

        Raises
        ------
        StoreError
            If the object is no note, or the URL cannot be read.
        """
        data = self._objects.read(self._at(name), NOTE_BYTES)
        if data is None:
            return None
        text = data.decode(errors="replace")
        if len(data) > NOTE_BYTES or text.encode() != data:
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
