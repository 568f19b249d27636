"""Token batches that models are fed: text through a tokenizer, or ids at random; digested.

Two models are compared position by position, so both must be fed the very same ids. `choose` decides
what is legitimate for a pair and says so (`Inputs.note`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from provenance.errors import InputError
from provenance.inputs import corpus
from provenance.vocabulary import InputsSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from provenance.checkpoints.fingerprint_file import Fingerprint

    Encode = Callable[[str], Sequence[int]]


RANDOM_IDS = "--inputs random --vocabulary N, N at most the smaller vocabulary"


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
        return list(torch.split(self.ids, self.spec.sequence_length))


@dataclass(frozen=True)
class Reader:
    """What `choose` needs to know of one model: its name, limits, and tokenizer if it has one."""

    name: str
    vocabulary: int
    positions: int | None
    encode: Encode | None


def source_text(spec: InputsSpec) -> str:
    """Text that is long enough for ``spec.tokens``, whichever the tokenizer."""
    return corpus.for_tokens(spec.text, spec.tokens, spec.seed)


def random_ids(tokens: int, vocabulary: int, seed: int) -> torch.Tensor:
    """Ids uniform on [0, vocabulary), (tokens,) int64, as the paper's constrained tests use."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(vocabulary, (tokens,), generator=generator)


def choose(spec: InputsSpec, candidate: Reader, reference: Reader) -> Inputs:
    """Inputs that are legitimate for both models, with a note where they are not what was asked.

    Text is used where both tokenizers give the same ids for it, or where one model has no tokenizer
    and the same vocabulary size as the other. Otherwise one text would mean different ids to the two
    models, so random ids below both vocabularies are used. Sequences are no longer than either
    model has positions for.

    Raises
    ------
    InputError
        If the text gives fewer tokens than are asked for, or there is no such text.
    """
    notes: list[str] = []
    spec = _fit_length(spec, (candidate, reference), notes)
    ids = None if spec.kind == "random" else _shared_text(spec, candidate, reference, notes)
    if ids is None:
        vocabulary = min(candidate.vocabulary, reference.vocabulary)
        ids = random_ids(spec.tokens, vocabulary, spec.seed)
        spec = replace(spec, kind="random")
    return Inputs(ids, spec, "; ".join(notes) or None)


def choose_again(fingerprint: Fingerprint, name: str, spec: InputsSpec, reader: Reader) -> Inputs:
    """What the model of a fingerprint was fed, for another model that is compared with it.

    No path that a fingerprint names is ever opened: where its text was a file, ``spec`` names that file.

    Parameters
    ----------
    fingerprint : Fingerprint
        What the bundle says.
    name : str
        What the bundle is called in messages.
    spec : InputsSpec
        What was asked for; only its text counts, where the fingerprint's text does not come with Python.
    reader : Reader
        Of the other model.

    Raises
    ------
    InputError
        If the other model cannot be fed the same token ids; one line that says what to do.
    """
    fed = fingerprint.inputs
    text = spec.text if fed.text not in corpus.NAMED else fed.text or ""
    asked = InputsSpec(fed.kind, text, fed.tokens, fed.sequence_length, fed.seed)
    if (reader.positions or fed.sequence_length) < fed.sequence_length:
        raise InputError(
            f"{name} is of sequences of {fed.sequence_length}, and {reader.name} takes "
            f"{reader.positions}: make it again with --sequence-length {reader.positions}"
        )
    if fed.kind == "text":
        _require_text(fingerprint, name, asked, reader)
    else:
        if reader.vocabulary < (fed.vocabulary or 0):
            raise InputError(
                f"{name} is of random ids below {fed.vocabulary}, and {reader.name} has "
                f"{reader.vocabulary}: make it again with --inputs random --vocabulary {reader.vocabulary}"
            )
        reader = replace(reader, vocabulary=fed.vocabulary or 0)
    inputs = choose(asked, reader, reader)
    if inputs.digest != fed.digest:
        raise InputError(
            f"{name} is of other token ids than {reader.name} would be fed: their tokenizers differ: "
            f"make it again with {RANDOM_IDS}"
        )
    return replace(inputs, note=fed.note)


def text_digest(spec: InputsSpec) -> str:
    """sha256 of the text that is read."""
    return "sha256:" + hashlib.sha256(source_text(spec).encode()).hexdigest()


def _require_text(fingerprint: Fingerprint, name: str, asked: InputsSpec, reader: Reader) -> None:
    """Raise InputError where a text is not the one of a bundle, or the model cannot read it."""
    fed = fingerprint.inputs
    is_file = fed.text not in corpus.NAMED
    if reader.encode is None:
        raise InputError(
            f"{name} is of a text, and {reader.name} has no tokenizer: make it again with {RANDOM_IDS}"
        )
    if is_file and asked.text in corpus.NAMED:
        raise InputError(
            f"{name} was made on its maker's own text, {fed.text}: give that file as --inputs"
        )
    if text_digest(asked) == fed.text_digest:
        return
    if is_file:
        raise InputError(
            f"{asked.text} is not the text that {name} was made on: give its maker's file"
        )
    python = fingerprint.versions.get("python")
    raise InputError(
        f"{name} was made on the {fed.text} of Python {python}, and that of this Python differs: "
        "make it again with --inputs and a file that both have"
    )


def _fit_length(spec: InputsSpec, readers: tuple[Reader, ...], notes: list[str]) -> InputsSpec:
    length = min(spec.sequence_length, spec.tokens)
    limits = [(reader.positions, reader.name) for reader in readers if reader.positions is not None]
    if limits and min(limits)[0] < length:
        length, name = min(limits)
        notes.append(f"sequences of {length}, the most that {name} takes")
    return replace(spec, sequence_length=length)


def _enough(ids: Sequence[int], tokens: int) -> torch.Tensor:
    if len(ids) < tokens:
        raise InputError(
            f"the text gives {len(ids)} tokens where {tokens} were asked for: lower tokens"
        )
    return torch.tensor(ids, dtype=torch.int64)


def _shared_text(
    spec: InputsSpec, candidate: Reader, reference: Reader, notes: list[str]
) -> torch.Tensor | None:
    with_one = [reader for reader in (reference, candidate) if reader.encode is not None]
    without = [reader.name for reader in (reference, candidate) if reader.encode is None]
    if not with_one:
        notes.append("random ids: neither model has a tokenizer")
        return None
    if without and candidate.vocabulary != reference.vocabulary:
        notes.append(f"random ids: {without[0]} has no tokenizer and the vocabularies differ")
        return None
    text = source_text(spec)
    first, *others = (reader.encode(text)[: spec.tokens] for reader in with_one if reader.encode)
    if any(other != first for other in others):
        notes.append("random ids: the two tokenizers give different ids for the text")
        return None
    ids = _enough(first, spec.tokens)
    if int(ids.max()) >= min(candidate.vocabulary, reference.vocabulary):
        notes.append("random ids: the tokenizer has ids that a model has no embedding for")
        return None
    if without:
        notes.append(f"{without[0]} has no tokenizer: that of {with_one[0].name} was used for both")
    return ids
