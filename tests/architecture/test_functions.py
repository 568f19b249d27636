"""Every block's MLP can be called on hidden states, and answers what it does in the model."""

import pytest
import torch
from torch import nn

from provenance.architecture.find import find_mlps
from provenance.architecture.functions import MLPFunction, block_callables, find_functions
from provenance.errors import ArchitectureError

HIDDEN = 32
SIZES = {"vocab_size": 64, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
WIDE = {
    "hidden_size": HIDDEN,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
NARROW = {"hidden_size": HIDDEN, "n_layer": 2, "n_head": 4}
OPT = {
    "hidden_size": HIDDEN,
    "word_embed_proj_dim": HIDDEN,
    "ffn_dim": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
NEOX_MLP = "gpt_neox.layers.1.mlp.dense_"
PLAIN = {
    "GPT2": ("GPT2LMHeadModel", {"n_embd": HIDDEN, "n_layer": 2, "n_head": 4}),
    "GPTNeoX": ("GPTNeoXForCausalLM", WIDE),
    "OPT": ("OPTForCausalLM", OPT),
    "Phi": ("PhiForCausalLM", WIDE),
    "Falcon": ("FalconForCausalLM", {"num_hidden_layers": 2, "num_attention_heads": 4}),
    "Bloom": ("BloomForCausalLM", NARROW),
    "Mpt": ("MptForCausalLM", {"d_model": HIDDEN, "n_layers": 2, "n_heads": 4}),
    "Persimmon": ("PersimmonForCausalLM", WIDE),
}
FIRST = {
    "GPT2": ("transformer.h.1.mlp.c_fc", "transformer.h.1.mlp.c_proj"),
    "GPTNeoX": (NEOX_MLP + "h_to_4h", NEOX_MLP + "4h_to_h"),
    "OPT": ("model.decoder.layers.1.fc1", "model.decoder.layers.1.fc2"),
    "Phi": ("model.layers.1.mlp.fc1", "model.layers.1.mlp.fc2"),
    "Falcon": (
        "transformer.h.1.mlp.dense_h_to_4h",
        "transformer.h.1.mlp.dense_4h_to_h",
    ),
    "Bloom": (
        "transformer.h.1.mlp.dense_h_to_4h",
        "transformer.h.1.mlp.dense_4h_to_h",
    ),
    "Mpt": ("transformer.blocks.1.ffn.up_proj", "transformer.blocks.1.ffn.down_proj"),
    "Persimmon": ("model.layers.1.mlp.dense_h_to_4h", "model.layers.1.mlp.dense_4h_to_h"),
}


def build(kind, **extra):
    import transformers

    name, sizes = PLAIN.get(kind, (f"{kind}ForCausalLM", WIDE))
    if kind == "Falcon":
        sizes = {**sizes, "hidden_size": HIDDEN}
    config = getattr(transformers, f"{kind}Config")(**{**SIZES, **sizes, **extra})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(transformers, name)(config).eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.1)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLAIN)
def test_every_block_of_a_plain_model_is_found(kind):
    found = find_functions(build(kind))
    assert (found.trace.blocks, found.reasons) == (2, {})
    mlps = found.trace.mlps
    assert [(mlp.block, mlp.kind) for mlp in mlps] == [(0, "plain"), (1, "plain")]
    assert (mlps[1].up.parameter, mlps[1].down.parameter) == tuple(
        f"{path}.weight" for path in FIRST[kind]
    )
    wide = 48 if "48" in str(PLAIN[kind]) else 4 * HIDDEN
    assert (mlps[1].hidden, mlps[1].units) == (HIDDEN, wide)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLAIN)
def test_the_callable_answers_what_the_model_computes(kind):
    model = build(kind)
    first, second = FIRST[kind]
    seen = []  # cloned: Falcon adds to the MLP's answer in place
    watch = [
        model.get_submodule(first).register_forward_pre_hook(
            lambda _, args: seen.append(args[0].clone())
        ),
        model.get_submodule(second).register_forward_hook(
            lambda *call: seen.append(call[2].clone())
        ),
    ]
    with torch.inference_mode():
        model(input_ids=torch.tensor([[5, 9, 1, 7]]))
    for handle in watch:
        handle.remove()
    entered, left = (x.reshape(-1, HIDDEN).clone() for x in seen)
    each = block_callables(model)[1]
    assert (each.kind, each.hidden_size) == ("plain", HIDDEN)
    assert torch.allclose(each(entered), left, atol=1e-5)


