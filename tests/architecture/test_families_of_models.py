"""The MLPs of thirty architectures of transformers, small, and where their projections lie."""

from collections import Counter

import pytest
import torch

from fixtures.families import DBRX, LATENT, nemotron_h
from provenance.architecture.trace import probe, skeleton, trace
from tests.support.verification import verify

HIDDEN, UNITS, COUNT = 32, 24, 4  # COUNT: experts
SIZES = {
    "vocab_size": 64,
    "hidden_size": HIDDEN,
    "intermediate_size": UNITS,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = {"num_local_experts": COUNT, "num_experts": COUNT, "num_experts_per_tok": 2}
GPT = {"n_embd": HIDDEN, "n_layer": 2, "n_head": 4, "n_positions": 64, "n_inner": UNITS}

SETTINGS = {
    "bamba": {
        "attn_layer_indices": [1],
        "mamba_n_heads": 4,
        "mamba_d_head": 16,
        "mamba_n_groups": 1,
    },
    "bert": {"is_decoder": True},
    "bloom": {"n_layer": 2, "n_head": 4},
    "dbrx": DBRX,
    "deepseek_v3": {
        **LATENT,
        "n_routed_experts": COUNT,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 12,
        "first_k_dense_replace": 1,
        "n_group": 1,
        "topk_group": 1,
    },
    "falcon": {"ffn_hidden_size": UNITS},
    "gemma2": {"head_dim": 8},
    "gpt2": GPT,
    "gpt_oss": {**EXPERTS, "head_dim": 8},
    "gptj": {**GPT, "rotary_dim": 8},
    "gemma4_text": {
        "head_dim": 8,
        "global_head_dim": 8,
        "layer_types": ["sliding_attention", "full_attention"],
        "vocab_size_per_layer_input": 64,
        "hidden_size_per_layer_input": 8,
        "num_kv_shared_layers": 0,
        "enable_moe_block": True,
        "num_experts": COUNT,
        "top_k_experts": 2,
        "moe_intermediate_size": 12,
    },
    "glm4": {"head_dim": 8},
    "granitemoehybrid": {
        **EXPERTS,
        "shared_intermediate_size": 20,
        "mamba_n_heads": 4,
        "layer_types": ["attention", "attention"],
    },
    "jetmoe": {**EXPERTS, "kv_channels": 8, "num_key_value_heads": 2},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False},
    "llama4_text": {**EXPERTS, "intermediate_size_mlp": 20, "head_dim": 8, "moe_layers": [1]},
    "longcat_flash": {
        **LATENT,
        "num_hidden_layers": 2,  # two to a block
        "ffn_hidden_size": UNITS,
        "expert_ffn_hidden_size": 12,
        "n_routed_experts": COUNT,
        "zero_expert_num": 2,
        "moe_topk": 2,
        "head_dim": 8,
    },
    "mixtral": EXPERTS,
    "moshi": {"ffn_dim": 2 * UNITS, "head_dim": 8},
    "nemotron": {},
    "nemotron_h": nemotron_h(COUNT),
    "olmoe": {"num_experts": COUNT, "num_experts_per_tok": 2},
    "opt": {"ffn_dim": UNITS, "word_embed_proj_dim": HIDDEN},
    "qwen2_moe": {
        **EXPERTS,
        "moe_intermediate_size": 12,
        "shared_expert_intermediate_size": 20,
        "mlp_only_layers": [0],
    },
    "zamba": {
        "attention_hidden_size": 2 * HIDDEN,
        "num_hidden_layers": 12,
        "mamba_expand": 2,
        "n_mamba_heads": 2,
    },
}

# role, kind, gate, up, down: parameter in its block ([e]: one an expert), channels, axis; how many
SEPARATE = ("mlp.gate_proj.weight 0:24:1 @0", "mlp.up_proj.weight 0:24:1 @0")
STACKED = ("mlp.experts.gate_up_proj[e] 0:24:1 @1", "mlp.experts.gate_up_proj[e] 24:48:1 @1")
DOWN, STACKED_DOWN = "mlp.down_proj.weight 0:24:1 @1", "mlp.experts.down_proj[e] 0:24:1 @2"
FUSED = ("mlp.gate_up_proj.weight 0:24:1 @0", "mlp.gate_up_proj.weight 24:48:1 @0")

