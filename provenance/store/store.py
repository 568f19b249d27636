"""A content-addressed store of results on disk, shared by processes, by runs, and by machines.

An entry is a folder of files under the digest of everything that determines it. The first process that
needs it builds it in a temporary folder, which is renamed into place when it is complete; others wait.
Every entry is verified before it is read: a torn or foreign one is computed again. The store knows bytes
and keys, and no models::

    <root>/v1/<kind>/<digest[:2]>/<digest>/   files and manifest.json
    <root>/v1/locks/<kind>-<digest>.lock      held while that entry is built, shared or removed
    <root>/v1/tmp/<kind>-<digest>.<random>/   being built or removed by the lock's holder
    <root>/v1/notes/<name>                    see `Store.notes`
    <root>/v1/journal.jsonl                   one line for every entry computed

A store at a URL has such a folder on each machine, and `provenance.store.shared` says what is at the URL.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from filelock import Timeout

from provenance._text import expanded, is_url
from provenance.errors import StoreError
from provenance.store.entry import (
    JSON,
    MANIFEST,
    Entry,
    TornError,
    digest_of,
    last_used,
    lock_name,
    remember,
    seal,
    trusted_entry,
)
from provenance.store.files import file_sha256, file_state, folder_bytes, user_folder
from provenance.store.folder import StoreFolder
from provenance.store.notes import FolderNotes, SharedNotes
from provenance.store.objects import Objects
from provenance.store.shared import SharedEntries, same_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provenance.store.notes import Notes

__all__ = ["JSON", "KINDS", "Entry", "Kind", "Store", "digest_of"]

Kind = Literal["activations", "checkpoint", "evidence", "hashes", "layouts", "proxies", "ranges"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SHARED: tuple[Kind, ...] = ("activations", "checkpoint", "evidence", "layouts", "proxies")
"""Kinds that other machines can use; hashes are of files of this machine, and ranges of files elsewhere."""

# Folders that this process knows to equal the entries at the URL.
_agreed: set[Path] = set()


class Store:
    """The store in one folder, or at a URL with a folder on this machine.

    Parameters
    ----------
    place : str or pathlib.Path, optional
        Its folder, or a URL that machines share, such as ``s3://bucket/prefix``. Default: the
        environment's ``PROVENANCE_STORE``, else the user's cache folder for ``pytest-provenance``. The
        folder is made at the first write, for its owner alone.
    cache : str or pathlib.Path, optional
        For a store at a URL, the folder in which this machine keeps its copies. Default: the environment's
        ``PROVENANCE_STORE_CACHE``, else ``shared`` in the user's cache folder.

    Raises
    ------
    StoreError
        If it is a URL that cannot hold a store, or that has credentials in it; or none is named, and
        the user has no home folder.

    Notes
    -----
    Instances are cheap and hold nothing but a connection. Any number of threads and processes may use one
    place: they exclude each other by the operating system's file lock, which dies with its holder.
    Machines that share a URL have no lock. If two make the same entry at once, the first to put it wins,
    and the other takes over that one.

    Attributes
    ----------
    place : str
        The URL, or the folder: `Store(place)` makes an equal store.
    url : str or None
        The URL.
    root : pathlib.Path
        The folder on this machine.
    """

    version = "v1"
    """The name of the layout, and of the folder below the root."""

    def __init__(
        self,
        place: str | os.PathLike[str] | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        named = place or os.environ.get("PROVENANCE_STORE") or _user_cache("PROVENANCE_STORE")
        self._objects = Objects(named) if isinstance(named, str) and is_url(named) else None
        self.url = None if self._objects is None else self._objects.url
        self.root = _absolute(named if self.url is None else _cache_of(self.url, cache))
        self.place = self.url or str(self.root)
        self._shared = None if self._objects is None else SharedEntries(self._objects, self.version)
        variable = "PROVENANCE_STORE" if self.url is None else "PROVENANCE_STORE_CACHE"
        self._local = StoreFolder(self.root, self.version, variable)

    def get(self, kind: Kind, fields: Mapping[str, JSON]) -> Entry | None:
        """Return the entry of a key, or None if there is none that can be trusted.

        Parameters
        ----------
        kind : {"activations", "checkpoint", "evidence", "hashes", "layouts", "proxies", "ranges"}
            What the entry holds.
        fields : mapping of str to JSON
            The key: everything that determines the content.

        Raises
        ------
        StoreError
            If the store cannot be used.
        """
        return self._lookup(kind, fields, shared=kind in SHARED)

    def get_or_create(
        self,
        kind: Kind,
        fields: Mapping[str, JSON],
        build: Callable[[Path], None],
        on_wait: Callable[[], None] | None = None,
        *,
        here: bool = False,
    ) -> Entry:
        """Return the entry of a key, and build it if there is none; one of many callers builds.

        Parameters
        ----------
        kind, fields
            As in `get`.
        build : callable
            Writes the files into the empty folder that it is given. What it raises reaches the caller,
            and leaves nothing behind.
        on_wait : callable, optional
            Called once if another process or thread is at work on this entry.
        here : bool
            Whether the entry is for this machine alone, such as a copy of what every machine can download.

        Raises
        ------
        StoreError
            If the store cannot be used, or `build` wrote anything but plain files. An entry that was built
            and cannot be shared stays on this machine, and is shared when it is next asked for.
        """
        shared = kind in SHARED and not here
        entry = self._lookup(kind, fields, shared=shared)
        if entry is not None and (not shared or self._agrees(entry)):
            return entry
        folder = self._folder(kind, fields)
        with self._local.locked(folder, on_wait):
            entry = self._settle(folder, kind, fields, shared=shared)
            if entry is None:
                entry = self._create(folder, kind, fields, build)
                if shared:
                    entry = self._share(entry, kind, built=True)
            return entry

    def discard(self, kind: Kind, fields: Mapping[str, JSON]) -> None:
        """Remove the entry of a key from this machine, if there is one.

        Raises
        ------
        StoreError
            If the store cannot be used.
        """
        folder = self._folder(kind, fields)
        with self._local.locked(folder, None), self._local.translated():
            if os.path.lexists(folder):
                self._local.discard(folder)

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
        """Return the text that `compute` makes of a file; a file that has not changed is read only once.

        ``what`` names the computation: each has its own entry.
        """
        real = path.resolve(strict=True)
        known = file_state(real)

        def build(folder: Path) -> None:
            text = compute(real)
            if file_state(real) != known:
                raise StoreError(f"{path} changed while it was read; wait until it is complete")
            (folder / what).write_text(text, encoding="utf-8")

        return self.get_or_create("hashes", {**known, "what": what}, build).read_text(what)

    def journal(self) -> list[dict[str, Any]]:
        """Return one record for every entry ever computed on this machine, oldest first.

        Each has ``time`` (seconds since the epoch), ``kind``, ``digest``, ``pid`` and ``seconds``
        (how long the computation took). Reading or downloading an entry leaves no record.
        """
        return self._local.records()

    @property
    def notes(self) -> Notes:
        """Small texts that change, and that every user of the store sees."""
        if self._objects is not None:
            return SharedNotes(self._objects, f"{self.version}/notes")
        return FolderNotes(self._local.base / "notes", self._local.translated)

    def size(self) -> dict[str, tuple[int, int]]:
        """Return the number of entries on this machine and their bytes, for every kind that has any."""
        sizes: dict[str, tuple[int, int]] = {}
        with self._local.translated():
            for folder in self._local.entries(KINDS):
                kind = folder.parent.parent.name
                entries, total = sizes.get(kind, (0, 0))
                sizes[kind] = (entries + 1, total + folder_bytes(folder))
        return sizes

    def shared_size(self) -> dict[str, tuple[int, int]]:
        """Return the number of entries at the URL and their bytes, by kind; empty without a URL."""
        return {} if self._shared is None else self._shared.size(SHARED)

    def prune(self, max_bytes: int) -> list[Path]:
        """Remove the least recently used entries of this machine until the rest fit into `max_bytes`.

        An entry whose lock is held is left alone. A process that still reads a removed entry keeps the
        files that it has open. Entries at a URL stay.

        Returns
        -------
        list of pathlib.Path
            The removed folders, least recently used first.
        """
        removed = []
        with self._local.translated():
            self._local.sweep()
            folders = self._local.entries(KINDS)
            stored = sorted((last_used(f), folder_bytes(f), f) for f in folders)
            excess = sum(size for _, size, _ in stored) - max_bytes
            for _, size, folder in stored:
                if excess <= 0:
                    break
                with suppress(Timeout), self._local.lock(lock_name(folder)):
                    self._local.discard(folder)
                    removed.append(folder)
                    excess -= size
        return removed

    def _lookup(self, kind: Kind, fields: Mapping[str, JSON], *, shared: bool) -> Entry | None:
        """Return the entry of a key, from here or from the URL, without waiting for its lock."""
        folder = self._folder(kind, fields)
        with self._local.translated():
            entry = trusted_entry(folder, kind, fields)
            settled = entry is not None and (not shared or self._agrees(entry))
            if settled or not (os.path.lexists(folder) or (shared and self._shared is not None)):
                return entry
            with suppress(Timeout), self._local.lock(lock_name(folder)):
                # Another process may have mended it before the lock was ours.
                entry = self._settle(folder, kind, fields, shared=shared)
        return entry

    def _settle(
        self, folder: Path, kind: Kind, fields: Mapping[str, JSON], *, shared: bool
    ) -> Entry | None:
        """Return a trusted entry that equals the one at the URL, or None with its place empty.

        The caller holds its lock.
        """
        with self._local.translated():
            entry = trusted_entry(folder, kind, fields)
            if entry is None and os.path.lexists(folder):
                self._local.discard(folder)
            if not shared or self._shared is None or (entry and self._agrees(entry)):
                return entry
            return self._bring(folder, kind, fields) if entry is None else self._share(entry, kind)

    def _agrees(self, entry: Entry) -> bool:
        """Whether an entry is known to equal the one at the URL."""
        return self._shared is None or entry.path in _agreed

    def _share(self, entry: Entry, kind: Kind, *, built: bool = False) -> Entry:
        """Put an entry at the URL, or take over the one there. The caller holds its lock."""
        if self._shared is None:
            return entry
        try:
            manifest = self._shared.manifest(kind, entry.path.name)
            if manifest is None:
                done = self._shared.put(kind, entry.fields, entry.path, replace=False)
            else:  # one that was just built was missing or torn there, whatever the manifest says
                done = not built and same_files(
                    manifest, (entry.path / MANIFEST).read_bytes(), kind, entry.fields
                )
            brought = None if done else self._bring(entry.path, kind, entry.fields)
            if not done and brought is None:
                self._shared.put(kind, entry.fields, entry.path, replace=True)
        except StoreError as error:
            kept = f"what was computed is kept in {self.root}, and shared when it is next asked for"
            raise StoreError(f"{error}; {kept}") from error
        _agreed.add(entry.path)
        return brought or entry

    def _bring(self, folder: Path, kind: Kind, fields: Mapping[str, JSON]) -> Entry | None:
        """Replace the entry here by the one at the URL; None if that cannot be trusted.

        The caller holds its lock.
        """
        if self._shared is None:
            return None
        with self._local.translated():
            self._local.sweep(lock_name(folder))
            temporary = self._local.make_temporary(folder)
            try:
                signatures = self._shared.bring(kind, fields, temporary)
                if signatures is None:
                    return None
                if os.path.lexists(folder):
                    self._local.discard(folder)
                self._local.put(temporary, folder)
            except TornError:
                return None
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            remember(folder, signatures)
            _agreed.add(folder)
            return trusted_entry(folder, kind, fields)

    def _create(
        self,
        folder: Path,
        kind: Kind,
        fields: Mapping[str, JSON],
        build: Callable[[Path], None],
    ) -> Entry:
        """Build an entry in its empty place. The caller holds its lock."""
        with self._local.translated():
            self._local.sweep(lock_name(folder))
            temporary = self._local.make_temporary(folder)
        try:
            began = time.monotonic()
            with self._local.translated_if_full():
                build(temporary)
            seconds = time.monotonic() - began
            with self._local.translated():
                signatures = seal(temporary, kind, fields)
                self._local.put(temporary, folder)
                remember(folder, signatures)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        with self._local.translated():
            self._local.record(kind, folder.name, seconds)
            entry = trusted_entry(folder, kind, fields)
        if entry is None:
            raise StoreError(
                f"{folder} was changed as it was written; look for what else writes there"
            )
        return entry

    def _folder(self, kind: Kind, fields: Mapping[str, JSON]) -> Path:
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of entry; the kinds are {', '.join(KINDS)}")
        return self._local.place(kind, digest_of(fields))


def _absolute(folder: str | os.PathLike[str]) -> Path:
    named = expanded(os.fspath(folder))
    if named.partition(os.sep)[0] == "~":
        raise _homeless("PROVENANCE_STORE")
    return Path(os.path.abspath(named))  # noqa: PTH100 - resolve() follows links


def _user_cache(variable: str) -> Path:
    folder = user_folder("cache")
    if folder is None:
        raise _homeless(variable)
    return folder


def _homeless(variable: str) -> StoreError:
    return StoreError(f"there is no home folder to keep the store in: set {variable} to a folder")


def _cache_of(url: str, cache: str | os.PathLike[str] | None) -> Path:
    """Return the folder on this machine of a store at a URL."""
    named = cache or os.environ.get("PROVENANCE_STORE_CACHE")
    below = Path(named) if named else _user_cache("PROVENANCE_STORE_CACHE") / "shared"
    return below / hashlib.sha256(url.encode()).hexdigest()[:16]
