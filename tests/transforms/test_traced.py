"""Units and experts of any architecture change places, and the function stays."""

import copy

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from fixtures import transforms
from fixtures.families import DBRX
from fixtures.models import tiny_llama
from fixtures.recipes.families import FAMILIES, WITH_EXPERTS
from provenance.architecture.records import projection_bias, projection_weight
from provenance.architecture.trace import trace
from provenance.errors import ArchitectureError

pytestmark = pytest.mark.slow

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
MORE = {  # beside the families of the recipes
    "dbrx": DBRX,  # experts in one matrix of two axes
    "granitemoehybrid": {
        **EXPERTS,
        "shared_intermediate_size": 20,
        "mamba_n_heads": 4,
        "layer_types": ["attention"] * 3,
    },
    # a second set of experts, in attention, with a router of its own
    "jetmoe": {**EXPERTS, "kv_channels": 8, "num_key_value_heads": 2},
    "llama4_text": {
        **EXPERTS,
        "intermediate_size_mlp": 20,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "moe_layers": [1],
    },
    "moshi": {"ffn_dim": 48, "head_dim": 8, "num_key_value_heads": 4},
    "opt": {"ffn_dim": 24, "word_embed_proj_dim": 32},
}
ROUTED = sorted({*WITH_EXPERTS, "dbrx", "granitemoehybrid", "jetmoe", "llama4_text"})


def build(family, **overrides):
    """A small model whose norms, biases and buffers of routers are random too."""
    if family in FAMILIES:
        own = {k: list(v) if isinstance(v, tuple) else v for k, v in FAMILIES[family][1].items()}
    else:
        own = MORE.get(family, {})
    config = AutoConfig.for_model(family, **SIZES | own | overrides)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        corrections = [b for name, b in model.named_buffers() if name.endswith("correction_bias")]
        for tensor in (*model.parameters(), *corrections):
            torch.nn.init.normal_(tensor, mean=float(tensor.dim() == 1), std=0.2)
    return model.eval()


def logits(model):
    ids = torch.randint(3, 64, (3, 17), generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits


def assert_same_function(one, other):
    expected = logits(other)
    scale = expected.abs().max().item()
    torch.testing.assert_close(logits(one), expected, atol=1e-4 * scale, rtol=1e-4)


def changed(one, other):
    after = other.state_dict()
    return {
        name for name, weight in one.state_dict().items() if not torch.equal(weight, after[name])
    }


def rows(model, record):
    """What gate, up and down have for each unit, biases too, (units, numbers)."""
    columns = []
    for projection in filter(None, (record.gate, record.up, record.down)):
        columns.append(projection_weight(projection, model.get_parameter(projection.parameter)))
        if projection.bias and projection is not record.down:
            bias = projection_bias(projection, model.get_parameter(projection.bias))
            columns.append(bias[:, None])
    return torch.cat(columns, dim=1).detach()


def matched(one, other):
    """Which row of `other` each row of `one` is."""
    same = (one[:, None] == other[None]).all(dim=2)
    assert (same.sum(dim=0) == 1).all()
    assert (same.sum(dim=1) == 1).all()
    return same.int().argmax(dim=1)


@pytest.mark.parametrize("family", [*FAMILIES, *MORE])
def test_every_mlp_has_its_units_in_another_order_of_its_own(family):
    model = build(family)
    before = copy.deepcopy(model.state_dict())
    permuted = transforms.permute_traced_units(model, seed=1)
    assert_same_function(permuted, model)
    records = trace(model).mlps
    orders = [tuple(matched(rows(permuted, r), rows(model, r)).tolist()) for r in records]
    assert all(list(order) != sorted(order) for order in orders)
    assert len(set(orders)) == len(orders)
    projections = [p for r in records for p in (r.gate, r.up, r.down) if p]
    moved = {p.parameter for p in projections}
    moved |= {p.bias for r in records for p in (r.gate, r.up) if p and p.bias}
    assert changed(permuted, model) == moved
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("family", ROUTED)
def test_every_block_has_its_experts_in_another_order(family):
    model = build(family)
    before = copy.deepcopy(model.state_dict())
    permuted = transforms.permute_experts(model, seed=3)
    assert_same_function(permuted, model)
    found = trace(model)
    moved = 0
    for block in range(found.blocks):
        experts = [r for r in found.of_block(block) if r.role == "expert"]
        if experts:
            one, other = (
                torch.stack([rows(m, r).flatten() for r in experts]) for m in (permuted, model)
            )
            order = matched(one, other).tolist()
            moved += order != sorted(order)
    assert moved
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())


