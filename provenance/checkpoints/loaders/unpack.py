"""Unpacks what strangers packed: regular files, at contained places, of bounded size."""

from __future__ import annotations

import gzip
import tarfile
import tempfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

from provenance.checkpoints.loaders.names import place_of
from provenance.errors import SourceError, extra, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEMBERS = 10_000
GROWTH, AT_LEAST = 20, 1 << 26
"""A tar may hold so many times the bytes of its layer, and so many in any case: weights hardly shrink."""
PIECE = 1 << 20
READ_LIMIT = 1 << 24
"""Bytes of a member's own header: tarfile holds it in memory."""
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
WINDOW = 27
"""The largest window of zstd, as a power of two: 128 MiB, which its own long mode has."""


def unpack(archive: Path, folder: Path, label: str) -> None:
    """Write the regular files of a tar below a folder: plain, or packed with gzip or zstd.

    Links and devices are left out.

    Raises
    ------
    SourceError
        It is no whole tar, holds too much, or names a file outside of the folder.
    """
    room = max(AT_LEAST, GROWTH * archive.stat().st_size)
    with _plain(archive, room, label) as file, _whole(label):
        bounded = cast(IO[bytes], _Bounded(file, room, label))
        with tarfile.open(fileobj=bounded, mode="r:") as opened:
            _members(opened, folder, label)


@contextmanager
def _plain(archive: Path, room: int, label: str) -> Iterator[IO[bytes]]:
    """A file as it was before it was packed, in which one can go back."""
    with archive.open("rb") as raw:
        begin = raw.read(len(ZSTD))
        raw.seek(0)
        if begin.startswith(GZIP):
            yield cast(IO[bytes], gzip.GzipFile(fileobj=raw))
        elif begin == ZSTD:
            # its readers cannot go back, as tarfile does by a byte
            with tempfile.TemporaryFile(dir=archive.parent) as plain:
                _decompress(raw, plain, room, label)
                plain.seek(0)
                yield plain
        else:
            yield raw


@contextmanager
def _whole(label: str) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise SourceError(
            f"{label} is no whole tar, plain or packed with gzip or zstd: {one_line(error)}"
        ) from error


def _decompress(raw: IO[bytes], plain: IO[bytes], room: int, label: str) -> None:
    opened, errors = zstd(raw, label)
    done = 0
    try:
        while piece := opened.read(PIECE):
            done += len(piece)
            if done > room:
                raise _too_much(label)
            plain.write(piece)
    except errors as error:
        raise SourceError(f"{label} is no whole frame of zstd: {one_line(error)}") from error


def zstd(raw: IO[bytes], label: str) -> tuple[Any, tuple[type[Exception], ...]]:
    """A reader of what is packed with zstd, and what it raises: Python's own, else that of zstandard.

    Raises
    ------
    SourceError
        There is neither.
    """
    try:
        from compression import zstd as own
    except ImportError:
        own = None
    if own is not None:
        limit = {own.DecompressionParameter.window_log_max: WINDOW}
        return own.ZstdFile(raw, options=limit), (own.ZstdError, EOFError)
    try:
        import zstandard
    except ImportError as error:
        needs = f"{label} is packed with zstd, and zstandard is not installed"
        raise SourceError(f"{needs}: {extra('zstd')}") from error
    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << WINDOW)
    return unpacker.stream_reader(raw, read_across_frames=True), (zstandard.ZstdError,)


def _too_much(label: str) -> SourceError:
    return SourceError(f"{label} unpacks to far more bytes than it has; it is refused")


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
            raise _too_much(self._label)
