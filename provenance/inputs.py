"""Token batches that models are fed: text through a tokenizer, or ids at random; digested.

Two models are compared position by position, so both must be fed the very same ids. `choose` decides
what is legitimate for a pair and says so (`ChosenInputs.note`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from provenance.corpus import text as corpus_text
from provenance.errors import InputError
from provenance.vocabulary import InputsSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    Encode = Callable[[str], list[int]]

CHARACTERS_A_TOKEN = 8
"""More than any tokenizer in use spends on a token of prose or code, on average."""


@dataclass(frozen=True)
class Inputs:
    """Token ids, (tokens,) int64 on the CPU, to be run in sequences of ``spec.sequence_length``.

    The last sequence is shorter where the length does not divide the number of tokens.
    """

    ids: torch.Tensor
    spec: InputsSpec
    note: str | None = None

    @property
    def digest(self) -> str:
        """sha256 of the ids and of how they are cut into sequences."""
        head = f"int64:{self.spec.sequence_length}:".encode()
        return "sha256:" + hashlib.sha256(head + self.ids.numpy().tobytes()).hexdigest()

    def sequences(self) -> list[torch.Tensor]:
        """The ids cut into sequences, each (length,)."""
        return list(self.ids.split(self.spec.sequence_length))


@dataclass(frozen=True)
class Reader:
    """What `choose` needs to know of one model: its name, limits, and tokenizer if it has one."""

    name: str
    vocabulary: int
    positions: int | None
    encode: Encode | None


def source_text(spec: InputsSpec) -> str:
    """Text that is long enough for ``spec.tokens``, whichever the tokenizer."""
    return corpus_text(spec.text, spec.tokens * CHARACTERS_A_TOKEN, spec.seed)


def random_ids(tokens: int, vocabulary: int, seed: int) -> torch.Tensor:
    """Ids uniform on [0, vocabulary), (tokens,) int64, as the paper's constrained tests use."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(vocabulary, (tokens,), generator=generator)


def text_ids(encode: Encode, text: str, tokens: int) -> torch.Tensor:
    """The first ``tokens`` ids of the text, (tokens,) int64.

    Raises
    ------
    InputError
        If the text gives fewer.
    """
    ids = encode(text)[:tokens]
    if len(ids) < tokens:
        raise InputError(
            f"the text gives {len(ids)} tokens where {tokens} were asked for: lower tokens"
        )
    return torch.tensor(ids, dtype=torch.int64)


def choose(spec: InputsSpec, candidate: Reader, reference: Reader) -> Inputs:
    """Inputs that are legitimate for both models, with a note where they are not what was asked.

    Text is used where both tokenizers give the same ids for it, or where one model has no tokenizer
    and the same vocabulary size as the other. Otherwise one text would mean different ids to the two
    models, so random ids below both vocabularies are used. Sequences are no longer than either
    model has positions for.
    """
    notes: list[str] = []
    spec = _fit_length(spec, (candidate, reference), notes)
    ids = None if spec.kind == "random" else _shared_text(spec, candidate, reference, notes)
    if ids is None:
        vocabulary = min(candidate.vocabulary, reference.vocabulary)
        ids = random_ids(spec.tokens, vocabulary, spec.seed)
        spec = replace(spec, kind="random")
    return Inputs(ids, spec, "; ".join(notes) or None)


def _fit_length(spec: InputsSpec, readers: tuple[Reader, ...], notes: list[str]) -> InputsSpec:
    length = min(spec.sequence_length, spec.tokens)
    for reader in readers:
        if reader.positions is not None and reader.positions < length:
            length = reader.positions
            notes.append(f"sequences of {length}, the most that {reader.name} takes")
    return replace(spec, sequence_length=length)


def _shared_text(
    spec: InputsSpec, candidate: Reader, reference: Reader, notes: list[str]
) -> torch.Tensor | None:
    encoders = [reader.encode for reader in (reference, candidate) if reader.encode is not None]
    if not encoders:
        notes.append("random ids: neither model has a tokenizer")
        return None
    if len(encoders) == 1 and candidate.vocabulary != reference.vocabulary:
        notes.append("random ids: one model has no tokenizer and the vocabularies differ")
        return None
    text = source_text(spec)
    ids = text_ids(encoders[0], text, spec.tokens)
    if len(encoders) == 2 and not torch.equal(ids, text_ids(encoders[1], text, spec.tokens)):
        notes.append("random ids: the two tokenizers give different ids for the text")
        return None
    if len(encoders) == 1:
        notes.append("one model has no tokenizer: the other's was used for both")
    if int(ids.max()) >= min(candidate.vocabulary, reference.vocabulary):
        notes.append("random ids: the tokenizer has ids that a model has no embedding for")
        return None
    return ids
