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
    help="text (= stdlib: Python's own sources), topics (prose), a UTF-8 file, random "
    "(token ids), or hidden (isotropic: the weights alone).",
)
TOKENS = click.option(
    "--tokens",
    default=DEFAULTS.tokens,
    type=click.IntRange(16),
    show_default=True,
    help="How many.",
)
LENGTH = click.option(
    "--sequence-length",
    default=DEFAULTS.sequence_length,
    type=click.IntRange(2),
    show_default=True,
    help="Tokens a sequence.",
)
SEED = click.option(
    "--seed", default=0, show_default=True, help="Of the choice of text or of random ids."
)


def read_inputs(source: Any, tokens: int, sequence_length: int, seed: int) -> InputsSpec:
    """What the options say."""
    if source in {"random", "hidden"}:
        return InputsSpec(source, DEFAULTS.text, tokens, sequence_length, seed)
    text = DEFAULTS.text if source == "text" else source
    return InputsSpec("text", text, tokens, sequence_length, seed)
