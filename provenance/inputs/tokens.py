"""Token batches that a model is fed: text through a tokenizer, or ids at random; digested.

`alone` feeds one model; `provenance.inputs.pairs` says what is legitimate for two that are compared.
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
    from provenance.loading.tokenizer import TokenizedText

    Read = Callable[[str], TokenizedText]


RANDOM_IDS = "--inputs random --vocabulary N, N at most the smaller vocabulary"


@dataclass(frozen=True)
class Inputs:
    """Token ids, (tokens,) int64 on the CPU, to be run in sequences of ``spec.sequence_length``.

    Each sequence begins with the ids of ``front``, which are not among ``ids`` and are never compared. The
    last sequence is shorter where its length does not divide the number of tokens.
    """

    ids: torch.Tensor
    spec: InputsSpec
    note: str | None = None
    front: tuple[int, ...] = ()

    @property
    def digest(self) -> str:
        """sha256 of the ids, of how they are cut into sequences, and of what is in front of these."""
        front = "".join(f"{token}," for token in self.front)
        head = f"int64:{self.spec.sequence_length}:{front}".encode()
        return "sha256:" + hashlib.sha256(head + self.ids.numpy().tobytes()).hexdigest()

    def sequences(self) -> list[torch.Tensor]:
        """The ids cut into sequences, each (length,), what is in front included."""
        front = torch.tensor(self.front, dtype=torch.int64)
        parts = torch.split(self.ids, self.spec.sequence_length - len(front))
        return [torch.cat([front, part]) for part in parts]


@dataclass(frozen=True)
class Reader:
    """What is to be known of one model: its name, limits, and how its tokenizer reads, if it has one."""

    name: str
    vocabulary: int
    positions: int | None
    read: Read | None


def source_text(spec: InputsSpec) -> str:
    """Text that is long enough for ``spec.tokens``, whichever the tokenizer."""
    return corpus.for_tokens(spec.text, spec.tokens, spec.seed)


def random_ids(tokens: int, vocabulary: int, seed: int) -> torch.Tensor:
    """Ids uniform on [0, vocabulary), (tokens,) int64, as the paper's constrained tests use."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(vocabulary, (tokens,), generator=generator)


def random_inputs(spec: InputsSpec, vocabulary: int, note: str | None = None) -> Inputs:
    """Random ids below a vocabulary, in sequences as ``spec`` has them."""
    ids = random_ids(spec.tokens, vocabulary, spec.seed)
    return Inputs(ids, replace(spec, kind="random"), note)


def alone(spec: InputsSpec, reader: Reader) -> Inputs:
    """Inputs of one model, with a note where they are not what was asked.

    The text is used where the model has a tokenizer, and an embedding for each of its ids.

    Raises
    ------
    InputError
        If the text gives fewer tokens than are asked for, or there is no such text.
    """
    notes: list[str] = []
    spec = fit_length(spec, (reader,), notes)
    if spec.kind == "text" and reader.read is None:
        notes.append("random ids: the model has no tokenizer")
    elif spec.kind == "text" and reader.read is not None:
        text = as_inputs(reader.read(source_text(spec)), spec, reader)
        if has_embeddings(text, reader):
            return replace(text, note="; ".join(notes) or None)
        notes.append(NO_EMBEDDING)
    return random_inputs(spec, reader.vocabulary, "; ".join(notes) or None)


NO_EMBEDDING = "random ids: the tokenizer has ids that a model has no embedding for"


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
    inputs = alone(asked, reader)
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
    if reader.read is None:
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


def fit_length(spec: InputsSpec, readers: Sequence[Reader], notes: list[str]) -> InputsSpec:
    """Sequences that are no longer than all models have positions for; a note says for whose sake."""
    wanted, fitted = spec.within(), spec.within(*(reader.positions for reader in readers))
    length = fitted.sequence_length
    if length < wanted.sequence_length:
        name = min(reader.name for reader in readers if reader.positions == length)
        notes.append(f"sequences of {length}, the most that {name} takes")
    return fitted


def as_inputs(text: TokenizedText, spec: InputsSpec, reader: Reader) -> Inputs:
    """The first ids of a text for a model.

    Raises
    ------
    InputError
        If there are fewer than asked for, or no room for them behind what is in front.
    """
    ids = text.ids[: spec.tokens]
    if len(ids) < spec.tokens:
        raise InputError(
            f"the text gives {len(ids)} tokens where {spec.tokens} were asked for: lower tokens"
        )
    if len(text.front) >= spec.sequence_length:
        raise InputError(
            f"sequences of {spec.sequence_length} have no room for a text: the tokenizer of "
            f"{reader.name} puts {len(text.front)} tokens in front of each: raise sequence_length"
        )
    return Inputs(torch.tensor(ids, dtype=torch.int64), spec, front=text.front)


def has_embeddings(inputs: Inputs, reader: Reader) -> bool:
    """Whether the model has an embedding for each id that it would be fed."""
    return max(int(inputs.ids.max()), *inputs.front, 0) < reader.vocabulary
