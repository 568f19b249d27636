"""Settings of texts, tokenizers and training: frozen data without torch, so that a store can key on it."""

from __future__ import annotations

from dataclasses import dataclass

from provenance.inputs import corpus

__all__ = ["CorpusSettings", "TokenizerSettings", "TrainSettings"]


@dataclass(frozen=True)
class CorpusSettings:
    """A text: the arguments of `provenance.inputs.corpus.text`."""

    name: str = "stdlib"
    characters: int = 600_000
    seed: int = 1

    def read(self) -> str:
        """Return the text.

        Raises
        ------
        InputError
            If the text is not there.
        """
        return corpus.text(self.name, self.characters, self.seed)


@dataclass(frozen=True)
class TokenizerSettings:
    """A byte-level BPE tokenizer of ``vocabulary`` tokens, trained on ``corpus``."""

    vocabulary: int = 2048
    corpus: CorpusSettings = CorpusSettings(characters=500_000)


@dataclass(frozen=True)
class TrainSettings:
    """One run of AdamW on next-token prediction.

    Each of ``steps`` steps takes ``batch`` windows of ``length`` tokens at random places, drawn from
    ``seed``. The learning rate rises linearly for ``warmup`` steps and then falls as a cosine to a
    tenth of ``learning_rate``.
    """

    steps: int
    batch: int = 8
    length: int = 64
    learning_rate: float = 3e-3
    warmup: int = 20
    weight_decay: float = 0.01
    seed: int = 0
