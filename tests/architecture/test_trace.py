"""Gate, up and down are found by what data does, in whatever parameters they lie."""

import functools
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from provenance.architecture.records import (
    Channels,
    HiddenInput,
    projection_bias,
    projection_weight,
)
from provenance.architecture.trace import probe, skeleton, trace, trace_config
from provenance.errors import ArchitectureError
from tests.support.verification import verify

HIDDEN, UNITS, EXPERTS = 12, 20, 3


class Decoder(nn.Module):
    """An embedding, blocks with residuals, and nothing else."""

    def __init__(self, *mlps, width=HIDDEN):
        super().__init__()
        self.embed = nn.Embedding(32, width)
        self.stack = nn.ModuleList()
        for mlp in mlps:
            block = Block()
            block.inner = mlp
            self.stack.append(block)
        torch.manual_seed(0)
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    def forward(self, input_ids, *, use_cache=False):
        x = self.embed(input_ids)
        for block in self.stack:
            x = block(x)
        return x


class Block(nn.Module):
    def forward(self, x):
        return x + self.inner(functional.rms_norm(x, x.shape[-1:]))


class Separate(nn.Module):
    """Registers up before gate, under names that say nothing."""

    def __init__(self, inner=UNITS, *, bias=True):
        super().__init__()
        self.a = nn.Linear(inner, HIDDEN, bias=bias)
        self.b = nn.Linear(HIDDEN, inner, bias=False)
        self.c = nn.Linear(HIDDEN, inner, bias=bias)

    def forward(self, x):
        return self.a(self.b(x) * torch.tanh(self.c(x)))


class Fused(nn.Module):
    """One linear map for both, cut apart by ``cut`` into (gate, up)."""

    def __init__(self, cut):
        super().__init__()
        self.both = nn.Linear(HIDDEN, 2 * UNITS)
        self.out = nn.Linear(UNITS, HIDDEN)
        self.cut = cut

    def forward(self, x):
        gate, up = self.cut(self.both(x))
        return self.out(functional.silu(gate) * up)


class Routed(nn.Module):
    """A list of experts, of which a token reaches the one that its first channel chooses."""

    def __init__(self, chosen=None):
        super().__init__()
        self.experts = nn.ModuleList(Separate() for _ in range(EXPERTS))
        self.router = nn.Linear(HIDDEN, EXPERTS)
        self.chosen = chosen

    def forward(self, x):
        flat = x.reshape(-1, x.shape[-1])
        choice = self.router(flat).argmax(-1)
        if self.chosen is not None:
            choice = torch.full_like(choice, self.chosen)
        out = torch.zeros_like(flat)
        for index, expert in enumerate(self.experts):
            (rows,) = torch.where(choice == index)
            if len(rows):
                out = out.index_add(0, rows, expert(flat[rows]))
        return out.view(x.shape)


