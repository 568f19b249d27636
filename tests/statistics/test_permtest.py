"""Members keep the model's function; p is uniform under the null, and right where it can be counted."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import Olmo2Config, Qwen2Config, Qwen3Config

from fixtures.models import TINY, tiny_llama, tiny_model
from provenance.errors import ArchitectureError, DegenerateError
from provenance.statistics.l2 import l2
from provenance.statistics.permtest import l2_permtest, permtest
from provenance.statistics.symmetries import Member, Symmetries, axes_of, random_member
from provenance.transforms import BLOCK_AXES
from tests.support.reference_weights import every_order_l2, permute_heads

GROUPED = {"num_key_value_heads": 2}
MODELS = {
    "llama": tiny_llama,
    "grouped": lambda: tiny_llama(**GROUPED),
    "one key-value head": lambda: tiny_llama(num_key_value_heads=1),
    "tied": lambda: tiny_llama(tie_word_embeddings=True),
    "biases": lambda: tiny_llama(attention_bias=True, mlp_bias=True, **GROUPED),
    "wide heads": lambda: tiny_llama(head_dim=16, **GROUPED),
    "qwen2": lambda: tiny_model(Qwen2Config(**TINY | GROUPED)),
    "qwen3, a norm a head": lambda: tiny_model(Qwen3Config(**TINY | GROUPED)),
    "olmo2, a norm over heads": lambda: tiny_model(Olmo2Config(**TINY)),
}
PARTS = ("residual", "unit", "head", "inner")
UP = "model.layers.0.mlp.up_proj.weight"


def parameters(model):
    return {name: p.detach() for name, p in model.named_parameters()}


def group(model, **options):
    config = model.config
    return Symmetries.of(
        parameters(model),
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads,
        **options,
    )


def logits(model, weights):
    ids = torch.randint(TINY["vocab_size"], (2, 17), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return torch.func.functional_call(model, dict(weights), (ids,)).logits


def member_of(symmetries, seed=0):
    return random_member(symmetries, np.random.default_rng(seed))


def small(seed, units=7, hidden=5):
    """A block's MLP and what surrounds it, in a mapping small enough for hundreds of tests."""
    generator = torch.Generator().manual_seed(seed)
    mlp = "model.layers.0.mlp"
    shapes = {
        "model.norm.weight": (hidden,),
        f"{mlp}.gate_proj.weight": (units, hidden),
        f"{mlp}.down_proj.weight": (hidden, units),
    }
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", MODELS)
def test_a_member_leaves_the_logits_alone(name):
    model = MODELS[name]()
    weights = parameters(model)
    before = logits(model, weights)
    symmetries = group(model)
    for seed in range(3):
        permuted = member_of(symmetries, seed).apply(weights)
        assert torch.allclose(logits(model, permuted), before, atol=1e-4)


@pytest.mark.parametrize("part", PARTS)
def test_each_part_alone_leaves_the_logits_alone_and_moves_its_own(part):
    model = tiny_llama(**GROUPED)
    weights = parameters(model)
    permuted = dict(member_of(group(model, parts=(part,))).apply(weights))
    assert torch.allclose(logits(model, permuted), logits(model, weights), atol=1e-4)
    moved = {
        n.rpartition("layers.0.")[2] for n in weights if not torch.equal(permuted[n], weights[n])
    }
    assert ("mlp.gate_proj.weight" in moved) == (part in {"residual", "unit"})
    assert ("self_attn.q_proj.weight" in moved) == (part in {"residual", "head"})
    assert ("self_attn.v_proj.weight" in moved) == (part in {"residual", "head", "inner"})
    assert ("model.embed_tokens.weight" in moved) == (part == "residual")


def test_queries_inner_units_are_left_in_their_place_for_a_reason():
    """Moved together with the keys' they would be turned at other frequencies."""
    model = tiny_llama()
    weights = parameters(model)
    moved = dict(weights)
    order = torch.arange(32).view(4, 8).flip(1).reshape(-1)
    for name in ("q_proj", "k_proj"):
        moved[f"model.layers.0.self_attn.{name}.weight"] = weights[
            f"model.layers.0.self_attn.{name}.weight"
        ][order]
    assert not torch.allclose(logits(model, moved), logits(model, weights), atol=1e-4)


