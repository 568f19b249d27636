"""The folder of a store on this machine: entries, their locks, and what killed processes left."""

from __future__ import annotations

import errno
import json
import os
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from provenance.errors import ProvenanceError, StoreError
from provenance.store.entry import lock_name
from provenance.store.files import is_disk_full, make_folder, remove, sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class StoreFolder:
    """One folder, and one version's layout in it.

    Parameters
    ----------
    root : pathlib.Path
        The folder; made at the first write, for its owner alone.
    version : str
        The name of the layout.
    variable : str
        The environment variable that moves the folder elsewhere.
    """

    def __init__(self, root: Path, version: str, variable: str) -> None:
        self.root = root
        self.base = root / version
        self._variable = variable

    def place(self, kind: str, digest: str) -> Path:
        """Return the folder of an entry, whether or not it is there."""
        return self.base / kind / digest[:2] / digest

    def entries(self, kinds: Iterable[str]) -> list[Path]:
        """Return the folders of all entries of some kinds."""
        return [folder for kind in kinds for folder in (self.base / kind).glob("??/*")]

    def aside(self, folder: Path) -> Path:
        """Make an empty temporary folder for the holder of an entry's lock."""
        make_folder(self._tmp)
        return Path(tempfile.mkdtemp(prefix=f"{lock_name(folder)}.", dir=self._tmp))

    def put(self, aside: Path, folder: Path) -> None:
        """Rename a complete entry into its empty place. The caller holds its lock."""
        make_folder(folder.parent)
        aside.rename(folder)
        sync(folder.parent)

    def discard(self, folder: Path) -> None:
        """Remove an entry, in one step for its readers. The caller holds its lock."""
        aside = self.aside(folder) / folder.name
        folder.rename(aside)
        remove(aside.parent)

    def sweep(self, lock: str | None = None) -> None:
        """Remove what killed processes left; ``lock`` is one that the caller holds."""
        for leftover in self.abandoned(lock):
            remove(leftover)

    def abandoned(self, lock: str | None = None) -> Iterator[Path]:
        """Yield every temporary folder that no other process works in, with its lock held.

        ``lock`` is one that the caller holds already.
        """
        for leftover in list(self._tmp.iterdir()) if self._tmp.is_dir() else []:
            name = leftover.name.partition(".")[0]
            if name == lock:
                yield leftover
                continue
            with suppress(Timeout), self.lock(name):
                yield leftover

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a lock if it is free, else raise Timeout."""
        self._prepare()
        with self._lock_file(name).acquire(blocking=False):
            yield

    @contextmanager
    def locked(self, folder: Path, on_wait: Callable[[], None] | None) -> Iterator[None]:
        """Hold the lock of an entry, and wait for it as long as needed."""
        lock = self._acquired(folder, on_wait)
        try:
            yield
        finally:
            lock.release()

    def _acquired(self, folder: Path, on_wait: Callable[[], None] | None) -> FileLock:
        with self.usable():
            self._prepare()
            lock = self._lock_file(lock_name(folder))
            with suppress(Timeout):
                lock.acquire(blocking=False)
                return lock
        if on_wait is not None:
            on_wait()
        with self.usable():
            lock.acquire()
        return lock

    def _lock_file(self, name: str) -> FileLock:
        return FileLock(self.base / "locks" / f"{name}.lock", mode=0o600)

    def _prepare(self) -> None:
        for folder in (self.root, self.base, self.base / "locks"):
            make_folder(folder)

    @property
    def _tmp(self) -> Path:
        return self.base / "tmp"

    @property
    def _journal(self) -> Path:
        return self.base / "journal.jsonl"

    def record(self, kind: str, digest: str, seconds: float) -> None:
        """Add a line to the journal."""
        line = {
            "time": time.time(),
            "kind": kind,
            "digest": digest,
            "pid": os.getpid(),
            "seconds": seconds,
        }
        descriptor = os.open(self._journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, (json.dumps(line) + "\n").encode())
        finally:
            os.close(descriptor)

    def records(self) -> list[dict[str, Any]]:
        """Return the lines of the journal."""
        records = []
        with self.usable(), suppress(FileNotFoundError):
            for line in self._journal.read_text(encoding="utf-8").splitlines():
                with suppress(ValueError):  # half a line, where the disk was full
                    records.append(json.loads(line))
        return records

    @contextmanager
    def roomy(self) -> Iterator[None]:
        """Turn a full disk during a build into one line; other errors pass."""
        try:
            yield
        except ProvenanceError:
            raise
        except Exception as error:
            if not is_disk_full(error):
                raise
            raise self._unusable(error) from error

    @contextmanager
    def usable(self) -> Iterator[None]:
        """Turn an error of the file system into one line that says what to do."""
        try:
            yield
        except Timeout:  # an OSError that the caller handles
            raise
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> StoreError:
        what, where = str(error), ""
        advice = f"make it writable, or set {self._variable} to a folder that is"
        if isinstance(error, OSError):
            what, where = error.strerror or what, f" ({error.filename})" if error.filename else ""
        if is_disk_full(error):
            what = os.strerror(errno.ENOSPC)
            advice = f"make room (`provenance store gc`), or set {self._variable} to a larger disk"
        return StoreError(f"cannot use the store {self.root}: {what}{where}; {advice}")
