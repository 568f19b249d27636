"""Options that say what models are fed."""

from __future__ import annotations

from typing import Any

import click

from provenance import InputsSpec

DEFAULTS = InputsSpec()

SOURCE = click.option(
    "--inputs",
    "source",
    default="text",
    show_default=True,
    help="text or stdlib (Python's own sources), topics (prose), the path of a UTF-8 file, random "
    "(token ids), or hidden (isotropic hidden states: the weights alone).",
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
    show_default=True,
    help="Seed of the choice of text, or of random ids.",
)


def read_inputs(source: Any, tokens: int, sequence_length: int, seed: int) -> InputsSpec:
    """What the options say."""
    if source in {"random", "hidden"}:
        return InputsSpec(source, DEFAULTS.text, tokens, sequence_length, seed)
    text = DEFAULTS.text if source == "text" else source
    return InputsSpec("text", text, tokens, sequence_length, seed)
