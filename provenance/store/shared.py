"""The part of a store that machines share: entries at a URL, each complete before it can be found.

The files of an entry are put first, under their SHA-256, and its manifest last. So whoever finds a manifest
finds its files, even if two machines put the same entry at once. The URL is not trusted: every file is
checked before it is used, and none is larger than its manifest says::

    <url>/v1/store.json                                        put by the first machine
    <url>/v1/<kind>/<digest[:2]>/<digest>/<SHA-256 of a file>  files
    <url>/v1/<kind>/<digest[:2]>/<digest>/manifest.json        the manifest of the entry, as it was made
    <url>/v1/notes/<name>                                      see `provenance.store.notes`
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from hashlib import sha256
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from provenance.errors import StoreError
from provenance.store.entry import (
    JSON,
    MANIFEST,
    TornError,
    digest_of,
    manifest_files,
    write_manifest,
)
from provenance.store.files import for_owner, make_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from provenance.store.objects import Objects

MANIFEST_BYTES = 2**22
MOST_FILES = 10_000
_MARK = "store.json"
_NAME = re.compile(r"[^/\\:]{1,200}(/[^/\\:]{1,200}){0,15}")


class SharedEntries:
    """Entries at a URL.

    Parameters
    ----------
    objects : Objects
        What is at the URL.
    version : str
        The name of the layout, which is the folder there.
    """

    def __init__(self, objects: Objects, version: str) -> None:
        self._objects = objects
        self._version = version
        self._seen = False

    def manifest(self, kind: str, digest: str) -> bytes | None:
        """Return the bytes of an entry's manifest, whatever they are; None where there is none."""
        self._look()
        return self._objects.read(f"{self._place(kind, digest)}/{MANIFEST}", MANIFEST_BYTES)

    def bring(
        self, kind: str, fields: Mapping[str, JSON], folder: Path
    ) -> dict[str, tuple[int, int, int, int]] | None:
        """Bring an entry to an empty folder.

        Returns
        -------
        dict or None
            The state of every file, for `entry.remember`; None where there is no such entry.

        Raises
        ------
        TornError
            If the objects there are not that entry, whole to the byte.
        OSError
            If the folder cannot hold it.
        StoreError
            If the URL cannot be read.
        """
        digest = digest_of(fields)
        text = self.manifest(kind, digest)
        if text is None:
            return None
        files = shareable_files(text, kind, fields)
        there = self._objects.sizes(self._place(kind, digest))
        if any(there.get(file["sha256"]) != file["size"] for file in files.values()):
            raise TornError("files are missing, or of another size")
        if sum(file["size"] for file in files.values()) > shutil.disk_usage(folder).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        for name, file in files.items():
            path = folder.joinpath(*name.split("/"))
            make_folder(path.parent)
            self._bring(f"{self._place(kind, digest)}/{file['sha256']}", file, path)
        return write_manifest(folder, text)

    def _bring(self, name: str, file: Mapping[str, Any], path: Path) -> None:
        digest, size = sha256(), 0
        with open(path, "xb", opener=for_owner) as target:
            for chunk in self._objects.chunks(name):
                size += len(chunk)
                if size > file["size"]:
                    break
                digest.update(chunk)
                target.write(chunk)
        if (size, digest.hexdigest()) != (file["size"], file["sha256"]):
            raise TornError(f"{name} has other bytes than its manifest says")

    def put(self, kind: str, fields: Mapping[str, JSON], folder: Path, *, replace: bool) -> bool:
        """Put an entry there, its manifest last.

        Parameters
        ----------
        kind, fields
            Its key.
        folder : pathlib.Path
            The entry, which has been verified.
        replace : bool
            Whether to replace what is there; else nothing that is there is touched.

        Returns
        -------
        bool
            Whether it was put; False where another machine was first.
        """
        digest = digest_of(fields)
        place = self._place(kind, digest)
        text = (folder / MANIFEST).read_bytes()
        try:
            files = shareable_files(text, kind, fields)
        except TornError as error:
            raise StoreError(f"cannot share {folder}: {error}") from None
        self._look()
        # what a killed process has put need not be put again
        there = {} if replace else self._objects.sizes(place)
        for name, file in files.items():
            if there.get(file["sha256"]) != file["size"]:
                self._objects.put(f"{place}/{file['sha256']}", folder / name)
        if not replace:
            return self._objects.create(f"{place}/{MANIFEST}", text)
        self._objects.write(f"{place}/{MANIFEST}", text)
        return True

    def size(self, kinds: Iterable[str]) -> dict[str, tuple[int, int]]:
        """List all objects; return the number of entries and the bytes, by kind."""
        sizes = {}
        for kind in kinds:
            objects = self._objects.sizes(f"{self._version}/{kind}")
            if objects:
                entries = sum(PurePosixPath(name).name == MANIFEST for name in objects)
                sizes[kind] = (entries, sum(objects.values()))
        return sizes

    def _look(self) -> None:
        """Reach the URL once, before anything is computed that could not be put there."""
        if not self._seen:
            mark = f"{self._version}/{_MARK}"
            if self._objects.read(mark, MANIFEST_BYTES) is None:
                self._objects.create(mark, json.dumps({"layout": self._version}).encode())
            self._seen = True

    def _place(self, kind: str, digest: str) -> str:
        return f"{self._version}/{kind}/{digest[:2]}/{digest}"


def shareable_files(
    text: bytes, kind: str, fields: Mapping[str, JSON]
) -> dict[str, dict[str, Any]]:
    """Return the files of a manifest from another machine, whose names are safe to write in a folder.

    Raises
    ------
    TornError
        If the manifest is of another key, is too large, or has a name that is not safe.
    """
    if len(text) > MANIFEST_BYTES:
        raise TornError("the manifest is too large")
    files = manifest_files(text, kind, fields)
    if len(files) > MOST_FILES:
        raise TornError("the manifest has too many files")
    folders = {str(above) for name in files for above in PurePosixPath(name).parents}
    for name in files:
        parts = name.split("/")
        allowed = name.isprintable() and _NAME.fullmatch(name) is not None
        if not allowed or {".", ".."} & set(parts) or parts[0] == MANIFEST:
            raise TornError(f"{name!r} is no name for a file of an entry")
        if name in folders:
            raise TornError(f"{name!r} is a file and a folder")
    return files


def same_files(one: bytes, other: bytes, kind: str, fields: Mapping[str, JSON]) -> bool:
    """Whether two manifests are sound and have equal files."""
    try:
        return shareable_files(one, kind, fields) == shareable_files(other, kind, fields)
    except TornError:
        return False