class Stacked(nn.Module):
    """Experts in parameters of three axes, stored (in, out), each with a bias, run on every token."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.empty(EXPERTS, HIDDEN, 2 * UNITS))
        self.bias = nn.Parameter(torch.empty(EXPERTS, 2 * UNITS))
        self.second = nn.Parameter(torch.empty(EXPERTS, UNITS, HIDDEN))

    def forward(self, x):
        total = torch.zeros_like(x)
        for index in range(EXPERTS):
            both = x @ self.first[index] + self.bias[index]
            gate, up = both[..., ::2], both[..., 1::2]
            total = total + (functional.gelu(gate) * up) @ self.second[index]
        return total


class Plain(nn.Module):
    def __init__(self, activation, width=UNITS):
        super().__init__()
        self.one = nn.Linear(HIDDEN, width)
        self.two = nn.Linear(width, HIDDEN)
        self.activation = activation

    def forward(self, x):
        return self.two(self.activation(self.one(x)))


def only(trace):
    (record,) = trace.mlps
    return record


def channels(projection):
    place = projection.channels
    return projection.parameter.removeprefix("stack.0.inner."), (
        place.start,
        place.stop,
        place.step,
        place.axis,
    )


def agree(model, found=None):
    """Hold every record against a forward pass on other tokens than it was found with."""
    ids = torch.tensor([[7, 1, 3, 30, 2, 2]])
    checks = verify(model, found or trace(model), ids)
    assert checks
    assert all(check.worst() < 1e-4 for check in checks)
    return checks


@pytest.mark.parametrize("inner", [HIDDEN, UNITS])
@pytest.mark.parametrize("bias", [False, True])
def test_roles_follow_the_data_whatever_the_names_the_order_and_the_widths(inner, bias):
    model = Decoder(Separate(inner, bias=bias))
    record = only(trace(model))
    assert channels(record.gate) == ("c.weight", (0, inner, 1, 0))
    assert channels(record.up) == ("b.weight", (0, inner, 1, 0))
    assert channels(record.down) == ("a.weight", (0, inner, 1, 1))
    assert record.gate.bias == ("stack.0.inner.c.bias" if bias else None)
    assert record.up.bias is None
    assert record.down.bias == ("stack.0.inner.a.bias" if bias else None)
    assert (record.block, record.path, record.kind, record.role) == (
        0,
        "stack.0.inner",
        "gated",
        "dense",
    )
    assert (record.units, record.hidden, record.activation) == (inner, HIDDEN, "tanh")
    assert record.input == HiddenInput("stack.0.inner", scaled=False)
    (check,) = agree(model)
    assert check.rows == 6
    assert check.product_error is not None


@pytest.mark.parametrize(
    ("cut", "gate", "up"),
    [
        (lambda y: y.chunk(2, -1), (0, 20, 1), (20, 40, 1)),
        (lambda y: y.chunk(2, -1)[::-1], (20, 40, 1), (0, 20, 1)),
        (lambda y: (y[..., ::2], y[..., 1::2]), (0, 40, 2), (1, 41, 2)),
        (lambda y: (y[..., 1::2], y[..., ::2]), (1, 41, 2), (0, 40, 2)),
        (lambda y: y.unflatten(-1, (2, UNITS)).unbind(-2), (0, 20, 1), (20, 40, 1)),
        (lambda y: y.unflatten(-1, (UNITS, 2)).unbind(-1), (0, 40, 2), (1, 41, 2)),
        (lambda y: y.mT.reshape(1, 2, UNITS, -1).mT.unbind(1), (0, 20, 1), (20, 40, 1)),
        (lambda y: torch.cat((y[..., 20:], y[..., :20]), -1).chunk(2, -1), (20, 40, 1), (0, 20, 1)),
    ],
)
def test_a_fused_projection_is_cut_where_the_model_cuts_it(cut, gate, up):
    model = Decoder(Fused(cut))
    record = only(trace(model))
    assert channels(record.gate) == ("both.weight", (*gate, 0))
    assert channels(record.up) == ("both.weight", (*up, 0))
    assert record.gate.bias == record.up.bias == "stack.0.inner.both.bias"
    agree(model)


def test_glu_is_a_product_too():
    class Glu(Fused):
        def forward(self, x):
            return self.out(functional.glu(self.both(x)))

    record = only(trace(Decoder(Glu(None))))
    assert channels(record.up) == ("both.weight", (0, 20, 1, 0))
    assert channels(record.gate) == ("both.weight", (20, 40, 1, 0))


def test_channels_in_no_regular_order_are_no_record():
    order = torch.randperm(2 * UNITS, generator=torch.Generator().manual_seed(0))
    found = trace(Decoder(Fused(lambda y: y[..., order].chunk(2, -1))))
    assert not found.mlps
    assert found.skipped == {0: "Block: Fused"}


@pytest.mark.parametrize("chosen", [None, 0, 2])
def test_experts_that_no_token_reaches_are_found(chosen):
    model = Decoder(Routed(chosen))
    for found in (trace(model), trace(model.to("meta"))):
        assert [record.expert for record in found.mlps] == [0, 1, 2]
        for index, record in enumerate(found.mlps):
            assert record.path == f"stack.0.inner.experts.{index}"
            assert record.up.parameter == f"{record.path}.b.weight"
            assert record.gate.bias == f"{record.path}.c.bias"
            assert record.role == "expert"
            assert record.input == HiddenInput("stack.0.inner", scaled=False)
    model = Decoder(Routed(chosen))
    checks = agree(model, found)
    assert sum(check.rows for check in checks) == 6


def test_stacked_experts_are_records_with_an_index():
    model = Decoder(Stacked())
    found = trace(model)
    assert [record.expert for record in found.mlps] == [0, 1, 2]
    for index, record in enumerate(found.mlps):
        assert record.gate.expert == record.up.expert == record.down.expert == index
        assert channels(record.gate) == ("first", (0, 40, 2, 2))
        assert channels(record.up) == ("first", (1, 41, 2, 2))
        assert channels(record.down) == ("second", (0, 20, 1, 1))
        assert record.gate.transposed
        assert record.gate.bias == "stack.0.inner.bias"
    agree(model)


def test_an_mlp_beside_experts_is_shared_where_it_reads_what_they_read():
    class Beside(nn.Module):
        def __init__(self):
            super().__init__()
            self.routed, self.always = Routed(), Separate()

        def forward(self, x):
            return self.routed(x) + self.always(x)

    found = trace(Decoder(Beside(), Separate()))
    assert [(r.block, r.role) for r in found.mlps] == [
        (0, "shared"),
        *[(0, "expert")] * EXPERTS,
        (1, "dense"),
    ]


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (torch.relu, "relu"),
        (nn.GELU(), "GELU"),
        (lambda x: torch.relu(x) ** 2, "relu+pow"),
        (lambda x: x * torch.sigmoid(1.7 * x), "mul+sigmoid+mul"),
    ],
)
def test_a_plain_mlp_has_no_gate(activation, name):
    model = Decoder(Plain(activation))
    record = only(trace(model))
    assert (record.kind, record.gate, record.activation) == ("plain", None, name)
    assert channels(record.up) == ("one.weight", (0, 20, 1, 0))
    assert channels(record.down) == ("two.weight", (0, 20, 1, 1))
    assert record.activation_module == ("stack.0.inner.activation" if name == "GELU" else None)
    agree(model)


def test_a_conv1d_is_stored_the_other_way_round():
    from transformers.pytorch_utils import Conv1D

    mlp = Plain(torch.relu)
    mlp.one, mlp.two = Conv1D(UNITS, HIDDEN), Conv1D(HIDDEN, UNITS)
    model = Decoder(mlp)
    record = only(trace(model))
    assert channels(record.up) == ("one.weight", (0, 20, 1, 1))
    assert channels(record.down) == ("two.weight", (0, 20, 1, 0))
    assert record.up.transposed
    agree(model)


@pytest.mark.parametrize(
    "between",
    [
        lambda x: x,
        lambda x: 2 * x + 1,
        lambda x: functional.layer_norm(x, x.shape[-1:]),
        lambda x: torch.softmax(x, -1),
        lambda x: x.cumsum(-1),
    ],
)
def test_what_has_no_elementwise_nonlinearity_is_no_mlp(between):
    assert not trace(Decoder(Plain(between))).mlps


class Attention(nn.Module):
    """Its output is linear in the values and gated by a sigmoid, with matrices of an MLP's shapes."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.g, self.o = (nn.Linear(HIDDEN, HIDDEN) for _ in range(5))

    def forward(self, x):
        mixed = functional.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x))
        return self.o(mixed * torch.sigmoid(self.g(x)))


