"""Small models of many architectures: for each family a base, a disguised descendant and a stranger.

Data alone, without torch. The descendant is the base, trained on with prose, then with its units (and
experts) in other orders; the stranger differs from the base in the draw of its initial weights alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.recipes.settings import (
    CorpusSettings,
    InitialiseFamily,
    PermuteExperts,
    PermuteTracedUnits,
    Setting,
    Step,
    Train,
    TrainSettings,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["FAMILIES", "WITH_EXPERTS", "rows"]

_HEADS: Mapping[str, Setting] = {"num_key_value_heads": 2, "head_dim": 16}
_EXPERTS: Mapping[str, Setting] = {
    **_HEADS,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "intermediate_size": 96,
}

FAMILIES: Mapping[str, tuple[str, Mapping[str, Setting]]] = {
    "qwen2": ("separate gate and up", {"num_key_value_heads": 2}),
    "gemma2": ("separate gate and up, norms around", _HEADS),
    "olmo2": ("separate gate and up, norms after", {"num_key_value_heads": 2}),
    "phi3": ("gate and up in one matrix", {"num_key_value_heads": 2}),
    "glm4": ("gate and up in one matrix, norms around", _HEADS),
    "mixtral": ("four experts", _EXPERTS),
    "qwen2_moe": (
        "four experts and a shared one",
        {
            "num_key_value_heads": 2,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 96,
            "shared_expert_intermediate_size": 128,
        },
    ),
    "gpt_oss": (
        "four experts, gate and up interleaved, biases",
        # what its rotary embeddings are stretched to
        {**_EXPERTS, "max_position_embeddings": 131_072},
    ),
    "deepseek_v3": (
        "a dense block, then four experts and a shared one",
        {
            "num_key_value_heads": 4,
            "q_lora_rank": 32,
            "kv_lora_rank": 32,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 16,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 96,
            "first_k_dense_replace": 1,
            "n_group": 1,
            "topk_group": 1,
        },
    ),
    "lfm2": (
        "convolutions beside attention",
        {
            "num_key_value_heads": 2,
            "layer_types": ("conv", "full_attention", "conv"),
            "block_auto_adjust_ff_dim": False,
        },
    ),
    "gpt2": ("plain MLPs, transposed matrices", {"n_inner": 192}),
    "gpt_neox": ("plain MLPs", {}),
}
"""What is told of each family's MLPs, and the keys of its configuration, by ``model_type``."""

WITH_EXPERTS = frozenset({"mixtral", "qwen2_moe", "gpt_oss", "deepseek_v3"})

_BLOCKS = 3
_CODE = CorpusSettings("stdlib", characters=600_000, seed=1)
_PROSE = CorpusSettings("topics", characters=440_000, seed=0)
_PRETRAINING = Train(_CODE, TrainSettings(steps=80, warmup=10))
_FINETUNING = Train(_PROSE, TrainSettings(steps=30, batch=4, learning_rate=1e-3, warmup=5, seed=1))

Row = tuple[str, str, int, str | None, tuple[Step, ...]]
"""Name, description, blocks, parent and steps of a recipe."""


def rows() -> Iterator[Row]:
    """Yield the recipes of every family, a parent before its child."""
    for number, (family, (what, settings)) in enumerate(FAMILIES.items()):
        # matrices of the same sizes, drawn from the same seed, would be the same in two families:
        # two models of one initialisation are kin
        seed = 100 + 2 * number
        base = f"architectures/{family}"
        begun = _begun(family, settings, seed)
        yield base, f"A small {family}: {what}", _BLOCKS, None, begun
        yield (
            f"{base}-disguised",
            f"The {family}, fine-tuned with prose, in disguise",
            _BLOCKS,
            base,
            (_FINETUNING, *_disguise(family)),
        )
        stranger = _begun(family, settings, seed + 1)
        yield f"{base}-stranger", f"The {family} from other weights", _BLOCKS, None, stranger


def _begun(family: str, settings: Mapping[str, Setting], seed: int) -> tuple[Step, ...]:
    return (
        InitialiseFamily(family, seed, tuple(settings.items()), blocks=_BLOCKS),
        _PRETRAINING,
    )


def _disguise(family: str) -> tuple[Step, ...]:
    units = PermuteTracedUnits(seed=51)
    return (units, PermuteExperts(seed=52)) if family in WITH_EXPERTS else (units,)
