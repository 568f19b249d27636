"""`match` against the slow obvious version, and the disguises and traps that it must survive."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import match as reference_match

from provenance.errors import DegenerateError
from provenance.pvalues import log10_factorial
from provenance.statistics import REGISTRY
from provenance.statistics.match import MLPActivations, match
from provenance.statistics.match_centred import match_centred

TOKENS = 256


def model(units, seed, tokens=TOKENS, width=48, inputs=0):
    """A gated MLP's weights, and what it puts out on inputs that all models share."""
    x = torch.randn(tokens, width, generator=torch.Generator().manual_seed(1000 + inputs))
    generator = torch.Generator().manual_seed(seed)
    gate, up = (torch.randn(width, units, generator=generator) for _ in range(2))
    return MLPActivations(x @ gate, x @ up)


def noisy(side, amount, seed):
    generator = torch.Generator().manual_seed(seed)
    noise = [
        torch.randn(x.shape, generator=generator) * amount * x.std() for x in (side.gate, side.up)
    ]
    return MLPActivations(side.gate + noise[0], side.up + noise[1])


def pick(side, order):
    return MLPActivations(side.gate[:, order], side.up[:, order])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(8, 40), st.integers(8, 40), st.integers(0, 2**31), st.floats(0, 3), st.booleans()
)
def test_agrees_with_the_obvious_method(m, n, seed, noise, kin):
    small, large = min(m, n), max(m, n)
    b = model(large, seed)
    a = noisy(pick(b, range(small)), noise, seed + 1) if kin else model(small, seed + 2)
    if m > n:
        a, b = b, a
    result = match(a, b, seed=seed)
    gate, up = reference_match(a.gate, a.up, b.gate, b.up)
    assert sorted(map(tuple, result.gate_matching)) == gate
    assert sorted(map(tuple, result.up_matching)) == up
    assert -log10_factorial(small) - 1e-9 <= result.log10_p <= 0
    assert -1 <= result.correlation <= 1


def test_equal_models_give_the_least_p_that_n_units_can_show():
    result = match(model(50, 1), model(50, 1))
    assert result.correlation == 1.0
    assert result.log10_p == pytest.approx(-log10_factorial(50))
    assert result.agreeing() == 50


def test_permuted_rescaled_and_sign_flipped_units_are_recognised():
    a = model(64, 1)
    rng = np.random.default_rng(0)
    order = torch.from_numpy(rng.permutation(64))
    scale = torch.from_numpy(rng.uniform(0.1, 10, 64) * rng.choice([-1, 1], 64)).float()
    disguised = MLPActivations(a.gate[:, order], a.up[:, order] * scale)
    result = match(disguised, a)
    assert result.correlation == 1.0
    assert np.array_equal(result.gate_matching[:, 1], order.numpy()[result.gate_matching[:, 0]])


def test_a_gate_of_the_other_sign_is_another_gate():
    a = model(64, 1)
    assert match(MLPActivations(-a.gate, a.up), a).log10_p > -6


def test_units_pruned_from_either_side_are_found_in_the_wider():
    wide = model(96, 1)
    kept = torch.randperm(96, generator=torch.Generator().manual_seed(3))[:40]
    narrow = noisy(pick(wide, kept), 0.3, 4)
    for result in (match(narrow, wide), match(wide, narrow)):
        assert result.log10_p < -20
        assert result.live in {(40, 96), (96, 40)}
    pairs = match(narrow, wide).gate_matching
    assert (kept.numpy()[pairs[:, 0]] == pairs[:, 1]).mean() > 0.95


def false_positives(make, trials=200, level=0.05):
    return np.mean([match(*make(i), seed=i).log10_p < np.log10(level) for i in range(trials)])


def test_false_positives_are_at_the_level_for_independent_models():
    rate = false_positives(lambda i: (model(32, 2 * i, 128), model(32, 2 * i + 1, 128)))
    assert 0.01 <= rate <= 0.10  # 99.9 % of Binomial(200, 0.05)


@pytest.mark.parametrize("dead", [4, 12])
def test_units_dead_at_the_same_index_in_both_models_are_no_kinship(dead):
    """Matched to each other they would give 96-100 % false positives."""

    def make(i):
        sides = [model(36, 2 * i + k, 128) for k in range(2)]
        for side in sides:
            side.gate[:, :dead] = 0
            side.up[:, :dead] = 0
        return sides

    assert false_positives(make) <= 0.10
    assert match(*make(0)).live == (36 - dead, 36 - dead)


def test_units_dead_in_one_projection_alone_are_dropped():
    a, b = model(32, 1), model(32, 1)
    b.up[:, 5] = 0.25
    result = match(a, b)
    assert result.live == (32, 31)
    assert result.correlation == 1.0


def test_activations_of_float16_range_neither_overflow_nor_vanish():
    a = model(32, 1)
    for scale in (1e30, 1e-30):
        scaled = MLPActivations(a.gate * scale, a.up * scale)
        assert match(scaled, a).correlation == 1.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_not_a_number_is_a_named_error(bad):
    a = model(32, 1)
    a.up[3, 4] = bad
    with pytest.raises(DegenerateError, match="the reference's up activations hold NaN"):
        match(model(32, 2), a)


def test_constant_activations_are_a_named_error():
    constant = MLPActivations(torch.ones(TOKENS, 32), torch.ones(TOKENS, 32))
    with pytest.raises(DegenerateError, match="0 of the candidate's 32 units vary"):
        match(constant, model(32, 1))


def test_other_tokens_are_refused():
    with pytest.raises(ValueError, match="same tokens"):
        match(model(32, 1, tokens=100), model(32, 1, tokens=101))


def test_the_seed_renumbers_units_and_hardly_matters():
    a, b = model(64, 1), noisy(model(64, 1), 1.0, 2)
    found = [match(a, b, seed=seed) for seed in range(5)]
    assert len({r.agreeing() for r in found}) == 1
    assert match(a, b, seed=3).log10_p == found[3].log10_p
    assert max(r.log10_p for r in found) < -10


def test_centred_takes_out_what_is_common_to_all_tokens():
    """Means that have drifted apart mislead the cosine and not the correlation."""
    a = model(32, 1)
    b = noisy(a, 1.0, 2)
    means = 40 * torch.randn(2, 32, generator=torch.Generator().manual_seed(5)).abs()
    shifted = [
        MLPActivations(side.gate + mean, side.up + mean)
        for side, mean in zip((a, b), means, strict=True)
    ]
    centred = match_centred(*shifted)
    assert centred.statistic == "match_centred"
    assert centred.log10_p < match(*shifted).log10_p - 3
    assert centred.log10_p == pytest.approx(match_centred(a, b).log10_p, abs=3)


def test_centred_drops_units_that_are_constant():
    a = model(32, 1)
    a.gate[:, 3] = 0.1
    assert match_centred(a, model(32, 1)).live == (31, 32)


def test_every_registered_test_of_blocks_loads():
    for name, statistic in REGISTRY.items():
        assert statistic.name == name
        parts = [part for part in statistic.components() if part.basis != "models"]
        assert all(callable(part.load()) for part in parts)