class LowRankGate(nn.Module):
    """Shapes and data flow of a plain MLP, but what it puts out gates the hidden states."""

    def __init__(self):
        super().__init__()
        self.gate = Plain(torch.relu, width=2)

    def forward(self, x):
        return x * torch.sigmoid(self.gate(x))


class Router(nn.Module):
    """A router with a layer of its own, narrower than the hidden states."""

    def __init__(self):
        super().__init__()
        self.reduce = nn.Linear(HIDDEN, 8)
        self.wide, self.back = nn.Linear(8, 64), nn.Linear(64, 8)

    def forward(self, x):
        self.back(functional.gelu(self.wide(self.reduce(x))))
        return x


@pytest.mark.parametrize("mixer", [Attention, LowRankGate, Router])
def test_attention_gates_and_routers_are_taken_for_none(mixer):
    found = trace(Decoder(mixer(), Separate()))
    assert [record.block for record in found.mlps] == [1]
    assert found.skipped == {0: f"Block: {mixer.__name__}"}


def test_a_gate_on_another_input_is_none():
    class Outer(Separate):
        def forward(self, x):
            return self.a(torch.tanh(self.c(x)) * self.b(x.flip(1)))

    assert not trace(Decoder(Outer())).mlps


def test_terms_of_a_product_are_named_and_keep_verification_from_more_than_it_can_say():
    class Clamped(Separate):
        def forward(self, x):
            gate, up = functional.silu(self.c(x)), self.b(x).clamp(-1, 1)
            return self.a(functional.layer_norm(gate * (up + 1), (UNITS,)))

    # a norm mixes channels; what enters down then is no product any more
    assert not trace(Decoder(Clamped())).mlps

    class Shifted(Separate):
        def forward(self, x):
            return self.a(functional.silu(self.c(x)) * (self.b(x).clamp(-1, 1) + 1) / 3)

    model = Decoder(Shifted())
    record = only(trace(model))
    assert (record.activation, record.up_terms, record.product_terms) == (
        "silu",
        "clamp+add",
        "div",
    )
    (check,) = agree(model)
    assert check.product_error is None


