"""What one entry of the store is on disk: a folder, its manifest, and the proof that they agree."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from provenance.errors import StoreError
from provenance.store.files import file_sha256, for_owner, is_sha256, restrict_to_owner, sync

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

MANIFEST = "manifest.json"
_SCHEMA = 1
_Signature: TypeAlias = tuple[int, int, int, int]

# The states of all files of a folder when this process last hashed them.
_verified: dict[Path, dict[str, _Signature]] = {}


class TornError(Exception):
    """A folder is not the entry that it should be; the text says why."""


@dataclass(frozen=True)
class Entry:
    """A folder of files that was verified against its manifest.

    Attributes
    ----------
    path : pathlib.Path
        The folder. Its files are shared with other processes: read them, never write.
    fields : dict
        The key under which it is stored.
    names : frozenset of str
        The files, as POSIX paths relative to the folder, without the manifest.
    """

    path: Path
    fields: Mapping[str, JSON]
    names: frozenset[str]

    def file(self, name: str) -> Path:
        """Return the path of one file.

        Raises
        ------
        KeyError
            If the entry has no such file.
        """
        if name not in self.names:
            raise KeyError(f"{name!r} is not in {self.path}; it has {sorted(self.names)}")
        return self.path / name

    def read_text(self, name: str) -> str:
        """Return one file's text, as UTF-8."""
        return self.file(name).read_text(encoding="utf-8")


def canonical(value: object) -> str:
    """Return the one JSON text of a value: keys sorted, no spaces, ASCII.

    Raises
    ------
    TypeError
        If the value is not JSON.
    ValueError
        If it holds NaN or infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(fields: Mapping[str, JSON]) -> str:
    """Return the SHA-256, in hex, of the canonical JSON of `fields`."""
    return hashlib.sha256(canonical(dict(fields)).encode()).hexdigest()


def seal(folder: Path, kind: str, fields: Mapping[str, JSON]) -> dict[str, _Signature]:
    """Make the manifest of a folder that was just filled, and flush all of it to the disk.

    Returns
    -------
    dict
        The state of every file, for `remember` once the folder is in its place.

    Raises
    ------
    StoreError
        If the folder holds anything but files and folders, or a manifest already.
    """
    restrict_to_owner(folder)
    try:
        files = dict(_walk(folder))
    except TornError as error:
        raise StoreError(f"cannot store {kind}: {error}; store plain files only") from None
    if MANIFEST in files:
        raise StoreError(
            f"cannot store {kind}: {MANIFEST} is the store's own; name yours otherwise"
        )
    manifest = {
        "schema": _SCHEMA,
        "kind": kind,
        "fields": dict(fields),
        "files": {
            name: {"size": status.st_size, "sha256": file_sha256(folder / name)}
            for name, status in sorted(files.items())
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    text = json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False) + "\n"
    return write_manifest(folder, text.encode())


def write_manifest(folder: Path, manifest: bytes) -> dict[str, _Signature]:
    """Write the manifest of a folder and flush all of it to the disk; return what `seal` returns."""
    files = dict(_walk(folder))
    with open(folder / MANIFEST, "xb", opener=for_owner) as file:
        file.write(manifest)
    for name in (*files, MANIFEST):
        sync(folder / name)
    for subfolder, _, _ in os.walk(folder):
        sync(Path(subfolder))
    return {name: _signature(status) for name, status in files.items()}


def remember(folder: Path, signatures: dict[str, _Signature]) -> None:
    """Spare `verify` from reading a folder's files again while their states are these."""
    _verified[folder] = signatures


def verify(folder: Path, kind: str, fields: Mapping[str, JSON]) -> Entry:
    """Return the entry in `folder`, proven to be that of the key and whole to the byte.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    TornError
        If it is not that entry.
    """
    if not stat.S_ISDIR(folder.lstat().st_mode):
        raise TornError(f"{folder} is not a folder")
    # Only names that the folder has are opened, so that a manifest cannot lead outside.
    there = dict(_walk(folder))
    if there.pop(MANIFEST, None) is None:
        raise TornError("no manifest")
    files = manifest_files((folder / MANIFEST).read_bytes(), kind, fields)
    if {name: status.st_size for name, status in there.items()} != {
        name: file["size"] for name, file in files.items()
    }:
        raise TornError("files are missing, foreign or of another size")
    signatures = {name: _signature(status) for name, status in there.items()}
    if _verified.get(folder) != signatures:
        for name, file in files.items():
            if file_sha256(folder / name) != file["sha256"]:
                raise TornError(f"{name} has other bytes than its manifest says")
        remember(folder, signatures)
    return Entry(folder, dict(fields), frozenset(files))


def trusted_entry(folder: Path, kind: str, fields: Mapping[str, JSON]) -> Entry | None:
    """Return the entry in `folder` and mark it as used; None if there is none that can be trusted."""
    try:
        entry = verify(folder, kind, fields)
    except (TornError, FileNotFoundError):
        return None
    with suppress(OSError):  # a store that can only be read needs no order of use
        os.utime(folder / MANIFEST)
    return entry


def _walk(folder: Path, prefix: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Yield every file below a folder by its relative name, following no link."""
    with os.scandir(folder) as children:
        for child in children:
            name = prefix + child.name
            status = Path(child.path).lstat()  # not child.stat(): Windows leaves out the inode
            if stat.S_ISDIR(status.st_mode):
                yield from _walk(Path(child.path), name + "/")
            elif stat.S_ISREG(status.st_mode):
                yield name, status
            else:
                raise TornError(f"{name} is a link or a device")


def _signature(status: os.stat_result) -> _Signature:
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def manifest_files(text: bytes, kind: str, fields: Mapping[str, JSON]) -> dict[str, dict[str, Any]]:
    """Return the size and digest of every file of a manifest; the names are not checked.

    Raises
    ------
    TornError
        If the manifest is malformed, or of another key.
    """
    try:
        manifest = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise TornError(f"the manifest is no JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise TornError("the manifest is no object")
    if set(manifest) != {"schema", "kind", "fields", "files", "created"}:
        raise TornError("the manifest has other keys than it should")
    if (manifest["schema"], manifest["kind"]) != (_SCHEMA, kind):
        raise TornError("the manifest is of another schema or kind")
    # As text, because 1 == 1.0 == True and a tuple comes back as a list.
    if json.dumps(manifest["fields"], sort_keys=True) != json.dumps(dict(fields), sort_keys=True):
        raise TornError("the manifest is of another key")
    files = manifest["files"]
    if not isinstance(files, dict) or not all(map(_is_file_record, files.values())):
        raise TornError("the manifest's list of files is malformed")
    return files


def _is_file_record(record: object) -> bool:
    return (
        isinstance(record, dict)
        and set(record) == {"size", "sha256"}
        and type(record["size"]) is int
        and record["size"] >= 0
        and is_sha256(record["sha256"])
    )


def last_used(folder: Path) -> float:
    """When an entry was last read or made, in seconds since the epoch; 0 if that is unknown."""
    for path in (folder / MANIFEST, folder):
        with suppress(OSError):
            return path.lstat().st_mtime
    return 0.0


def lock_name(folder: Path) -> str:
    """Name the lock of the entry in `folder`."""
    return f"{folder.parent.parent.name}-{folder.name}"
