"""Models of MLflow's registry: ``models:/name/version`` or ``models:/name@alias``, through MLflow itself.

Where the registry is, and how one logs in, is what MLflow is told: ``MLFLOW_TRACKING_URI``,
``MLFLOW_REGISTRY_URI`` and the rest of its environment. An alias becomes the version that it means.

https://mlflow.org/docs/latest/ml/model-registry/
"""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from provenance._quiet import quiet
from provenance.checkpoints.folder import TOKENIZER_FILES
from provenance.checkpoints.loaders.names import needed, place_of
from provenance.checkpoints.loaders.web import told, written
from provenance.checkpoints.remote import RemoteFiles
from provenance.errors import SourceError, extra, one_line
from provenance.store.files import is_disk_full

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from provenance.vocabulary import ModelSpec

TOKENIZER = PurePosixPath("components/tokenizer")
"""Where MLflow's flavor for transformers keeps the tokenizer, beside the weights in ``model``."""
DEPTH, FOLDERS = 3, 100
"""How far below a version, and into how many folders, files are listed."""
_ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>[0-9]+)|@(?P<alias>[^/@]+))")


class MLflowLoader:
    """Satisfies `provenance.checkpoints.loaders.Loader`."""

    def look_up(self, spec: ModelSpec) -> RemoteFiles:
        """Find the version, and list its files; see `Loader`."""
        address = spec.url or ""
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise SourceError(
                f"{address} names no version of a model; write models:/NAME/VERSION or models:/NAME@ALIAS"
            )
        with _mlflow(address) as mlflow:
            pinned, state = _version(mlflow.MlflowClient(), **found.groupdict())
            sizes = _listing(mlflow, pinned)
        chosen = _chosen(sizes, spec, address)
        return RemoteFiles(
            address,
            tuple((place.name, str(place)) for place in chosen),
            tuple((place.name, sizes[place], state) for place in chosen),
            pinned,
        )

    def download(
        self,
        remote: RemoteFiles,
        folder: Path,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Bring the files to one folder, each of the size that was listed; see `Loader`."""
        staging = Path(tempfile.mkdtemp(dir=folder))
        done = 0
        try:
            for (name, place), (_, size, _) in zip(remote.files, remote.states, strict=True):
                with _mlflow(remote.url) as mlflow:
                    brought = mlflow.artifacts.download_artifacts(
                        artifact_uri=f"{remote.pinned}/{place}", dst_path=str(staging)
                    )
                file = Path(brought)
                if not file.is_file() or file.is_symlink() or file.stat().st_size != size:
                    raise SourceError(f"{remote.url}: {place} came in another size; try again")
                with written(f"{remote.url}: {place}"):
                    file.replace(folder / name)
                done += size
                told(progress, done, remote.size)
        finally:
            shutil.rmtree(staging)


LOADER = MLflowLoader()


@contextmanager
def _mlflow(address: str) -> Iterator[Any]:
    """MLflow, silent; what it raises becomes one line.

    Raises
    ------
    SourceError
        It is not installed, or cannot do what it is asked for.
    """
    logger = logging.getLogger("mlflow")
    level = logger.level
    try:
        with quiet():
            logger.setLevel(logging.CRITICAL + 1)
            import mlflow

            yield mlflow
    except ModuleNotFoundError as error:
        needs = f"{address} needs {error.name}, which is not installed"
        raise SourceError(f"{needs}: {extra('mlflow')}") from error
    except SourceError:
        raise
    # each of its stores has exceptions of its own: no server, no bucket, no such model
    except Exception as error:
        if is_disk_full(error):
            raise
        raise SourceError(f"{address} cannot be had from MLflow ({one_line(error)})") from error
    finally:
        logger.setLevel(level)


def _version(client: Any, name: str, version: str | None, alias: str | None) -> tuple[str, str]:
    """The address with the number of the version that is meant, and what tells a change of it."""
    if version is not None:
        found = client.get_model_version(name, version)
    else:
        found = client.get_model_version_by_alias(name, alias)
    return f"models:/{name}/{found.version}", f"{found.source} {found.creation_timestamp}"


def _listing(mlflow: Any, pinned: str) -> dict[PurePosixPath, int]:
    """The size of every file of a version that may be part of a checkpoint, by its place."""
    sizes: dict[PurePosixPath, int] = {}
    waiting = [""]
    for number in range(FOLDERS):
        if number == len(waiting):
            break
        below = waiting[number]
        where = f"{pinned}/{below}" if below else pinned
        for info in mlflow.artifacts.list_artifacts(artifact_uri=where):
            name = str(info.path).rstrip("/").rpartition("/")[2]
            place = place_of(f"{below}/{name}" if below else name, pinned)
            if not info.is_dir:
                sizes[place] = _size(info, place, pinned)
            elif len(place.parts) < DEPTH:
                waiting.append(str(place))
    return sizes


def _size(info: Any, place: PurePosixPath, pinned: str) -> int:
    if type(info.file_size) is not int or info.file_size < 0:
        raise SourceError(f"{pinned}: its store does not say how large {place} is")
    return int(info.file_size)


def _chosen(sizes: dict[PurePosixPath, int], spec: ModelSpec, address: str) -> list[PurePosixPath]:
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
