"""`match` against the slow obvious version, and the disguises and traps that it must survive."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.architecture.units import LinearMap, MLPActivations, MLPFactors
from provenance.errors import DegenerateError
from provenance.statistics import REGISTRY
from provenance.statistics.match import match, prepare
from provenance.statistics.match_cosine import match_cosine
from provenance.statistics.match_weights import match_weights
from provenance.statistics.pvalues import log10_factorial
from tests.reference import match as reference_match

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


@pytest.mark.slow
@pytest.mark.parametrize("test", [match, match_cosine])
@settings(max_examples=25, deadline=None)
@given(
    st.integers(8, 24), st.integers(8, 24), st.integers(0, 2**31), st.floats(0, 3), st.booleans()
)
def test_agrees_with_the_obvious_method(test, m, n, seed, noise, kin):
    small, large = min(m, n), max(m, n)
    b = model(large, seed)
    a = noisy(pick(b, range(small)), noise, seed + 1) if kin else model(small, seed + 2)
    if m > n:
        a, b = b, a
    result = test(a, b, seed=seed)
    gate, up = reference_match(a.gate, a.up, b.gate, b.up, centred=test is match)
    assert result.statistic == test.__name__
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


@pytest.mark.parametrize(("m", "n"), [(24, 24), (16, 24), (24, 16)])
def test_the_partners_of_kin_lie_on_a_line_and_those_of_strangers_do_not(m, n):
    b = model(24, seed=1)
    a, b = pick(b, range(m)), pick(b, range(n))
    gate, up = match(a, b).matchings(most=99)
    assert gate == up == tuple(range(min(m, n)))
    gate, up = match(a, model(n, seed=2)).matchings(most=5)
    assert len(gate) == len(up) == 5
    assert max(*gate, *up) < max(m, n)
    assert gate != up


def test_a_gate_of_the_other_sign_is_one_gate_but_for_the_papers_cosine():
    a = model(64, 1)
    signs = torch.randn(64, generator=torch.Generator().manual_seed(1)).sign()
    for negated in (MLPActivations(-a.gate, a.up), MLPActivations(a.gate * signs, a.up)):
        assert match(negated, a).log10_p == match(a, a).log10_p
    assert match_cosine(MLPActivations(-a.gate, a.up), a).log10_p > -6


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


@pytest.mark.slow
def test_false_positives_are_at_the_level_for_independent_models():
    rate = false_positives(lambda i: (model(32, 2 * i, 128), model(32, 2 * i + 1, 128)))
    assert 0.01 <= rate <= 0.10  # 99.9 % of Binomial(200, 0.05)


@pytest.mark.slow
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


def tied(kind, seed, units=96, width=32):
    """A gated MLP's rows, as (width, units), many of which are equal."""
    generator = torch.Generator().manual_seed(seed)

    def rows():
        noise = torch.randn(units, width, generator=generator)
        chosen = torch.rand(units, width, generator=generator)
        return {
            "twice": noise[: units // 2].repeat(2, 1),
            "three times": noise[: units // 3].repeat(3, 1),
            "eight times": noise[: units // 8].repeat(8, 1),
            "ternary": noise.sign() * (chosen < 0.05) + 1e-9,
            "signs": noise.sign(),
            "five rows": noise[:5][chosen.argmax(dim=1) % 5],
            "rank two": noise[:, :2] @ noise[:2],
        }[kind].T

    return MLPActivations(rows(), rows())


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["twice", "three times", "eight times", "ternary", "signs", "five rows", "rank two"]
)
def test_strangers_whose_units_are_tied_are_below_a_level_no_more_often(kind):
    """Units that stand several times had 1e-49: the solver told gates and ups apart by one numbering."""
    trials = 150
    found = [
        match_weights(tied(kind, 2 * i), tied(kind, 2 * i + 1), seed=i).log10_p
        for i in range(trials)
    ]
    assert np.mean(np.array(found) < np.log10(0.05)) <= 0.12  # 99.9 % of Binomial(150, 0.05)
    assert min(found) > -5


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


@pytest.mark.parametrize("test", [match, match_cosine])
@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e22, 1e30])
def test_activations_of_bfloat16_range_neither_overflow_nor_vanish(test, scale):
    a, b = model(48, 1), noisy(model(48, 1), 0.5, 2)
    scales = torch.where(torch.arange(48) % 3 == 0, scale, 1.0)
    found = test(MLPActivations(a.gate * scale, a.up * scales), b)
    assert found.gate_matching.tolist() == test(a, b).gate_matching.tolist()
    assert found.up_matching.tolist() == test(a, b).up_matching.tolist()


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