def test_parameters_that_blocks_share_are_refused_in_each():
    mlp = Separate()
    found = trace(Decoder(mlp, Separate(), mlp))
    assert [record.block for record in found.mlps] == [1]
    assert [(r.block, r.reason) for r in found.refused] == [
        (0, "blocks 0, 2 share its parameters"),
        (2, "blocks 0, 2 share its parameters"),
    ]
    assert not found.skipped


def test_a_block_that_runs_twice_is_refused():
    class Twice(Decoder):
        def forward(self, input_ids, *, use_cache=False):
            x = self.embed(input_ids)
            return self.stack[0](self.stack[0](x))

    found = trace(Twice(Separate()))
    assert not found.mlps
    assert [r.reason for r in found.refused] == ["it runs 2 times in one forward pass"]


class Adapted(nn.Module):
    """A linear map with a low-rank pair beside it, as PEFT leaves one that is not merged."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.low, self.high = nn.Linear(base.in_features, 2), nn.Linear(2, base.out_features)

    def forward(self, x):
        return self.base(x) + self.high(self.low(x)) * 0.5


@pytest.mark.parametrize("projection", ["a", "b", "c"])
def test_an_adapter_beside_a_projection_is_refused_and_named(projection):
    mlp = Separate()
    setattr(mlp, projection, Adapted(getattr(mlp, projection)))
    found = trace(Decoder(mlp))
    assert not found.mlps
    assert not found.skipped
    (refusal,) = found.refused
    assert refusal.reason == (
        f"the output of stack.0.inner.{projection}.high.weight, an adapter beside it, is added to its own"
    )


def test_what_runs_beside_an_mlp_is_no_adapter_of_it():
    class Parallel(Separate):
        def __init__(self):
            super().__init__()
            self.attention = Attention()

        def forward(self, x):
            return super().forward(x) + self.attention(x)

    record = only(trace(Decoder(Parallel())))
    assert channels(record.down) == ("a.weight", (0, 20, 1, 1))


def test_what_is_added_after_a_cut_is_no_bias():
    class Late(Separate):
        def __init__(self):
            super().__init__(bias=False)
            self.shift = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return self.a(self.b(x) * torch.tanh(self.c(x) + self.shift))

    model = Decoder(Late())
    record = only(trace(model))
    assert (record.gate.bias, record.activation) == (None, "add+tanh")
    agree(model)


@pytest.mark.parametrize("first", [True, False])
def test_a_router_that_scales_what_experts_read_is_noted(first):
    class Scaled(Stacked):
        def __init__(self):
            super().__init__()
            self.router = nn.Linear(HIDDEN, 1)

        def forward(self, x):
            score = torch.sigmoid(self.router(x))
            return super().forward(x * score if first else score * x)

    model = Decoder(Scaled())
    found = trace(model)
    assert {record.input for record in found.mlps} == {HiddenInput("stack.0.inner", scaled=True)}
    agree(model, found)


def test_a_block_that_text_does_not_reach_is_said_to_be_that():
    class Idle(Decoder):
        def forward(self, input_ids, *, use_cache=False):
            return self.stack[0](self.embed(input_ids))

    found = trace(Idle(Separate(), Separate()))
    assert [record.block for record in found.mlps] == [0]
    assert found.skipped == {1: "Block: Separate, which did not run"}


def test_the_other_list_of_a_wrapper_is_named():
    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.vision, self.language = Decoder(Separate(3)), Decoder(Separate(), Separate())

        def forward(self, input_ids, *, use_cache=False):
            return self.language(input_ids) + self.vision(input_ids)

    found = trace(Wrapper())
    assert found.stack == "language.stack"
    assert found.elsewhere == ("vision.stack",)
    assert [record.path for record in found.mlps] == [f"language.stack.{i}.inner" for i in (0, 1)]


def test_a_packed_weight_is_found_and_not_read():
    class Packed(nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.in_features, self.out_features = inputs, outputs
            codes = torch.zeros(outputs * inputs // 2, 1, dtype=torch.uint8)
            self.weight = nn.Parameter(codes, requires_grad=False)

        def forward(self, x):
            return x.new_ones(*x.shape[:-1], self.out_features)

    model = Decoder(Separate())
    inner = model.stack[0].inner
    inner.a, inner.b, inner.c = (
        Packed(UNITS, HIDDEN),
        Packed(HIDDEN, UNITS),
        Packed(HIDDEN, UNITS),
    )
    record = only(trace(model))
    assert channels(record.gate) == ("c.weight", (0, 20, 1, 0))
    with pytest.raises(ArchitectureError, match=r"b\.weight is \[120, 1\] of torch\.uint8"):
        projection_weight(record.up, model.get_parameter(record.up.parameter))


def test_weights_are_rows_and_biases_go_with_them():
    weight = torch.arange(2 * 3 * 8.0).view(2, 3, 8)
    bias = torch.arange(2 * 8.0).view(2, 8)
    model = Decoder(Stacked())
    up = replace(trace(model).mlps[1].up, channels=Channels(1, 8, 2, 2))
    assert torch.equal(projection_weight(up, weight), weight[1, :, 1::2].T)
    assert torch.equal(projection_bias(up, bias), bias[1, 1::2])
    down = replace(up, channels=Channels(0, 3, 1, 1))
    assert torch.equal(projection_weight(down, weight), weight[1])
    assert torch.equal(projection_bias(down, bias), bias[1])
    with pytest.raises(
        ArchitectureError, match=r"is \[2, 3, 7\] .* not the matrix that was traced"
    ):
        projection_weight(up, weight[..., :7])


@pytest.mark.parametrize("wrong", ["swapped", "shifted", "other expert", "other input"])
def test_a_wrong_record_does_not_verify(wrong):
    model = Decoder(Stacked(), Separate())
    found = trace(model)
    first, *rest = found.mlps
    bad = {
        "swapped": replace(first, gate=first.up, up=first.gate),
        "shifted": replace(first, gate=replace(first.gate, channels=Channels(0, 20, 1, 2))),
        "other expert": replace(first, down=replace(first.down, expert=1)),
        "other input": replace(first, input=replace(first.input, module="stack.1.inner")),
    }[wrong]
    check, *others = verify(model, replace(found, mlps=(bad, *rest)), torch.tensor([[7, 1, 3]]))
    assert check.worst() > 0.01
    assert all(other.worst() < 1e-4 for other in others)


def test_a_record_of_what_is_multiplied_with_nothing_does_not_verify():
    model = Decoder(Stacked(), Separate())
    found = trace(model)
    *rest, last = found.mlps
    for bad in (replace(last, gate=last.down), replace(last, down=last.gate)):
        with pytest.raises(ArchitectureError, match=r"stack\.1\.inner: .* the record is wrong"):
            verify(model, replace(found, mlps=(*rest, bad)), torch.tensor([[7, 1, 3]]))


def test_tracing_leaves_model_mode_hooks_and_global_generator_alone():
    model = Decoder(Routed(), Separate()).train()
    model.stack[0].eval()
    modes = [m.training for m in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    verify(model, trace(model), probe(model))
    assert modes == [m.training for m in model.modules()]
    assert torch.equal(state, torch.get_rng_state())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_model_that_does_not_run_on_ids_says_so():
    with pytest.raises(ArchitectureError, match=r"Sequential does not run on token ids alone"):
        trace(nn.Sequential(nn.Linear(4, 4)))


def test_an_offloaded_model_is_refused():
    model = Decoder(Separate(), Separate())
    model.stack[1].to("meta")
    with pytest.raises(ArchitectureError, match=r"as offloaded ones are: trace its configuration"):
        trace(model)


def test_a_configuration_that_builds_nothing_says_so():
    from transformers import LlamaConfig

    with pytest.raises(ArchitectureError, match=r"^llama: no causal language model can be built"):
        trace_config(LlamaConfig(hidden_act="no such activation"))


# --- real architectures, small ---------------------------------------------------------------------


@functools.cache
def tiny_mixtral():
    from transformers import AutoModelForCausalLM, MixtralConfig

    config = MixtralConfig(
        vocab_size=32,
        hidden_size=32,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=4,
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.slow
@pytest.mark.parametrize("implementation", ["eager", "grouped_mm", "batched_mm"])
def test_every_implementation_of_experts_gives_the_same_records(implementation):
    model = tiny_mixtral()
    usual = trace(model)
    model.set_experts_implementation(implementation)
    try:
        assert trace(model) == usual == trace(skeleton(model.config))
    finally:
        model.set_experts_implementation("grouped_mm")


def test_the_language_model_inside_a_multimodal_one_is_found():
    from transformers import (
        AutoModelForImageTextToText,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
    )

    sizes = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 3}
    text = LlamaConfig(vocab_size=64, intermediate_size=24, **sizes)
    vision = CLIPVisionConfig(intermediate_size=400, image_size=32, patch_size=16, **sizes)
    config = LlavaConfig(text_config=text, vision_config=vision, image_token_index=63)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    found = trace(model)
    assert found.stack == "model.language_model.layers"
    assert [(record.block, record.units) for record in found.mlps] == [(0, 24), (1, 24), (2, 24)]


def test_records_give_what_transformers_own_experts_interface_sees():
    """Each expert's rows are computed by a function of our own in the model's stead."""
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    model, seen = tiny_mixtral(), []

    def experts(self, hidden_states, top_k_index, top_k_weights):
        out = torch.zeros_like(hidden_states)
        for token, place in torch.cartesian_prod(
            torch.arange(len(hidden_states)), torch.arange(top_k_index.shape[1])
        ).tolist():
            expert = int(top_k_index[token, place])
            gate, up = (self.gate_up_proj[expert] @ hidden_states[token]).chunk(2)
            seen.append((self, expert, hidden_states[token], gate, up))
            down = self.down_proj[expert] @ (self.act_fn(gate) * up)
            out[token] += top_k_weights[token, place] * down
        return out

    found = {(record.path, record.expert): record for record in trace(model).mlps}
    ids = torch.tensor([[3, 1, 4, 1, 5]])
    with torch.no_grad():
        usual = model(ids).logits
        ALL_EXPERTS_FUNCTIONS.register("seen", experts)
        model.set_experts_implementation("seen")
        try:
            assert torch.allclose(model(ids).logits, usual, atol=1e-5)
        finally:
            model.set_experts_implementation("grouped_mm")
    assert len(seen) == 2 * 5 * 2  # blocks, tokens, experts a token
    paths = {module: path for path, module in model.named_modules()}
    for module, expert, hidden, gate, up in seen:
        record = found[paths[module], expert]
        for projection, value in ((record.gate, gate), (record.up, up)):
            weight = projection_weight(projection, model.get_parameter(projection.parameter))
            assert torch.allclose(weight @ hidden, value, atol=1e-6)


class Scaled(nn.Module):
    """A norm without matrices."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(HIDDEN))

    def forward(self, x):
        return functional.rms_norm(x, x.shape[-1:]) * self.weight


