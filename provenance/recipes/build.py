"""Following a recipe to a checkpoint folder that transformers loads like any other."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import torch

from provenance import corpus, transforms
from provenance._quiet import quiet
from provenance.errors import SourceError
from provenance.recipes import Recipe, get
from provenance.recipes.settings import (
    CorpusSettings,
    Initialise,
    PermuteResidual,
    PermuteUnits,
    PruneDepth,
    PruneWidth,
    RescaleUnits,
    Step,
    TokenizerSettings,
    Train,
)
from provenance.recipes.train import initialise, train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerFast

__all__ = ["build", "encode", "follow", "train_tokenizer"]

_END_OF_TEXT = "<|endoftext|>"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def build(
    name: str,
    folder: Path,
    parent: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
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

    Raises
    ------
    SourceError
        If there is no such recipe, or its parent is not given, or one is given that it has not.
    InputError
        If a text that the recipe needs is not there.
    """
    follow(get(name), folder, parent, progress)


def follow(
    recipe: Recipe,
    folder: Path,
    parent: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> None:
    """Make the checkpoint of any recipe; see `build`."""
    model, tokenizer = _begin(recipe, parent)
    report = _named(recipe.name, progress)
    for step in recipe.steps:
        model = _apply(step, model, tokenizer, report)
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
    if isinstance(first, Initialise) and parent is None:
        tokenizer = train_tokenizer(first.tokenizer)
        return initialise(first, end_of_text=tokenizer.eos_token_id), tokenizer
    if parent is None:
        raise SourceError(f"recipe {recipe.name!r} needs the folder of its parent {recipe.parent}")
    if isinstance(first, Initialise):
        raise SourceError(f"recipe {recipe.name!r} has no parent, but was given {parent}")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet():
        model = AutoModelForCausalLM.from_pretrained(parent, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(parent)


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
) -> PreTrainedModel:
    """Return the model after one step; training changes the model itself."""
    match step:
        case Initialise():
            pass  # done in _begin, which makes the tokenizer with it
        case Train(text, settings):
            train(model, encode(tokenizer, _text(text)), settings, report)
        case PermuteUnits(seed):
            model = transforms.permute_mlp_units(model, seed)
        case RescaleUnits(seed, low, high, signs):
            model = transforms.rescale_mlp(model, seed, low=low, high=high, signs=signs)
        case PermuteResidual(seed):
            model = transforms.permute_residual_stream(model, seed)
        case PruneWidth(keep):
            model = transforms.prune_width(model, keep)
        case PruneDepth(keep_blocks):
            model = transforms.prune_depth(model, keep_blocks)
    return model


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
