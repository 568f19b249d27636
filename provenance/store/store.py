"""A content-addressed store of results on disk, shared by processes, by runs, and by machines.

An entry is a folder of files under the digest of everything that determines it. It is built once,
by whoever comes first, in a temporary folder that is renamed into place when it is complete; others
wait. Whatever is read is first proven to be what was written: a torn or foreign entry is computed
again, never trusted. The store knows bytes and keys, no models::

    <root>/v1/<kind>/<digest[:2]>/<digest>/   files and manifest.json
    <root>/v1/locks/<kind>-<digest>.lock      held while that entry is built, shared or removed
    <root>/v1/tmp/<kind>-<digest>.<random>/   being built or removed by the lock's holder
    <root>/v1/notes/<name>                    how things stand; see `Store.notes`
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

import platformdirs
from filelock import Timeout

from provenance._text import is_url
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
    verified,
)
from provenance.store.files import file_sha256, file_state, folder_bytes
from provenance.store.folder import Shelf
from provenance.store.notes import DistantNotes, FolderNotes
from provenance.store.objects import Objects
from provenance.store.shared import Distant, same

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provenance.store.notes import Notes

__all__ = ["JSON", "KINDS", "Entry", "Kind", "Store", "digest_of"]

Kind = Literal["activations", "checkpoint", "evidence", "hashes", "proxies"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SHARED: tuple[Kind, ...] = ("activations", "checkpoint", "evidence", "proxies")
"""What is of use on other machines too; hashes are of files of this one."""

NAME = "pytest-provenance"

# Folders of this process that are known to be what is at the URL.
_agreed: set[Path] = set()


class Store:
    """The store in one folder, or at a URL with a folder on this machine.

    Parameters
    ----------
    place : str or pathlib.Path, optional
        Its folder, or a URL that machines share, such as ``s3://bucket/prefix``; by default the
        environment's ``PROVENANCE_STORE``, else the user's cache folder for ``pytest-provenance``. A
        folder is made when something is first stored, for its owner's eyes alone.
    cache : str or pathlib.Path, optional
        Of a store at a URL, the folder below which this machine keeps what it has made or brought; by
        default the environment's ``PROVENANCE_STORE_CACHE``, else ``shared`` in the user's cache folder.

    Raises
    ------
    StoreError
        If it is a URL that cannot hold a store, or that has credentials in it.

    Notes
    -----
    Instances are cheap and hold nothing but a connection: any number of threads and processes may use one
    place. Mutual exclusion is the operating system's file lock, which dies with its holder. Between
    machines that share a URL there is none: where two make the same entry at once, the first that puts it
    wins, and the other takes over what is there.

    Attributes
    ----------
    place : str
        What makes an equal store elsewhere: the URL, or the folder.
    url : str or None
        The URL.
    root : pathlib.Path
        The folder on this machine.
    """

    version = "v1"
    """The name of its layout, which the folder below the root has."""

    def __init__(
        self,
        place: str | os.PathLike[str] | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        named = place or os.environ.get("PROVENANCE_STORE") or platformdirs.user_cache_dir(NAME)
        self._objects = Objects(named) if isinstance(named, str) and is_url(named) else None
        self.url = None if self._objects is None else self._objects.url
        self.root = _absolute(named if self.url is None else _cache_of(self.url, cache))
        self.place = self.url or str(self.root)
        self._distant = None if self._objects is None else Distant(self._objects, self.version)
        variable = "PROVENANCE_STORE" if self.url is None else "PROVENANCE_STORE_CACHE"
        self._shelf = Shelf(self.root, self.version, variable)

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
        return self._found(kind, fields, shared=kind in SHARED)

    def get_or_create(
        self,
        kind: Kind,
        fields: Mapping[str, JSON],
        build: Callable[[Path], None],
        on_wait: Callable[[], None] | None = None,
        *,
        here: bool = False,
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
            If the store cannot be used, or `build` wrote something other than plain files. What was built
            and could not be shared stays on this machine, and is shared when it is next asked for.
        """
        shared = kind in SHARED and not here
        entry = self._found(kind, fields, shared=shared)
        if entry is not None and (not shared or self._agrees(entry)):
            return entry
        folder = self._folder(kind, fields)
        with self._shelf.held(folder, on_wait):
            entry = self._settled(folder, kind, fields, shared=shared)
            if entry is None:
                entry = self._create(folder, kind, fields, build)
                if shared:
                    entry = self._share(entry, kind, built=True)
            return entry

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
        (what the computation took). An entry that is only read, or brought, leaves no record.
        """
        return self._shelf.records()

    @property
    def notes(self) -> Notes:
        """Small texts that change, and that all who share the store see."""
        if self._objects is not None:
            return DistantNotes(self._objects, f"{self.version}/notes")
        return FolderNotes(self._shelf.base / "notes", self._shelf.usable)

    def size(self) -> dict[str, tuple[int, int]]:
        """Return the number of entries on this machine and their bytes, by kind; no empty kinds."""
        sizes: dict[str, tuple[int, int]] = {}
        with self._shelf.usable():
            for folder in self._shelf.entries(KINDS):
                kind = folder.parent.parent.name
                entries, total = sizes.get(kind, (0, 0))
                sizes[kind] = (entries + 1, total + folder_bytes(folder))
        return sizes

    def shared_size(self) -> dict[str, tuple[int, int]]:
        """Return the same of what is at the URL, by listing all of it; nothing of a store without one."""
        return {} if self._distant is None else self._distant.size(SHARED)

    def prune(self, max_bytes: int) -> list[Path]:
        """Remove the entries that were longest unused until the rest fit into `max_bytes`.

        An entry that is being built or mended is left alone. A process that still reads a removed
        entry keeps the files it has open. What is at a URL stays.

        Returns
        -------
        list of pathlib.Path
            The folders removed, longest unused first.
        """
        removed = []
        with self._shelf.usable():
            self._shelf.sweep()
            folders = self._shelf.entries(KINDS)
            stored = sorted((last_used(f), folder_bytes(f), f) for f in folders)
            excess = sum(size for _, size, _ in stored) - max_bytes
            for _, size, folder in stored:
                if excess <= 0:
                    break
                with suppress(Timeout), self._shelf.lock(lock_name(folder)):
                    self._shelf.discard(folder)
                    removed.append(folder)
                    excess -= size
        return removed

    def leftovers(self) -> list[Path]:
        """Return the folders that killed processes left unfinished, which `prune` removes."""
        with self._shelf.usable():
            return list(self._shelf.abandoned())

    def _found(self, kind: Kind, fields: Mapping[str, JSON], *, shared: bool) -> Entry | None:
        """An entry that nobody is at work on, or that is complete."""
        folder = self._folder(kind, fields)
        with self._shelf.usable():
            entry = verified(folder, kind, fields)
            settled = entry is not None and (not shared or self._agrees(entry))
            if settled or not (os.path.lexists(folder) or (shared and self._distant is not None)):
                return entry
            with suppress(Timeout), self._shelf.lock(lock_name(folder)):
                # Another process may have mended it before the lock was ours.
                entry = self._settled(folder, kind, fields, shared=shared)
        return entry

    def _settled(
        self, folder: Path, kind: Kind, fields: Mapping[str, JSON], *, shared: bool
    ) -> Entry | None:
        """A trusted entry that is the one at the URL too, or None and an empty place; its lock is held."""
        with self._shelf.usable():
            entry = verified(folder, kind, fields)
            if entry is None and os.path.lexists(folder):
                self._shelf.discard(folder)
            if not shared or self._distant is None or (entry and self._agrees(entry)):
                return entry
            return (
                self._brought(folder, kind, fields) if entry is None else self._share(entry, kind)
            )

    def _agrees(self, entry: Entry) -> bool:
        """Whether an entry is known to be what all machines have."""
        return self._distant is None or entry.path in _agreed

    def _share(self, entry: Entry, kind: Kind, *, built: bool = False) -> Entry:
        """Put an entry at the URL, or take over what another machine has put there; its lock is held."""
        if self._distant is None:
            return entry
        try:
            theirs = self._distant.manifest(kind, entry.path.name)
            if theirs is None:
                done = self._distant.put(kind, entry.fields, entry.path, anew=False)
            else:  # what was built just now was not to be had there, whatever its manifest says
                done = not built and same(
                    theirs, (entry.path / MANIFEST).read_bytes(), kind, entry.fields
                )
            brought = None if done else self._brought(entry.path, kind, entry.fields)
            if not done and brought is None:
                self._distant.put(kind, entry.fields, entry.path, anew=True)
        except StoreError as error:
            kept = f"what was computed is kept in {self.root}, and shared when it is next asked for"
            raise StoreError(f"{error}; {kept}") from error
        _agreed.add(entry.path)
        return brought or entry

    def _brought(self, folder: Path, kind: Kind, fields: Mapping[str, JSON]) -> Entry | None:
        """What is at the URL, in the place of what is here; None where that is nothing to be trusted.

        Its lock is held.
        """
        if self._distant is None:
            return None
        with self._shelf.usable():
            self._shelf.sweep(lock_name(folder))
            aside = self._shelf.aside(folder)
            try:
                signatures = self._distant.bring(kind, fields, aside)
                if signatures is None:
                    return None
                if os.path.lexists(folder):
                    self._shelf.discard(folder)
                self._shelf.put(aside, folder)
            except TornError:
                return None
            finally:
                shutil.rmtree(aside, ignore_errors=True)
            remember(folder, signatures)
            _agreed.add(folder)
            return verified(folder, kind, fields)

    def _create(
        self,
        folder: Path,
        kind: Kind,
        fields: Mapping[str, JSON],
        build: Callable[[Path], None],
    ) -> Entry:
        """Build an entry whose lock is held and whose place is empty."""
        with self._shelf.usable():
            self._shelf.sweep(lock_name(folder))
            temporary = self._shelf.aside(folder)
        try:
            began = time.monotonic()
            with self._shelf.roomy():
                build(temporary)
            seconds = time.monotonic() - began
            with self._shelf.usable():
                signatures = seal(temporary, kind, fields)
                self._shelf.put(temporary, folder)
                remember(folder, signatures)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        with self._shelf.usable():
            self._shelf.record(kind, folder.name, seconds)
            entry = verified(folder, kind, fields)
        if entry is None:
            raise StoreError(
                f"{folder} was changed as it was written; look for what else writes there"
            )
        return entry

    def _folder(self, kind: Kind, fields: Mapping[str, JSON]) -> Path:
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of entry; the kinds are {', '.join(KINDS)}")
        return self._shelf.place(kind, digest_of(fields))


def _absolute(folder: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(Path(folder).expanduser()))  # noqa: PTH100 - resolve() follows links


def _cache_of(url: str, cache: str | os.PathLike[str] | None) -> Path:
    """The folder on this machine of a store at a URL."""
    named = cache or os.environ.get("PROVENANCE_STORE_CACHE")
    below = Path(named) if named else Path(platformdirs.user_cache_dir(NAME)) / "shared"
    return below / hashlib.sha256(url.encode()).hexdigest()[:16]
