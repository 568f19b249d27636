"""Inputs of checkpoints: texts encoded by their tokenizers, each once a run."""

from __future__ import annotations

from array import array
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

from provenance.errors import ProvenanceError
from provenance.inputs.tokens import Inputs, Reader, choose, choose_again
from provenance.loading.model import encode, load_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.vocabulary import InputsSpec


class Encoded:
    """Ids of texts by the tokenizers of models: a run encodes a text once a model, not once a pair.

    That is faster and saves memory: a tokenizer of tokenizers 0.23 leaks half a MiB for each 4096 tokens of
    English that it encodes.
    """

    def __init__(self) -> None:
        self._ids: dict[tuple[Path, bool, int, bytes], array[int]] = {}
        self._once: dict[bytes, array[int]] = {}

    def choose(self, spec: InputsSpec, candidate: Checkpoint, reference: Checkpoint) -> Inputs:
        """Inputs legitimate for both models; see `provenance.inputs.tokens.choose`."""
        return choose(spec, self._reader(candidate, spec), self._reader(reference, spec))

    def of_pair(self, spec: InputsSpec, model: Checkpoint, partner: Checkpoint) -> Inputs:
        """Inputs of a model that is compared with a partner, which may be a bundle."""
        if partner.bundle is not None:
            return self.again(spec, partner, model)
        return self.choose(spec, model, partner)

    def for_one(self, spec: InputsSpec, model: Checkpoint, vocabulary: int | None = None) -> Inputs:
        """Inputs for a model alone; random ids below ``vocabulary``, where that is given."""
        reader = self._reader(model, spec)
        if vocabulary is not None:
            reader = replace(reader, vocabulary=vocabulary)
        return choose(spec, reader, reader)

    def again(self, spec: InputsSpec, bundle: Checkpoint, model: Checkpoint) -> Inputs:
        """Inputs of a bundle's model, for another model; see `provenance.inputs.tokens.choose_again`."""
        assert bundle.bundle is not None
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

    def _encode(self, checkpoint: Checkpoint, text: str, tokens: int) -> array[int]:
        """The first ids of a text; those that models have in common are kept once."""
        key = (checkpoint.folder, checkpoint.remote_code, tokens, sha256(text.encode()).digest())
        if key not in self._ids:
            ids = array("q", encode(load_tokenizer(checkpoint), text)[:tokens])
            self._ids[key] = self._once.setdefault(sha256(ids).digest(), ids)
        return self._ids[key]
