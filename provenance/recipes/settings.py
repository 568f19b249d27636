"""What a recipe is made of: frozen data without torch, so that it can be a key in a store."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "CorpusSettings",
    "Initialise",
    "PermuteResidual",
    "PermuteUnits",
    "PruneDepth",
    "PruneWidth",
    "RescaleUnits",
    "Step",
    "TokenizerSettings",
    "Train",
    "TrainSettings",
]


@dataclass(frozen=True)
class CorpusSettings:
    """A text: the arguments of `provenance.corpus.text`."""

    name: str = "stdlib"
    characters: int = 600_000
    seed: int = 1


@dataclass(frozen=True)
class TokenizerSettings:
    """A byte-level BPE tokenizer of ``vocabulary`` tokens, trained on ``corpus``."""

    vocabulary: int = 2048
    corpus: CorpusSettings = CorpusSettings(characters=500_000)


@dataclass(frozen=True)
class TrainSettings:
    """One run of AdamW on next-token prediction.

    ``batch`` windows of ``length`` tokens are cut at random places, drawn from ``seed``, at each
    of ``steps`` steps. The learning rate rises linearly for ``warmup`` steps and then falls as a
    cosine to a tenth of ``learning_rate``.
    """

    steps: int
    batch: int = 8
    length: int = 64
    learning_rate: float = 3e-3
    warmup: int = 20
    weight_decay: float = 0.01
    seed: int = 0


@dataclass(frozen=True)
class Initialise:
    """Begin with a random Llama; ``seed`` draws its weights.

    ``deviation`` is that of every matrix's entries. The default is about ``hidden ** -0.5``, which
    keeps the size of activations; Llama's own 0.02 is meant for widths of thousands.
    """

    seed: int
    hidden: int = 128
    units: int = 384
    blocks: int = 4
    heads: int = 4
    positions: int = 1024
    deviation: float = 0.088
    tokenizer: TokenizerSettings = TokenizerSettings()


@dataclass(frozen=True)
class Train:
    """Train on a text."""

    corpus: CorpusSettings
    settings: TrainSettings


@dataclass(frozen=True)
class PermuteUnits:
    """See `provenance.transforms.permute_mlp_units`."""

    seed: int


@dataclass(frozen=True)
class RescaleUnits:
    """See `provenance.transforms.rescale_mlp`."""

    seed: int
    low: float = 0.5
    high: float = 2.0
    signs: bool = True


@dataclass(frozen=True)
class PermuteResidual:
    """See `provenance.transforms.permute_residual_stream`."""

    seed: int


@dataclass(frozen=True)
class PruneWidth:
    """See `provenance.transforms.prune_width`."""

    keep: int


@dataclass(frozen=True)
class PruneDepth:
    """See `provenance.transforms.prune_depth`."""

    keep_blocks: tuple[int, ...]


Step = Initialise | Train | PermuteUnits | RescaleUnits | PermuteResidual | PruneWidth | PruneDepth
"""One thing that is done to a model; a recipe is a row of them."""
