"""Members of the group keep the model's function, and move what they should."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import Olmo2Config, Qwen2Config, Qwen3Config

from fixtures.models import TINY, tiny_llama, tiny_model
from provenance.errors import ArchitectureError
from provenance.statistics.l2 import l2
from provenance.statistics.permtest import l2_permtest, permtest
from provenance.statistics.symmetries import Member, Symmetries, axes_of, random_member
from provenance.transforms import BLOCK_AXES
from tests.support.reference_weights import permute_heads
from tests.support.symmetric import member_of, small

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


@pytest.mark.slow
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


@pytest.mark.slow
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
