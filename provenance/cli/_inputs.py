"""Options that say what models are fed."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from provenance import InputsSpec
from provenance.vocabulary import SEEDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from provenance.vocabulary import InputKind

Answer = TypeVar("Answer")

DEFAULTS = InputsSpec()

SOURCE = click.option(
    "--inputs",
    "source",
    default="text",
    show_default=True,
    help="text or stdlib (Python's own sources), topics (prose), the path of a UTF-8 file, random "
    "(token ids), hidden (isotropic hidden states: the weights alone), or tokens (the embeddings of tokens "
    "that both models have: no model is run).",
)
TOKENS = click.option(
    "--tokens",
    default=DEFAULTS.tokens,
    type=click.IntRange(16),
    show_default=True,
    help="Number of tokens that each model is fed.",
)
LENGTH = click.option(
    "--sequence-length",
    default=DEFAULTS.sequence_length,
    type=click.IntRange(2),
    show_default=True,
    help="Tokens in a sequence.",
)
SEED = click.option(
    "--seed",
    default=DEFAULTS.seed,
    type=click.IntRange(0, SEEDS - 1),
    show_default=True,
    help="Seed of every random choice, with both models' digests. Choose one that nobody who made a model "
    "could know.",
)


def with_inputs(command: Callable[..., Answer]) -> Callable[..., Answer]:
    """Add the options to a command, which gets them as one `InputsSpec`: ``inputs``."""

    @SOURCE
    @TOKENS
    @LENGTH
    @SEED
    @wraps(command)
    def with_options(
        *arguments: Any, source: Any, tokens: int, sequence_length: int, seed: int, **options: Any
    ) -> Answer:
        kind: InputKind = source if source in {"random", "hidden", "tokens"} else "text"
        text = DEFAULTS.text if source in {"text", kind} else source
        inputs = InputsSpec(kind, text, tokens, sequence_length, seed)
        return command(*arguments, inputs=inputs, **options)

    return with_options
