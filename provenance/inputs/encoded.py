"""Inputs of checkpoints: texts encoded by their tokenizers, each once a run."""

from __future__ import annotations

from array import array
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

from provenance.checkpoints.fingerprint_file import Fingerprint
from provenance.errors import ProvenanceError
from provenance.inputs.ends import last_ends
from provenance.inputs.pairs import PairInputs, choose
from provenance.inputs.tokens import Inputs, Reader, alone, choose_again
from provenance.loading.tokenizer import TokenizedText, encode, load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.vocabulary import InputsSpec


class Encoded:
    """Texts by the tokenizers of models: a run encodes a text once a model, not once a pair.

    That is faster and saves memory: a tokenizer of tokenizers 0.23 leaks half a MiB for each 4096 tokens of
    English that it encodes.
    """

    def __init__(self) -> None:
        self._texts: dict[tuple[Path, bool, int, bytes], TokenizedText] = {}
        self._once: dict[bytes, array[int]] = {}

    def choose(
        self,
        spec: InputsSpec,
        candidate: Checkpoint,
        reference: Checkpoint,
        *,
        same_ids: bool = False,
    ) -> PairInputs:
        """Inputs legitimate for both models; see `provenance.inputs.pairs.choose`."""
        readers = self._reader(candidate, spec), self._reader(reference, spec)
        return choose(spec, *readers, same_ids=same_ids)

    def for_one(
        self,
        spec: InputsSpec,
        model: Checkpoint,
        partner: Checkpoint | None = None,
        vocabulary: int | None = None,
    ) -> Inputs:
        """Inputs of one model.

        They are those of ``partner`` where that is a bundle, else the text is read by its tokenizer. Random
        ids are below ``vocabulary``, where that is given.
        """
        if partner is not None and partner.bundle is not None:
            return self._again(spec, partner, model)
        reader = self._reader(model, spec)
        if partner is not None:
            reader = replace(reader, read=self._reader(partner, spec).read)
        if vocabulary is not None:
            reader = replace(reader, vocabulary=vocabulary)
        return alone(spec, reader)

    def _again(self, spec: InputsSpec, bundle: Checkpoint, model: Checkpoint) -> Inputs:
        """Inputs of a bundle's model, for another model; see `provenance.inputs.tokens.choose_again`."""
        assert isinstance(bundle.bundle, Fingerprint)
        text = replace(spec, kind="text", tokens=bundle.bundle.inputs.tokens)
        return choose_again(bundle.bundle, bundle.source, spec, self._reader(model, text))

    def _reader(self, checkpoint: Checkpoint, spec: InputsSpec) -> Reader:
        if checkpoint.vocabulary is None:
            raise ProvenanceError(f"{checkpoint.source}: its config.json states no vocab_size")
        reads = spec.kind == "text" and checkpoint.tokenizer_digest is not None
        return Reader(
            checkpoint.source,
            checkpoint.vocabulary,
            checkpoint.positions,
            (lambda text: self._encode(checkpoint, text, spec.tokens)) if reads else None,
        )

    def _encode(self, checkpoint: Checkpoint, text: str, tokens: int) -> TokenizedText:
        """The first tokens of a text; what models have in common is kept once."""
        key = (checkpoint.folder, checkpoint.remote_code, tokens, sha256(text.encode()).digest())
        if key not in self._texts:
            read = encode(load_tokenizer(checkpoint), text)
            ids, ends = self._kept(read.ids[:tokens]), None
            if read.ends is not None:
                ends = self._kept(last_ends(read.ends)[:tokens])
            self._texts[key] = TokenizedText(ids, ends, read.front)
        return self._texts[key]

    def _kept(self, numbers: Sequence[int]) -> array[int]:
        values = array("q", numbers)
        return self._once.setdefault(sha256(values).digest(), values)
