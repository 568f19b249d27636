"""Models of MLflow's registry: ``models:/name/version`` or ``models:/name@alias``.

Where the registry is, and how one logs in, is what MLflow is told: ``MLFLOW_TRACKING_URI``,
``MLFLOW_REGISTRY_URI`` and the rest of its environment. A server is asked over HTTP, and any other
registry through MLflow itself. An alias becomes the version that it means.

https://mlflow.org/docs/latest/ml/model-registry/
"""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from provenance.checkpoints.folder import TOKENIZER_FILES
from provenance.checkpoints.loaders.copying import told
from provenance.checkpoints.loaders.mlflow_package import Package
from provenance.checkpoints.loaders.mlflow_server import Server, server_of
from provenance.checkpoints.loaders.names import needed, place_of
from provenance.checkpoints.remote import RemoteFiles
from provenance.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from provenance.checkpoints.loaders.artifacts import Artifacts
    from provenance.vocabulary import ModelSpec

TOKENIZER = PurePosixPath("components/tokenizer")
"""Where MLflow's flavor for transformers keeps the tokenizer, beside the weights in ``model``."""
DEPTH, FOLDERS, FILES = 3, 100, 10_000
"""How far below a version, into how many folders, and how many files are listed."""
_ADDRESS = re.compile(
    r"models:/(?P<name>[^/@]+)(?:/(?P<version>[1-9][0-9]{0,17})|@(?P<alias>[^/@]+))"
)


class MLflowLoader:
    """Satisfies `provenance.checkpoints.loaders.Loader`."""

    def look_up(self, spec: ModelSpec) -> RemoteFiles:
        """Find the version, and list its files; see `Loader`."""
        address = spec.url or ""
        registry, name, (number, alias) = _registry(address)
        version, state = registry.version(name, number, alias)
        pinned = f"models:/{name}/{version}"
        sizes = _listing(registry.artifacts(name, version), pinned)
        chosen = _chosen(sizes, spec, address)
        return RemoteFiles(
            address,
            tuple((place.name, str(place)) for place in chosen),
            tuple((place.name, _size(sizes, place, pinned), state) for place in chosen),
            pinned,
        )

    def download(
        self,
        remote: RemoteFiles,
        folder: Path,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Bring the files to one folder, each of the size that was listed; see `Loader`."""
        registry, name, (version, _) = _registry(remote.pinned or remote.url)
        artifacts = registry.artifacts(name, str(version))
        done = 0
        for (name, place), (_, size, _) in zip(remote.files, remote.states, strict=True):
            artifacts.bring(place, folder / name, size)
            done += size
            told(progress, done, remote.size)


LOADER = MLflowLoader()


def _registry(address: str) -> tuple[Server | Package, str, tuple[str | None, str | None]]:
    """Where a version is registered, its name, and its version or alias."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise SourceError(
            f"{address} names no version of a model; write models:/NAME/VERSION or models:/NAME@ALIAS"
        )
    registry = server_of(os.environ) or Package(address)
    return registry, found["name"], (found["version"], found["alias"])


def _listing(artifacts: Artifacts, pinned: str) -> dict[PurePosixPath, int | None]:
    """The size of every file of a version that may be part of a checkpoint, by its place."""
    sizes: dict[PurePosixPath, int | None] = {}
    waiting = [""]
    for number in range(FOLDERS):
        if number == len(waiting) or len(sizes) > FILES:
            break
        below = waiting[number]
        for one in artifacts.below(below):
            place = place_of(f"{below}/{one.name}" if below else one.name, pinned)
            if not one.is_folder:
                sizes[place] = one.size
            elif len(place.parts) < DEPTH:
                waiting.append(str(place))
    return sizes


def _size(sizes: dict[PurePosixPath, int | None], place: PurePosixPath, pinned: str) -> int:
    size = sizes[place]
    if size is None:
        raise SourceError(f"{pinned}: its store does not say how large {place} is")
    return size


def _chosen(
    sizes: dict[PurePosixPath, int | None], spec: ModelSpec, address: str
) -> list[PurePosixPath]:
    """The files of the topmost folder that holds a checkpoint, and the tokenizer where it lies beside."""
    folders = sorted({place.parent for place in sizes}, key=lambda place: (len(place.parts), place))
    refused: SourceError | None = None
    for folder in folders:
        names = [place.name for place in sizes if place.parent == folder]
        try:
            chosen = needed(names, spec, address)
        except SourceError as error:
            refused = refused or error
            continue
        beside = [
            TOKENIZER / name
            for name in TOKENIZER_FILES
            if name not in chosen and TOKENIZER / name in sizes
        ]
        return [*(folder / name for name in chosen), *beside]
    raise refused or SourceError(f"{address} has no files")
