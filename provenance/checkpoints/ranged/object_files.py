"""The files of a checkpoint in an object store or on another file system, through fsspec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance._threads import spread
from provenance.checkpoints.ranged.origin import (
    SIDE_BY_SIDE,
    BrokenError,
    ChangedError,
    RemoteFile,
)
from provenance.checkpoints.urls import opened_at, state_of, translated
from provenance.errors import SourceError
from provenance.store.objects import backend_message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provenance.store.store import JSON


OF_USE = (".safetensors", ".json", ".gguf", ".txt", ".model")
"""How the names of files end that a checkpoint is read from."""


class ObjectFiles:
    """Satisfies `provenance.checkpoints.ranged.origin.Origin`.

    Parameters
    ----------
    url : str
        Of the folder, or of a GGUF file.

    Raises
    ------
    SourceError
        As `provenance.checkpoints.urls.look_up`.
    """

    keeps = True

    def __init__(self, url: str) -> None:
        self.source = url
        self._opened, entries = opened_at(url)
        self._paths = {name: str(entry["name"]) for name, entry in entries.items()}
        self.identity: JSON = {"url": url.rstrip("/")}
        # not as they were listed: some file systems tell of one file in other words than of many
        of_use = [name for name in entries if name.endswith(OF_USE)]
        self.files: Mapping[str, RemoteFile] = {
            file.name: file for file in spread(self._look, of_use, SIDE_BY_SIDE)
        }

    def read(self, file: RemoteFile, start: int, stop: int) -> bytes:
        """Read a range; see `Origin`."""
        where = f"{self.source}: {file.name}"
        try:
            data = bytes(self._opened.cat_file(self._paths[file.name], start=start, end=stop))
        except (FileNotFoundError, PermissionError) as error:
            raise SourceError(f"{where} cannot be read any more: {error}") from error
        # every backend has exceptions of its own: no route, no answer
        except Exception as error:
            raise BrokenError(f"{where} cannot be read ({backend_message(error)})") from error
        if len(data) > stop - start:
            raise SourceError(
                f"{where}: {len(data):,} bytes came where {stop - start:,} were asked for; the service "
                "answers no ranges: compare without --sample"
            )
        if len(data) < stop - start:
            self.check(file)
            raise BrokenError(f"{where} broke off after {len(data):,} bytes", data)
        return data

    def check(self, file: RemoteFile) -> None:
        """Ask for the state of a file again."""
        if self._look(file.name) != file:
            raise ChangedError(f"{self.source}: {file.name}")

    def _look(self, name: str) -> RemoteFile:
        with translated(self.source):
            entry = self._opened.info(self._paths[name])
        return RemoteFile(name, int(entry["size"] or 0), state_of(entry))
