"""Files that a run leaves: a reason instead of a traceback where one cannot be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def write(path: Path, text: str) -> Iterable[str]:
    """Write a whole file, or to the device or the pipe that is there.

    Returns
    -------
    iterable of str
        Complaints: why it could not be written.
    """
    from provenance.store.files import write_output

    try:
        write_output(path, text)
    except OSError as error:
        return [f"provenance: {path} cannot be written: {error.strerror or error}"]
    return []
