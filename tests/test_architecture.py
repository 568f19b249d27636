"""Gate, up and down are found by what data does, not by names."""

import pytest
import torch
from torch import nn

from provenance.architecture import find_mlps
from provenance.errors import ArchitectureError

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 64,
}


def build(config_name, model_name, **overrides):
    import transformers

    config = getattr(transformers, config_name)(**{**SIZES, **overrides})
    torch.manual_seed(0)
    return getattr(transformers, model_name)(config).eval()


@pytest.mark.parametrize(
    ("config", "model", "extra"),
    [
        ("LlamaConfig", "LlamaForCausalLM", {}),
        ("LlamaConfig", "LlamaForCausalLM", {"mlp_bias": True}),
        ("MistralConfig", "MistralForCausalLM", {"num_key_value_heads": 2}),
        ("Qwen2Config", "Qwen2ForCausalLM", {"num_key_value_heads": 2}),
        ("Qwen3Config", "Qwen3ForCausalLM", {"num_key_value_heads": 2, "head_dim": 8}),
        ("GemmaConfig", "GemmaForCausalLM", {"num_key_value_heads": 2, "head_dim": 8}),
        ("Gemma2Config", "Gemma2ForCausalLM", {"num_key_value_heads": 2, "head_dim": 8}),
        ("OlmoConfig", "OlmoForCausalLM", {}),
        ("Olmo2Config", "Olmo2ForCausalLM", {}),
        ("StableLmConfig", "StableLmForCausalLM", {}),
        ("GraniteConfig", "GraniteForCausalLM", {}),
        ("CohereConfig", "CohereForCausalLM", {}),
    ],
)
def test_every_block_of_a_separate_gated_mlp_is_found(config, model, extra):
    layout = find_mlps(build(config, model, **extra))
    assert layout.blocks == 3
    assert [mlp.block for mlp in layout.mlps] == [0, 1, 2]
    assert not layout.skipped
    for mlp in layout.mlps:
        assert (mlp.gate, mlp.up, mlp.down, mlp.units) == (
            f"model.layers.{mlp.block}.mlp.gate_proj",
            f"model.layers.{mlp.block}.mlp.up_proj",
            f"model.layers.{mlp.block}.mlp.down_proj",
            48,
        )


class Renamed(nn.Module):
    """Registers up before gate, under names that say nothing; as wide inside as outside."""

    def __init__(self, width=16, inner=16):
        super().__init__()
        self.a = nn.Linear(inner, width)
        self.b = nn.Linear(width, inner, bias=False)
        self.c = nn.Linear(width, inner)

    def forward(self, x):
        return self.a(self.b(x) * torch.tanh(self.c(x)))


class Plain(nn.Module):
    """Three linears and no product: names and shapes of a gated MLP, the data flow of none."""

    def __init__(self):
        super().__init__()
        self.gate_proj = nn.Linear(16, 24)
        self.up_proj = nn.Linear(16, 24)
        self.down_proj = nn.Linear(24, 16)

    def forward(self, x):
        return self.down_proj(torch.relu(self.up_proj(x) + self.gate_proj(x)))


class Stack(nn.Module):
    def __init__(self, *mlps):
        super().__init__()
        self.blocks = nn.ModuleList()
        for mlp in mlps:
            block = nn.Module()
            block.mixer = mlp
            self.blocks.append(block)


@pytest.mark.parametrize("inner", [16, 40])
def test_roles_follow_the_data_whatever_the_names_and_the_order(inner):
    mlp = find_mlps(Stack(Renamed(inner=inner))).mlps[0]
    assert (mlp.gate, mlp.up, mlp.down) == (
        "blocks.0.mixer.c",
        "blocks.0.mixer.b",
        "blocks.0.mixer.a",
    )


def test_a_plain_mlp_with_a_gated_ones_names_is_not_taken_for_one():
    with pytest.raises(ArchitectureError, match=r"no block has a gated MLP.*Plain"):
        find_mlps(Stack(Plain(), Plain()))


def test_blocks_without_a_gated_mlp_are_named():
    layout = find_mlps(Stack(Renamed(), Plain(), Renamed()))
    assert [mlp.block for mlp in layout.mlps] == [0, 2]
    assert layout.skipped == {1: "Module: Plain"}


def test_an_mlp_of_zeros_takes_its_roles_from_its_class():
    zeroed = Renamed()
    for parameter in zeroed.parameters():
        nn.init.zeros_(parameter)
    layout = find_mlps(Stack(Renamed(), zeroed))
    assert [mlp.gate for mlp in layout.mlps] == ["blocks.0.mixer.c", "blocks.1.mixer.c"]


def test_gpt2_says_what_it_has():
    import transformers

    config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=64)
    with pytest.raises(ArchitectureError, match=r"GPT2LMHeadModel: no block .*GPT2MLP"):
        find_mlps(transformers.GPT2LMHeadModel(config))


def test_detection_leaves_no_hook_and_no_change_behind():
    model = build("LlamaConfig", "LlamaForCausalLM")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    find_mlps(model)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_detection_does_not_touch_the_global_generator():
    model = build("LlamaConfig", "LlamaForCausalLM")
    state = torch.get_rng_state()
    find_mlps(model)
    assert torch.equal(state, torch.get_rng_state())


def test_attention_is_not_taken_for_a_gated_mlp():
    """Its output is linear in the values, and key, value and output projections have one shape."""
    model = build("OPTConfig", "OPTForCausalLM", ffn_dim=48, word_embed_proj_dim=32)
    with pytest.raises(ArchitectureError, match="OPTForCausalLM: no block has a gated MLP"):
        find_mlps(model)


def test_gpt_neos_attention_is_not_either():
    import transformers

    config = transformers.GPTNeoConfig(
        hidden_size=32, num_layers=2, num_heads=4, vocab_size=64, attention_types=[[["global"], 2]]
    )
    with pytest.raises(ArchitectureError, match="no block has a gated MLP"):
        find_mlps(transformers.GPTNeoForCausalLM(config))


def test_a_model_without_numbers_gives_the_same_layout():
    import transformers

    config = transformers.LlamaConfig(**SIZES)
    with torch.device("meta"):
        skeleton = transformers.LlamaForCausalLM(config)
    assert find_mlps(skeleton) == find_mlps(build("LlamaConfig", "LlamaForCausalLM"))
