"""A disguise keeps its own model's function; a change changes what it says; the input never changes."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPTNeoXConfig,
    MistralConfig,
    Olmo2Config,
    OPTConfig,
    Qwen2Config,
    Qwen3Config,
)

from fixtures import transforms
from fixtures.models import TINY, save_checkpoint, tiny_llama, tiny_model
from fixtures.pairs import tiny_gpt2
from provenance.errors import ArchitectureError

pytestmark = pytest.mark.slow

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
    "heads": lambda model: transforms.permute_heads(model, 5),
    "rotation": lambda model: transforms.rotate_residual_stream(model, 6),
    "norms": lambda model: transforms.rescale_norms(model, 7),
    "norm-signs": lambda model: transforms.rescale_norms(model, 8, signs=True),
    "folded": transforms.fold_norms,
}
UNTYING = {"rotation", "folded"}
CUTS = {
    "width": lambda model: transforms.prune_width(model, 40),
    "depth": lambda model: transforms.prune_depth(model, [1]),
    "upscale": lambda model: transforms.arrange_blocks(model, [0, 1, 0]),
    "transplant": lambda model: transforms.transplant_mlp(model, copy.deepcopy(model), [1]),
}
CHANGES = {
    "noise": lambda model: transforms.add_noise(model, 1, 0.1),
    "int8": lambda model: transforms.round_trip(model, 8),
    "int4": lambda model: transforms.round_trip(model, 4),
    "magnitude": lambda model: transforms.prune_magnitude(model, 0.5),
    "lora": lambda model: transforms.lora_merge(model, 2, 4, 0.5),
    "linear": lambda model: transforms.merge_linear(model, stranger(model), 0.3),
    "slerp": lambda model: transforms.merge_slerp(model, stranger(model), 0.3),
    "ties": lambda model: transforms.merge_ties(model, [stranger(model)], 0.5, 0.8),
}
ALL = {**DISGUISES, **CUTS, **CHANGES}


def stranger(model, seed=99):
    """A model of the same shape with weights of its own."""
    return tiny_model(copy.deepcopy(model.config), seed)


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
    before, after = (dict(m.model.layers.named_parameters()) for m in (model, disguised))
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_all_disguises_together_keep_the_function(model):
    disguised = model
    for disguise in DISGUISES.values():
        disguised = disguise(disguised)
    torch.testing.assert_close(logits(disguised), logits(model), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("transform", ALL.values(), ids=ALL)
def test_input_is_left_as_it_was(transform):
    model = tiny_llama(tie_word_embeddings=True)
    state, config = copy.deepcopy(model.state_dict()), model.config.to_dict()
    transform(model)
    assert model.config.to_dict() == config
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("transform", ALL.values(), ids=ALL)
def test_seed_decides_and_global_state_is_left_alone(transform):
    model, before = tiny_llama(), torch.random.get_rng_state()
    first, second = transform(model), transform(model)
    assert torch.equal(torch.random.get_rng_state(), before)
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", [name for name in ALL if name not in UNTYING])
def test_tied_embeddings_stay_tied(name):
    changed = ALL[name](tiny_llama(tie_word_embeddings=True))
    assert changed.lm_head.weight is changed.model.embed_tokens.weight
    assert changed.config.tie_word_embeddings


@pytest.mark.parametrize("name", sorted(UNTYING))
def test_folding_the_last_norm_unties_the_embeddings(name):
    changed = ALL[name](tiny_llama(tie_word_embeddings=True))
    assert changed.lm_head.weight is not changed.model.embed_tokens.weight
    assert not changed.config.tie_word_embeddings


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("transform", ALL.values(), ids=ALL)
def test_result_survives_saving_and_loading(transform, tied, tmp_path):
    changed = transform(tiny_model(Qwen2Config(**TINY | {"tie_word_embeddings": tied})))
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


# heads


def test_query_heads_stay_with_the_key_head_that_they_share():
    model = tiny_llama(num_attention_heads=8, num_key_value_heads=4, head_dim=4)
    permuted = transforms.permute_heads(model, 3)
    before, after = (m.model.layers[0].self_attn for m in (model, permuted))

    def order(name):
        old = getattr(before, name).weight.detach().unflatten(0, (-1, 4)).flatten(1)
        new = getattr(after, name).weight.detach().unflatten(0, (-1, 4)).flatten(1)
        return [(old == row).all(dim=1).nonzero().item() for row in new]

    keys, queries = order("k_proj"), order("q_proj")
    assert sorted(queries) == list(range(8))
    assert keys == order("v_proj") != sorted(keys)
    assert [query // 2 for query in queries[::2]] == keys
    assert [query // 2 for query in queries[1::2]] == keys


def test_heads_are_permuted_under_a_norm_over_all_of_them():
    model = tiny_model(Olmo2Config(**TINY | GROUPED))
    permuted = transforms.permute_heads(model, 5)
    torch.testing.assert_close(logits(permuted), logits(model), atol=1e-4, rtol=1e-4)
    norms = [m.model.layers[0].self_attn.q_norm.weight for m in (model, permuted)]
    assert not torch.equal(*norms)


def test_heads_that_do_not_divide_the_matrix_are_refused():
    model = tiny_llama()
    model.config.num_attention_heads = model.config.num_key_value_heads = 5
    with pytest.raises(ArchitectureError, match=r"32 entries along its heads, and they are 5"):
        transforms.permute_heads(model, 0)


# norms and the residual stream


def gains(model):
    norms = [layer.input_layernorm for layer in model.model.layers]
    norms += [layer.post_attention_layernorm for layer in model.model.layers]
    return torch.stack([norm.weight.detach() for norm in [*norms, model.model.norm]])


def test_folded_gains_are_one():
    assert (gains(transforms.fold_norms(tiny_llama())) == 1).all()


def test_gain_of_zero_folds_to_columns_of_zero():
    model = tiny_llama()
    model.model.layers[0].post_attention_layernorm.weight.data[3] = 0
    folded = transforms.fold_norms(model)
    assert (gate(folded)[:, 3] == 0).all()
    assert (gains(folded) == 1).all()
    torch.testing.assert_close(logits(folded), logits(model), atol=1e-4, rtol=1e-4)


def test_last_norm_keeps_its_gain_under_tied_embeddings():
    model = tiny_llama(tie_word_embeddings=True)
    scaled = transforms.rescale_norms(model, 0)
    assert torch.equal(gains(scaled)[-1], gains(model)[-1])
    assert (gains(scaled)[:-1] != gains(model)[:-1]).any(dim=1).all()


def test_rotation_is_one_orthogonal_matrix_for_the_whole_model():
    model = transforms.fold_norms(tiny_llama())
    rotated = transforms.rotate_residual_stream(model, 0)
    rotation = torch.linalg.lstsq(
        model.model.embed_tokens.weight.detach(), rotated.model.embed_tokens.weight.detach()
    ).solution
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(32), atol=1e-4, rtol=0)
    assert rotation.abs().max() < 0.95
    for block in range(2):
        torch.testing.assert_close(
            gate(model, block) @ rotation, gate(rotated, block), atol=1e-4, rtol=0
        )
        torch.testing.assert_close(
            rotation.T @ down(model, block), down(rotated, block), atol=1e-4, rtol=0
        )


def test_rotation_hides_every_row_from_its_counterpart():
    model = tiny_llama(hidden_size=256)
    rotated = transforms.rotate_residual_stream(model, 0)
    cosines = torch.nn.functional.cosine_similarity(gate(model), gate(rotated))
    assert cosines.abs().max() < 0.4


@pytest.mark.parametrize("config", [GemmaConfig, Olmo2Config])
@pytest.mark.parametrize("name", ["rotation", "norms", "folded"])
def test_norms_of_another_kind_or_place_are_refused(config, name):
    model = tiny_model(config(**TINY | {"head_dim": 8}))
    with pytest.raises(ArchitectureError, match="norm"):
        DISGUISES[name](model)


def test_norm_without_a_gain_is_refused():
    model = tiny_llama()
    model.model.layers[1].input_layernorm = torch.nn.RMSNorm(32, elementwise_affine=False)
    with pytest.raises(ArchitectureError, match="has 3 norms with gains in its 2 blocks"):
        transforms.fold_norms(model)


# depth and transplants


def test_upscaled_blocks_are_those_named_and_share_nothing(model):
    upscaled = transforms.arrange_blocks(model, [1, 0, 1])
    layers = upscaled.model.layers
    assert upscaled.config.num_hidden_layers == len(layers) == 3
    assert [layer.self_attn.layer_idx for layer in layers] == [0, 1, 2]
    assert all(torch.equal(gate(upscaled, i), gate(model, j)) for i, j in enumerate([1, 0, 1]))
    layers[0].mlp.gate_proj.weight.data.zero_()
    assert torch.equal(gate(upscaled, 2), gate(model, 1))
    assert all(layer.self_attn.config is upscaled.config for layer in layers)


def test_upscaled_model_generates_with_a_cache():
    upscaled = transforms.arrange_blocks(tiny_llama(), [0, 1, 0])
    ids = torch.arange(8)[None]
    with torch.no_grad():
        out = upscaled(input_ids=ids[:, :-1], use_cache=True)
        last = upscaled(input_ids=ids[:, -1:], past_key_values=out.past_key_values).logits[:, -1]
        expected = upscaled(input_ids=ids).logits[:, -1]
    torch.testing.assert_close(last, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("blocks", [[], [2], [-1, 0]])
def test_blocks_to_take_must_be_there(blocks):
    with pytest.raises(ValueError, match=r"numbers from 0 to 1, but got \["):
        transforms.arrange_blocks(tiny_llama(), blocks)
    with pytest.raises(ValueError, match=r"numbers from 0 to 1, but got \["):
        transforms.transplant_mlp(tiny_llama(), tiny_llama(), blocks)


def test_transplant_moves_the_mlp_and_nothing_else():
    recipient, donor = tiny_llama(0), tiny_llama(1)
    changed = transforms.transplant_mlp(recipient, donor, [1])
    for name, tensor in changed.state_dict().items():
        source = donor if name.startswith("model.layers.1.mlp.") else recipient
        assert torch.equal(tensor, source.state_dict()[name])
    assert changed.model.layers[1].mlp.gate_proj.weight is not donor.model.layers[1].mlp.gate_proj


@pytest.mark.parametrize(
    "shape", [{"intermediate_size": 48}, {"hidden_size": 16}, {"mlp_bias": True}]
)
def test_transplant_between_unequal_shapes_is_refused(shape):
    with pytest.raises(ArchitectureError, match="the MLP of block 0"):
        transforms.transplant_mlp(tiny_llama(), tiny_llama(**shape), [0])


# mixture of experts


@pytest.mark.parametrize("chosen", [1, 2, 4])
@pytest.mark.parametrize(
    "name", ["llama", "llama-grouped", "llama-tied", "llama-wide-heads", "mistral"]
)
def test_upcycled_model_keeps_the_function(name, chosen):
    model = MODELS[name]()
    mixture = transforms.upcycle(model, 4, 0, chosen=chosen)
    torch.testing.assert_close(logits(mixture), logits(model), atol=1e-4, rtol=1e-4)
    assert type(mixture).__name__ == "MixtralForCausalLM"


def test_experts_are_copies_and_the_router_is_random(tmp_path):
    model = tiny_llama()
    mixture = transforms.upcycle(model, 3, 0)
    mlp = mixture.model.layers[1].mlp
    for expert in mlp.experts.gate_up_proj:
        assert torch.equal(expert, torch.cat([gate(model, 1), up(model, 1)]))
    assert mlp.gate.weight.std() > 0
    loaded = AutoModelForCausalLM.from_pretrained(save_checkpoint(mixture, tmp_path)).eval()
    torch.testing.assert_close(logits(loaded), logits(mixture))


def test_experts_that_differ_change_the_function():
    model = tiny_llama()
    mixture = transforms.upcycle(model, 4, 0)
    mixture.model.layers[0].mlp.experts.gate_up_proj.data[1] *= 2
    assert not torch.allclose(logits(mixture), logits(model), atol=1e-3)


@pytest.mark.parametrize("name", ["llama-biases", "qwen2", "qwen3"])
def test_parameters_without_a_place_in_a_mixture_are_refused(name):
    with pytest.raises(ArchitectureError, match=r"without biases can be upcycled"):
        transforms.upcycle(MODELS[name](), 4, 0)


@pytest.mark.parametrize("chosen", [0, 5])
def test_chosen_experts_must_be_there(chosen):
    with pytest.raises(ValueError, match=f"between 1 and 4, but got {chosen}"):
        transforms.upcycle(tiny_llama(), 4, 0, chosen=chosen)


# single weights


def test_noise_is_relative_to_each_matrix_and_leaves_gains_alone():
    model = tiny_llama(hidden_size=128)
    up(model).mul_(50)
    noisy = transforms.add_noise(model, 0, 0.2)
    for matrix in (up, gate, down):
        ratio = (matrix(noisy) - matrix(model)).std() / matrix(model).std()
        assert ratio.item() == pytest.approx(0.2, rel=0.1)
    assert torch.equal(gains(noisy), gains(model))


@pytest.mark.parametrize("bits", [8, 4])
def test_rounded_rows_have_at_most_as_many_values_as_the_bits_tell_apart(bits):
    model = tiny_llama(hidden_size=512)
    rounded = transforms.round_trip(model, bits)
    highest = 2 ** (bits - 1) - 1
    step = up(model).abs().amax(dim=1, keepdim=True) / highest
    assert (up(rounded) - up(model)).abs().le(step / 2 * 1.001).all()
    assert all(len(row.unique()) <= 2 * highest + 1 for row in up(rounded))
    # the slow, obvious version
    row, scale = up(model)[5].tolist(), step[5].item()
    expected = torch.tensor([round(weight / scale) * scale for weight in row])
    torch.testing.assert_close(up(rounded)[5], expected)
    assert torch.equal(rounded.lm_head.weight, model.lm_head.weight)


def test_rounding_twice_changes_nothing_more():
    once = transforms.round_trip(tiny_llama(), 4)
    torch.testing.assert_close(up(transforms.round_trip(once, 4)), up(once))


def test_row_of_zeros_stays_one():
    model = tiny_llama()
    up(model)[3] = 0
    assert (up(transforms.round_trip(model, 8))[3] == 0).all()


@settings(max_examples=15, deadline=None)
@given(fraction=st.floats(0, 0.99))
def test_pruned_weights_are_the_smallest_and_as_many_as_asked(fraction):
    model = tiny_llama()
    pruned = transforms.prune_magnitude(model, fraction)
    zero = up(pruned) == 0
    assert zero.sum() == math.floor(fraction * up(model).numel())
    assert torch.equal(up(pruned)[~zero], up(model)[~zero])
    if zero.any():
        assert up(model)[zero].abs().max() <= up(model)[~zero].abs().min()


def test_merged_update_has_the_rank_and_the_size_asked_for():
    model = tiny_llama(hidden_size=128, intermediate_size=256)
    merged = transforms.lora_merge(model, 0, 3, 0.5)
    update = (up(merged) - up(model)).double()
    assert torch.linalg.matrix_rank(update, rtol=1e-3) == 3
    assert (update.std() / up(model).std()).item() == pytest.approx(0.5, rel=0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: transforms.add_noise(m, 0, -1.0), "scale must be 0 or more, but got -1.0"),
        (lambda m: transforms.round_trip(m, 3), "bits must be 8 or 4, but got 3"),
        (lambda m: transforms.prune_magnitude(m, 1.0), "0 to below 1, but got 1.0"),
        (lambda m: transforms.lora_merge(m, 0, 0, 1.0), "rank must be 1 or more .* got 0 and 1.0"),
        (lambda m: transforms.merge_ties(m, [], 0.5, 1.0), "at least one model .* got 0 models"),
        (lambda m: transforms.merge_ties(m, [m], 0.0, 1.0), "above 0 and up to 1, .* and 0.0"),
    ],
)
def test_settings_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(tiny_llama())


# merges


@pytest.mark.parametrize("merge", [transforms.merge_linear, transforms.merge_slerp])
@pytest.mark.parametrize("end", [0, 1])
def test_merge_at_either_end_is_that_model(merge, end):
    models = tiny_llama(0), tiny_llama(1)
    merged = merge(*models, float(end))
    torch.testing.assert_close(merged.state_dict(), models[end].state_dict())


@pytest.mark.parametrize("merge", [transforms.merge_linear, transforms.merge_slerp])
def test_merge_of_a_model_with_itself_is_the_model(merge):
    model = tiny_llama()
    torch.testing.assert_close(merge(model, model, 0.4).state_dict(), model.state_dict())


def test_linear_merge_is_the_weighted_mean():
    a, b = tiny_llama(0), tiny_llama(1)
    torch.testing.assert_close(up(transforms.merge_linear(a, b, 0.3)), 0.7 * up(a) + 0.3 * up(b))


def test_slerp_goes_along_the_arc():
    a, b = tiny_llama(0), tiny_llama(1)
    third, angle = up(transforms.merge_slerp(a, b, 1 / 3)), arc(up(a), up(b))
    assert arc(up(a), third) == pytest.approx(angle / 3, rel=1e-3)
    assert arc(third, up(b)) == pytest.approx(2 * angle / 3, rel=1e-3)
    assert third.norm().item() == pytest.approx((2 * up(a).norm() + up(b).norm()).item() / 3)


def arc(a, b):
    return math.acos((a * b).sum().item() / (a.norm() * b.norm()).item())


def test_slerp_of_opposites_and_of_zeros_is_linear():
    a, b = tiny_llama(0), tiny_llama(0)
    up(b).neg_()
    gate(a).zero_()
    merged = transforms.merge_slerp(a, b, 0.25)
    torch.testing.assert_close(up(merged), up(a) / 2)
    torch.testing.assert_close(gate(merged), gate(b) / 4)


def test_ties_agrees_with_the_slow_version():
    base = tiny_llama(0)
    others = [transforms.add_noise(base, seed, 0.5) for seed in (1, 2, 3)]
    merged = up(transforms.merge_ties(base, others, 0.4, 0.7)).flatten()
    start = up(base).double().flatten()
    changes = []
    for other in others:
        change = (up(other).double().flatten() - start).tolist()
        limit = sorted(map(abs, change), reverse=True)[round(0.4 * len(change)) - 1]
        changes.append([entry if abs(entry) >= limit else 0.0 for entry in change])
    for place, entries in enumerate(zip(*changes, strict=True)):
        total = sum(entries)
        agreeing = [entry for entry in entries if entry * total > 0]
        mean = sum(agreeing) / len(agreeing) if agreeing else 0.0
        assert merged[place].item() == pytest.approx(start[place].item() + 0.7 * mean, abs=1e-6)


def test_ties_with_one_model_and_all_its_changes_is_that_model():
    base, other = tiny_llama(0), tiny_llama(1)
    merged = transforms.merge_ties(base, [other], 1.0, 1.0)
    torch.testing.assert_close(merged.state_dict(), other.state_dict())


@pytest.mark.parametrize(
    "merge",
    [
        lambda a, b: transforms.merge_linear(a, b, 0.5),
        lambda a, b: transforms.merge_slerp(a, b, 0.5),
        lambda a, b: transforms.merge_ties(a, [a, b], 0.5, 1.0),
    ],
)
@pytest.mark.parametrize("shape", [{"intermediate_size": 48}, {"num_hidden_layers": 1}])
def test_models_of_other_shapes_are_not_merged(merge, shape):
    with pytest.raises(ArchitectureError, match=r"same names and shapes; 'model\.layers\.[01]"):
        merge(tiny_llama(), tiny_llama(**shape))


# refusals


def test_all_is_sorted_and_there():
    names = transforms.__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(transforms, name) for name in names)


@pytest.mark.parametrize("disguise", DISGUISES)
def test_unknown_parameter_is_refused_by_name(disguise):
    model = tiny_llama()
    model.model.layers[1].mlp.register_parameter("router", torch.nn.Parameter(torch.ones(64)))
    with pytest.raises(ArchitectureError, match=r"'model.layers.1.mlp.router' whose axes"):
        DISGUISES[disguise](model)


PLAIN = {
    "gpt2": tiny_gpt2,
    "neox": lambda: tiny_model(GPTNeoXConfig(**TINY)),
    "opt": lambda: tiny_model(OPTConfig(**TINY, word_embed_proj_dim=32, ffn_dim=48)),
}


@pytest.mark.parametrize("kind", PLAIN)
def test_units_of_plain_mlps_are_permuted_and_the_function_is_kept(kind):
    model = PLAIN[kind]()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    permuted = transforms.permute_traced_units(model, seed=1)
    torch.testing.assert_close(logits(permuted), logits(model), atol=1e-4, rtol=1e-4)
    after = permuted.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert len(moved) == 3 * 2  # two matrices and the bias of the first, in two blocks
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())


def test_a_square_plain_mlp_is_permuted_along_the_right_axis():
    model = tiny_gpt2(n_inner=32)
    permuted = transforms.permute_traced_units(model, seed=1)
    torch.testing.assert_close(logits(permuted), logits(model), atol=1e-4, rtol=1e-4)


IDENTITIES = ["silu", "gelu", "gelu_pytorch_tanh", "relu", "relu2", "sigmoid", "tanh"]
WIDENINGS = {
    "duplicated": transforms.duplicate_units,
    "split": lambda model: transforms.split_units(model, 1),
    "zero": lambda model: transforms.add_idle_units(model, 2, "zero"),
    "dead": lambda model: transforms.add_idle_units(model, 3, "dead"),
    "random": lambda model: transforms.add_idle_units(model, 4, "random"),
    "decoys": lambda model: transforms.add_decoys(model, tiny_llama(), 5),
    "cancelling decoys": lambda model: transforms.add_decoys(
        model, tiny_llama(), 6, strength=1.0, jitter=0.0
    ),
}


@pytest.mark.parametrize("widen", WIDENINGS.values(), ids=WIDENINGS)
def test_a_widened_model_says_what_it_said_and_can_be_saved(widen, tmp_path):
    model = tiny_llama()
    before = copy.deepcopy(model.state_dict())
    widened = widen(model)
    assert widened.config.intermediate_size >= 2 * model.config.intermediate_size
    ids = torch.arange(40).view(2, 20)
    with torch.no_grad():
        expected = model(ids).logits
        torch.testing.assert_close(widened(ids).logits, expected, rtol=1e-3, atol=1e-4)
        widened.save_pretrained(tmp_path)
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
        torch.testing.assert_close(loaded(ids).logits, expected, rtol=1e-3, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("activation", IDENTITIES)
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_model_written_by_the_identities_of_its_activation_says_what_it_said(
    activation, share, tmp_path
):
    model = tiny_llama(hidden_act=activation)
    written = transforms.rewrite_units(model, 1, share=share)
    assert (
        written.config.intermediate_size
        >= (2 if share == 1 else 1.5) * model.config.intermediate_size
    )
    ids = torch.arange(40).view(2, 20)
    with torch.no_grad():
        expected = model(ids).logits
        torch.testing.assert_close(written(ids).logits, expected, rtol=1e-3, atol=1e-4)
        written.save_pretrained(tmp_path)
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
        torch.testing.assert_close(loaded(ids).logits, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: transforms.split_units(model, 1, jitter=0.5),
        lambda model: transforms.add_decoys(model, tiny_llama(), 1, strength=1.0),
        lambda model: transforms.add_decoys(model, tiny_llama(), 1, strength=1.0, jitter=0.5),
    ],
)
def test_a_strength_or_a_jitter_costs_the_function(change):
    model, ids = tiny_llama(), torch.arange(40).view(2, 20)
    with torch.no_grad():
        difference = (change(model)(ids).logits - model(ids).logits).abs().max()
    assert difference > 1e-2


def test_mlps_with_biases_are_not_widened():
    with pytest.raises(ArchitectureError, match=r"mlp\.gate_proj\.bias: .* not widened"):
        transforms.duplicate_units(MODELS["llama-biases"]())
