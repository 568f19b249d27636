"""Following a recipe to a checkpoint folder that transformers loads like any other."""

from __future__ import annotations

import shutil
from dataclasses import fields
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from provenance import transforms
from provenance._quiet import quiet
from provenance.errors import SourceError
from provenance.inputs import corpus
from provenance.recipes import Recipe, get
from provenance.recipes.distil import distil
from provenance.recipes.lora import train_lora
from provenance.recipes.retrain import retrain_mlp
from provenance.recipes.settings import (
    AddNoise,
    Beginning,
    CorpusSettings,
    Distil,
    FoldNorms,
    LoraMerge,
    MergeLinear,
    MergeSlerp,
    MergeTies,
    PermuteExperts,
    PermuteHeads,
    PermuteResidual,
    PermuteTracedUnits,
    PermuteUnits,
    PruneDepth,
    PruneMagnitude,
    PruneWidth,
    Reader,
    RescaleNorms,
    RescaleUnits,
    RetrainMlp,
    RotateResidual,
    RoundTrip,
    Step,
    TokenizerSettings,
    Train,
    TrainLora,
    TransplantMlp,
    Upcycle,
    UpscaleDepth,
    named_in,
)
from provenance.recipes.train import initialise, train

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerFast

__all__ = ["build", "encode", "follow", "train_tokenizer"]

_END_OF_TEXT = "<|endoftext|>"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
_NONE: Mapping[str, Path] = MappingProxyType({})


def build(
    name: str,
    folder: Path,
    parent: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    others: Mapping[str, Path] = _NONE,
) -> None:
    """Make the checkpoint of a named recipe: config, safetensors weights and tokenizer.

    Parameters
    ----------
    name
        One of `provenance.recipes.RECIPES`.
    folder
        Written to; made if it is not there.
    parent
        Folder of the parent recipe's checkpoint, where the recipe has a parent.
    progress
        Called during training with what is done, the steps done and the steps in all.
    others
        Folders of the checkpoints of ``Recipe.others``, by their names.

    Raises
    ------
    SourceError
        If there is no such recipe, or its parent or another model that it needs is not given, or a
        parent is given that it has not.
    InputError
        If a text that the recipe needs is not there.
    """
    follow(get(name), folder, parent, progress, others)


def follow(
    recipe: Recipe,
    folder: Path,
    parent: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    others: Mapping[str, Path] = _NONE,
) -> None:
    """Make the checkpoint of any recipe; see `build`."""
    missing = [name for name in recipe.others if name not in others]
    if missing:
        raise SourceError(f"recipe {recipe.name!r} needs the folder of {missing[0]} too")
    model, tokenizer = _begin(recipe, parent)
    report = _named(recipe.name, progress)
    for step in recipe.steps:
        model = _apply(step, model, tokenizer, report, others)
    _save(folder, model, tokenizer, parent)


def train_tokenizer(settings: TokenizerSettings) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer; the same settings give the same file.

    ``<|endoftext|>`` is its only special token. All bytes are in the vocabulary, so nothing is
    unknown to it.

    Raises
    ------
    InputError
        If its text is not there.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        special_tokens=[_END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_text(settings.corpus).splitlines(keepends=True), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=_END_OF_TEXT,
        eos_token=_END_OF_TEXT,
        pad_token=_END_OF_TEXT,
    )


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> torch.Tensor:
    """Return the token ids of a text, int64 (tokens,), without special tokens."""
    ids = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    return torch.tensor(ids, dtype=torch.int64)


def _begin(recipe: Recipe, parent: Path | None) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load the parent, or draw a new model and train its tokenizer."""
    first = recipe.steps[0]
    if isinstance(first, Beginning) and parent is None:
        tokenizer = train_tokenizer(first.tokenizer)
        return initialise(first, end_of_text=tokenizer.eos_token_id), tokenizer
    if parent is None:
        raise SourceError(f"recipe {recipe.name!r} needs the folder of its parent {recipe.parent}")
    if isinstance(first, Beginning):
        raise SourceError(f"recipe {recipe.name!r} has no parent, but was given {parent}")
    from transformers import AutoTokenizer

    return _load(parent), AutoTokenizer.from_pretrained(parent)


def _load(folder: Path) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    with quiet():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def _named(
    name: str, progress: Callable[[str, int, int], None] | None
) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(f"training {name}", done, total)


def _text(settings: CorpusSettings) -> str:
    return corpus.text(settings.name, settings.characters, settings.seed)


def _apply(
    step: Step,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    report: Callable[[int, int], None] | None,
    others: Mapping[str, Path],
) -> PreTrainedModel:
    """Return the model after one step; training on text alone changes the model itself."""
    if isinstance(step, Beginning):
        return model  # made in _begin, with its tokenizer
    if not isinstance(step, Reader):
        return _transform(step, model, others)
    tokens = encode(tokenizer, _text(step.corpus))
    match step:
        case Train(_, settings):
            train(model, tokens, settings, report)
            return model
        case TrainLora(_, lora):
            return train_lora(model, tokens, lora, report)
        case RetrainMlp(_, blocks, retraining):
            return retrain_mlp(model, tokens, blocks, retraining)
        case Distil(_, seed, settings):
            return distil(model, seed, tokens, settings, report)


_TRANSFORMS: Mapping[type[Step], Callable[..., PreTrainedModel]] = {
    PermuteUnits: transforms.permute_mlp_units,
    PermuteTracedUnits: transforms.permute_traced_units,
    PermuteExperts: transforms.permute_experts,
    RescaleUnits: transforms.rescale_mlp,
    PermuteHeads: transforms.permute_heads,
    PermuteResidual: transforms.permute_residual_stream,
    RotateResidual: transforms.rotate_residual_stream,
    FoldNorms: transforms.fold_norms,
    RescaleNorms: transforms.rescale_norms,
    PruneWidth: transforms.prune_width,
    PruneDepth: transforms.prune_depth,
    UpscaleDepth: transforms.upscale_depth,
    Upcycle: transforms.upcycle,
    AddNoise: transforms.add_noise,
    RoundTrip: transforms.round_trip,
    PruneMagnitude: transforms.prune_magnitude,
    LoraMerge: transforms.lora_merge,
    TransplantMlp: transforms.transplant_mlp,
    MergeLinear: transforms.merge_linear,
    MergeSlerp: transforms.merge_slerp,
    MergeTies: lambda base, *models, **settings: transforms.merge_ties(base, models, **settings),
}
"""What each step calls, with the model, the models that the step names, and its own fields."""


def _transform(step: Step, model: PreTrainedModel, others: Mapping[str, Path]) -> PreTrainedModel:
    arguments = {field.name: getattr(step, field.name) for field in fields(step)}
    for name in ("other", "others"):
        arguments.pop(name, None)
    models = [_load(others[name]) for name in named_in(step)]
    return _TRANSFORMS[type(step)](model, *models, **arguments)


def _save(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, parent: Path | None
) -> None:
    """Write the checkpoint; a child's tokenizer is its parent's, byte for byte."""
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.save_pretrained(folder)
    if parent is None:
        tokenizer.save_pretrained(folder)
    else:
        # Loading adds keys that saving would write.
        for name in _TOKENIZER_FILES:
            shutil.copyfile(parent / name, folder / name)
