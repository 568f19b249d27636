"""Small tokenizers, trained on the spot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from provenance.recipes.settings import TokenizerSettings

__all__ = ["encode", "train_tokenizer"]

_END_OF_TEXT = "<|endoftext|>"


def train_tokenizer(settings: TokenizerSettings) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer; the same settings give the same file.

    ``<|endoftext|>`` is its only special token. Its vocabulary holds all bytes, so that no text has an
    unknown token.

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
    tokenizer.train_from_iterator(settings.corpus.read().splitlines(keepends=True), trainer)
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
