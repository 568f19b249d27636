"""Following a recipe to a checkpoint folder that transformers loads like any other."""

from __future__ import annotations

import shutil
from types import MappingProxyType
from typing import TYPE_CHECKING

from provenance._quiet import quiet
from provenance.errors import SourceError
from provenance.recipes.steps import Context, FirstStep, load
from provenance.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from provenance.recipes.recipe import Recipe

__all__ = ["build"]

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
_NONE: Mapping[str, Path] = MappingProxyType({})


def build(
    recipe: Recipe,
    folder: Path,
    parent: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    others: Mapping[str, Path] = _NONE,
    store: Store | None = None,
) -> None:
    """Make the checkpoint of a recipe: configuration, safetensors weights and tokenizer.

    Parameters
    ----------
    recipe
        What to do.
    folder
        Written to; made if it is not there.
    parent
        Folder of the parent recipe's checkpoint, where the recipe has a parent.
    progress
        Takes the steps of a training that are done, and the steps in all.
    others
        Folders of the checkpoints of ``recipe.others``, by their names.
    store
        Given to the `FirstStep`, which may begin with what it holds. Default: the user's.

    Raises
    ------
    SourceError
        If the folder of the parent or of another model is missing, the recipe has no parent and
        ``parent`` is given, or weights that it begins with are not there.
    InputError
        If a text that the recipe needs is not there.
    """
    missing = [name for name in recipe.others if name not in others]
    if missing:
        raise SourceError(f"recipe {recipe.name!r} needs the folder of {missing[0]} too")
    model, tokenizer = _begin(recipe, parent, store)
    changed = tokenizer
    for step in recipe.steps:
        model, changed = step.change(model, Context(changed, others, progress))
    kept = parent if changed is tokenizer else None
    _save(folder, model, changed, kept)


def _begin(
    recipe: Recipe, parent: Path | None, store: Store | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load the parent, or do the first step."""
    first = recipe.steps[0]
    if isinstance(first, FirstStep) and parent is None:
        return first.begin(store or Store())
    if parent is None:
        raise SourceError(f"recipe {recipe.name!r} needs the folder of its parent {recipe.parent}")
    if isinstance(first, FirstStep):
        raise SourceError(f"recipe {recipe.name!r} has no parent, but was given {parent}")
    from transformers import AutoTokenizer

    return load(parent), AutoTokenizer.from_pretrained(parent)


def _save(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, parent: Path | None
) -> None:
    """Write the checkpoint; the tokenizer of a parent is kept byte for byte."""
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.save_pretrained(folder)
    if parent is None:
        tokenizer.save_pretrained(folder)
    else:
        # loading adds keys that saving would write
        for name in _TOKENIZER_FILES:
            shutil.copyfile(parent / name, folder / name)
