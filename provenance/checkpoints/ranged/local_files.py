"""The files of a checkpoint on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.checkpoints.ranged.origin import ChangedError, RemoteFile
from provenance.errors import SourceError
from provenance.store.files import file_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from provenance.store.store import JSON


class LocalFiles:
    """Satisfies `provenance.checkpoints.ranged.origin.Origin`.

    Parameters
    ----------
    folder : pathlib.Path
        Where they are.
    names : iterable of str
        Those of which parts are read.
    """

    keeps = False

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self.source = str(folder)
        self.identity: JSON = {"folder": str(folder)}
        self._folder = folder
        self.files: Mapping[str, RemoteFile] = {name: self._look(name) for name in names}

    def read(self, file: RemoteFile, start: int, stop: int) -> bytes:
        """Read a range; see `Origin`."""
        place = self._folder / file.name
        try:
            with place.open("rb") as opened:
                opened.seek(start)
                data = opened.read(stop - start)
        except OSError as error:
            raise SourceError(f"{place} cannot be read: {error.strerror or error}") from error
        if len(data) < stop - start:
            raise ChangedError(str(place))
        return data

    def check(self, file: RemoteFile) -> None:
        """Look at the size and the times of a file again."""
        if self._look(file.name) != file:
            raise ChangedError(str(self._folder / file.name))

    def _look(self, name: str) -> RemoteFile:
        place = self._folder / name
        try:
            real = place.resolve(strict=True)
            known = file_state(real)
            size = real.stat().st_size
        except OSError as error:
            raise SourceError(f"{place} cannot be read: {error.strerror or error}") from error
        return RemoteFile(name, size, " ".join(f"{key}={known[key]}" for key in sorted(known)))