def test_a_gated_models_callable_is_its_mlp():
    model = build("Llama")
    found = block_callables(model)
    assert [mlp.kind for mlp in found.values()] == ["gated", "gated"]
    x = torch.randn(5, HIDDEN, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(found[1](x), model.model.layers[1].mlp(x), atol=1e-6)


def test_what_lies_in_a_whole_block_is_composed_of_its_parts():
    """A block of OPT runs on hidden states alone, attention and all: that is not its MLP."""
    model = build("OPT")
    function = block_callables(model)[0]
    layer = model.model.decoder.layers[0]
    x = torch.randn(5, HIDDEN, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(function(x), layer.fc2(torch.relu(layer.fc1(x))), atol=1e-6)


class Inline(nn.Module):
    """An MLP whose activation is a function, no module; optionally it cannot be called alone."""

    def __init__(self, *, alone=True, activation=torch.relu):
        super().__init__()
        self.one = nn.Linear(HIDDEN, 24)
        self.two = nn.Linear(24, HIDDEN)
        self.alone, self.activation = alone, activation

    def forward(self, x, residual=None):
        y = self.two(self.activation(self.one(x)))
        return y if self.alone else y + residual


class Decoder(nn.Module):
    """Embedding, blocks, nothing else."""

    def __init__(self, *mlps):
        super().__init__()
        self.embed = nn.Embedding(16, HIDDEN)
        self.blocks = nn.ModuleList(mlps)

    def forward(self, input_ids, *, use_cache=False):
        x = self.embed(input_ids)
        for block in self.blocks:
            x = x + (block(x) if block.alone else block(x, x))
        return x


@pytest.mark.parametrize("alone", [True, False])
def test_an_activation_that_is_a_function_is_applied(alone):
    model = Decoder(Inline(), Inline(alone=alone))
    block = model.blocks[1]
    x = torch.randn(5, HIDDEN, generator=torch.Generator().manual_seed(0))
    expected = block.two(torch.relu(block.one(x)))
    assert torch.allclose(block_callables(model)[1](x), expected, atol=1e-6)


def test_what_can_neither_be_composed_nor_called_is_named():
    def odd(x):
        return torch.relu(x) * torch.tanh(x) + torch.exp(-x * x)

    found = find_functions(Decoder(Inline(), Inline(alone=False, activation=odd)))
    assert list(found.mlps) == [(0, 0)]
    assert "cannot be called by itself (blocks.1" in found.reasons[1, 0]
    with pytest.raises(ArchitectureError, match=r"Decoder: no MLP can be called.*blocks\.0"):
        block_callables(Decoder(Inline(alone=False, activation=odd)))


@pytest.mark.parametrize(
    "between", [lambda x: x, lambda x: 2 * x, lambda x: x / x.norm(dim=-1, keepdim=True)]
)
def test_a_low_rank_pair_and_a_norm_are_no_mlp(between):
    with pytest.raises(ArchitectureError, match="no block has an MLP"):
        find_functions(Decoder(Inline(activation=between)))


def test_an_mlp_of_zeros_is_found():
    model = Decoder(Inline(), Inline())
    for parameter in model.blocks[0].parameters():
        nn.init.zeros_(parameter)
    assert list(block_callables(model)) == [0, 1]


def test_a_model_without_blocks_says_so():
    with pytest.raises(ArchitectureError, match="it has no list of blocks"):
        block_callables(Decoder())


def test_a_model_that_does_not_run_on_ids_says_so():
    with pytest.raises(ArchitectureError, match="does not run on token ids alone"):
        find_functions(nn.Sequential(nn.Linear(4, 4)))


def test_finding_leaves_model_mode_hooks_and_global_generator_alone():
    model = build("GPT2").train()
    model.transformer.h[0].eval()
    modes = [m.training for m in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    x = torch.ones(2, HIDDEN)
    first = block_callables(model)[1](x)
    assert torch.equal(first, block_callables(model)[1](x))  # no dropout
    assert modes == [m.training for m in model.modules()]
    assert torch.equal(state, torch.get_rng_state())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_dtype_is_the_models_inside_and_float32_outside():
    model = build("GPTNeoX").bfloat16()
    mlp = block_callables(model)[0]
    assert isinstance(mlp, MLPFunction)
    assert mlp(torch.ones(3, HIDDEN)).dtype == torch.float32


def test_mixed_blocks_each_have_their_kind():
    class Gated(nn.Module):
        alone = True

        def __init__(self):
            super().__init__()
            self.gate, self.up = nn.Linear(HIDDEN, 40), nn.Linear(HIDDEN, 40)
            self.down = nn.Linear(40, HIDDEN)

        def forward(self, x):
            return self.down(torch.sigmoid(self.gate(x)) * self.up(x))

    model = Decoder(Inline(), Gated())
    assert [mlp.kind for mlp in find_mlps(model).mlps] == ["plain", "gated"]
    assert {i: mlp.kind for i, mlp in block_callables(model).items()} == {0: "plain", 1: "gated"}


def experts(model, block):
    """What each expert of a Mixtral block makes of hidden states, the obvious way."""
    stack = model.model.layers[block].mlp.experts

    def expert(number):
        def call(x):
            gate, up = (x @ stack.gate_up_proj[number].T).chunk(2, dim=-1)
            return (nn.functional.silu(gate) * up) @ stack.down_proj[number].T

        return call

    return [expert(number) for number in range(len(stack.gate_up_proj))]


def test_each_expert_of_a_block_is_called_alone():
    model = build("Mixtral", num_local_experts=3, num_key_value_heads=4)
    found = find_functions(model)
    assert list(found.mlps) == [(block, place) for block in range(2) for place in range(3)]
    x = torch.randn(5, HIDDEN, generator=torch.Generator().manual_seed(0))
    for place, expert in enumerate(experts(model, 1)):
        assert torch.allclose(found.mlps[1, place](x), expert(x), atol=1e-5)
