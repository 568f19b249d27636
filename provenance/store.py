"""A content-addressed store of results on disk, shared by processes and by runs.

An entry is a folder of files under the digest of everything that determines it. It is built once,
by whoever comes first, in a temporary folder that is renamed into place when it is complete; others
wait. Whatever is read is first proven to be what was written: a torn or foreign entry is computed
again, never trusted. The store knows bytes and keys, no models::

    <root>/v1/<kind>/<digest[:2]>/<digest>/   files and manifest.json
    <root>/v1/locks/<kind>-<digest>.lock      held while that entry is built or removed
    <root>/v1/tmp/<kind>-<digest>.<random>/   being built or removed by the lock's holder
    <root>/v1/notes/<name>                    how things stand; see `Store.notes`
    <root>/v1/journal.jsonl                   one line for every entry computed
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import platformdirs
from filelock import FileLock, Timeout

from provenance._entries import (
    JSON,
    MANIFEST,
    Entry,
    TornError,
    digest_of,
    file_sha256,
    folder_bytes,
    identity,
    is_full,
    last_used,
    lock_name,
    make_private,
    remember,
    remove,
    seal,
    sync,
    verify,
)
from provenance._notes import Notes
from provenance.errors import ProvenanceError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["JSON", "KINDS", "Entry", "Kind", "Store", "digest_of"]

Kind = Literal["activations", "checkpoint", "evidence", "hashes", "proxies"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Store:
    """The store in one folder.

    Parameters
    ----------
    root : pathlib.Path, optional
        Its folder; by default the environment's ``PROVENANCE_STORE``, else the user's cache folder
        for ``pytest-provenance``. Made when something is first stored, for its owner's eyes alone.

    Notes
    -----
    Instances are cheap and hold nothing: any number of threads and processes may use one folder.
    Mutual exclusion is the operating system's file lock, which dies with its holder.
    """

    version = "v1"
    """The name of its layout, which the folder below the root has."""

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        if root is None:
            named = os.environ.get("PROVENANCE_STORE")
            root = Path(named) if named else Path(platformdirs.user_cache_dir("pytest-provenance"))
        self.root = Path(os.path.abspath(Path(root).expanduser()))  # noqa: PTH100 - resolve() follows links
        self._base = self.root / self.version

    def get(self, kind: Kind, fields: Mapping[str, JSON]) -> Entry | None:
        """Return the entry of a key, or None if there is none that can be trusted.

        Parameters
        ----------
        kind : {"activations", "checkpoint", "evidence", "hashes", "proxies"}
            What is stored.
        fields : mapping of str to JSON
            The key: all that determines the content.

        Raises
        ------
        StoreError
            If the store cannot be used.
        """
        folder = self._folder(kind, fields)
        with self._usable():
            entry = _verified_entry(folder, kind, fields)
            if entry is None and os.path.lexists(folder):
                with suppress(Timeout), self._lock(lock_name(folder)):
                    # Another process may have mended it before the lock was ours.
                    entry = self._verified_or_discarded(folder, kind, fields)
        return entry

    def get_or_create(
        self,
        kind: Kind,
        fields: Mapping[str, JSON],
        build: Callable[[Path], None],
        on_wait: Callable[[], None] | None = None,
        *,
        here: bool = False,  # noqa: ARG002 - for stores that others share
    ) -> Entry:
        """Return the entry of a key, building it if need be; of many callers one builds.

        Parameters
        ----------
        kind, fields
            As in `get`.
        build : callable
            Writes the files into the empty folder it is given. What it raises goes on to the
            caller, and leaves nothing behind.
        on_wait : callable, optional
            Called once if another process or thread is at work on this entry.
        here : bool
            Whether it is of use on this machine alone, such as a copy of what all can download.

        Raises
        ------
        StoreError
            If the store cannot be used, or `build` wrote something other than plain files.
        """
        entry = self.get(kind, fields)
        if entry is not None:
            return entry
        folder = self._folder(kind, fields)
        lock = self._held(folder, on_wait)
        try:
            with self._usable():
                entry = self._verified_or_discarded(folder, kind, fields)
            return entry or self._create(folder, kind, fields, build)
        finally:
            lock.release()

    def sha256(self, path: Path) -> str:
        """Return the SHA-256 of a file, in hex; a file that has not changed is read only once.

        Parameters
        ----------
        path : pathlib.Path
            Any file outside the store, of any size.

        Raises
        ------
        OSError
            If the file cannot be read.
        StoreError
            If the file changes while it is read, or the store cannot be used.
        """
        return self.remembered(path, "sha256", file_sha256)

    def remembered(self, path: Path, what: str, compute: Callable[[Path], str]) -> str:
        """Return what `compute` makes of a file, under the name `what`; read once, as by `sha256`."""
        real = path.resolve(strict=True)
        known = identity(real)

        def build(folder: Path) -> None:
            text = compute(real)
            if identity(real) != known:
                raise StoreError(f"{path} changed while it was read; wait until it is complete")
            (folder / what).write_text(text, encoding="utf-8")

        return self.get_or_create("hashes", {**known, "what": what}, build).read_text(what)

    def journal(self) -> list[dict[str, Any]]:
        """Return one record for every entry ever computed here, oldest first.

        Each has ``time`` (seconds since the epoch), ``kind``, ``digest``, ``pid`` and ``seconds``
        (what the computation took). An entry that is only read leaves no record.
        """
        records = []
        with self._usable(), suppress(FileNotFoundError):
            for line in self._journal_path.read_text(encoding="utf-8").splitlines():
                with suppress(ValueError):  # half a line, where the disk was full
                    records.append(json.loads(line))
        return records

    @property
    def notes(self) -> Notes:
        """Small texts that change, and that all who share the store see."""
        return Notes(self._base / "notes", self._usable)

    def size(self) -> dict[str, tuple[int, int]]:
        """Return the number of entries and their bytes, by kind; kinds without entries left out."""
        sizes: dict[str, tuple[int, int]] = {}
        with self._usable():
            for folder in self._entry_folders():
                kind = folder.parent.parent.name
                entries, total = sizes.get(kind, (0, 0))
                sizes[kind] = (entries + 1, total + folder_bytes(folder))
        return sizes

    def prune(self, max_bytes: int) -> list[Path]:
        """Remove the entries that were longest unused until the rest fit into `max_bytes`.

        An entry that is being built or mended is left alone. A process that still reads a removed
        entry keeps the files it has open.

        Returns
        -------
        list of pathlib.Path
            The folders removed, longest unused first.
        """
        removed = []
        with self._usable():
            self._sweep()
            stored = sorted((last_used(f), folder_bytes(f), f) for f in self._entry_folders())
            excess = sum(size for _, size, _ in stored) - max_bytes
            for _, size, folder in stored:
                if excess <= 0:
                    break
                with suppress(Timeout), self._lock(lock_name(folder)):
                    self._discard(folder)
                    removed.append(folder)
                    excess -= size
        return removed

    def leftovers(self) -> list[Path]:
        """Return the folders that killed processes left unfinished, which `prune` removes."""
        with self._usable():
            return list(self._abandoned())

    def _create(
        self,
        folder: Path,
        kind: Kind,
        fields: Mapping[str, JSON],
        build: Callable[[Path], None],
    ) -> Entry:
        """Build an entry whose lock is held and whose place is empty."""
        with self._usable():
            self._sweep(lock_name(folder))
            temporary = self._temporary(folder)
        try:
            began = time.monotonic()
            with self._roomy():
                build(temporary)
            seconds = time.monotonic() - began
            with self._usable():
                signatures = seal(temporary, kind, fields)
                make_private(folder.parent)
                temporary.rename(folder)
                sync(folder.parent)
                remember(folder, signatures)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        with self._usable():
            self._record(kind, folder.name, seconds)
            entry = _verified_entry(folder, kind, fields)
        if entry is None:
            raise StoreError(
                f"{folder} was changed as it was written; look for what else writes there"
            )
        return entry

    def _record(self, kind: Kind, digest: str, seconds: float) -> None:
        record = {
            "time": time.time(),
            "kind": kind,
            "digest": digest,
            "pid": os.getpid(),
            "seconds": seconds,
        }
        descriptor = os.open(self._journal_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, (json.dumps(record) + "\n").encode())
        finally:
            os.close(descriptor)

    def _verified_or_discarded(
        self, folder: Path, kind: Kind, fields: Mapping[str, JSON]
    ) -> Entry | None:
        """Return a trusted entry, or clear its place; its lock is held."""
        entry = _verified_entry(folder, kind, fields)
        if entry is None and os.path.lexists(folder):
            self._discard(folder)
        return entry

    def _discard(self, folder: Path) -> None:
        """Remove whatever stands in an entry's place, in one step for those who look; lock held."""
        aside = self._temporary(folder) / folder.name
        folder.rename(aside)
        remove(aside.parent)

    def _sweep(self, held: str | None = None) -> None:
        """Remove what killed processes left."""
        for leftover in self._abandoned(held):
            remove(leftover)

    def _abandoned(self, held: str | None = None) -> Iterator[Path]:
        """Temporary folders whose lock nobody holds, each while it is held here.

        Those of the lock that the caller holds are nobody's either.
        """
        for leftover in list(self._tmp.iterdir()) if self._tmp.is_dir() else []:
            name = leftover.name.partition(".")[0]
            if name == held:
                yield leftover
                continue
            with suppress(Timeout), self._lock(name):
                yield leftover

    def _temporary(self, folder: Path) -> Path:
        make_private(self._tmp)
        return Path(tempfile.mkdtemp(prefix=f"{lock_name(folder)}.", dir=self._tmp))

    def _held(self, folder: Path, on_wait: Callable[[], None] | None) -> FileLock:
        """Take the lock of an entry, however long it takes."""
        with self._usable():
            self._prepare()
            lock = self._lock_file(lock_name(folder))
            with suppress(Timeout):
                lock.acquire(blocking=False)
                return lock
        if on_wait is not None:
            on_wait()
        with self._usable():
            lock.acquire()
        return lock

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        """Hold a lock that is free now, or raise Timeout."""
        self._prepare()
        with self._lock_file(name).acquire(blocking=False):
            yield

    def _lock_file(self, name: str) -> FileLock:
        return FileLock(self._base / "locks" / f"{name}.lock", mode=0o600)

    def _prepare(self) -> None:
        for folder in (self.root, self._base, self._base / "locks"):
            make_private(folder)

    def _folder(self, kind: Kind, fields: Mapping[str, JSON]) -> Path:
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of entry; the kinds are {', '.join(KINDS)}")
        digest = digest_of(fields)
        return self._base / kind / digest[:2] / digest

    def _entry_folders(self) -> list[Path]:
        return [folder for kind in KINDS for folder in (self._base / kind).glob("??/*")]

    @property
    def _tmp(self) -> Path:
        return self._base / "tmp"

    @property
    def _journal_path(self) -> Path:
        return self._base / "journal.jsonl"

    @contextmanager
    def _roomy(self) -> Iterator[None]:
        """Let through what a build raises, unless it is that the disk is full."""
        try:
            yield
        except ProvenanceError:
            raise
        except Exception as error:
            if not is_full(error):
                raise
            raise self._unusable(error) from error

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """Turn what the file system refuses into one line that says what to do."""
        try:
            yield
        except Timeout:  # an OSError that is ours to handle
            raise
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> StoreError:
        what, where, advice = (
            str(error),
            "",
            "make it writable, or set PROVENANCE_STORE to a folder that is",
        )
        if isinstance(error, OSError):
            what, where = error.strerror or what, f" ({error.filename})" if error.filename else ""
        if is_full(error):
            what = os.strerror(errno.ENOSPC)
            advice = "make room (`provenance store gc`), or set PROVENANCE_STORE to a larger disk"
        return StoreError(f"cannot use the store {self.root}: {what}{where}; {advice}")


def _verified_entry(folder: Path, kind: Kind, fields: Mapping[str, JSON]) -> Entry | None:
    try:
        entry = verify(folder, kind, fields)
    except (TornError, FileNotFoundError):
        return None
    with suppress(OSError):  # a store that can only be read needs no order of use
        os.utime(folder / MANIFEST)
    return entry
