"""Small configurations of any architecture, by the names of its sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers.configuration_utils import PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

if TYPE_CHECKING:
    from collections.abc import Mapping

WIDTH, HEADS, LAYERS = 64, 4, 4

_NAMES: tuple[tuple[int, str], ...] = (
    (
        WIDTH,
        "hidden_size d_model n_embd dim hidden_dim embedding_size word_embed_proj_dim lru_width",
    ),
    (WIDTH, "attention_hidden_size input_embedding_size hidden_size_global"),
    (96, "intermediate_size ffn_dim decoder_ffn_dim encoder_ffn_dim d_ff n_inner dim_ff d_inner"),
    (96, "ffn_hidden_size shared_expert_intermediate_size intermediate_size_mlp block_ff_dim"),
    (96, "moe_shared_expert_intermediate_size shared_intermediate_size dense_intermediate_size"),
    (
        48,
        "moe_intermediate_size expert_ffn_hidden_size moe_ffn_hidden_size expert_intermediate_size",
    ),
    (LAYERS, "num_hidden_layers n_layer num_layers n_layers decoder_layers encoder_layers"),
    (LAYERS, "num_decoder_layers"),
    (HEADS, "num_attention_heads n_head n_heads num_heads decoder_attention_heads"),
    (HEADS, "encoder_attention_heads linear_num_value_heads linear_num_key_heads mamba_n_heads"),
    (HEADS, "mamba_num_heads num_local_experts num_experts n_routed_experts moe_num_experts"),
    (HEADS, "num_routed_experts"),
    (2, "num_key_value_heads num_experts_per_tok num_experts_per_token moe_topk top_k moe_k"),
    (2, "num_decoder_attention_heads"),
    (1, "n_groups n_shared_experts num_shared_experts n_group topk_group first_k_dense_replace"),
    (1, "moe_num_shared_experts"),
    (16, "head_dim v_head_dim linear_key_head_dim linear_value_head_dim kv_lora_rank"),
    (16, "global_head_dim"),
    (8, "qk_rope_head_dim qk_nope_head_dim rotary_dim"),
    (32, "q_lora_rank"),
    (128, "vocab_size max_position_embeddings n_positions vocab_size_per_layer_input"),
    (128, "encoder_hash_byte_group_vocab"),
    (0, "pad_token_id bos_token_id eos_token_id"),
)
SIZES: Mapping[str, Any] = {name: size for size, names in _NAMES for name in names.split()}


def tiny(model_type: str) -> PretrainedConfig:
    """Return a small configuration of a model type."""
    return _shrunk(CONFIG_MAPPING[model_type], OVERRIDES.get(model_type, {}))


def _shrunk(kind: type[PretrainedConfig], more: Mapping[str, Any]) -> PretrainedConfig:
    try:
        default = vars(kind())
    except Exception:  # noqa: BLE001 - some families' configurations cannot be built from nothing
        default = vars(kind(**more))
    fields: dict[str, Any] = {}
    for name, value in default.items():
        if isinstance(value, PretrainedConfig):
            key = value.model_type or type(value).__name__
            fields[name] = _shrunk(type(value), OVERRIDES.get(key, {}))
        elif name in SIZES and isinstance(value, int) and not isinstance(value, bool):
            fields[name] = SIZES[name]
    if "qk_rope_head_dim" in fields:  # the width of a head follows
        fields.pop("head_dim", None)
    return kind(**{**fields, **more})


_SECTIONS = {
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10_000.0,
        "mrope_section": [4, 2, 2],
    }
}
"""Of the 8 frequencies of a small head, those that turn with time, height and width."""

OVERRIDES: Mapping[str, Mapping[str, Any]] = {
    "axk2": {"num_key_value_heads": HEADS},
    "bailing_hybrid": {"n_group": 1, "num_local_experts": 16, "num_key_value_heads": HEADS},
    "blt": {"vocab_size": 260},  # bytes
    "blt_local_decoder": {"vocab_size": 260},
    "blt_local_encoder": {"vocab_size": 260},
    "blt_patcher": {"vocab_size": 260},
    "chameleon": {"vocabulary_map": {"<image>": 5}},
    "cohere_compass_text": {
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 10_000.0}
            for kind in ("full_attention", "sliding_attention")
        }
    },
    "dbrx": {
        "max_seq_len": 128,
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10_000.0, "clip_qkv": 8.0},
        "ffn_config": {
            "ffn_hidden_size": 96,
            "hidden_size": WIDTH,
            "moe_num_experts": 4,
            "moe_top_k": 2,
        },
    },
    "cosmos3_edge_text": _SECTIONS,
    "deepseek_ocr2_text": {
        "mlp_layer_types": ["dense", "sparse"] * 2,
        "num_experts_per_tok": 2,
    },
    "deepseek_v2": {"num_experts_per_tok": 2},
    "deepseek_v32": {"num_key_value_heads": HEADS},
    "dots1": {
        "moe_intermediate_size": 48,
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
    },
    "dots3_note_text": {"num_key_value_heads": HEADS},
    "gemma3n_text": {"num_kv_shared_layers": 0, "num_hidden_layers": 5},
    "gemma4_assistant": {"hidden_size_per_layer_input": 0},
    "glm4v_moe_text": {
        "rope_parameters": {
            **_SECTIONS["rope_parameters"],
            "mrope_section": [2, 1, 1],
            "partial_rotary_factor": 0.5,
        }
    },
    "glm4v_text": _SECTIONS,
    "glm_moe_dsa": {"num_key_value_heads": HEADS},
    "glm_ocr_text": _SECTIONS,
    "gpt_neo": {"attention_types": [[["global"], LAYERS]]},
    "hunyuan_v1_dense": {"head_dim": 16},
    "hunyuan_v1_moe": {"head_dim": 16},
    "granite4_vision": {"deepstack_layer_map": [[0, 0]], "downsample_rate": "1/2"},
    "hunyuan_vl_text": {**_SECTIONS, "head_dim": 16},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "longcat_flash": {"head_dim": 8, "zero_expert_num": 2, "n_routed_experts": HEADS},
    "mamba2": {"num_heads": 8, "head_dim": 16},
    "ministral": {"head_dim": 16},
    "nemotron": {"num_key_value_heads": 2},
    "paddleocr_vl_text": _SECTIONS,
    "qwen2_5_omni_text": _SECTIONS,
    "qwen2_5_vl_text": _SECTIONS,
    "qwen2_vl_text": _SECTIONS,
    "qwen2_vl_vision": {"depth": LAYERS, "embed_dim": WIDTH},
    "qwen3_omni_moe_talker_text": {"shared_expert_intermediate_size": 96},
    "qwen4_exp_text": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 8,
        "indexer_compress_ratio": 4,
        "ngram_vocab_size_base": 1000,
        "split_ngram_parts": 8,
    },
    "Qwen3OmniMoeTalkerConfig": {"spatial_merge_size": 2},  # it has no model type
    "reformer": {"is_decoder": True, "axial_pos_embds": False},
    "step3p5": {"sliding_window": 8},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"num_hidden_layers": 12, "attention_hidden_size": 2 * WIDTH},
    "zamba2": {"num_hidden_layers": 54, "attention_hidden_size": 2 * WIDTH},
    "zaya": {"num_experts_per_tok": 1},
}
"""What the defaults leave out, or what must fit the sizes above."""

FLAGS: Mapping[str, Mapping[str, Any]] = {
    "blt": {"patching_mode": "none"},  # by entropy it looks at numbers
    "reformer": {"is_decoder": True},
    "xmod": {"default_language": "en_XX"},
}
"""What a full-size default needs to be a model of a language."""
