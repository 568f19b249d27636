"""Loads a verified checkpoint's tokenizer, and reads a text by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provenance._quiet import quiet
from provenance.errors import InputError, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.checkpoints.checkpoint import Checkpoint


@dataclass(frozen=True)
class TokenizedText:
    """A text as one tokenizer reads it.

    Attributes
    ----------
    ids : sequence of int
        Of the text alone.
    ends : sequence of int or None
        How many characters of the text each id and all before it have read; None where the tokenizer does
        not say. The tokens of a split character all end where the character does.
    front : tuple of int
        The special ids that the tokenizer puts in front of every text.
    """

    ids: Sequence[int]
    ends: Sequence[int] | None = None
    front: tuple[int, ...] = ()


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """Load the tokenizer, or None where there is none; code of the checkpoint as in `load_model`.

    Raises
    ------
    InputError
        There is one, and transformers cannot load it.
    """
    if checkpoint.tokenizer_digest is None:
        return None
    try:
        with quiet():
            from transformers import AutoTokenizer

            return AutoTokenizer.from_pretrained(
                checkpoint.folder,
                trust_remote_code=checkpoint.remote_code,
                local_files_only=True,
            )
    # tokenizers raises bare Exception for a file that it cannot read
    except Exception as error:
        raise InputError(
            f"{checkpoint.source}: the tokenizer cannot be loaded ({one_line(error)}); "
            "mend it, or use random inputs"
        ) from error


def encode(tokenizer: Any, text: str) -> TokenizedText:
    """Read a text, whatever its length; special tokens stand apart, and those that end a text are left out.

    Raises
    ------
    InputError
        The tokenizer cannot encode the text.
    """
    try:
        with quiet():
            read = _ids(
                tokenizer, text, return_offsets_mapping=getattr(tokenizer, "is_fast", False)
            )
            front = _front(tokenizer)
    # as above: tokenizers raises bare Exception
    except Exception as error:
        raise InputError(f"the tokenizer cannot encode the text ({one_line(error)})") from error
    offsets = read.get("offset_mapping")
    ends = None if offsets is None else [int(end) for _, end in offsets]
    return TokenizedText([int(token) for token in read["input_ids"]], ends, front)


SAMPLE = "What is in front of a text does not depend on it."


def _front(tokenizer: Any) -> tuple[int, ...]:
    """The ids in front of a text; none where special tokens change how the text itself is read."""
    plain = _ids(tokenizer, SAMPLE)["input_ids"]
    whole = _ids(tokenizer, SAMPLE, add_special_tokens=True)["input_ids"]
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return tuple(int(token) for token in whole[:start])
    return ()


def _ids(tokenizer: Any, text: str, **options: Any) -> Any:
    return tokenizer(
        text, **{"add_special_tokens": False, **options}, truncation=False, verbose=False
    )
