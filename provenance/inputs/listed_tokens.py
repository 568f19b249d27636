"""The published list of token texts of token fingerprints: what most vocabularies have as one token.

``listed_tokens.json`` holds the printable characters of ASCII, and the most frequent English words of
Python's language reference (``pydoc_data.topics``), each behind a space. The file is the definition: it
does not change with Python. Its digest stands in every fingerprint.
"""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provenance.inputs.vocabulary import Vocabulary

FILE = "listed_tokens.json"


@cache
def listed_texts() -> tuple[bytes, ...]:
    """The texts of the list, UTF-8, in its order."""
    content = files("provenance.inputs").joinpath(FILE).read_text(encoding="utf-8")
    return tuple(text.encode() for text in json.loads(content))


@cache
def list_digest() -> str:
    """``sha256:`` of the texts in their order, each with its length before it."""
    whole = b"".join(len(text).to_bytes(4, "big") + text for text in listed_texts())
    return "sha256:" + sha256(whole).hexdigest()


def ids_of(vocabulary: Vocabulary) -> dict[int, int]:
    """The ids of the listed tokens that a vocabulary has, by their places in the list."""
    if vocabulary.texts is None:
        return {}
    found = (vocabulary.texts.get(text) for text in listed_texts())
    return {place: index for place, index in enumerate(found) if index is not None}