def test_heads_move_as_they_do_in_a_loop_over_heads():
    """All that eight query heads over two key-value heads of two units can become, and no more."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"q": (8, 1), "k": (4, 1), "v": (4, 1), "o": (1, 8)}
    full = "model.layers.3.self_attn.{}_proj.weight".format
    weights = {n: torch.randn(s, generator=generator) for n, s in shapes.items()}
    named = {full(n): x for n, x in weights.items()}
    symmetries = Symmetries.of(named, heads=4, key_value_heads=2)
    rng = np.random.default_rng(0)

    def found(sides):
        return tuple(tuple(np.asarray(sides[n]).reshape(-1).tolist()) for n in "qkvo")

    slow = Counter(
        found(permute_heads({n: x.numpy() for n, x in weights.items()}, 4, 2, rng))
        for _ in range(900)
    )
    fast = Counter()
    for _ in range(900):
        permuted = random_member(symmetries, rng).apply(named)
        fast[found({n: permuted[full(n)].numpy() for n in "qkvo"})] += 1
    assert len(fast) == 2 * 2**2 * 2**2  # groups, heads within a group, inner units of a group
    assert set(fast) == set(slow)
    assert stats.chisquare(list(fast.values())).pvalue > 0.001


def test_members_are_uniform_and_independent_between_blocks():
    names = [f"model.layers.{block}.mlp.up_proj.weight" for block in range(2)]
    symmetries = Symmetries(dict.fromkeys(names, (3, 1)))
    rng = np.random.default_rng(1)
    drawn = Counter()
    for _ in range(1800):
        member = random_member(symmetries, rng)
        drawn[tuple(tuple(member.orders(name)[0]) for name in names)] += 1
    assert len(drawn) == 36
    assert stats.chisquare(list(drawn.values())).pvalue > 0.001


def test_equal_keys_are_equal_members():
    model = tiny_llama()
    weights = parameters(model)
    symmetries = group(model)
    one, same, other = (Member(symmetries, key).apply(weights) for key in (5, 5, 6))
    assert all(torch.equal(one[name], same[name]) for name in weights)
    assert not torch.equal(one[UP], other[UP])


def test_a_view_reads_a_tensor_when_it_is_asked_for():
    reads = []

    class Lazy(dict):
        def __getitem__(self, name):
            reads.append(name)
            return super().__getitem__(name)

    weights = Lazy(small(1))
    view = member_of(Symmetries({n: tuple(x.shape) for n, x in weights.items()})).apply(weights)
    assert list(view) == list(weights)
    assert len(view) == 3
    assert not reads
    assert view["model.norm.weight"].shape == (5,)
    assert reads == ["model.norm.weight"]
    with pytest.raises(KeyError):
        view["nothing"]


def test_the_reference_stays_as_it_was():
    a, b = small(1), small(2)
    permtest(l2, a, b, trials=5, seed=0)
    l2_permtest(a, b, trials=5, seed=0)
    for name, tensor in small(2).items():
        assert torch.equal(b[name], tensor)


def test_every_parameter_that_transforms_knows_has_axes_here():
    for local, axes in BLOCK_AXES.items():
        known = axes_of(f"model.layers.7.{local}")
        assert [k == "residual" for k in known] == [k == "residual" for k in axes]
        assert [k == "unit" for k in known] == [k == "unit" for k in axes]
    assert axes_of("model.layers.0.mlp.experts.0.w1") is None
    assert axes_of("transformer.wte.weight") is None


# the test itself


def test_p_is_uniform_for_independent_parameters():
    ps = [10 ** l2_permtest(small(2 * i), small(2 * i + 1), trials=9, seed=i).log10_p
          for i in range(300)]  # fmt: skip
    counts = Counter(round(10 * p) for p in ps)
    assert set(counts) <= set(range(1, 11))
    assert stats.chisquare([counts[k] for k in range(1, 11)]).pvalue > 0.001


def test_p_is_uniform_for_a_statistic_that_always_ties():
    def constant(a, b):
        return 1.0

    ps = [
        10 ** permtest(constant, small(0), small(1), trials=4, seed=i).log10_p for i in range(300)
    ]
    counts = Counter(round(5 * p) for p in ps)
    assert stats.chisquare([counts[k] for k in range(1, 6)]).pvalue > 0.001


def test_noisy_copies_reach_the_least_p():
    b = small(1)
    a = {name: x + 0.5 * torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
         for name, x in b.items()}  # fmt: skip
    result = l2_permtest(a, b, trials=99, seed=0)
    assert result.log10_p == pytest.approx(-2)
    assert max(result.null) < result.observed


def test_a_permuted_copy_defeats_it():
    model = tiny_llama()
    weights = parameters(model)
    disguised = dict(member_of(group(model), 9).apply(weights))
    assert l2_permtest(disguised, weights, trials=19, seed=0).log10_p > -1.3


def test_p_converges_to_the_enumerated_one():
    """The group of four units: its 24 elements can be written down."""
    a, b = (torch.randn(4, 1, generator=torch.Generator().manual_seed(s)) for s in (3, 4))
    orders = every_order_l2(a.double().numpy(), b.double().numpy())
    observed = -float((a.double() - b.double()).norm())
    above = sum(x > observed + 1e-12 for x in orders)
    ties = sum(abs(x - observed) <= 1e-12 for x in orders)
    assert 0 < above < 24 - ties
    assert ties == 1
    result = l2_permtest({UP: a}, {UP: b}, trials=3000, seed=0)
    assert set(np.round(result.null, 9)) == set(np.round(orders, 9))
    count = sum(x > result.observed for x in result.null)
    assert stats.binomtest(count, 3000, above / 24).pvalue > 0.001
    among = count / 3000, (count + sum(x == result.observed for x in result.null)) / 3000
    assert among[0] <= 10**result.log10_p <= among[1] + 1 / 3000


@pytest.mark.parametrize("seed", range(3))
def test_the_fast_l2_equals_the_slow_one(seed):
    a, b = (parameters(tiny_llama(seed + k, **GROUPED)) for k in range(2))
    symmetries = Symmetries.of(b, heads=4, key_value_heads=2)
    slow = permtest(l2, a, b, trials=7, seed=seed, members=symmetries)
    fast = l2_permtest(a, b, trials=7, seed=seed, members=symmetries)
    assert fast == slow
    assert len(set(slow.null)) == 7


def test_the_fast_l2_reads_each_tensor_once():
    reads = Counter()

    class Lazy(dict):
        def __getitem__(self, name):
            reads[name] += 1
            return super().__getitem__(name)

    a, b = Lazy(small(1)), Lazy(small(2))
    symmetries = Symmetries({n: tuple(x.shape) for n, x in small(2).items()})
    l2_permtest(a, b, trials=9, seed=0, members=symmetries)
    assert set(reads.values()) == {2}  # once in either model


def test_the_reference_is_what_is_permuted():
    a, b, seen = small(1), small(2), []

    def watch(candidate, reference):
        seen.append((candidate is a, reference is b))
        return 0.0

    permtest(watch, a, b, trials=3, seed=0)
    assert seen == [(True, True), *[(True, False)] * 3]


def test_the_result_tells_what_was_done():
    result = permtest(l2, small(1), small(2), trials=4, seed=0)
    assert (result.statistic, result.trials, len(result.null)) == ("l2", 4, 4)
    assert result.log10_p in [math.log10(k / 5) for k in range(1, 6)]
    assert permtest(l2, small(1), small(2), trials=4, seed=0) == result
    assert permtest(l2, small(1), small(2), trials=4, seed=1).null != result.null


def test_members_can_be_drawn_by_the_caller():
    symmetries = Symmetries.of(small(2), parts=("unit",))
    keys = []

    def draw(rng):
        keys.append(random_member(symmetries, rng))
        return keys[-1]

    permtest(l2, small(1), small(2), trials=4, seed=0, members=draw)
    assert len(keys) == 4


# what is refused


def test_a_parameter_that_is_not_known_is_refused():
    with pytest.raises(ArchitectureError, match=r"'model\.layers\.0\.mlp\.router\.weight'"):
        Symmetries({"model.layers.0.mlp.router.weight": (3, 4)})
    with pytest.raises(ArchitectureError, match=r"shape \(3,\)"):
        Symmetries({UP: (3,)})


def test_axes_that_do_not_fit_each_other_are_refused():
    with pytest.raises(ArchitectureError, match="5 unit units where another parameter has 7"):
        Symmetries({UP: (7, 3), "model.layers.0.mlp.down_proj.weight": (3, 5)})
    query = "model.layers.0.self_attn.q_proj.weight"
    with pytest.raises(ArchitectureError, match="10 query units, which are not 4 heads"):
        Symmetries({query: (10, 3)}, heads=4)
    with pytest.raises(ArchitectureError, match="4 heads cannot share 3"):
        Symmetries({query: (8, 3)}, heads=4, key_value_heads=3)
    key = "model.layers.0.self_attn.k_proj.weight"
    with pytest.raises(
        ArchitectureError, match="8 query and 4 key units, which are not of 4 heads"
    ):
        Symmetries({query: (8, 3), key: (4, 3)}, heads=4)  # its two key-value heads not stated
    with pytest.raises(ValueError, match="parts has"):
        Symmetries({UP: (7, 3)}, parts=("units",))


def test_another_models_tensor_is_refused():
    member = member_of(Symmetries({UP: (7, 3)}))
    with pytest.raises(ArchitectureError, match=r"not made for .* of shape \(6, 3\)"):
        member.permute(UP, torch.ones(6, 3))
    with pytest.raises(ArchitectureError, match="not made for"):
        member.permute("other", torch.ones(7, 3))


def test_no_trials_and_no_number_are_refused():
    with pytest.raises(ValueError, match="trials is 0"):
        permtest(l2, small(1), small(2), trials=0, seed=0)
    with pytest.raises(DegenerateError, match="NaN or infinite"):
        permtest(lambda a, b: math.nan, small(1), small(2), trials=2, seed=0)
