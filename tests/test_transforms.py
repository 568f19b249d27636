"""A disguise keeps its own model's function; a cut keeps what it says; the input never changes."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, MistralConfig, Qwen2Config, Qwen3Config

from fixtures.models import TINY, save_checkpoint, tiny_llama, tiny_model
from provenance import transforms
from provenance.errors import ArchitectureError

GROUPED = {"num_key_value_heads": 2}
MODELS = {
    "llama": tiny_llama,
    "llama-grouped": lambda: tiny_llama(**GROUPED),
    "llama-tied": lambda: tiny_llama(tie_word_embeddings=True),
    "llama-biases": lambda: tiny_llama(attention_bias=True, mlp_bias=True),
    "llama-wide-heads": lambda: tiny_llama(head_dim=16),
    "qwen2": lambda: tiny_model(Qwen2Config(**TINY | GROUPED)),
    "qwen3": lambda: tiny_model(Qwen3Config(**TINY | GROUPED)),
    "mistral": lambda: tiny_model(MistralConfig(**TINY | GROUPED)),
}
DISGUISES = {
    "units": lambda model: transforms.permute_mlp_units(model, 1),
    "scales": lambda model: transforms.rescale_mlp(model, 2),
    "signs": lambda model: transforms.rescale_mlp(model, 3, signs=True),
    "residual": lambda model: transforms.permute_residual_stream(model, 4),
}
CUTS = {
    "width": lambda model: transforms.prune_width(model, 40),
    "depth": lambda model: transforms.prune_depth(model, [1]),
}


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()


@pytest.fixture(params=DISGUISES)
def disguise(request):
    return DISGUISES[request.param]


def logits(model, seed=0):
    ids = torch.randint(TINY["vocab_size"], (2, 17), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return model(input_ids=ids).logits


def gate(model, block=0):
    return model.model.layers[block].mlp.gate_proj.weight.detach()


def up(model, block=0):
    return model.model.layers[block].mlp.up_proj.weight.detach()


def down(model, block=0):
    return model.model.layers[block].mlp.down_proj.weight.detach()


def test_disguise_keeps_the_function_and_changes_the_weights(model, disguise):
    disguised = disguise(model)
    torch.testing.assert_close(logits(disguised), logits(model), atol=1e-4, rtol=1e-4)
    assert not torch.equal(up(disguised), up(model))


def test_all_disguises_together_keep_the_function(model):
    disguised = model
    for disguise in DISGUISES.values():
        disguised = disguise(disguised)
    torch.testing.assert_close(logits(disguised), logits(model), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("transform", [*DISGUISES.values(), *CUTS.values()])
def test_input_is_left_as_it_was(transform):
    model = tiny_llama(tie_word_embeddings=True)
    state, config = copy.deepcopy(model.state_dict()), model.config.to_dict()
    transform(model)
    assert model.config.to_dict() == config
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("transform", DISGUISES.values())
def test_seed_decides_and_global_state_is_left_alone(transform):
    model, before = tiny_llama(), torch.random.get_rng_state()
    first, second = transform(model), transform(model)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(up(first), up(second))
    assert torch.equal(down(first), down(second))


@pytest.mark.parametrize("transform", [*DISGUISES.values(), *CUTS.values()])
def test_tied_embeddings_stay_tied(transform):
    changed = transform(tiny_llama(tie_word_embeddings=True))
    assert changed.lm_head.weight is changed.model.embed_tokens.weight


@pytest.mark.parametrize("transform", [*DISGUISES.values(), *CUTS.values()])
def test_result_survives_saving_and_loading(transform, tmp_path):
    changed = transform(tiny_model(Qwen2Config(**TINY)))
    loaded = AutoModelForCausalLM.from_pretrained(save_checkpoint(changed, tmp_path)).eval()
    torch.testing.assert_close(logits(loaded), logits(changed))


def test_every_block_has_a_permutation_of_its_own():
    model = tiny_llama(num_hidden_layers=3)
    permuted = transforms.permute_mlp_units(model, 0)
    orders = [
        torch.cdist(gate(permuted, block), gate(model, block)).argmin(dim=1).tolist()
        for block in range(3)
    ]
    assert all(sorted(order) == list(range(64)) for order in orders)
    assert len(set(map(tuple, orders))) == 3


def test_residual_permutation_moves_the_embedding_along_its_hidden_dimension_only():
    model = tiny_llama()
    before, after = (
        m.model.embed_tokens.weight.detach()
        for m in (model, transforms.permute_residual_stream(model, 0))
    )
    assert not torch.equal(before, after)
    assert torch.equal(before.sort(dim=1).values, after.sort(dim=1).values)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), bounds=st.tuples(st.floats(0.1, 1), st.floats(1, 10)))
def test_scales_stay_within_their_bounds(seed, bounds):
    model = tiny_llama()
    low, high = bounds
    scaled = transforms.rescale_mlp(model, seed, low=low, high=high)
    factors = up(scaled).norm(dim=1) / up(model).norm(dim=1)
    assert low * 0.999 < factors.min() <= factors.max() < high * 1.001
    torch.testing.assert_close(down(scaled) * factors, down(model))
    assert torch.equal(gate(scaled), gate(model))


def test_signs_flip_about_half_of_the_units():
    model = tiny_llama(intermediate_size=512)
    flipped = (up(transforms.rescale_mlp(model, 0, signs=True)) * up(model)).sum(dim=1) < 0
    assert 0.4 < flipped.double().mean() < 0.6


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (2, 1)])
def test_scale_bounds_must_be_positive_and_in_order(low, high):
    with pytest.raises(ValueError, match=f"0 < low <= high, but got {low} and {high}"):
        transforms.rescale_mlp(tiny_llama(), 0, low=low, high=high)


def test_pruned_width_keeps_the_important_units_in_their_order():
    model = tiny_llama(mlp_bias=True)
    pruned = transforms.prune_width(model, 40)
    for block in range(2):
        # the slow, obvious version
        scores = [
            gate(model, block)[unit].norm()
            * up(model, block)[unit].norm()
            * down(model, block)[:, unit].norm()
            for unit in range(64)
        ]
        best = sorted(sorted(range(64), key=lambda unit: -scores[unit])[:40])
        assert torch.equal(gate(pruned, block), gate(model, block)[best])
        assert torch.equal(up(pruned, block), up(model, block)[best])
        assert torch.equal(down(pruned, block), down(model, block)[:, best])


def test_pruned_width_is_what_modules_and_config_say():
    pruned = transforms.prune_width(tiny_llama(), 40)
    mlp = pruned.model.layers[0].mlp
    assert pruned.config.intermediate_size == mlp.intermediate_size == 40
    assert (mlp.gate_proj.out_features, mlp.down_proj.in_features) == (40, 40)
    assert logits(pruned).isfinite().all()


def test_width_of_all_units_keeps_the_function(model):
    torch.testing.assert_close(logits(transforms.prune_width(model, 64)), logits(model))


def test_dropping_units_without_output_keeps_the_function():
    model = tiny_llama()
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.data[:, ::2] = 0
    pruned = transforms.prune_width(model, 32)
    torch.testing.assert_close(logits(pruned), logits(model), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("keep", [0, 65])
def test_width_must_be_there(keep):
    with pytest.raises(ValueError, match=f"between 1 and 64, but got {keep}"):
        transforms.prune_width(tiny_llama(), keep)


def test_pruned_depth_keeps_the_blocks_named(model):
    blocks = model.model.layers
    pruned = transforms.prune_depth(model, [1])
    assert pruned.config.num_hidden_layers == len(pruned.model.layers) == 1
    assert pruned.model.layers[0].self_attn.layer_idx == 0
    assert torch.equal(gate(pruned, 0), blocks[1].mlp.gate_proj.weight)
    assert logits(pruned).isfinite().all()


def test_pruned_depth_gives_what_skipping_the_block_gives():
    model = tiny_llama(num_hidden_layers=3)
    pruned = transforms.prune_depth(model, [0, 2])
    skipping = copy.deepcopy(model)
    skipped = skipping.model.layers[1]
    skipped.self_attn.o_proj.weight.data.zero_()
    skipped.mlp.down_proj.weight.data.zero_()
    torch.testing.assert_close(logits(pruned), logits(skipping))


def test_pruned_depth_generates_with_a_cache():
    pruned = transforms.prune_depth(tiny_llama(num_hidden_layers=3), [0, 2])
    ids = torch.arange(8)[None]
    with torch.no_grad():
        out = pruned(input_ids=ids[:, :-1], use_cache=True)
        last = pruned(input_ids=ids[:, -1:], past_key_values=out.past_key_values).logits[:, -1]
        torch.testing.assert_close(last, pruned(input_ids=ids).logits[:, -1], atol=1e-4, rtol=1e-4)


def test_layer_types_follow_the_blocks():
    config = Qwen2Config(**TINY | {"num_hidden_layers": 3})
    config.layer_types = ["full_attention", "sliding_attention", "full_attention"]
    config.sliding_window = 4
    pruned = transforms.prune_depth(tiny_model(config), [1, 2])
    assert pruned.config.layer_types == ["sliding_attention", "full_attention"]


@pytest.mark.parametrize("keep", [[], [2], [-1], [1, 0], [0, 0]])
def test_blocks_to_keep_must_be_there_and_increase(keep):
    with pytest.raises(ValueError, match="increasing numbers from 0 to 1, but got"):
        transforms.prune_depth(tiny_llama(), keep)


@pytest.mark.parametrize("disguise", DISGUISES)
def test_unknown_parameter_is_refused_by_name(disguise):
    model = tiny_llama()
    model.model.layers[1].mlp.register_parameter("router", torch.nn.Parameter(torch.ones(64)))
    with pytest.raises(ArchitectureError, match=r"'model.layers.1.mlp.router' whose axes"):
        DISGUISES[disguise](model)
