"""The files of a checkpoint below an https URL, which nobody lists: the names that one has are tried."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from provenance._threads import spread
from provenance.checkpoints.folder import CONFIG, INDEX, INDEX_LIMIT, SINGLE, TOKENIZER_FILES
from provenance.checkpoints.formats import is_gguf
from provenance.checkpoints.ranged.http import get_range, look
from provenance.checkpoints.ranged.origin import SIDE_BY_SIDE, ChangedError, RemoteFile
from provenance.checkpoints.ranged.patience import patiently
from provenance.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provenance.store.store import JSON


class WebFiles:
    """Satisfies `provenance.checkpoints.ranged.origin.Origin`.

    Parameters
    ----------
    url : str
        Of the folder, or of a GGUF file.

    Raises
    ------
    SourceError
        Nothing to load is there, or the server refuses or cannot be reached.
    """

    keeps = True

    def __init__(self, url: str) -> None:
        self.source = url
        self._base, name = url.rstrip("/"), url.rpartition("/")[2]
        if is_gguf(name):
            self._base = self._base.rpartition("/")[0]
        self.identity: JSON = {"url": self._base}
        self.files: Mapping[str, RemoteFile] = (
            self._found([name])
            if is_gguf(name)
            else self._found([CONFIG, INDEX, SINGLE, *TOKENIZER_FILES])
        )
        if INDEX in self.files and SINGLE not in self.files:
            self.files = {**self.files, **self._found(self._shards(self.files[INDEX]))}

    def read(self, file: RemoteFile, start: int, stop: int) -> bytes:
        """Read a range; see `Origin`."""
        held = file.state.startswith(
            '"'
        )  # a weak ETag promises no equal bytes, and is compared alone
        headers = {"If-Match": file.state} if held else {}
        label = self._url(file.name)
        data, state = get_range(label, (start, stop), file.size, headers, label)
        if state != file.state:
            raise ChangedError(label)
        return data

    def check(self, file: RemoteFile) -> None:
        """Each answer has told whether it changed."""

    def _url(self, name: str) -> str:
        return f"{self._base}/{name}"

    def _found(self, names: Iterable[str]) -> dict[str, RemoteFile]:
        found = spread(self._look, dict.fromkeys(names), SIDE_BY_SIDE)
        return {file.name: file for file in found if file is not None}

    def _look(self, name: str) -> RemoteFile | None:
        url = self._url(name)
        answer = patiently(lambda: look(url, {}, url))
        return None if answer is None else RemoteFile(name, answer.size, answer.etag)

    def _shards(self, index: RemoteFile) -> list[str]:
        where = self._url(INDEX)
        if index.size > INDEX_LIMIT:
            raise SourceError(
                f"{where} is {index.size:,} bytes; more than {INDEX_LIMIT:,} is refused"
            )
        data = patiently(lambda: self.read(index, 0, index.size)) if index.size else b""
        try:
            names = json.loads(data)["weight_map"].values()
            return [name for name in dict.fromkeys(names) if _is_plain(name)]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SourceError(
                f"{where} has no 'weight_map' of file names; save the checkpoint again"
            ) from error


def _is_plain(name: object) -> bool:
    """Whether a name is that of a file right here; `formats` says what is wrong with others."""
    return isinstance(name, str) and name not in {".", ".."} and not set(name) & set("/\\?#:")
