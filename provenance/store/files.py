"""Files and folders: written whole, for whom they are meant, flushed, hashed, removed."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeGuard
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Callable


NAME = "pytest-provenance"
_SHA256 = re.compile(r"[0-9a-f]{64}")


def user_folder(kind: Literal["cache", "data"]) -> Path | None:
    """Where this user's files of a kind are kept; None where the user has no home folder."""
    import platformdirs

    find = {"cache": platformdirs.user_cache_dir, "data": platformdirs.user_data_dir}[kind]
    try:
        folder = Path(find(NAME))
    except RuntimeError:
        return None
    return folder if folder.is_absolute() else None  # older versions answer "~/.cache"


def write_whole(
    path: Path,
    content: bytes | str | Callable[[Path], object],
    *,
    mode: int = 0o600,
    new: bool = False,
) -> None:
    """Write a file so that whoever reads its folder finds all of it or what was there before.

    The content goes to a temporary file in the same folder, is flushed to the disk, and takes its
    place in one step. A symbolic link at ``path`` is replaced, not followed.

    Parameters
    ----------
    path : pathlib.Path
        The file. Missing folders are made, and can be read by whoever may read the file.
    content : bytes, str or callable
        A text is written as UTF-8, its line ends unchanged. A callable fills the file it is given.
    mode : int
        Permissions, less what the umask takes: 0o600 for the owner alone, 0o644 for all to read.
    new : bool
        Whether an existing file stays, and FileExistsError is raised.

    Raises
    ------
    OSError
        If the file cannot be written. Nothing is left beside it.
    """
    make_folder(path.parent, mode | (mode >> 2) & 0o111)
    temporary = path.with_name(f".{uuid4().hex}")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        allowed = stat.S_IMODE(temporary.stat().st_mode)
        if callable(content):
            content(temporary)
            temporary.chmod(allowed)  # it may have made another file in its place
        else:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        sync(temporary)
        if new:
            path.hardlink_to(temporary)
        else:
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_output(path: Path, text: str) -> None:
    """Write a file that a person named: whole, or to the device or the pipe that is there.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
    else:
        write_whole(path, text, mode=0o644)


def make_folder(folder: Path, mode: int = 0o700) -> None:
    """Make a folder and the missing ones above it, all of one mode: by default for the owner alone.

    pathlib gives the mode to the last folder, and to the others whatever the umask leaves.
    """
    try:
        folder.mkdir(mode=mode, exist_ok=True)
    except FileNotFoundError:
        if folder.parent == folder:
            raise
        make_folder(folder.parent, mode)
        folder.mkdir(mode=mode, exist_ok=True)


def for_owner(path: str, flags: int) -> int:
    """Open a file that its owner alone may read: an opener for `open`."""
    return os.open(path, flags, 0o600)


def restrict_to_owner(folder: Path) -> None:
    """Take every permission of group and others from a folder and all in it."""
    inner = (Path(at) / name for at, folders, files in os.walk(folder) for name in folders + files)
    for path in (folder, *inner):
        mode = path.lstat().st_mode
        if mode & 0o077 and not stat.S_ISLNK(mode):
            with suppress(PermissionError):  # a file system that has one mode for all
                path.chmod(stat.S_IMODE(mode) & 0o700)


def sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    if os.name == "nt" and path.is_dir():  # a folder cannot be opened there
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_sha256(text: object) -> TypeGuard[str]:
    """Whether something is a SHA-256 in hex."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex, without reading it into memory at once."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_state(path: Path) -> dict[str, str | int]:
    """Return what tells one state of a file from another without reading it."""
    status = path.stat()
    return {
        "path": str(path),
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,  # tools set mtime back; nobody sets ctime
        "inode": status.st_ino,
    }


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # removed by another process since it was listed
                total += (Path(parent) / name).lstat().st_size
    return total


def is_disk_full(error: Exception) -> bool:
    """Whether an error means that no room is left; libraries in other languages only say so in words."""
    full = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
    return getattr(error, "errno", None) in full or os.strerror(errno.ENOSPC) in str(error)


def remove(path: Path) -> None:
    """Remove a file or a folder; one that its owner has moved meanwhile is gone already."""
    with suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
