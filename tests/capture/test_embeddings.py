"""What MLPs answer to token embeddings: read from files, the same as where a model is made to answer."""

import hashlib
import math
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fixtures.models import TINY, save_checkpoint, tiny_model
from fixtures.transforms import rotate_residual_stream
from provenance import transforms
from provenance._quiet import quiet
from provenance.capture.embeddings import NORMED, TokenUnits, embed, embedding_rows, usable
from provenance.capture.layout import find_layout
from provenance.capture.norms import measure_norm
from provenance.capture.units import WeightUnits
from provenance.checkpoints.checkpoint import open_checkpoint
from provenance.checkpoints.contents import inspect
from provenance.errors import DegenerateError
from provenance.inputs.shared_tokens import LEAST_TOKENS
from provenance.loading.lazy_tensors import LazyTensors
from provenance.loading.parameters import ModelTensors
from provenance.vocabulary import ModelSpec
from tests.reference import own_rows

IDS = list(range(3, 90))
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2}

FAMILIES = {
    "llama": {},
    "llama tied": {"tie_word_embeddings": True},
    "llama biased": {"mlp_bias": True},
    "gemma": {"head_dim": 8},  # rows scaled by sqrt(hidden), gains are 1 + weight
    "gemma2": {"head_dim": 8},  # norms before and after
    "stablelm": {},  # LayerNorm with a bias
    "olmo": {},  # LayerNorm without parameters
    "olmo2": {},  # no norm before the MLP
    "cohere": {},  # attention and MLP side by side
    "cohere2": {},
    "phi": {},  # the same, plain
    "phi3": {},  # gate and up in one matrix
    "glm4": {"head_dim": 8},
    "granite": {"embedding_multiplier": 12.0},
    "qwen3_moe": {**EXPERTS, "moe_intermediate_size": 12, "head_dim": 8},
    "mixtral": EXPERTS,
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "gpt_neox": {},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 12},  # narrow rows, widened by a matrix
    "opt after": {"ffn_dim": 64, "word_embed_proj_dim": 12, "do_layer_norm_before": False},
}
SILENT = ("self_attn", "attention", ".attn.")
"""What the parameters of attention are named by."""
POSITIONS = ("embed_positions", "wpe")


@dataclass
class Opened:
    """A model's files, and what is found of it."""

    checkpoint: object
    layout: object
    tensors: object

    @property
    def traced(self):
        return self.layout.trace

    def units(self, ids=IDS):
        rows = embed(self.traced, self.tensors, ids)
        return TokenUnits(self.layout, self.tensors, rows, "cpu")


def opened(folder):
    def sha256(file):
        return hashlib.sha256(file.read_bytes()).hexdigest()

    checkpoint = open_checkpoint(inspect(folder), ModelSpec(path=str(folder)), sha256)
    layout = find_layout(checkpoint)
    return Opened(checkpoint, layout, ModelTensors(checkpoint, stored=layout.stored))


def tiny(name, **overrides):
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    with quiet():
        settings = TINY | FAMILIES[name] | overrides
        return tiny_model(CONFIG_MAPPING[name.split()[0]](**settings))


@pytest.fixture
def stored(tmp_path):
    """A model, its files, and the same on the meta device."""
    count = iter(range(9))
    return lambda model: opened(save_checkpoint(model, tmp_path / str(next(count))))


def fed_by_the_model(model, traced, ids):
    """What the first MLP of the whole model is fed, where nothing but an embedding is in the stream."""
    table = model.get_input_embeddings().weight
    projection = traced.embedding.projection
    with torch.no_grad():
        rows = table[ids]
        if projection is not None:
            rows = rows @ model.get_parameter(projection).T
        table[ids] /= rows.square().mean(dim=1, keepdim=True).sqrt()
        for path, parameter in model.named_parameters():
            last = path.split(".")[-2]
            silent = any(s in path for s in SILENT) and last in {
                "o_proj",
                "out_proj",
                "dense",
                "c_proj",
            }
            if silent or any(position in path for position in POSITIONS):
                parameter.zero_()
        kept = []
        hooked = model.get_submodule(traced.of_block(0)[0].input.module)
        handle = hooked.register_forward_pre_hook(lambda _, args: kept.append(args[0]))
        try:
            model(input_ids=torch.tensor([ids]), use_cache=False)
        finally:
            handle.remove()
    return kept[0].reshape(len(ids), -1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["mixtral", "phi3", "gpt2"])
