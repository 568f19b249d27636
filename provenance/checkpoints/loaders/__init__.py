"""Brings models from where teams keep them, by the scheme of their address: a plug-in for each scheme.

::

    "ollama:llama3.2:1b" --loader_of--> Loader --look_up--> RemoteFiles --download--> a folder

A distribution adds a scheme by an entry point of the group `GROUP`, whose name is the scheme and whose
object is a `Loader`. What is here is registered in the same form. A loader is imported when an address of
its scheme is opened; what it needs besides is an extra.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Protocol

from provenance.errors import SourceError, one_line
from provenance.store.objects import BACKENDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from provenance.checkpoints.remote import RemoteFiles
    from provenance.vocabulary import ModelSpec

GROUP = "provenance.loaders"
_SCHEME = re.compile(r"([a-z][a-z0-9]+):\S+", re.ASCII)
_RESERVED = frozenset({"recipe", "path", "repo", "hf", *BACKENDS})
"""What stands before a colon elsewhere: no plug-in takes its place."""

OWN = tuple(
    EntryPoint(scheme, f"{__name__}.{module}:LOADER", GROUP)
    for scheme, module in {
        "models": "mlflow",
        "modelscope": "modelscope",
        "oci": "oci",
        "ollama": "ollama",
    }.items()
)
"""The loaders of this package."""


class Loader(Protocol):
    """Finds and brings the files of models at addresses of one scheme.

    Whoever keeps them may be a stranger: digests are checked, sizes bounded, and names are plain.
    """

    def look_up(self, spec: ModelSpec) -> RemoteFiles:
        """List what a checkpoint needs of the files at ``spec.url``, without bringing any.

        Raises
        ------
        SourceError
            In one line: the address is none, nothing to load is there, or it cannot be listed.
        """

    def download(
        self,
        remote: RemoteFiles,
        folder: Path,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Bring these files to an empty folder; ``progress`` is told of bytes, done and in all.

        Raises
        ------
        SourceError
            In one line; what is in the folder is then thrown away.
        """


def scheme_of(address: str) -> str | None:
    """The scheme of an address that a loader brings; None of anything else."""
    found = _SCHEME.fullmatch(address)
    return found[1] if found is not None and found[1] in _registered() else None


def loader_of(address: str) -> Loader | None:
    """The loader of an address; None where it is of no scheme that has one.

    Raises
    ------
    SourceError
        If a plug-in cannot be imported, or is no loader.
    """
    scheme = scheme_of(address)
    if scheme is None:
        return None
    point = _registered()[scheme]
    try:
        loader: Loader = point.load()
    except Exception as error:  # a plug-in may be broken in any way
        raise SourceError(
            f"{address}: the plug-in {point.value} cannot be loaded: {one_line(error)}"
        ) from error
    if not all(callable(getattr(loader, name, None)) for name in ("look_up", "download")):
        raise SourceError(f"{address}: {point.value} has no look_up and download: it is no loader")
    return loader


def loader_at(spec: ModelSpec) -> Loader:
    """What brings the files at a spec's address: a plug-in, else fsspec.

    Raises
    ------
    SourceError
        As `loader_of`.
    """
    found = loader_of(spec.url or "")
    if found is not None:
        return found
    from provenance.checkpoints import urls

    return urls


@cache
def _registered() -> Mapping[str, EntryPoint]:
    """The loaders by their schemes; nobody's plug-in takes the place of one of ours."""
    others = {point.name: point for point in entry_points(group=GROUP)}
    return {
        scheme: point
        for scheme, point in (others | {point.name: point for point in OWN}).items()
        if scheme not in _RESERVED
    }
