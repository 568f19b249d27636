"""Bytes of strangers into files: counted, digested, and what the file system raises as one line."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from provenance.errors import SourceError
from provenance.store.files import is_disk_full

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from typing import IO

    Progress = Callable[[int, int], None]

CHUNK = 1 << 22


def copied(
    pieces: Iterable[bytes], file: Path, size: int, progress: Progress | None = None
) -> tuple[int, str]:
    """Write pieces to a file, up to the one that passes ``size`` bytes; return their number and SHA-256."""
    digest, done = hashlib.sha256(), 0
    with file.open("wb") as target:
        for piece in pieces:
            done += len(piece)
            digest.update(piece)
            target.write(piece)
            told(progress, min(done, size), size)
            if done > size:
                break
    return done, digest.hexdigest()


def pieces_of(source: IO[bytes]) -> Iterator[bytes]:
    """Read a file to its end, `CHUNK` bytes at a time."""
    while piece := source.read(CHUNK):
        yield piece


def told(progress: Progress | None, done: int, total: int) -> None:
    """Tell of bytes that were brought, where somebody listens."""
    if progress is not None:
        progress(done, total)


@contextmanager
def written(label: str) -> Iterator[None]:
    """Turn what the file system raises into one line; a full disk is for the store to tell of.

    Raises
    ------
    SourceError
        A file cannot be read or written.
    """
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise
        what = error.strerror or error
        raise SourceError(f"{label} cannot be read or written: {what}") from error
