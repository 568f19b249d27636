"""Objects at a URL, read and put through fsspec; every error is one line."""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from provenance.errors import ProvenanceError, StoreError, extra, one_line
from provenance.store.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

BACKENDS = {
    "abfs": "azure",
    "abfss": "azure",
    "az": "azure",
    "file": None,
    "ftp": None,
    "gcs": "gcs",
    "gs": "gcs",
    "hdfs": None,
    "http": None,
    "https": None,
    "memory": None,
    "s3": "s3",
    "s3a": "s3",
    "sftp": None,
    "webhdfs": None,
}
"""Allowed protocols, and the extra that installs their library. Others can run commands, or chain."""

WHOLE = ("abfs", "abfss", "az", "file", "gcs", "gs", "memory", "s3", "s3a")
"""Protocols whose puts are atomic, as a store needs."""

CHUNK = 2**23
PAUSE = 0.5
_USER = re.compile(r"://[^/\s@]*@")


def check_url(url: str, known: Collection[str], what: str, error: type[ProvenanceError]) -> None:
    """Refuse a URL that may not be opened, without opening it.

    Parameters
    ----------
    url : str
        As a person wrote it.
    known : collection of str
        The protocols that may be used.
    what : str
        What is wrong with other protocols, such as "is of no kind that is read".
    error : type
        The class to raise: one line, without anything that may be a secret.
    """
    parts = urlsplit(url)
    if "::" in url or parts.scheme not in known:
        raise error(
            f"{_USER.sub('://', url)} {what}; there are {', '.join(f'{one}://' for one in known)}"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise error(
            f"{parts.scheme}://{parts.hostname}{parts.path} must be given without user, password "
            "and query; give credentials by the environment"
        )


def file_system(url: str, error: type[ProvenanceError]) -> tuple[Any, str]:
    """Open the file system of a checked URL; return it with the path there."""
    import fsspec

    try:
        # a new instance, since the listing of a former one may be old
        opened, path = fsspec.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as problem:
        name = BACKENDS[urlsplit(url).scheme]
        remedy = extra(name) if name else "install it"
        raise error(f"{url}: {one_line(problem)}: {remedy}") from problem
    return opened, str(path)


def backend_message(problem: Exception) -> str:
    """Say what an error of a backend says, in one line and without a password of a URL."""
    return f"{type(problem).__name__}: {_USER.sub('://', one_line(problem))}"


class Objects:
    """The objects below a URL that a store is at.

    Parameters
    ----------
    url : str
        Of a protocol of `WHOLE`, without credentials.

    Raises
    ------
    StoreError
        If it is not that.

    Notes
    -----
    The file system is opened at the first use, once in each process. Every refusal of the service is a
    StoreError of one line.
    """

    def __init__(self, url: str) -> None:
        what = "cannot hold a store, which needs puts that are there as a whole or not at all"
        check_url(url, WHOLE, what, StoreError)
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        if not parts.netloc and not parts.path:
            raise StoreError(f"{url} names no bucket or folder; write {parts.scheme}://NAME/PREFIX")
        self._opened: tuple[int, Any, str] | None = None

    def read(self, name: str, limit: int) -> bytes | None:
        """Return the first ``limit + 1`` bytes of an object; None where there is none."""
        opened, path = self._at(name)
        with self._translated(), suppress(FileNotFoundError), opened.open(path, "rb") as file:
            data: bytes = file.read(limit + 1)
            return data
        return None

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the pieces of an object; none where there is no object."""
        opened, path = self._at(name)
        with self._translated():
            try:
                file = opened.open(path, "rb")
            except FileNotFoundError:
                return
        with file:
            while True:
                with self._translated():
                    chunk: bytes = file.read(CHUNK)
                if not chunk:
                    return
                yield chunk

    def put(self, name: str, source: Path) -> None:
        """Put a file, and replace what is there."""
        opened, path = self._at(name)
        with self._translated():
            if self._is_folder:
                write_whole(Path(path), partial(shutil.copyfile, source))
            else:
                opened.put_file(str(source), path)

    def write(self, name: str, data: bytes) -> None:
        """Put bytes, and replace what is there."""
        opened, path = self._at(name)
        with self._translated():
            if self._is_folder:
                write_whole(Path(path), data)
            else:
                opened.pipe_file(path, data)

    def create(self, name: str, data: bytes) -> bool:
        """Put bytes unless something is there; return whether they were put."""
        opened, path = self._at(name)
        with self._translated():
            try:
                self._create(opened, path, data)
            except FileExistsError:
                return False
            except (FileNotFoundError, PermissionError):
                raise
            except Exception:  # noqa: BLE001 - every backend has exceptions of its own
                # if two put at once, S3 answers one with a conflict; others do not say what failed
                time.sleep(PAUSE)
                if opened.exists(path):
                    return False
                self._create(opened, path, data)
        return True

    def _create(self, opened: Any, path: str, data: bytes) -> None:
        if self._is_folder:
            write_whole(Path(path), data, new=True)
        else:
            opened.pipe_file(path, data, mode="create")

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the sizes in bytes of all objects below ``prefix/``, by their names below it."""
        opened, path = self._at(prefix)
        with self._translated():
            try:
                listed = opened.find(path, detail=True)
            except FileNotFoundError:
                return {}
        below = path.strip("/") + "/"
        named = {name.strip("/"): int(info["size"] or 0) for name, info in listed.items()}
        return {
            name.removeprefix(below): size for name, size in named.items() if name.startswith(below)
        }

    def remove(self, name: str) -> None:
        """Remove an object, if there is one."""
        opened, path = self._at(name)
        with self._translated(), suppress(FileNotFoundError):
            opened.rm_file(path)

    @property
    def _is_folder(self) -> bool:
        return self.url.startswith("file:")

    def _at(self, name: str) -> tuple[Any, str]:
        """Return the file system, opened by this process, and the path of an object there."""
        if self._opened is None or self._opened[0] != os.getpid():
            with self._translated():
                self._opened = (os.getpid(), *file_system(self.url, StoreError))
        _, opened, path = self._opened
        return opened, f"{path.rstrip('/')}/{name}"

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ProvenanceError:
            raise
        except FileNotFoundError as error:
            raise StoreError(
                f"cannot use the store {self.url}: there is no such bucket; make it, or check the address"
            ) from error
        except PermissionError as error:
            raise StoreError(
                f"cannot use the store {self.url}: access is refused; check the credentials in the "
                "environment"
            ) from error
        # every backend has exceptions of its own: no credentials, no route, no answer
        except Exception as error:
            raise StoreError(
                f"cannot use the store {self.url} ({backend_message(error)}); check the network, and "
                "the credentials and the endpoint in the environment"
            ) from error