FOUND = {
    "llama": {("dense", "gated", *SEPARATE, DOWN): 2},
    "mistral": {("dense", "gated", *SEPARATE, DOWN): 2},
    "qwen2": {("dense", "gated", *SEPARATE, DOWN): 2},
    "qwen3": {("dense", "gated", *SEPARATE, DOWN): 2},
    "gemma2": {("dense", "gated", *SEPARATE, DOWN): 2},
    "olmo2": {("dense", "gated", *SEPARATE, DOWN): 2},
    "phi3": {("dense", "gated", *FUSED, DOWN): 2},
    "glm4": {("dense", "gated", *FUSED, DOWN): 2},
    "moshi": {
        (
            "dense",
            "gated",
            "mlp.fc1.weight 0:24:1 @0",
            "mlp.fc1.weight 24:48:1 @0",
            "mlp.fc2.weight 0:24:1 @1",
        ): 2
    },
    "lfm2": {
        (
            "dense",
            "gated",
            "feed_forward.w1.weight 0:24:1 @0",
            "feed_forward.w3.weight 0:24:1 @0",
            "feed_forward.w2.weight 0:24:1 @1",
        ): 2
    },
    "bamba": {
        (
            "dense",
            "gated",
            "feed_forward.gate_proj.weight 0:24:1 @0",
            "feed_forward.up_proj.weight 0:24:1 @0",
            "feed_forward.down_proj.weight 0:24:1 @1",
        ): 2
    },
    "mixtral": {("expert", "gated", *STACKED, STACKED_DOWN): 2 * COUNT},
    "olmoe": {("expert", "gated", *STACKED, STACKED_DOWN): 2 * COUNT},
    "gpt_oss": {
        (
            "expert",
            "gated",
            "mlp.experts.gate_up_proj[e] 0:48:2 @2 +b",
            "mlp.experts.gate_up_proj[e] 1:49:2 @2 +b",
            "mlp.experts.down_proj[e] 0:24:1 @1 +b",
        ): 2 * COUNT
    },
    "jetmoe": {
        (
            "expert",
            "gated",
            "mlp.input_linear.weight[e] 0:24:1 @1",
            "mlp.input_linear.weight[e] 24:48:1 @1",
            "mlp.output_linear.weight[e] 0:24:1 @2",
        ): 2 * COUNT
    },
    "dbrx": {
        (
            "expert",
            "gated",
            *(
                f"ffn.experts.mlp.{w} {UNITS * e}:{UNITS * e + UNITS}:1 @0"
                for w in ("w1", "v1", "w2")
            ),
        ): 2
        for e in range(COUNT)
    },
    "llama4_text": {
        (
            "dense",
            "gated",
            "feed_forward.gate_proj.weight 0:20:1 @0",
            "feed_forward.up_proj.weight 0:20:1 @0",
            "feed_forward.down_proj.weight 0:20:1 @1",
        ): 1,
        (
            "shared",
            "gated",
            "feed_forward.shared_expert.gate_proj.weight 0:24:1 @0",
            "feed_forward.shared_expert.up_proj.weight 0:24:1 @0",
            "feed_forward.shared_expert.down_proj.weight 0:24:1 @1",
        ): 1,
        (
            "expert",
            "gated",
            "feed_forward.experts.gate_up_proj[e] 0:24:1 @2",
            "feed_forward.experts.gate_up_proj[e] 24:48:1 @2",
            "feed_forward.experts.down_proj[e] 0:24:1 @1",
        ): COUNT,
    },
    "deepseek_v3": {
        ("dense", "gated", *SEPARATE, DOWN): 1,
        (
            "shared",
            "gated",
            "mlp.shared_experts.gate_proj.weight 0:12:1 @0",
            "mlp.shared_experts.up_proj.weight 0:12:1 @0",
            "mlp.shared_experts.down_proj.weight 0:12:1 @1",
        ): 1,
        (
            "expert",
            "gated",
            "mlp.experts.gate_up_proj[e] 0:12:1 @1",
            "mlp.experts.gate_up_proj[e] 12:24:1 @1",
            "mlp.experts.down_proj[e] 0:12:1 @2",
        ): COUNT,
    },
    "qwen2_moe": {
        ("dense", "gated", *SEPARATE, DOWN): 1,
        (
            "shared",
            "gated",
            "mlp.shared_expert.gate_proj.weight 0:20:1 @0",
            "mlp.shared_expert.up_proj.weight 0:20:1 @0",
            "mlp.shared_expert.down_proj.weight 0:20:1 @1",
        ): 1,
        (
            "expert",
            "gated",
            "mlp.experts.gate_up_proj[e] 0:12:1 @1",
            "mlp.experts.gate_up_proj[e] 12:24:1 @1",
            "mlp.experts.down_proj[e] 0:12:1 @2",
        ): COUNT,
    },
    "gemma4_text": {
        ("dense", "gated", *SEPARATE, DOWN): 2,
        (
            "expert",
            "gated",
            "experts.gate_up_proj[e] 0:12:1 @1",
            "experts.gate_up_proj[e] 12:24:1 @1",
            "experts.down_proj[e] 0:12:1 @2",
        ): 2 * COUNT,
    },
    "longcat_flash": {
        (
            "dense",
            "gated",
            "mlps.1.gate_proj.weight 0:24:1 @0",
            "mlps.1.up_proj.weight 0:24:1 @0",
            "mlps.1.down_proj.weight 0:24:1 @1",
        ): 1,
        (  # it reads what the experts read
            "shared",
            "gated",
            "mlps.0.gate_proj.weight 0:24:1 @0",
            "mlps.0.up_proj.weight 0:24:1 @0",
            "mlps.0.down_proj.weight 0:24:1 @1",
        ): 1,
        (
            "expert",
            "gated",
            "mlp.experts.gate_up_proj[e] 0:12:1 @1",
            "mlp.experts.gate_up_proj[e] 12:24:1 @1",
            "mlp.experts.down_proj[e] 0:12:1 @2",
        ): COUNT,
    },
    "granitemoehybrid": {
        (
            "shared",
            "gated",
            "shared_mlp.input_linear.weight 0:20:1 @0",
            "shared_mlp.input_linear.weight 20:40:1 @0",
            "shared_mlp.output_linear.weight 0:20:1 @1",
        ): 2,
        (
            "expert",
            "gated",
            "block_sparse_moe.experts.gate_up_proj[e] 0:24:1 @1",
            "block_sparse_moe.experts.gate_up_proj[e] 24:48:1 @1",
            "block_sparse_moe.experts.down_proj[e] 0:24:1 @2",
        ): 2 * COUNT,
    },
    "nemotron_h": {
        (
            "shared",
            "plain",
            "mixer.shared_experts.up_proj.weight 0:20:1 @0",
            "mixer.shared_experts.down_proj.weight 0:20:1 @1",
        ): 1,
        (
            "expert",
            "plain",
            "mixer.experts.up_proj[e] 0:12:1 @1",
            "mixer.experts.down_proj[e] 0:12:1 @2",
        ): COUNT,
        (
            "dense",
            "plain",
            "mixer.up_proj.weight 0:24:1 @0",
            "mixer.down_proj.weight 0:24:1 @1",
        ): 1,
    },
    "gpt2": {
        ("dense", "plain", "mlp.c_fc.weight 0:24:1 @1 +b", "mlp.c_proj.weight 0:24:1 @0 +b"): 2
    },
    "gptj": {
        ("dense", "plain", "mlp.fc_in.weight 0:24:1 @0 +b", "mlp.fc_out.weight 0:24:1 @1 +b"): 2
    },
    "gpt_neox": {
        (
            "dense",
            "plain",
            "mlp.dense_h_to_4h.weight 0:24:1 @0 +b",
            "mlp.dense_4h_to_h.weight 0:24:1 @1 +b",
        ): 2
    },
    "bloom": {
        (
            "dense",
            "plain",
            "mlp.dense_h_to_4h.weight 0:128:1 @0 +b",
            "mlp.dense_4h_to_h.weight 0:128:1 @1 +b",
        ): 2
    },
    "falcon": {
        (
            "dense",
            "plain",
            "mlp.dense_h_to_4h.weight 0:24:1 @0",
            "mlp.dense_4h_to_h.weight 0:24:1 @1",
        ): 2
    },
    "opt": {("dense", "plain", "fc1.weight 0:24:1 @0 +b", "fc2.weight 0:24:1 @1 +b"): 2},
    "nemotron": {("dense", "plain", "mlp.up_proj.weight 0:24:1 @0", DOWN): 2},
    "bert": {
        (
            "dense",
            "plain",
            "intermediate.dense.weight 0:24:1 @0 +b",
            "output.dense.weight 0:24:1 @1 +b",
        ): 2
    },
    "mamba": {},
    "zamba": {},
}
SKIPPED = {
    "mamba": dict.fromkeys((0, 1), "MambaBlock: MambaRMSNorm, MambaMixer"),
    "nemotron_h": {
        0: "NemotronHBlock: NemotronHRMSNorm, NemotronHMamba2Mixer",
        2: "NemotronHBlock: NemotronHRMSNorm, NemotronHAttention",
    },
    "zamba": {
        i: "ZambaMambaDecoderLayer: ZambaMambaMixer, ZambaRMSNorm"
        for i in range(12)
        if i not in {2, 7}
    },
}


