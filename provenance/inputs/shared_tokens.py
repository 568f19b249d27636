"""The tokens that two models have in common: which rows of their embeddings stand for the same text."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from provenance.errors import DegenerateError
from provenance.vocabulary import FEW_SHARED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.inputs.vocabulary import Vocabulary

LEAST_TOKENS = 32
"""Below this many shared tokens their embeddings tell units apart too badly."""

SPARE = 2
"""Tokens are drawn this many times over: some turn out to have no row that can be used."""


@dataclass(frozen=True)
class SharedTokens:
    """Token ids of two models, pair by pair of one text, in an order that a seed has drawn.

    Attributes
    ----------
    candidate, reference : tuple of int
        Ids of equal number: as many as were asked for, and spare ones after them.
    shared : int
        How many tokens the two share in all.
    note : str
        How they were found to be the same.
    """

    candidate: tuple[int, ...]
    reference: tuple[int, ...]
    shared: int
    note: str

    def keep(self, places: Sequence[int]) -> SharedTokens:
        """Those at some places."""
        candidate, reference = (
            tuple(side[place] for place in places) for side in (self.candidate, self.reference)
        )
        return SharedTokens(candidate, reference, self.shared, self.note)

    def words(self) -> str:
        """How many there are, of how many, and how they were found."""
        return f"{len(self.candidate)} of {self.shared} shared tokens, {self.note}"

    @property
    def digest(self) -> str:
        """sha256 of the ids."""
        return "sha256:" + sha256(repr((self.candidate, self.reference)).encode()).hexdigest()


def draw(candidate: Vocabulary, reference: Vocabulary, most: int, seed: int) -> SharedTokens:
    """Draw tokens that two models share: by their text, by id where a tokenizer is missing.

    The order is drawn by text, so that a model's tokens are nearly the same whatever its partner.

    Parameters
    ----------
    most : int
        How many are wanted; `SPARE` times as many are drawn.

    Raises
    ------
    DegenerateError
        If they share fewer than `LEAST_TOKENS`.
    """
    texts, note = _common(candidate, reference)
    if len(texts) < LEAST_TOKENS:
        raise DegenerateError(
            f"the two {FEW_SHARED} {len(texts)} tokens; token embeddings need {LEAST_TOKENS}"
        )
    salt = f"{seed}:".encode()
    drawn = sorted(texts, key=lambda text: sha256(salt + text).digest())[: SPARE * most]
    pairs = [texts[text] for text in drawn]
    return SharedTokens(tuple(a for a, _ in pairs), tuple(b for _, b in pairs), len(texts), note)


def _common(
    candidate: Vocabulary, reference: Vocabulary
) -> tuple[dict[bytes, tuple[int, int]], str]:
    """The ids of every shared token, by its text, and how the two were matched."""
    if candidate.texts is not None and reference.texts is not None:
        both = candidate.texts.keys() & reference.texts.keys()
        by_text = {text: (candidate.texts[text], reference.texts[text]) for text in both}
        return by_text, "by their text"
    size = min(candidate.size, reference.size)
    if reference.texts is None:  # what the candidate's tokens stand for is its maker's word
        ids = {str(index).encode(): (index, index) for index in range(size)}
        lacking = reference.name if candidate.texts is not None else "neither model"
        return ids, f"by id: {lacking} has {'no' if candidate.texts is not None else 'a'} tokenizer"
    by_id = {text: (index, index) for text, index in reference.texts.items() if index < size}
    return by_id, f"by id: {candidate.name} has no tokenizer"
