"""A model's spec to verified local files: found, downloaded, made on the spot, or converted.

What is made or converted is kept in the store, under all that it depends on. Nothing here imports
torch, unless there is something to make or to convert that the store does not hold.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from provenance import recipes
from provenance._tensors import hash_tensors
from provenance.sources import Checkpoint, fetch, open_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provenance.store import JSON, Entry, Store
    from provenance.vocabulary import ModelSpec

Action = Literal["make", "download", "load", "capture", "match", "wait"]


@dataclass(frozen=True)
class Stage:
    """Progress of long work: ``done`` of ``total`` steps of one action on one subject."""

    action: Action
    subject: str
    done: int = 0
    total: int = 0


class Models:
    """Checkpoints by their specs, each opened once.

    Parameters
    ----------
    store : Store
        Keeps what is made and what was hashed.
    tell : callable
        Told of progress.
    """

    def __init__(self, store: Store, tell: Callable[[Stage], None]) -> None:
        self.store = store
        self._tell = tell
        self._opened: dict[ModelSpec, Checkpoint] = {}

    def checkpoint(self, spec: ModelSpec) -> Checkpoint:
        """Verified local files of a model: made, downloaded or found.

        Raises
        ------
        SourceError
            If they cannot be had or cannot be trusted.
        """
        if spec not in self._opened:
            self._opened[spec] = self._open(*self._folder(spec))
        return self._opened[spec]

    def _open(self, folder: Path, spec: ModelSpec) -> Checkpoint:
        return open_folder(folder, spec, self.store.sha256, self._tensor_hashes)

    def _tensor_hashes(self, file: Path) -> Mapping[str, str]:
        text = self.store.remembered(file, "tensors", lambda real: json.dumps(hash_tensors(real)))
        found: dict[str, str] = json.loads(text)
        return found

    def _folder(self, spec: ModelSpec) -> tuple[Path, ModelSpec]:
        if spec.disguised:
            return self._disguised(spec).path, spec
        if spec.recipe is not None:
            return self._made(spec.recipe).path, spec
        if spec.path is not None:
            return Path(spec.path).expanduser(), spec
        self._tell(Stage("download", spec.source))
        folder, commit = fetch(spec)
        return folder, replace(spec, revision=commit)

    def _made(self, name: str) -> Entry:
        """A recipe's checkpoint folder, made by this process if by none before."""
        recipe = recipes.get(name)
        parent = None if recipe.parent is None else self._made(recipe.parent).path
        others = {other: self._made(other).path for other in recipe.others}

        def make(folder: Path) -> None:
            from provenance.recipes.build import build

            def tell(_what: str, done: int, total: int) -> None:
                self._tell(Stage("make", name, done, total))

            build(name, folder, parent, tell, others)

        return self._kept(name, recipe.fields(), make)

    def _disguised(self, spec: ModelSpec) -> Entry:
        """A copy of a model in a disguise that keeps its function: the positive control."""
        from provenance.controls import DISGUISE_VERSION, save_disguised

        original = self.checkpoint(replace(spec, disguised=False))
        fields: dict[str, JSON] = {"disguise": DISGUISE_VERSION, "of": original.digest}
        return self._kept(spec.source, fields, lambda folder: save_disguised(original, folder))

    def _kept(
        self, subject: str, fields: Mapping[str, JSON], make: Callable[[Path], None]
    ) -> Entry:
        def build(folder: Path) -> None:
            self._tell(Stage("make", subject))
            make(folder)

        return self.store.get_or_create(
            "checkpoint", fields, build, lambda: self._tell(Stage("wait", subject))
        )
