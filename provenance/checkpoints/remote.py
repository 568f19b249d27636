"""What is known of the files of a model that are somewhere else, before any of them is brought."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFiles:
    """The files at an address that a checkpoint needs.

    Attributes
    ----------
    url : str
        The address.
    files : tuple of tuple
        The name and the place of each file.
    states : tuple of tuple
        The name of each file, its size in bytes, and what tells a change: a digest, an ETag, a time.
    pinned : str or None
        An address that means these very files, whatever becomes of a tag or an alias; None where the
        address has no such form.
    """

    url: str
    files: tuple[tuple[str, str], ...]
    states: tuple[tuple[str, int, str], ...]
    pinned: str | None = None

    @property
    def size(self) -> int:
        """The bytes of all files together."""
        return sum(size for _, size, _ in self.states)
