"""Where MLflow's artifacts lie: behind its server, or at a URL that fsspec reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from provenance.checkpoints.loaders.copying import copied, pieces_of, written
from provenance.checkpoints.loaders.names import is_plain
from provenance.checkpoints.loaders.web import answer, bring, listed_in, parsed
from provenance.checkpoints.urls import file_system_at, translated
from provenance.errors import SourceError
from provenance.store.objects import WHOLE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PROXIED = "mlflow-artifacts"


@dataclass(frozen=True)
class Listed:
    """A file or folder below a place; ``size`` is None of a folder, and where a store does not say it."""

    name: str
    is_folder: bool
    size: int | None


class Artifacts(Protocol):
    """The files of one version of a model, wherever MLflow keeps them."""

    def below(self, folder: str) -> list[Listed]:
        """List a folder, by its path from the root: "" is the root itself."""

    def bring(self, place: str, file: Path, size: int) -> None:
        """Bring a file of a known size."""


@dataclass(frozen=True)
class Proxied:
    """Artifacts that MLflow's server hands out, below ``root`` of its store."""

    server: str
    root: str
    headers: Mapping[str, str]

    def below(self, folder: str) -> list[Listed]:
        """Ask for the list of a folder; see `Artifacts`."""
        path = "/".join(part for part in (self.root, folder) if part)
        label = f"{self.server}: the artifacts in {path}"
        said = parsed(
            answer(f"{self._url}?{urlencode({'path': path})}", self.headers, label), label
        )
        found = []
        for fields in listed_in(said, "files", label):
            name = str(fields.get("path", "")).rstrip("/").rpartition("/")[2]
            size = fields.get("file_size")
            found.append(Listed(name, fields.get("is_dir") is True, number(size)))
        return found

    def bring(self, place: str, file: Path, size: int) -> None:
        """Download a file; see `Artifacts`."""
        label = f"{self.server}: {place}"
        path = quote("/".join(part for part in (self.root, place) if part))
        bring(f"{self._url}/{path}", self.headers, file, (size, None), label)

    @property
    def _url(self) -> str:
        return f"{self.server}/api/2.0/mlflow-artifacts/artifacts"


@dataclass(frozen=True)
class Stored:
    """Artifacts at a URL of an object store, or in a folder of this machine."""

    url: str

    def below(self, folder: str) -> list[Listed]:
        """List a folder; see `Artifacts`."""
        url = f"{self.url}/{folder}".rstrip("/")
        with translated(url):
            opened, path = file_system_at(url)
            return [
                Listed(
                    str(one["name"]).rstrip("/").rpartition("/")[2],
                    one["type"] == "directory",
                    number(one.get("size")),
                )
                for one in opened.ls(path, detail=True)
                if str(one["name"]).rstrip("/") != path.rstrip("/")
            ]

    def bring(self, place: str, file: Path, size: int) -> None:
        """Copy a file; see `Artifacts`."""
        url = f"{self.url}/{place}"
        with translated(url):
            opened, path = file_system_at(url)
            source = opened.open(path, "rb")
            with source, written(url):
                done, _ = copied(pieces_of(source), file, size)
        if done != size:
            raise SourceError(f"{url} came in another size than it is listed with; try again")


def artifacts_at(uri: str, server: str, headers: Mapping[str, str], label: str) -> Artifacts:
    """The artifacts at an address that MLflow's server names.

    Raises
    ------
    SourceError
        They lie where nothing is read from.
    """
    parts = urlsplit(uri)
    if parts.scheme == PROXIED:
        if parts.netloc and parts.netloc != urlsplit(server).netloc:
            raise SourceError(
                f"{label}: its artifacts are behind another server ({parts.netloc[:80]}); set "
                "MLFLOW_TRACKING_URI to that one"
            )
        return Proxied(server, _inside(parts.path.strip("/"), label), headers)
    if parts.scheme in set(WHOLE) - {"memory"}:
        return Stored(uri.rstrip("/"))
    if not parts.scheme and parts.path.startswith("/"):
        return Stored(f"file://{parts.path.rstrip('/')}")
    raise SourceError(
        f"{label}: its artifacts are at {uri[:200]!r}, which is not read; serve them with mlflow server "
        "--serve-artifacts, or name the folder itself"
    )


def _inside(path: str, label: str) -> str:
    if not all(is_plain(part) for part in path.split("/")):
        raise SourceError(f"{label}: {path[:80]!r} is no place of artifacts; it is refused")
    return path


def number(size: Any) -> int | None:
    """A size as JSON has it; protocol buffers write a large one as a text."""
    if isinstance(size, str) and size.isdecimal():
        return int(size[:20])
    return size if type(size) is int and size >= 0 else None