def test_a_routers_biases_and_the_experts_go_with_its_rows():
    model = build("gpt_oss")
    moved = {name.split(".", 3)[3] for name in changed(transforms.permute_experts(model, 3), model)}
    assert moved == {
        "mlp.router.weight",
        "mlp.router.bias",
        "mlp.experts.gate_up_proj",
        "mlp.experts.gate_up_proj_bias",
        "mlp.experts.down_proj",
        "mlp.experts.down_proj_bias",
    }


def test_a_buffer_that_corrects_the_router_goes_with_its_rows():
    model = build("deepseek_v3")
    moved = changed(transforms.permute_experts(model, 3), model)
    assert "model.layers.1.mlp.gate.e_score_correction_bias" in moved
    assert not any("shared" in name or name.startswith("model.layers.0.") for name in moved)


@pytest.mark.parametrize("permute", [transforms.permute_traced_units, transforms.permute_experts])
def test_the_order_comes_from_the_seed(permute):
    model = build("mixtral")
    first, same, other = (permute(model, seed) for seed in (3, 3, 4))
    assert not changed(first, same)
    assert changed(first, other)


def test_tied_weights_training_and_dtype_are_left_as_they_were():
    model = build("gemma2", tie_word_embeddings=True).to(torch.bfloat16).train()
    model.model.layers[1].eval()
    modes = [module.training for module in model.modules()]
    permuted = transforms.permute_traced_units(model, seed=1)
    assert [module.training for module in model.modules()] == modes
    assert [module.training for module in permuted.modules()] == modes
    assert permuted.lm_head.weight is permuted.model.embed_tokens.weight
    assert {p.dtype for p in permuted.parameters()} == {torch.bfloat16}


# refusals


def test_a_model_without_mlps_has_no_units_to_permute():
    with pytest.raises(ArchitectureError, match="MambaForCausalLM has no block with an MLP"):
        transforms.permute_traced_units(build("mamba"), seed=1)


def test_a_model_without_experts_has_none_to_permute():
    with pytest.raises(ArchitectureError, match="LlamaForCausalLM has no block with experts"):
        transforms.permute_experts(tiny_llama(), seed=1)


def test_a_norm_of_the_units_is_found_out():
    model = build("bitnet", num_key_value_heads=2)
    with pytest.raises(ArchitectureError, match="another function with its units in another order"):
        transforms.permute_traced_units(model, seed=1)


def test_experts_in_groups_are_found_out():
    model = build("deepseek_v3", n_group=2, topk_group=1)
    with pytest.raises(ArchitectureError, match="another function with its experts in another"):
        transforms.permute_experts(model, seed=0)


def test_a_second_matrix_with_a_row_for_each_expert_is_refused_by_name():
    model = build("mixtral")
    model.model.layers[1].mlp.second = torch.nn.Linear(32, 4)
    message = r"router of model.layers.1 may be any of .*mlp.gate.weight, .*mlp.second.weight"
    with pytest.raises(ArchitectureError, match=message):
        transforms.permute_experts(model, seed=1)


def test_a_router_of_more_rows_than_experts_is_not_found():
    config = {
        "q_lora_rank": 16,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "num_hidden_layers": 2,
        "ffn_hidden_size": 24,
        "expert_ffn_hidden_size": 12,
        "n_routed_experts": 4,
        "zero_expert_num": 2,
        "moe_topk": 2,
        "head_dim": 8,
    }
    with pytest.raises(ArchitectureError, match="4 experts, and no matrix with a row for each"):
        transforms.permute_experts(build("longcat_flash", **config), seed=1)
