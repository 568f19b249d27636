"""Files that a run leaves: whole or not at all, and a reason instead of a traceback."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def write(path: Path, text: str) -> Iterable[str]:
    """Write a file by renaming a complete one into its place.

    Returns
    -------
    iterable of str
        Complaints: why it could not be written.
    """
    from provenance.store.files import make_folder

    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        make_folder(path.parent, 0o755)
        with open(beside, "w", encoding="utf-8", newline="\n", opener=unshared) as file:
            file.write(text)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        return [f"provenance: {path} cannot be written: {error.strerror or error}"]
    return []


def unshared(path: str, flags: int) -> int:
    """Open a file as `open` does, but for its owner alone to change, whatever the umask is."""
    return os.open(path, flags, 0o644)