class Gated(nn.Module):
    """A norm whose output is gated by matrices of low rank."""

    def __init__(self):
        super().__init__()
        self.norm = Scaled()
        self.gate = nn.Sequential(nn.Linear(HIDDEN, 2), nn.SiLU(), nn.Linear(2, HIDDEN))

    def forward(self, x):
        y = self.norm(x)
        return y * torch.sigmoid(self.gate(y))


class Mixed(nn.Module):
    """No norm, though one is in it: what comes out was added to what went in."""

    def __init__(self):
        super().__init__()
        self.norm = Scaled()
        self.first = nn.Linear(HIDDEN, HIDDEN)
        self.second = nn.Linear(HIDDEN, HIDDEN)

    def forward(self, x):
        return x + self.second(torch.tanh(self.first(self.norm(x))))


@pytest.mark.parametrize(
    ("before", "norm"),
    [(Scaled, "stack.0.before"), (Gated, "stack.0.before"), (Mixed, None)],
)
def test_the_norm_before_an_mlp_may_be_gated_by_matrices(before, norm):
    class Normed(nn.Module):
        def forward(self, x):
            return x + self.inner(self.before(x))

    model = Decoder(Separate())
    block = Normed()
    block.before, block.inner = before(), model.stack[0].inner
    model.stack[0] = block
    (record,) = [one for one in trace(model).mlps if one.path == "stack.0.inner"]
    assert record.input.norm == norm
