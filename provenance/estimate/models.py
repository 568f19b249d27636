"""Each model of a plan: where it is, how large, what must be moved, and what must be made for it first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from provenance._text import closest, expanded
from provenance.checkpoints.contents import BLOCK_KEYS, inspect, setting
from provenance.checkpoints.fingerprint_file import is_bundle
from provenance.checkpoints.hub import cached_snapshot, repository_size
from provenance.checkpoints.token_fingerprint_file import read_bundle
from provenance.errors import ProvenanceError
from provenance.estimate.known import AbsentError
from provenance.recipes import RECIPES, with_ancestors
from provenance.recipes.sizes import Sizes
from provenance.recipes.steps import FirstStep
from provenance.vocabulary import PROBE_TOKENS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.estimate.known import Known
    from provenance.recipes import Recipe
    from provenance.vocabulary import ModelSpec

State = Literal["here", "to make", "to download", "to convert", "fingerprint", "unknown"]
"""Where a model is: its files, or a fingerprint of it, are on this machine; or what a run must do first."""
FINGERPRINT: State = "fingerprint"


@dataclass(frozen=True)
class ModelCost:
    """One model of a plan.

    Attributes
    ----------
    source : str
        The model, as evidence names it.
    state : str
        See `State`.
    sizes : Sizes or None
        None where nothing tells them.
    moved : int or None
        Bytes to download; None where that is not known.
    read : int
        Bytes of its weights that are digested, which they were not before.
    digest : str or None
        Where its files are here and were digested.
    needs : tuple of str
        Recipes that must be followed for it, a parent before its child.
    note : str or None
        What stands in the way of a number, or of the model.
    """

    source: str
    state: State
    sizes: Sizes | None = None
    moved: int | None = 0
    read: int = 0
    digest: str | None = None
    needs: tuple[str, ...] = ()
    note: str | None = None


def model_cost(spec: ModelSpec, known: Known) -> ModelCost:
    """What a run must do to have a model."""
    if spec.recipe is not None and spec.recipe not in RECIPES:
        return ModelCost(spec.source, "unknown", moved=None, note=_unknown_recipe(spec.recipe))
    if spec.path is not None and is_bundle(Path(expanded(spec.path))):
        return _of_fingerprint(spec, Path(expanded(spec.path)))
    try:
        checkpoint = known.checkpoint(spec)
    except AbsentError:
        return _absent(spec, known)
    except ProvenanceError as error:
        return ModelCost(
            spec.source, "unknown", moved=0 if spec.repo is None else None, note=str(error)
        )
    digest = checkpoint.digest
    return ModelCost(checkpoint.source, "here", sizes_of(checkpoint), digest=digest)


def _of_fingerprint(spec: ModelSpec, file: Path) -> ModelCost:
    """A fingerprint, by the document in its header; its digest and its numbers are read by a run."""
    try:
        said = read_bundle(file)
        size = file.stat().st_size
    except (ProvenanceError, OSError) as error:
        return ModelCost(spec.source, "unknown", note=str(error))
    held = [mlp.live for _, _, mlp in said.places()]
    mlps = max(map(len, said.mlps.values()), default=1)
    sizes = Sizes(
        said.hidden,
        max(held, default=1),
        max(len(said.mlps), 1),
        PROBE_TOKENS,
        mlps,
        counted=said.parameters,
    )
    return ModelCost(spec.source, FINGERPRINT, sizes, read=size)


def in_part(model: ModelCost) -> ModelCost:
    """A model that no comparison reads as a whole; what a sample reads is not known before."""
    if model.state == "to convert":  # the rows that are read are dequantized by themselves
        return replace(model, state="here")
    if model.state != "to download" or model.moved is None:
        return model
    note = f"{model.source} is read in part: of {model.moved:,} bytes, its headers tell how many"
    return replace(model, moved=None, read=0, note=note)


def _unknown_recipe(name: str) -> str:
    near = closest(name, RECIPES)
    hint = f" (did you mean {near!r}?)" if near else ""
    return (
        f"no recipe is called {name!r}{hint}; if a conftest.py registers it, "
        "`pytest SUITE --provenance-plan -` plans with it"
    )


def _absent(spec: ModelSpec, known: Known) -> ModelCost:
    if spec.disguised is not None:
        original = model_cost(replace(spec, disguised=None), known)
        return replace(
            original, source=spec.source, state="to make", digest=None, needs=(), moved=0
        )
    if spec.recipe is not None:
        return _of_recipe(spec, known)
    if spec.path is not None:
        return _of_folder(spec, Path(expanded(spec.path)))
    if spec.url is not None:
        return _of_url(spec)
    folder = cached_snapshot(spec)
    return _of_hub(spec) if folder is None else _of_folder(spec, folder)


def _of_recipe(spec: ModelSpec, known: Known) -> ModelCost:
    assert spec.recipe is not None
    store = known.store
    chain = with_ancestors([spec.recipe])
    lacking = [recipe for recipe in chain if store.get("checkpoint", recipe.fields()) is None]
    sizes = sizes_of_recipe(RECIPES[spec.recipe], known)
    firsts = (recipe.steps[0] for recipe in lacking)
    notes = (first.lacks(store) for first in firsts if isinstance(first, FirstStep))
    note = next((text for text in notes if text is not None), None)
    needs = tuple(recipe.name for recipe in _parents_first(lacking))
    state: State = "to make" if needs else "here"
    read = 0 if needs or sizes is None else sizes.file_bytes
    return ModelCost(spec.source, state, sizes, read=read, needs=needs, note=note)


def _parents_first(recipes: list[Recipe]) -> list[Recipe]:
    names = {recipe.name: recipe for recipe in recipes}
    ordered: dict[str, Recipe] = {}

    def add(recipe: Recipe) -> None:
        for name in recipe.ancestors:
            if name in names:
                add(names[name])
        ordered.setdefault(recipe.name, recipe)

    for recipe in recipes:
        add(recipe)
    return list(ordered.values())


def sizes_of_recipe(recipe: Recipe, known: Known) -> Sizes | None:
    """The sizes of what a recipe makes, told by its steps and those of its parent."""
    first = recipe.steps[0]
    if recipe.parent is not None:
        sizes = sizes_of_recipe(RECIPES[recipe.parent], known)
    else:
        assert isinstance(first, FirstStep)
        sizes = first.first_sizes(known.store)
    for step in recipe.steps:
        sizes = None if sizes is None else step.sizes(sizes)
    return sizes


def _of_folder(spec: ModelSpec, folder: Path) -> ModelCost:
    """A model whose files are here, and were not digested before, or must be converted first."""
    try:
        contents = inspect(folder, allow_pickle=spec.allow_pickle)
        size = sum(file.stat().st_size for file in contents.files)
    except (ProvenanceError, OSError) as error:
        return ModelCost(spec.source, "unknown", note=str(error))
    state: State = "here" if contents.format == "plain" else "to convert"
    sizes = _sizes(contents.config, _elements(contents.tensors), size)
    return ModelCost(spec.source, state, sizes, read=size)


def _elements(tensors: Mapping[str, Any]) -> int | None:
    return sum(tensor.elements for tensor in tensors.values()) if tensors else None


def _of_url(spec: ModelSpec) -> ModelCost:
    from provenance.checkpoints.loaders import loader_at

    try:
        size = loader_at(spec).look_up(spec).size
    except ProvenanceError as error:
        return ModelCost(spec.source, "to download", moved=None, note=str(error))
    return ModelCost(spec.source, "to download", sizes_of_bytes(size), size, size)


def _of_hub(spec: ModelSpec) -> ModelCost:
    try:
        size = repository_size(spec)
    except ProvenanceError as error:
        return ModelCost(spec.source, "to download", moved=None, note=str(error))
    sizes = sizes_of_bytes(size, blocks=spec.blocks)
    return ModelCost(spec.source, "to download", sizes, size, size)


def sizes_of(checkpoint: Checkpoint) -> Sizes | None:
    """The sizes of a checkpoint that is open; None of a fingerprint."""
    if checkpoint.bundle is not None:
        return None
    size = sum(tensor.stop - tensor.start for tensor in checkpoint.tensors.values())
    return _sizes(checkpoint.config, checkpoint.parameters, size)


def _sizes(config: Mapping[str, Any], parameters: int | None, size: int) -> Sizes:
    """What a configuration says, and where it does not, what the size makes likely."""
    likely = sizes_of_bytes(size, parameters)
    experts = setting(config, ("num_local_experts", "num_experts", "n_routed_experts")) or 1
    wide = ("moe_intermediate_size",) if experts > 1 else ()
    units = setting(config, (*wide, "intermediate_size", "n_inner", "ffn_dim"))
    hidden = setting(config, ("hidden_size", "n_embd", "d_model")) or likely.hidden
    return Sizes(
        hidden,
        units or 4 * hidden,
        setting(config, BLOCK_KEYS) or likely.blocks,
        setting(config, ("vocab_size",)) or likely.vocabulary,
        experts,
        likely.width,
        likely.counted,
    )


SLOPE = 128
"""Hidden dimensions for each block of a usual model: 128 of a 7B and of a 70B alike."""


def sizes_of_bytes(size: int, parameters: int | None = None, blocks: int | None = None) -> Sizes:
    """The likely sizes of a dense model of so many bytes, or of so many parameters."""
    counted = parameters or size // 2
    width = max(1, min(4, round(size / counted))) if counted else 2
    # a block has 4 h^2 of attention and, at 3 h units, 9 h^2 of its MLP; there are h / SLOPE blocks
    hidden = max(64, round((counted * SLOPE / 13) ** (1 / 3)))
    if blocks is not None:
        hidden = max(64, round((counted / (13 * blocks)) ** 0.5))
    return Sizes(
        hidden,
        3 * hidden,
        blocks or max(1, round(hidden / SLOPE)),
        32_000,
        width=width,
        counted=counted,
    )
