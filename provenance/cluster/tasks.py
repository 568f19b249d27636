"""What is run on a node of a cluster: one task a call, its result in the store.

A process of Ray's runs many tasks, and opens each model once for all of them.
"""

from __future__ import annotations

import os
import socket
from contextlib import chdir
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from provenance.comparison.executor import Executor
from provenance.comparison.plan import Capture, Comparison
from provenance.comparison.records import versions
from provenance.errors import ProvenanceError, StoreError, release_frames
from provenance.recipes import Recipe, register, with_ancestors
from provenance.store.store import Store
from provenance.vocabulary import DistillSettings, Memory, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Task = ModelSpec | Capture | Comparison
"""A model to be opened, what is to be computed of it, or two to be compared."""


class UnlikeError(ProvenanceError):
    """A node that would give other results than this machine, or cannot write to its store."""


@dataclass(frozen=True)
class Settings:
    """What makes an executor of a node the equal of the one that made the plan.

    ``token`` names a note in the store while the plan runs: a node that reads it has the same store.
    ``recipes`` are those of the plan's models: a conftest.py registers them in its own process alone.
    """

    store: str
    token: str
    device: str
    distillation: DistillSettings
    memory: Memory
    folder: str
    versions: tuple[tuple[str, str], ...]
    recipes: tuple[Recipe, ...] = ()

    @classmethod
    def of(cls, executor: Executor, token: str, models: Iterable[ModelSpec] = ()) -> Settings:
        """The settings of an executor of this process, and the recipes of the models."""
        return cls(
            executor.store.place,
            token,
            executor.device,
            executor.distillation,
            executor.memory,
            str(Path.cwd()),
            tuple(sorted(versions().items())),
            with_ancestors(spec.recipe for spec in models if spec.recipe is not None),
        )


def perform(settings: Settings, task: Task, *, on_cpu: bool) -> ProvenanceError | None:
    """Run a task; an error that is a user's to mend is its result."""
    if on_cpu:
        # Ray will stop to hide GPUs from tasks that did not ask for one
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        executor = _executor(settings)
        with chdir(settings.folder if Path(settings.folder).is_dir() else Path.cwd()):
            if isinstance(task, ModelSpec):
                executor.checkpoint(task)
            elif isinstance(task, Capture):
                executor.capture(task)
            else:
                executor.ensure(task)
    except ProvenanceError as error:
        release_frames(error)
        return error
    return None


@lru_cache(maxsize=1)
def _executor(settings: Settings) -> Executor:
    host = socket.gethostname()
    try:
        store = Store(settings.store)
        has_token = store.notes.read(settings.token) is not None
    except StoreError as error:
        raise UnlikeError(f"{host}: {error}") from error
    if not has_token:
        raise UnlikeError(
            f"{host} does not see the store {settings.store}: --provenance-store must name a folder that "
            "all nodes share, or a URL that leads all of them to the same place"
        )
    differ = _differences(dict(settings.versions), versions())
    if differ:
        raise UnlikeError(f"{host} has other versions, and would give other evidence: {differ}")
    register(settings.recipes)
    return Executor(store, settings.device, None, settings.distillation, settings.memory)


def _differences(planned: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Versions of this node that are not those of the machine that made the plan."""
    return ", ".join(
        f"{name} {here.get(name)} where this machine has {version}"
        for name, version in planned.items()
        if here.get(name) != version
    )
