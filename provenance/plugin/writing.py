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
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8", newline="\n")
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        return [f"provenance: {path} cannot be written: {error.strerror or error}"]
    return []