def config(model_type):
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return CONFIG_MAPPING[model_type](**SIZES | SETTINGS.get(model_type, {}))


def build(model_type):
    """A small model whose norms and biases are random too."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config(model_type), dtype=torch.float32)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.2)
    return model.eval()


def described(trace, record, projection):
    place = projection.channels
    name = projection.parameter.removeprefix(f"{trace.stack}.{record.block}.")
    expert = "" if projection.expert is None else "[e]"
    bias = "" if projection.bias is None else " +b"
    return f"{name}{expert} {place.start}:{place.stop}:{place.step} @{place.axis}{bias}"


def summary(trace):
    return Counter(
        (
            record.role,
            record.kind,
            *(described(trace, record, p) for p in (record.gate, record.up, record.down) if p),
        )
        for record in trace.mlps
    )


def test_there_are_thirty():
    assert len(FOUND) >= 30


@pytest.mark.slow
@pytest.mark.parametrize("model_type", FOUND)
def test_the_projections_of_an_architecture_are_found_and_are_what_it_computes(model_type):
    model = build(model_type)
    found = trace(model)
    assert summary(found) == FOUND[model_type]
    assert found.skipped == SKIPPED.get(model_type, {})
    assert {r.block for r in found.refused} == ({2, 7} if model_type == "zamba" else set())
    assert found == trace(skeleton(config(model_type)))
    checks = verify(model, found, probe(model))
    assert all(check.worst() < 1e-4 for check in checks)
    unseen = [check.record for check in checks if not check.rows]
    assert all(record.role == "expert" for record in unseen)
    if found.mlps:
        assert len(unseen) < len(checks)
