"""Reads ranges: brought side by side and kept in the store, digested as they are read, within a budget."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from provenance._threads import spread
from provenance.checkpoints.ranged.origin import SIDE_BY_SIDE, BrokenError, ChangedError
from provenance.checkpoints.ranged.patience import read_patiently
from provenance.checkpoints.ranged.spans import Span, coalesced, without
from provenance.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from provenance.checkpoints.ranged.origin import Origin
    from provenance.store.store import JSON, Kind, Store

PIECE_FILE = "bytes"
KIND: Kind = "ranges"
SMALL = 2**18
"""Pieces of no more bytes are kept together: an entry of the store takes longer to write than they do."""
TOGETHER = 32
"""So many of them."""


class _Kept(NamedTuple):
    """A piece in the store: where it begins in which file."""

    piece: Span
    path: Path
    offset: int


@dataclass
class Meter:
    """Counts the bytes that are moved, of all the models of a run together.

    Attributes
    ----------
    budget : int or None
        Most bytes that may be moved.
    moved : int
        Those that were.
    """

    budget: int | None = None
    moved: int = field(default=0, init=False)
    _counting: Lock = field(default_factory=Lock, init=False, repr=False)

    def require(self, more: int, source: str) -> None:
        """Refuse to move so many bytes more than the budget allows.

        Raises
        ------
        SourceError
            In one line.
        """
        if self.budget is not None and self.moved + more > self.budget:
            raise SourceError(
                f"{source}: {more:,} bytes more would be moved, after {self.moved:,}, and the budget is "
                f"{self.budget:,}: raise --budget, or lower --sample"
            )

    def count(self, number: int) -> None:
        """Note that so many were moved."""
        with self._counting:
            self.moved += number


@dataclass(frozen=True)
class RangesRead:
    """What was read of a checkpoint.

    Attributes
    ----------
    bytes : int
        How many, each once.
    of : int
        How many its files of weights have.
    digest : str
        ``sha256:`` over the SHA-256 of every range, with its file and its place, in their order.
    files : mapping of str to str
        The SHA-256, in hex, that whoever keeps a file says it has as a whole, where one was read from.
    """

    bytes: int
    of: int
    digest: str
    files: Mapping[str, str]


class RangedFiles:
    """Parts of a checkpoint's files.

    Several threads may read at once. What is brought is kept in the store, a piece an entry, so that a run
    that broke off goes on where it was.

    Parameters
    ----------
    origin : Origin
        Where the files are.
    store : Store
        Keeps what is brought from elsewhere.
    meter : Meter, optional
        Counts what is moved, and refuses what the budget does not allow before it is.
    tell : callable, optional
        Told of progress: bytes that are here, and bytes that are on their way, of one `fetch`.

    Attributes
    ----------
    weights : tuple of str
        The names of the files of weights; all files unless whoever opens a checkpoint says otherwise.
    """

    def __init__(
        self,
        origin: Origin,
        store: Store,
        meter: Meter | None = None,
        tell: Callable[[int, int], None] | None = None,
    ) -> None:
        self.origin = origin
        self.weights = tuple(origin.files)
        self._store = store
        self._meter = meter or Meter()
        self._tell = tell or (lambda _done, _total: None)
        self._kept: dict[str, list[_Kept]] = {}
        self._batches: set[tuple[Span, ...]] = set()
        self._hashes: dict[Span, str] = {}
        self._noting = Lock()

    def fetch(self, spans: Iterable[Span]) -> None:
        """Bring all of some spans, so that reading them moves nothing.

        Raises
        ------
        SourceError
            It would be more than the budget allows, and nothing is brought. Or a part cannot be had: what
            was brought is kept, unless a file has changed.
        """
        wanted = tuple(spans)
        for span in wanted:
            self._require_inside(span)
        if not self.origin.keeps:
            return
        new = coalesced(part for span in wanted for part in without(span, self._known(span.file)))
        missing = [batch for batch in _batches(new) if not self._find(batch)]
        total, done = sum(map(_size, missing)), 0
        self._meter.require(total, self.origin.source)
        try:
            for batch, _ in zip(missing, spread(self._bring, missing, SIDE_BY_SIDE), strict=True):
                done += _size(batch)
                self._tell(done, total)
            self._check(batch[0].file for batch in missing)
        except ChangedError:
            self._discard()
            raise

    def whole(self, name: str) -> bytes:
        """Read a small file, of which the record says nothing; raises as `read`."""
        return self._data(Span(name, 0, self.origin.files[name].size))

    def read(self, span: Span) -> bytes:
        """Read a span; what is not here yet is brought.

        Raises
        ------
        SourceError
            As `fetch`.
        """
        data = self._data(span)
        if span not in self._hashes:
            self._hashes[span] = hashlib.sha256(data).hexdigest()
        return data

    def _data(self, span: Span) -> bytes:
        self._require_inside(span)
        if self.origin.keeps:
            return self._stored(span)
        file = self.origin.files[span.file]
        return read_patiently(
            lambda start, stop: self.origin.read(file, start, stop), span.start, span.stop
        )

    def record(self) -> RangesRead:
        """What was read so far, of files that are still in the state in which they were opened.

        Raises
        ------
        SourceError
            One is not.
        """
        read = sorted(self._hashes)
        names = dict.fromkeys(span.file for span in read)
        try:
            self._check(names)
        except ChangedError:
            self._discard()
            raise
        listed = [[span.file, span.start, span.stop, self._hashes[span]] for span in read]
        digest = hashlib.sha256(json.dumps(listed, separators=(",", ":")).encode()).hexdigest()
        told = {name: self.origin.files[name].sha256 for name in names}
        return RangesRead(
            bytes=sum(map(len, coalesced(read, gap=0))),
            of=sum(self.origin.files[name].size for name in self.weights),
            digest=f"sha256:{digest}",
            files={name: sha256 for name, sha256 in told.items() if sha256 is not None},
        )

    def _check(self, names: Iterable[str]) -> None:
        """Look at the state of files again, each once, side by side."""
        files = [self.origin.files[name] for name in dict.fromkeys(names)]
        for _ in spread(self.origin.check, files, SIDE_BY_SIDE):
            pass

    def _require_inside(self, span: Span) -> None:
        file = self.origin.files.get(span.file)
        if file is None:
            raise SourceError(f"{self.origin.source}: {span.file} is not there; check the address")
        if not 0 <= span.start <= span.stop <= file.size:
            raise SourceError(
                f"{self.origin.source}: bytes {span.start:,} to {span.stop:,} of {span.file} are outside "
                f"of its {file.size:,}; save the checkpoint again"
            )

    def _fields(self, batch: tuple[Span, ...]) -> dict[str, JSON]:
        state = self.origin.files[batch[0].file].state
        return {
            "origin": self.origin.identity,
            "file": batch[0].file,
            "state": state,
            "ranges": [[piece.start, piece.stop] for piece in batch],
        }

    def _known(self, file: str) -> list[Span]:
        with self._noting:
            return [kept.piece for kept in self._kept.get(file, ())]

    def _find(self, batch: tuple[Span, ...]) -> bool:
        """Whether the store has a batch."""
        entry = self._store.get(KIND, self._fields(batch))
        if entry is not None:
            self._note(batch, entry.path)
        return entry is not None

    def _bring(self, batch: tuple[Span, ...]) -> None:
        def write(folder: Path) -> None:
            with (folder / PIECE_FILE).open("wb") as opened:
                for piece in batch:
                    opened.write(self._moved(piece))

        entry = self._store.get_or_create(KIND, self._fields(batch), write, here=True)
        self._note(batch, entry.path)

    def _moved(self, piece: Span) -> bytes:
        file = self.origin.files[piece.file]

        def read(start: int, stop: int) -> bytes:
            try:
                data = self.origin.read(file, start, stop)
            except BrokenError as error:
                self._meter.count(len(error.data))
                raise
            self._meter.count(len(data))
            return data

        return read_patiently(read, piece.start, piece.stop)

    def _note(self, batch: tuple[Span, ...], folder: Path) -> None:
        offset = 0
        with self._noting:
            self._batches.add(batch)
            of_file = self._kept.setdefault(batch[0].file, [])
            for piece in batch:
                of_file.append(_Kept(piece, folder / PIECE_FILE, offset))
                offset += len(piece)

    def _stored(self, span: Span) -> bytes:
        """Put a span together of pieces; those that the store no longer has are brought again."""
        for _ in range(2):
            self.fetch([span])
            with suppress(FileNotFoundError):
                return b"".join(self._parts(span))
            self._forget()
        raise SourceError(f"{self.origin.source}: the store loses what is put there; run again")

    def _parts(self, span: Span) -> Iterator[bytes]:
        with self._noting:
            kept = list(self._kept.get(span.file, ()))
        at = span.start
        while at < span.stop:
            piece, path, offset = next(
                one for one in kept if one.piece.start <= at < one.piece.stop
            )
            stop = min(piece.stop, span.stop)
            with path.open("rb") as opened:
                opened.seek(offset + at - piece.start)
                yield opened.read(stop - at)
            at = stop

    def _forget(self) -> set[tuple[Span, ...]]:
        with self._noting:
            known = self._batches
            self._kept, self._batches = {}, set()
        return known

    def _discard(self) -> None:
        """Let go of all that was brought: it does not belong together."""
        for batch in self._forget():
            self._store.discard(KIND, self._fields(batch))
        self._hashes.clear()


def _batches(pieces: Iterable[Span]) -> Iterator[tuple[Span, ...]]:
    """Pieces of one file that are kept together: large ones alone, small ones as they come."""
    some: list[Span] = []
    for piece in pieces:
        if some and (some[0].file != piece.file or len(some) == TOGETHER):
            yield tuple(some)
            some = []
        if len(piece) > SMALL:
            yield (piece,)
        else:
            some.append(piece)
    if some:
        yield tuple(some)


def _size(batch: tuple[Span, ...]) -> int:
    return sum(map(len, batch))