def test_an_mlp_holds_no_more_memory_than_its_own_weights(stored, name, dtype):
    files = stored(tiny(name).to(dtype))
    of_weights = WeightUnits(files.traced, files.tensors, "cpu").block(1)
    mlp = files.units().block(1)
    linear = [part for part in (mlp.gate, mlp.up) if part is not None]
    ours = [tensor for part in linear for tensor in (part.weight, part.bias)]
    for tensor in (*ours, of_weights.gate, of_weights.up):
        if tensor is not None:
            assert tensor.dtype == torch.float32
            assert tensor.untyped_storage().nbytes() == tensor.nbytes


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_an_mlp_is_fed_what_the_model_feeds_it_of_a_token_alone(stored, name):
    model = tiny(name)
    files = stored(model)
    found = files.units().block(0)
    expected = fed_by_the_model(model, files.traced, IDS)
    assert found.inputs.dtype == torch.float32
    torch.testing.assert_close(found.inputs, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_mlp_is_asked_by_its_own_projections(stored, name):
    model = tiny(name)
    files = stored(model)
    units = files.units()
    for block in range(2):
        for place, record in enumerate(files.traced.of_block(block)):
            side = units.block(block, place)
            assert side.up.weight.shape == (record.units, record.hidden)
            assert (side.gate is None) == (record.kind == "plain")
            assert side.down().shape == (record.units, record.hidden)
            assert torch.isfinite(side.inputs).all()
    first = [units.block(0, place).inputs for place in range(len(files.traced.of_block(0)))]
    assert all(inputs is first[0] for inputs in first)


def test_a_model_has_the_norm_that_it_has(stored):
    def norms(name):
        return [record.input.norm for record in stored(tiny(name)).traced.mlps]

    assert norms("llama") == [f"model.layers.{i}.post_attention_layernorm" for i in range(2)]
    assert norms("gemma2") == [f"model.layers.{i}.pre_feedforward_layernorm" for i in range(2)]
    assert (
        norms("cohere") == norms("phi") == [f"model.layers.{i}.input_layernorm" for i in range(2)]
    )
    assert norms("olmo2") == [None, None]


def test_a_token_has_the_row_of_the_input_table_and_no_other_is_read(stored, monkeypatch):
    files = stored(tiny("llama"))
    read = []
    whole = LazyTensors.__getitem__
    monkeypatch.setattr(
        LazyTensors, "__getitem__", lambda self, name: read.append(name) or whole(self, name)
    )
    assert embedding_rows(files.traced, files.tensors) == TINY["vocab_size"]
    embed(files.traced, files.tensors, IDS)
    assert read == []
    files.units().block(0)
    assert not any("embed_tokens" in name or "lm_head" in name for name in read)


def test_rows_are_those_of_the_table_in_their_order(stored):
    model = tiny("llama")
    files = stored(model)
    table = model.get_input_embeddings().weight.detach()
    for ids in ([5, 3, 5, 127], [0]):
        assert files.tensors.rows(files.traced.embedding.parameter, ids).equal(table[ids])


@pytest.mark.parametrize("tied", [True, False])
def test_the_rows_are_those_that_tokens_come_in_by_not_those_they_go_out_by(stored, tied):
    model = tiny("llama", tie_word_embeddings=tied)
    rows = model.get_input_embeddings().weight.detach()[IDS]
    scaled = rows / rows.square().mean(dim=1, keepdim=True).sqrt()
    files = stored(model)
    torch.testing.assert_close(embed(files.traced, files.tensors, IDS), scaled)


def test_rows_of_any_size_have_a_mean_square_of_one_and_bad_ones_are_nan(stored):
    model = tiny("llama")
    table = model.get_input_embeddings().weight
    with torch.no_grad():
        table[3] *= 1e30
        table[4] *= 1e-30
        table[5] = 0
        table[6, 2] = math.inf
        table[7, 2] = math.nan
        table[8] = math.inf
    files = stored(model)
    rows = embed(files.traced, files.tensors, IDS)
    good = torch.isfinite(rows).all(dim=1)
    assert good.tolist() == [index not in {5, 6, 7, 8} for index in IDS]
    torch.testing.assert_close(rows[good].square().mean(dim=1), torch.ones(len(IDS) - 4))


@given(
    st.lists(st.sampled_from([-1, 0, 1, 2, 3, 4]), min_size=40, max_size=60),
    st.lists(st.sampled_from([-1, 0, 1, 2, 3, 4]), min_size=40, max_size=60),
)
def test_rows_that_are_their_own_are_those_of_the_slow_twin(ours, theirs):
    """-1 stands for a bad row, 0 for one of its own, the others for rows that several have."""
    count = min(len(ours), len(theirs))
    sides = [rows_of(kinds[:count], seed) for seed, kinds in enumerate((ours, theirs))]
    good = [a and b for a, b in zip(*(own_rows(side.tolist()) for side in sides), strict=True)]
    expected = [place for place, own in enumerate(good) if own]
    if len(expected) < LEAST_TOKENS:
        with pytest.raises(DegenerateError, match=f"^{len(expected)} shared tokens have"):
            usable(*sides, 256)
    else:
        assert usable(*sides, 256) == expected
        assert usable(*sides, LEAST_TOKENS) == expected[:LEAST_TOKENS]


def rows_of(kinds, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(len(kinds), 4, generator=generator)
    for place, kind in enumerate(kinds):
        if kind == -1:
            rows[place, place % 4] = (math.nan, math.inf)[place % 2]
        elif kind > 0:
            rows[place] = torch.arange(4.0) + kind
    return rows


def answers(model, stored):
    units = stored(model).units()
    return [units.block(block).dense() for block in range(2)]


def test_a_rotated_residual_stream_gives_the_same_answers(stored):
    model = tiny("llama")
    rotated = rotate_residual_stream(model, seed=4)
    weights = [m.model.layers[0].mlp.gate_proj.weight for m in (model, rotated)]
    assert (weights[0] - weights[1]).abs().max() > 0.1
    for ours, theirs in zip(answers(rotated, stored), answers(model, stored), strict=True):
        torch.testing.assert_close(ours.gate, theirs.gate, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(ours.up, theirs.up, rtol=1e-3, atol=1e-3)


def test_disguised_units_give_the_same_answers_in_another_order(stored):
    model = tiny("llama")
    changed = transforms.permute_residual_stream(
        transforms.rescale_mlp(transforms.permute_mlp_units(model, 1), 2, signs=True), 3
    )
    for ours, theirs in zip(answers(changed, stored), answers(model, stored), strict=True):
        order = torch.cdist(ours.gate.T, theirs.gate.T).argmin(dim=1)
        assert sorted(order.tolist()) == list(range(64))
        torch.testing.assert_close(ours.gate, theirs.gate[:, order], rtol=1e-3, atol=1e-3)
        factors = ours.up / theirs.up[:, order]
        assert (factors.std(dim=0) < 0.01 * factors.abs().mean(dim=0)).all()


def test_few_norms_are_kept_at_once(stored):
    files = stored(tiny("llama", num_hidden_layers=NORMED + 3))
    units = files.units()
    for block in range(NORMED + 3):
        units.block(block)
    assert len(units._normed) == NORMED


def test_embeddings_of_another_width_than_the_stream_are_refused(stored):
    files = stored(tiny("llama"))
    units = TokenUnits(files.layout, files.tensors, torch.randn(40, 8), "cpu")
    with pytest.raises(DegenerateError, match="are 8 wide, and the MLP reads 32 dimensions"):
        units.block(0)


@pytest.mark.parametrize(
    "forward",
    [
        lambda hidden, scale: hidden * scale,  # it takes more than hidden states
        lambda hidden: hidden.tanh(),  # it is no norm
    ],
)
def test_what_is_no_norm_that_is_known_is_refused_in_a_line(stored, forward):
    files = stored(tiny("llama"))
    path = files.traced.mlps[0].input.norm
    norm = tiny("llama").get_submodule(path)
    norm.forward = forward
    assert measure_norm(norm, path, 32).kind == "unknown"
    files.layout = replace(files.layout, norms={path: measure_norm(norm, path, 32)})
    with pytest.raises(DegenerateError, match=f"what the norm of {path} does is not known"):
        files.units().block(0)


def test_a_norm_with_a_buffer_is_not_tried():
    norm = tiny("llama").model.norm
    norm.register_buffer("mean", torch.zeros(3))
    assert measure_norm(norm, "norm", 32).kind == "unknown"


@pytest.mark.parametrize("table", [None, "raises", torch.nn.Linear(4, 4), torch.nn.Identity()])
def test_a_model_that_does_not_tell_its_table_has_none_and_is_traced(table, monkeypatch):
    from provenance.architecture.trace import trace

    model = tiny("llama").to("meta")

    def tell():
        if table == "raises":
            raise NotImplementedError("`get_input_embeddings` is not handled")
        return table

    monkeypatch.setattr(model, "get_input_embeddings", tell)
    found = trace(model)
    assert (found.embedding, len(found.mlps)) == (None, 2)


def test_a_model_without_a_table_of_tokens_is_refused_in_a_line(stored):
    files = stored(tiny("llama"))
    lacking = replace(files.traced, embedding=None)
    with pytest.raises(DegenerateError, match="no table of token embeddings leads"):
        embedding_rows(lacking, files.tensors)
