"""Unpacks what strangers packed: regular files, at contained places, of bounded size."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from typing import IO, TYPE_CHECKING, cast

from provenance.checkpoints.loaders.names import place_of
from provenance.errors import SourceError, one_line

if TYPE_CHECKING:
    from pathlib import Path

MEMBERS = 10_000
GROWTH, AT_LEAST = 20, 1 << 26
"""A tar may hold so many times the bytes of its layer, and so many in any case: weights hardly shrink."""
PIECE = 1 << 20
READ_LIMIT = 1 << 24
"""Bytes of a member's own header: tarfile holds it in memory."""
GZIP = b"\x1f\x8b"


def unpack(archive: Path, folder: Path, label: str) -> None:
    """Write the regular files of a tar, plain or gzipped, below a folder. Links and devices are left out.

    Raises
    ------
    SourceError
        It is no whole tar, holds too much, or names a file outside of the folder.
    """
    room = max(AT_LEAST, GROWTH * archive.stat().st_size)
    try:
        with archive.open("rb") as raw:
            packed = raw.read(len(GZIP)) == GZIP
            raw.seek(0)
            file = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if packed else raw
            bounded = cast(IO[bytes], _Bounded(file, room, label))
            with tarfile.open(fileobj=bounded, mode="r:") as opened:
                _members(opened, folder, label)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise SourceError(f"{label} is no whole tar, gzipped or not: {one_line(error)}") from error


def _members(opened: tarfile.TarFile, folder: Path, label: str) -> None:
    for number, member in enumerate(opened):
        if number >= MEMBERS:
            raise SourceError(f"{label} holds more than {MEMBERS:,} files; it is refused")
        source = opened.extractfile(member) if member.isreg() else None
        if source is None:
            continue
        place = folder.joinpath(*place_of(member.name, label).parts)
        place.parent.mkdir(parents=True, exist_ok=True)
        done = 0
        with source, place.open("wb") as target:
            while piece := source.read(PIECE):
                done += len(piece)
                target.write(piece)
        if done != member.size:
            raise SourceError(f"{label} is no whole tar: {member.name[:80]!r} is cut off")


class _Bounded:
    """A file that may be read no further than its room, and no more than `READ_LIMIT` bytes at once."""

    def __init__(self, file: IO[bytes], room: int, label: str) -> None:
        self._file = file
        self._room = room
        self._label = label

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= READ_LIMIT:
            raise SourceError(f"{self._label} has a header of {size:,} bytes; it is refused")
        data = self._file.read(size)
        self._check(self._file.tell())
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        self._check(offset)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def _check(self, place: int) -> None:
        if place > self._room:
            raise SourceError(f"{self._label} unpacks to far more bytes than it has; it is refused")
