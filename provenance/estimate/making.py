"""What it takes to follow a recipe: measured before in this store, else its trainings counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provenance.recipes.settings import TokenizerSettings, TrainSettings
from provenance.store.store import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provenance.estimate.constants import Constants
    from provenance.recipes import Recipe
    from provenance.recipes.sizes import Sizes

PASSES = 2
"""Times that a model's float32 weights are gone over to load and to keep it; each step adds one."""

UNPACKED = 32
"""The same of a first step that reads weights, and a vocabulary, of another format: GGUF takes so long."""

TRAINED_BYTES = 16
"""Memory of a parameter in training: itself, its gradient, and two means of Adam, in float32."""

LOADED_BYTES = 8
"""Memory of a parameter that a step changes: before and after, in float32."""


@dataclass(frozen=True)
class Making:
    """Processor seconds of one recipe, without its ancestors; ``before`` says that they were measured."""

    recipe: str
    seconds: float
    memory: int
    kept: int
    trained_tokens: int = 0
    before: bool = False


def history(records: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds that entries took when they were made before, by their digests; the last counts."""
    return {
        record["digest"]: float(record["seconds"])
        for record in records
        if isinstance(record.get("seconds"), int | float) and isinstance(record.get("digest"), str)
    }


def making(recipe: Recipe, sizes: Sizes, constants: Constants, made: Mapping[str, float]) -> Making:
    """What it takes to follow a recipe whose ancestors are there."""
    runs = [run for step in recipe.steps for run in _settings(step.values(), TrainSettings)]
    tokens = sum(run.steps * run.batch * run.length for run in runs)
    memory = sizes.parameters * (TRAINED_BYTES if runs else LOADED_BYTES)
    memory += sizes.parameters * 4 * len(recipe.others)
    before = made.get(digest_of(recipe.fields()))
    seconds = before if before is not None else _counted(recipe, sizes, constants, runs, tokens)
    return Making(recipe.name, seconds, memory, sizes.file_bytes, tokens, before is not None)


def _counted(
    recipe: Recipe,
    sizes: Sizes,
    constants: Constants,
    runs: list[TrainSettings],
    tokens: int,
) -> float:
    tokenizers: list[TokenizerSettings] = [
        one for step in recipe.steps for one in _settings(step.values(), TokenizerSettings)
    ]
    seconds = constants.training_step * sum(run.steps for run in runs)
    seconds += 6 * sizes.parameters * tokens * constants.training_flop
    characters = sum(one.corpus.characters for one in tokenizers)
    seconds += characters * constants.tokenizer_character
    reads = recipe.parent is None and not tokenizers
    passes = PASSES + len(recipe.steps) + (UNPACKED if reads else 0)
    return float(seconds + passes * 4 * sizes.parameters * constants.read_byte)


def _settings(values: Mapping[str, Any], kind: type[Any]) -> Iterator[Any]:
    """Settings of a kind among the fields of a step, and in settings that hold others."""
    for value in values.values():
        if isinstance(value, kind):
            yield value
        elif hasattr(value, "__dataclass_fields__"):
            yield from _settings(vars(value), kind)
