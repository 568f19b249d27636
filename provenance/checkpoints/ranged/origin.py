"""Where ranges are read: files of a known size and state, and what can go wrong with one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from provenance.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provenance.store.store import JSON

SIDE_BY_SIDE = 8
"""Requests that run at once."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of which parts can be read.

    Attributes
    ----------
    name : str
        Within the checkpoint: ``model-00001-of-00002.safetensors``.
    size : int
        In bytes.
    state : str
        What is another where the bytes are: a commit, an ETag, a time of change.
    sha256 : str or None
        Of all its bytes, in hex, where whoever keeps the file says so.
    """

    name: str
    size: int
    state: str
    sha256: str | None = None


class BrokenError(Exception):
    """A read that broke off and may be tried again; ``data`` is what came of it.

    ``wait`` is how many seconds the server asks for before that.
    """

    def __init__(self, message: str, data: bytes = b"", wait: float | None = None) -> None:
        super().__init__(message)
        self.data = data
        self.wait = wait


class ChangedError(SourceError):
    """A file changed while parts of it were read, so that they do not belong together."""

    def __init__(self, where: str) -> None:
        super().__init__(f"{where} changed while it was read; run again once it is complete")


class Origin(Protocol):
    """Files of one checkpoint, wherever they are.

    Attributes
    ----------
    source : str
        For messages.
    identity : JSON
        What, with a file's name and state, says which bytes these are.
    files : mapping of str to RemoteFile
        By name.
    keeps : bool
        Whether what is read is worth keeping: of files on this machine it is not.
    """

    source: str
    identity: JSON
    files: Mapping[str, RemoteFile]
    keeps: bool

    def read(self, file: RemoteFile, start: int, stop: int) -> bytes:
        """Read the bytes from ``start`` up to ``stop``; several threads do.

        Raises
        ------
        BrokenError
            The read broke off.
        SourceError
            It cannot be done: refused, not there, changed, or answered with other bytes.
        """

    def check(self, file: RemoteFile) -> None:
        """Raise `ChangedError` if a file is not in its state any more, where reads do not show it."""