def test_what_is_common_to_all_tokens_is_taken_out():
    """Means that have drifted apart mislead the paper's cosine and not the correlation."""
    a = model(32, 1)
    b = noisy(a, 1.0, 2)
    means = 40 * torch.randn(2, 32, generator=torch.Generator().manual_seed(5)).abs()
    shifted = [
        MLPActivations(side.gate + mean, side.up + mean)
        for side, mean in zip((a, b), means, strict=True)
    ]
    assert match(*shifted).log10_p < match_cosine(*shifted).log10_p - 3
    assert match(*shifted).log10_p == pytest.approx(match(a, b).log10_p, abs=1e-6)


def test_units_that_are_constant_are_dropped():
    a = model(32, 1)
    a.gate[:, 3] = 0.1
    assert match(a, model(32, 1)).live == (31, 32)


def factors(units, seed, tokens=TOKENS, width=48, *, bias=False, inputs=0):
    """The weights of `model`, and inputs whose dimensions differ in size and are not around zero."""
    x = torch.randn(tokens, width, generator=torch.Generator().manual_seed(1000 + inputs))
    x = x * torch.logspace(-1, 1, width) + torch.linspace(-2, 2, width)
    generator = torch.Generator().manual_seed(seed)
    maps = []
    for _ in range(2):
        weight = torch.randn(units, width, generator=generator)
        shift = torch.randn(units, generator=generator) if bias else None
        maps.append(LinearMap(weight, shift))
    return MLPFactors(x, *maps)


@pytest.mark.slow
@pytest.mark.parametrize("test", [match, match_cosine])
@settings(max_examples=25, deadline=None)
@given(
    st.integers(8, 40),
    st.integers(8, 40),
    st.integers(0, 2**31),
    st.sampled_from([20, 60, 300]),
    st.booleans(),
)
def test_factors_tell_what_the_answers_tell(test, m, n, seed, tokens, bias):
    """Whichever is cheaper, and where one side has answers alone."""
    a = factors(m, seed, tokens, bias=bias)
    b = factors(n, seed + 1, tokens, width=32, bias=bias, inputs=1)
    expected = test(a.dense(), b.dense(), seed=seed)
    for sides in ((a, b), (a.dense(), b), (a, b.dense())):
        found = test(*sides, seed=seed)
        assert (found.units, found.live) == (expected.units, expected.live)
        assert found.log10_p == pytest.approx(expected.log10_p, abs=1e-6)
        assert np.array_equal(found.gate_matching, expected.gate_matching)
        assert np.array_equal(found.up_matching, expected.up_matching)


def test_a_sides_preparation_does_not_depend_on_its_partner():
    a, b = factors(40, 1), factors(24, 2)
    prepared = prepare(a, "candidate", 5)
    assert prepared.basis is not None
    for partner in (b, b.dense(), model(30, 3)):
        found = match(prepared, prepare(partner, "reference", 5), seed=5)
        assert found.log10_p == match(a, partner, seed=5).log10_p


def test_units_of_weight_zero_are_dead_in_factors():
    a = factors(32, 1)
    a.gate.weight[:4] = 0
    a.up.weight[20] = 0
    assert match(a, factors(32, 1)).live == (27, 32)


def test_units_that_answer_almost_nothing_are_measured_and_not_cancelled():
    """A unit at right angles to the inputs' large dimensions has a variance lost in their moments."""
    a = factors(32, 1, tokens=400)
    inputs = a.inputs * torch.cat([torch.tensor([1e4]), torch.ones(47)])
    a.gate.weight[:8, 0] = 0
    big = MLPFactors(inputs, a.gate, a.up)
    expected = match(big.dense(), big.dense())
    found = match(big, big)
    assert found.correlation == expected.correlation == 1.0
    side = prepare(big, "candidate", 0)
    lengths = (side.basis @ side.gate.T).norm(dim=0)
    assert torch.allclose(lengths, torch.ones(32), atol=0.01)


def test_inputs_that_do_not_vary_leave_no_unit_alive():
    a = factors(32, 1)
    still = MLPFactors(torch.ones_like(a.inputs) * 0.1, a.gate, a.up)
    with pytest.raises(DegenerateError, match="0 of the candidate's 32 units vary"):
        match(still, factors(32, 2))


@pytest.mark.parametrize("what", ["inputs", "gate weights", "up weights"])
def test_not_a_number_in_a_factor_is_a_named_error(what):
    a = factors(32, 1)
    held = {"inputs": a.inputs, "gate weights": a.gate.weight, "up weights": a.up.weight}
    held[what][3, 4] = float("nan")
    with pytest.raises(DegenerateError, match=f"the candidate's {what} hold NaN"):
        match(a, factors(32, 2))


def test_every_registered_test_of_blocks_loads():
    for name, statistic in REGISTRY.items():
        assert statistic.name == name
        parts = [part for part in statistic.components() if part.basis != "models"]
        assert all(callable(part.load()) for part in parts)
