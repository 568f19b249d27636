"""A registry that MLflow itself opens: on disk, in a database, or at Databricks."""

from __future__ import annotations

import logging
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance._quiet import quiet
from provenance.checkpoints.loaders.artifacts import Listed, number
from provenance.checkpoints.loaders.copying import written
from provenance.errors import SourceError, extra, one_line
from provenance.store.files import is_disk_full

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.checkpoints.loaders.artifacts import Artifacts


@dataclass(frozen=True)
class Package:
    """The registry that the environment names, asked through MLflow."""

    address: str

    def version(self, name: str, version: str | None, alias: str | None) -> tuple[str, str]:
        """The number of the version that is meant, and what tells a change of it.

        Raises
        ------
        SourceError
            MLflow is not installed, or cannot say.
        """
        with _mlflow(self.address) as mlflow:
            client = mlflow.MlflowClient()
            if version is not None:
                found = client.get_model_version(name, version)
            else:
                found = client.get_model_version_by_alias(name, alias)
            return str(found.version), f"{found.source} {found.creation_timestamp}"

    def artifacts(self, name: str, version: str) -> Artifacts:
        """Where the files of a version are."""
        return _Artifacts(self.address, f"models:/{name}/{version}")


@dataclass(frozen=True)
class _Artifacts:
    """Satisfies `provenance.checkpoints.loaders.artifacts.Artifacts`."""

    address: str
    pinned: str

    def below(self, folder: str) -> list[Listed]:
        where = f"{self.pinned}/{folder}" if folder else self.pinned
        with _mlflow(self.address) as mlflow:
            return [
                Listed(
                    str(one.path).rstrip("/").rpartition("/")[2], one.is_dir, number(one.file_size)
                )
                for one in mlflow.artifacts.list_artifacts(artifact_uri=where)
            ]

    def bring(self, place: str, file: Path, size: int) -> None:
        staging = Path(tempfile.mkdtemp(dir=file.parent))
        try:
            with _mlflow(self.address) as mlflow:
                brought = mlflow.artifacts.download_artifacts(
                    artifact_uri=f"{self.pinned}/{place}", dst_path=str(staging)
                )
            found = Path(brought)
            if not found.is_file() or found.is_symlink() or found.stat().st_size != size:
                raise SourceError(f"{self.address}: {place} came in another size; try again")
            with written(f"{self.address}: {place}"):
                found.replace(file)
        finally:
            shutil.rmtree(staging)


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
        raise SourceError(
            f"{needs}: {extra('mlflow')}; or set MLFLOW_TRACKING_URI to a server, which needs none"
        ) from error
    except SourceError:
        raise
    # each of its stores has exceptions of its own: no server, no bucket, no such model
    except Exception as error:
        if is_disk_full(error):
            raise
        raise SourceError(f"{address} cannot be had from MLflow ({one_line(error)})") from error
    finally:
        logger.setLevel(level)
