"""What a recipe is made of: frozen data without torch, so that it can be a key in a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "AddNoise",
    "Beginning",
    "CorpusSettings",
    "Distil",
    "FoldNorms",
    "Initialise",
    "InitialiseFamily",
    "LoraMerge",
    "LoraSettings",
    "MergeLinear",
    "MergeSlerp",
    "MergeTies",
    "PermuteExperts",
    "PermuteHeads",
    "PermuteResidual",
    "PermuteTracedUnits",
    "PermuteUnits",
    "PruneDepth",
    "PruneMagnitude",
    "PruneWidth",
    "RescaleNorms",
    "RescaleUnits",
    "RetrainMlp",
    "RetrainSettings",
    "RotateResidual",
    "RoundTrip",
    "Step",
    "TokenizerSettings",
    "Train",
    "TrainLora",
    "TrainSettings",
    "TransplantMlp",
    "Upcycle",
    "UpscaleDepth",
    "named_in",
    "read_by",
]


@dataclass(frozen=True)
class CorpusSettings:
    """A text: the arguments of `provenance.inputs.corpus.text`."""

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
class LoraSettings:
    """A low-rank update of every linear map, trained as ``training`` says and then merged.

    The map becomes ``w + scale b a``, b of shape (rows, ``rank``) from zero and a random from
    ``training.seed``.
    """

    training: TrainSettings
    rank: int = 8
    scale: float = 2.0


@dataclass(frozen=True)
class RetrainSettings:
    """One run of Adam that fits a new MLP to the outputs of the old one.

    Each of ``steps`` steps takes ``batch`` hidden states, drawn from ``seed`` as the new weights
    are, from those that ``tokens`` tokens of text give in sequences of ``length``. The learning
    rate falls linearly to zero.
    """

    steps: int = 1000
    batch: int = 128
    tokens: int = 16_384
    length: int = 64
    learning_rate: float = 3e-3
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


Setting = int | float | bool | str | tuple[str, ...]


@dataclass(frozen=True)
class InitialiseFamily:
    """Begin with a random model of a family of transformers; ``seed`` draws its weights.

    ``family`` is its ``model_type``. ``settings`` are keys of its configuration and their values, on
    top of the sizes here, which most families call by the same names.
    """

    family: str
    seed: int
    settings: tuple[tuple[str, Setting], ...] = ()
    hidden: int = 64
    units: int = 192
    blocks: int = 3
    heads: int = 4
    positions: int = 1024
    deviation: float = 0.125
    tokenizer: TokenizerSettings = TokenizerSettings()


@dataclass(frozen=True)
class Train:
    """Train on a text."""

    corpus: CorpusSettings
    settings: TrainSettings


@dataclass(frozen=True)
class TrainLora:
    """See `provenance.recipes.lora.train_lora`."""

    corpus: CorpusSettings
    settings: LoraSettings


@dataclass(frozen=True)
class RetrainMlp:
    """See `provenance.recipes.retrain.retrain_mlp`."""

    corpus: CorpusSettings
    blocks: tuple[int, ...]
    settings: RetrainSettings = RetrainSettings()


@dataclass(frozen=True)
class Distil:
    """See `provenance.recipes.distil.distil`: a student takes the model's place.

    The recipe's parent is its teacher, and no ancestor of its weights.
    """

    corpus: CorpusSettings
    seed: int
    settings: TrainSettings


@dataclass(frozen=True)
class PermuteUnits:
    """See `provenance.transforms.permute_mlp_units`."""

    seed: int


@dataclass(frozen=True)
class PermuteTracedUnits:
    """See `provenance.transforms.permute_traced_units`."""

    seed: int


@dataclass(frozen=True)
class PermuteExperts:
    """See `provenance.transforms.permute_experts`."""

    seed: int


@dataclass(frozen=True)
class RescaleUnits:
    """See `provenance.transforms.rescale_mlp`."""

    seed: int
    low: float = 0.5
    high: float = 2.0
    signs: bool = True


@dataclass(frozen=True)
class PermuteHeads:
    """See `provenance.transforms.permute_heads`."""

    seed: int


@dataclass(frozen=True)
class PermuteResidual:
    """See `provenance.transforms.permute_residual_stream`."""

    seed: int


@dataclass(frozen=True)
class RotateResidual:
    """See `provenance.transforms.rotate_residual_stream`."""

    seed: int


@dataclass(frozen=True)
class FoldNorms:
    """See `provenance.transforms.fold_norms`."""


@dataclass(frozen=True)
class RescaleNorms:
    """See `provenance.transforms.rescale_norms`."""

    seed: int
    low: float = 0.5
    high: float = 2.0
    signs: bool = True


@dataclass(frozen=True)
class PruneWidth:
    """See `provenance.transforms.prune_width`."""

    keep: int


@dataclass(frozen=True)
class PruneDepth:
    """See `provenance.transforms.prune_depth`."""

    keep_blocks: tuple[int, ...]


@dataclass(frozen=True)
class UpscaleDepth:
    """See `provenance.transforms.upscale_depth`."""

    blocks: tuple[int, ...]


@dataclass(frozen=True)
class Upcycle:
    """See `provenance.transforms.upcycle`."""

    experts: int
    seed: int
    chosen: int = 2


@dataclass(frozen=True)
class AddNoise:
    """See `provenance.transforms.add_noise`."""

    seed: int
    scale: float


@dataclass(frozen=True)
class RoundTrip:
    """See `provenance.transforms.round_trip`."""

    bits: Literal[4, 8]


@dataclass(frozen=True)
class PruneMagnitude:
    """See `provenance.transforms.prune_magnitude`."""

    fraction: float


@dataclass(frozen=True)
class LoraMerge:
    """See `provenance.transforms.lora_merge`."""

    seed: int
    rank: int
    scale: float


@dataclass(frozen=True)
class TransplantMlp:
    """See `provenance.transforms.transplant_mlp`; ``other`` is the recipe of the donor."""

    other: str
    blocks: tuple[int, ...]


@dataclass(frozen=True)
class MergeLinear:
    """See `provenance.transforms.merge_linear`; ``other`` is a recipe."""

    other: str
    weight: float


@dataclass(frozen=True)
class MergeSlerp:
    """See `provenance.transforms.merge_slerp`; ``other`` is a recipe."""

    other: str
    weight: float


@dataclass(frozen=True)
class MergeTies:
    """See `provenance.transforms.merge_ties`; ``others`` are recipes, descendants of the model."""

    others: tuple[str, ...]
    density: float
    weight: float


Beginning = Initialise | InitialiseFamily
Reader = Train | TrainLora | RetrainMlp | Distil
Disguise = (
    PermuteUnits
    | PermuteTracedUnits
    | PermuteExperts
    | RescaleUnits
    | PermuteHeads
    | PermuteResidual
    | RotateResidual
    | FoldNorms
    | RescaleNorms
)
Surgery = PruneWidth | PruneDepth | UpscaleDepth | Upcycle
Change = AddNoise | RoundTrip | PruneMagnitude | LoraMerge
Meeting = TransplantMlp | MergeLinear | MergeSlerp | MergeTies

Step = Beginning | Reader | Disguise | Surgery | Change | Meeting
"""One thing that is done to a model; a recipe is a row of them."""


def named_in(step: Step) -> tuple[str, ...]:
    """Return the other recipes whose models a step needs, in the order of its arguments."""
    match step:
        case TransplantMlp(other) | MergeLinear(other) | MergeSlerp(other):
            return (other,)
        case MergeTies(others):
            return others
        case _:
            return ()


def read_by(step: Step) -> CorpusSettings | None:
    """Return the text that a step reads, if it reads one."""
    if isinstance(step, Beginning):
        return step.tokenizer.corpus
    return step.corpus if isinstance(step, Reader) else None
