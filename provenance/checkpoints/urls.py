"""Checkpoints in object stores and on other file systems, through fsspec."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from provenance.checkpoints.folder import INDEX
from provenance.checkpoints.formats import no_weights, read_weight_map, unwanted, wanted
from provenance.checkpoints.remote import RemoteFiles
from provenance.errors import SourceError
from provenance.store.objects import BACKENDS, backend_message, check_url, file_system

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from provenance.vocabulary import ModelSpec

CHUNK = 2**20
_CHANGES = ("ETag", "etag", "md5Hash", "md5", "generation", "LastModified", "mtime", "created")


def look_up(spec: ModelSpec) -> RemoteFiles:
    """List the files at a URL that are needed, without reading any.

    Raises
    ------
    SourceError
        The URL has a protocol that is not read, its library is absent, nothing to load is there, or
        the files cannot be listed.
    """
    url = spec.url or ""
    with translated(url):
        opened, entries = opened_at(url)
        names = wanted(
            list(entries), allow_pickle=spec.allow_pickle, trust_remote_code=spec.trust_remote_code
        )
        if names is None:
            raise SourceError(f"{url} {no_weights(sorted(entries))}")
        chosen = [name for name in sorted(entries) if is_chosen(name, names, unwanted(names))]
        for name in chosen:
            if entries[name].get("size") is None:  # a web page lists names alone
                entries[name] = entries[name] | opened.info(entries[name]["name"])
            if entries[name].get("size") is None:
                raise SourceError(f"{url}: its server does not say how large {name} is")
        states = [(name, int(entries[name]["size"]), state_of(entries[name])) for name in chosen]
    return RemoteFiles(url, tuple((name, entries[name]["name"]) for name in chosen), tuple(states))


def opened_at(url: str) -> tuple[Any, dict[str, dict[str, Any]]]:
    """Open the file system of a URL; return it with its entries for the files there, by name.

    Raises
    ------
    SourceError
        As `look_up`.
    """
    with translated(url):
        opened, path = file_system_at(url)
        return opened, _listing(opened, path)


def download(
    remote: RemoteFiles, folder: Path, progress: Callable[[int, int], None] | None = None
) -> None:
    """Download the files of a URL to a folder; of shards only those that the index lists.

    Raises
    ------
    SourceError
        A file cannot be read, or comes in another size than it was listed with.
    """
    total, done = remote.size, 0
    sizes = {name: size for name, size, _ in remote.states}
    with translated(remote.url):
        opened, _ = file_system_at(remote.url)
        # the index first, which says what else is needed
        for name, path in sorted(remote.files, key=lambda file: file[0] != INDEX):
            if _is_needless(name, folder):
                continue
            with opened.open(path, "rb") as source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target, CHUNK)
            done += sizes[name]
            if (folder / name).stat().st_size != sizes[name]:
                raise SourceError(
                    f"{remote.url}: {name} came in another size than it is listed with; try again"
                )
            if progress is not None:
                progress(done, total)


def _is_needless(name: str, folder: Path) -> bool:
    """Whether a file is a shard that the downloaded index does not list."""
    if not name.endswith(".safetensors") or not (folder / INDEX).is_file():
        return False
    return name not in read_weight_map(folder / INDEX).values()


def file_system_at(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there.

    Raises
    ------
    SourceError
        The URL has a protocol that is not read, or its library is absent.
    """
    check_url(url, BACKENDS, "is of no kind that is read", SourceError)
    return file_system(url, SourceError)


def _listing(opened: Any, path: str) -> dict[str, dict[str, Any]]:
    """The files right below a path by name; of a file, itself."""
    entries = opened.ls(path, detail=True)
    files = [entry for entry in entries if entry["type"] == "file"]
    return {_name(entry["name"]): entry for entry in files if _name(entry["name"])}


def _name(path: str) -> str:
    name = path.rstrip("/").rpartition("/")[2]
    return "" if "\\" in name or name in {".", ".."} else name


def is_chosen(name: str, patterns: list[str], others: list[str]) -> bool:
    """Whether a file matches one of the patterns, and none of the others."""
    is_left = any(fnmatchcase(name, pattern) for pattern in others)
    return not is_left and any(fnmatchcase(name, pattern) for pattern in patterns)


def state_of(entry: dict[str, Any]) -> str:
    """What an entry of a file system says that is another where the file is."""
    return " ".join(f"{key}={entry[key]}" for key in _CHANGES if entry.get(key) is not None)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn what file systems raise into one line that says what to do."""
    try:
        yield
    except SourceError:
        raise
    except FileNotFoundError as error:
        raise SourceError(f"there is nothing at {url}; check the address") from error
    except PermissionError as error:
        raise SourceError(
            f"{url}: access is refused; check the credentials in the environment"
        ) from error
    # every backend has exceptions of its own: no credentials, no route, no bucket
    except Exception as error:
        raise SourceError(f"{url} cannot be read ({backend_message(error)})") from error
