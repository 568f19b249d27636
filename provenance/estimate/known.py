"""What is there before a run: models on this machine, what the store keeps, what the hub lists.

Nothing here makes, downloads or loads a model, and no large file is read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from provenance.checkpoints.hub import cached_snapshot
from provenance.comparison.executor import Executor
from provenance.comparison.models import Models
from provenance.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from provenance.store.store import JSON, Entry, Kind
    from provenance.vocabulary import Memory, ModelSpec


class AbsentError(Exception):
    """The store does not hold what would now be computed, or brought."""


class ReadStore(Store):
    """A store in which nothing is made."""

    def get_or_create(
        self,
        kind: Kind,
        fields: Mapping[str, JSON],
        build: Callable[[Path], None],  # noqa: ARG002
        on_wait: Callable[[], None] | None = None,  # noqa: ARG002
        *,
        here: bool = False,  # noqa: ARG002
    ) -> Entry:
        """Return the entry of a key.

        Raises
        ------
        AbsentError
            If there is none.
        """
        entry = self.get(kind, fields)
        if entry is None:
            raise AbsentError(kind)
        return entry


class _Models(Models):
    """Checkpoints that are there."""

    def _place(self, spec: ModelSpec) -> tuple[Path, ModelSpec]:
        if spec.repo is None:
            return super()._place(spec)
        folder = cached_snapshot(spec)
        if folder is None:
            raise AbsentError(spec.source)
        return folder, replace(spec, revision=folder.name)

    def _fetched(self, spec: ModelSpec) -> NoReturn:
        raise AbsentError(spec.source)  # telling whether it changed is work of a run


class Known(Executor):
    """An executor that computes nothing: what it is asked for is there, or `AbsentError` is raised."""

    def __init__(self, store: Store, device: str, memory: Memory) -> None:
        super().__init__(ReadStore(store.place), device, None, None, memory)
        self._models = _Models(self.store, self._tell, device)
