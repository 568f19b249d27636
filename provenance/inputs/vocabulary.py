"""The tokens of a model by what they stand for: bytes of text, however its tokenizer spells them.

Byte-level tokenizers spell a space as ``Ġ``, those of SentencePiece as ``▁``, and those of WordPiece mark
what does *not* follow a space. The same text has the same bytes here, so that models meet on it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from provenance.checkpoints.folder import TOKENIZER, contained
from provenance.errors import InputError, one_line
from provenance.loading.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from provenance.checkpoints.checkpoint import Checkpoint

_SPECIAL = re.compile(r"<.+>|\[.+\]", re.DOTALL)
"""How tokens are spelled that stand for no text: ``<unused7>``, ``[MASK]``."""
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@dataclass(frozen=True)
class Vocabulary:
    """What a model's token ids stand for.

    Attributes
    ----------
    name : str
        Of the model, for messages.
    size : int
        Ids are below it.
    texts : mapping of bytes to int, or None
        The id of each text; without special tokens. None where the model has no tokenizer.
    """

    name: str
    size: int
    texts: Mapping[bytes, int] | None = field(repr=False)


def read_vocabulary(checkpoint: Checkpoint, size: int) -> Vocabulary:
    """Read the vocabulary of a checkpoint with so many rows in its embedding.

    Raises
    ------
    InputError
        There is a tokenizer, and it cannot be read.
    """
    if checkpoint.tokenizer_digest is None:
        return Vocabulary(checkpoint.source, size, None)
    read = _read_file(checkpoint)
    if read is None:
        read = _read_tokenizer(checkpoint)
    spelled, special, spelling = read
    texts: dict[bytes, int] = {}
    for token, index in spelled.items():
        if index in special or not 0 <= index < size:
            continue
        text = spelling(token)
        if text:
            texts.setdefault(text, index)
    return Vocabulary(checkpoint.source, size, texts)


def _read_file(
    checkpoint: Checkpoint,
) -> tuple[Mapping[str, int], Collection[int], Callable[[str], bytes | None]] | None:
    """The tokens of ``tokenizer.json``, which is read in a tenth of the time that loading it takes."""
    if not (checkpoint.folder / TOKENIZER).is_file():
        return None
    file = contained(checkpoint.folder, TOKENIZER)
    try:
        content = json.loads(file.read_bytes())
        vocabulary = content["model"]["vocab"]
        if isinstance(vocabulary, list):  # Unigram: pieces with their scores, by id
            vocabulary = {piece: index for index, (piece, _) in enumerate(vocabulary)}
        added = content.get("added_tokens") or ()
        named = {token["content"] for token in added}
        special = {int(token["id"]) for token in added if token["special"]}
        plain = {
            str(token): int(index) for token, index in vocabulary.items() if token not in named
        }
        spelling = _spelling(content)
    except (
        OSError,
        ValueError,
        OverflowError,
        RecursionError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise InputError(
            f"{checkpoint.source}: {file} is no tokenizer that can be read ({one_line(error)})"
        ) from error
    return plain, special, spelling


def _read_tokenizer(
    checkpoint: Checkpoint,
) -> tuple[Mapping[str, int], Collection[int], Callable[[str], bytes | None]]:
    """The tokens of a tokenizer of other files, as transformers loads it."""
    tokenizer = load_tokenizer(checkpoint)
    try:
        vocabulary = {str(token): int(index) for token, index in tokenizer.get_vocab().items()}
        backend = getattr(tokenizer, "backend_tokenizer", None)
        content = json.loads(backend.to_str()) if backend is not None else {}
        return vocabulary, set(tokenizer.all_special_ids), _spelling(content)
    # tokenizers of a checkpoint's own code raise anything
    except Exception as error:
        raise InputError(
            f"{checkpoint.source}: the tokenizer does not say its tokens ({one_line(error)})"
        ) from error


def _spelling(content: Mapping[str, Any]) -> Callable[[str], bytes | None]:
    """How a tokenizer spells text, by what it puts its tokens together with."""
    parts = json.dumps([content.get("decoder"), content.get("pre_tokenizer")])
    if '"ByteLevel"' in parts:
        return _byte_level
    model = content.get("model")
    if isinstance(model, dict) and model.get("type") == "WordPiece":
        prefix = str(model.get("continuing_subword_prefix") or "##")
        return lambda token: _word_piece(token, prefix)
    return _sentence_piece


def _byte_level(token: str) -> bytes | None:
    try:
        return token.translate(BYTES).encode("latin-1")
    except UnicodeEncodeError:  # an added token, spelled as it is read
        return _plain(token)


def _sentence_piece(token: str) -> bytes | None:
    byte = _BYTE.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else _plain(token.replace("▁", " "))


def _word_piece(token: str, prefix: str) -> bytes | None:
    text = _plain(token)
    if text is None:
        return None
    return token.removeprefix(prefix).encode() if token.startswith(prefix) else b" " + text


def _plain(token: str) -> bytes | None:
    return None if _SPECIAL.fullmatch(token) else token.encode("utf-8", "surrogatepass")


def _byte_characters() -> dict[int, int]:
    """Bytes by the characters that byte-level tokenizers spell them with: printable ones as they are."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return dict(zip(printable, printable, strict=True)) | {
        256 + place: byte for place, byte in enumerate(others)
    }


BYTES = _byte_characters()
"""Bytes by the characters of byte-level tokenizers, for `str.translate`."""
