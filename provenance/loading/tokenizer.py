"""Loads a verified checkpoint's tokenizer, and reads a text by it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from provenance._quiet import quiet
from provenance.checkpoints.folder import (
    CONFIG,
    SENTENCEPIECE,
    TOKENIZER,
    TOKENIZER_CONFIG,
    read_object,
)
from provenance.errors import InputError, SourceError, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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
    _refuse_sentencepiece(checkpoint)
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
        raise _explain(error, checkpoint) from error


def _refuse_sentencepiece(checkpoint: Checkpoint) -> None:
    """Refuse a vocabulary that only an absent library reads: transformers would blame another one."""
    absent = [name for module, name in READERS.items() if not _is_there(module)]
    if not absent or (checkpoint.folder / TOKENIZER).is_file():
        return
    for name in SENTENCEPIECE:
        file = checkpoint.folder / name
        if file.is_file() and _begins(file) == FIRST_OF_SENTENCEPIECE:
            raise InputError(
                f"{checkpoint.source}: its tokenizer is a SentencePiece model alone ({name}): pip install "
                f"{' '.join(absent)}, or use random inputs"
            )


READERS = {"sentencepiece": "sentencepiece", "google.protobuf": "protobuf"}
"""What transformers reads such a vocabulary with: modules, and what brings each."""
FIRST_OF_SENTENCEPIECE = b"\n"
"""What its first piece begins with; files of tiktoken, which have the same name, begin with base64."""


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package that is not there either
        return False


def _begins(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(1)


def _explain(error: Exception, checkpoint: Checkpoint) -> InputError:
    """Say what is at fault: code that may not run, the model's configuration, or the tokenizer."""
    name = checkpoint.source
    settings = checkpoint.folder / TOKENIZER_CONFIG
    try:
        own_code = settings.is_file() and read_object(settings).get("auto_map")
    except SourceError as unreadable:
        return InputError(f"{name}: {unreadable}")
    if own_code and not checkpoint.remote_code:
        return InputError(
            f"{name}: its tokenizer needs code of its own; if you trust its maker, set "
            "trust_remote_code: true on this model, or use random inputs"
        )
    fault = _fault_of_config(checkpoint)
    if fault:
        return InputError(f"{name}: {checkpoint.folder / CONFIG} cannot be read ({fault}); mend it")
    return InputError(
        f"{name}: the tokenizer cannot be loaded ({one_line(error)}); mend it, or use random inputs"
    )


def _fault_of_config(checkpoint: Checkpoint) -> str:
    """What transformers finds wrong with the model's configuration, which it reads for a tokenizer too."""
    from provenance.loading.configuration import read_configuration

    try:
        read_configuration(checkpoint)
    # a wrong configuration raises anything
    except Exception as error:  # noqa: BLE001
        return one_line(error)
    return ""


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
