"""Which models can be compared by their MLPs, and what is said of those that cannot."""

import pytest
import torch
from torch import nn

from provenance.architecture.find import find_mlps, with_mlps
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


@pytest.mark.slow
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
        ("StableLmConfig", "StableLmForCausalLM", {"num_key_value_heads": 4}),
        ("GraniteConfig", "GraniteForCausalLM", {}),
        ("CohereConfig", "CohereForCausalLM", {}),
    ],
)
def test_every_block_of_a_separate_gated_mlp_is_found(config, model, extra):
    found = find_mlps(build(config, model, **extra))
    assert found.blocks == 3
    assert [mlp.block for mlp in found.mlps] == [0, 1, 2]
    assert not found.without()
    for mlp in found.mlps:
        parameters = tuple(part.parameter for part in (mlp.gate, mlp.up, mlp.down))
        path = f"model.layers.{mlp.block}.mlp"
        assert mlp.units == 48
        assert parameters == (
            f"{path}.gate_proj.weight",
            f"{path}.up_proj.weight",
            f"{path}.down_proj.weight",
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


class Summed(nn.Module):
    """Three linears and no product: names and shapes of a gated MLP, the data flow of none."""

    def __init__(self):
        super().__init__()
        self.gate_proj = nn.Linear(16, 24)
        self.up_proj = nn.Linear(16, 24)
        self.down_proj = nn.Linear(24, 16)

    def forward(self, x):
        return self.down_proj(torch.relu(self.up_proj(x) + self.gate_proj(x)))


class Stack(nn.Module):
    """Embedding, blocks, nothing else."""

    def __init__(self, *mlps):
        super().__init__()
        self.embed = nn.Embedding(64, 16)
        self.blocks = nn.ModuleList()
        for mlp in mlps:
            block = nn.Module()
            block.mixer = mlp
            self.blocks.append(block)

    def forward(self, input_ids, *, use_cache=False):
        x = self.embed(input_ids)
        for block in self.blocks:
            x = x + block.mixer(x)
        return x


@pytest.mark.parametrize("inner", [16, 40])
def test_roles_follow_the_data_whatever_the_names_and_the_order(inner):
    mlp = find_mlps(Stack(Renamed(inner=inner))).mlps[0]
    assert (mlp.gate.parameter, mlp.up.parameter, mlp.down.parameter) == (
        "blocks.0.mixer.c.weight",
        "blocks.0.mixer.b.weight",
        "blocks.0.mixer.a.weight",
    )


def test_a_plain_mlp_with_a_gated_ones_names_is_not_taken_for_one():
    gated = [mlp for mlp in find_mlps(Stack(Renamed(), Summed())).mlps if mlp.kind == "gated"]
    assert [mlp.block for mlp in gated] == [0]


def test_blocks_without_an_mlp_are_named():
    found = find_mlps(Stack(Renamed(), nn.LayerNorm(16), Renamed()))
    assert [mlp.block for mlp in found.mlps] == [0, 2]
    assert found.without() == {1: "Module: LayerNorm"}


def test_an_mlp_of_zeros_has_its_roles():
    zeroed = Renamed()
    for parameter in zeroed.parameters():
        nn.init.zeros_(parameter)
    gates = [mlp.gate.parameter for mlp in find_mlps(Stack(Renamed(), zeroed)).mlps]
    assert gates == ["blocks.0.mixer.c.weight", "blocks.1.mixer.c.weight"]


def test_a_model_of_plain_mlps_says_what_is_defined_on_it():
    import transformers

    config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=64)
    found = find_mlps(transformers.GPT2LMHeadModel(config))
    assert {mlp.kind for mlp in found.mlps} == {"plain"}
    assert with_mlps(found) is found
    with pytest.raises(
        ArchitectureError, match=r"GPT2LMHeadModel: its MLPs are plain.*generalized"
    ):
        with_mlps(found, gated=True)


def test_a_model_without_any_mlp_names_what_it_has():
    with pytest.raises(ArchitectureError, match=r"Stack: no block has an MLP.*LayerNorm.*csu_all"):
        find_mlps(Stack(nn.LayerNorm(16)))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("OPT", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
        ("GPTNeo", {"num_layers": 3, "num_heads": 4, "attention_types": [[["global"], 3]]}),
    ],
)
def test_attention_is_not_taken_for_a_gated_mlp(name, settings):
    """Its output is linear in the values, and key, value and output projections have one shape."""
    found = find_mlps(build(f"{name}Config", f"{name}ForCausalLM", **settings))
    assert {mlp.kind for mlp in found.mlps} == {"plain"}
    assert not any("attn" in mlp.up.parameter for mlp in found.mlps)


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


def test_a_model_without_numbers_gives_the_same():
    import transformers

    config = transformers.LlamaConfig(**SIZES)
    with torch.device("meta"):
        skeleton = transformers.LlamaForCausalLM(config)
    assert find_mlps(skeleton) == find_mlps(build("LlamaConfig", "LlamaForCausalLM"))
