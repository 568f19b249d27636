"""Notes beside the entries of a store: small texts that all who share it see, each replaced as a whole.

An entry never changes; a note says how things stand, such as which parts of a plan have ended.
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from provenance._entries import make_private, sync

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")


class Notes:
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
        """Note a text, in the place of what was noted under this name.

        Parameters
        ----------
        name : str
            Words of small letters, digits and ``._-``, with slashes between them.
        text : str
            What whoever reads then sees, or what was there before: never half of it.
        """
        path = self._path(name)
        with self._usable():
            make_private(path.parent)
            descriptor, temporary = tempfile.mkstemp(prefix=".", dir=path.parent)
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(text)
                sync(Path(temporary))
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise

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
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name for a note")
        return self._folder / name
