"""Files that a run leaves: a reason instead of a traceback where one cannot be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def write(path: Path, text: str) -> Iterable[str]:
    """Write a whole file.

    Returns
    -------
    iterable of str
        Complaints: why it could not be written.
    """
    from provenance.store.files import write_whole

    try:
        write_whole(path, text, mode=0o644)
    except OSError as error:
        return [f"provenance: {path} cannot be written: {error.strerror or error}"]
    return []
