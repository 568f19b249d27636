"""`match_tokens`: answers to token embeddings tell kin, leave strangers uniform, refuse what would not."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from provenance.architecture.units import LinearMap, MLPActivations, MLPFactors
from provenance.errors import DegenerateError
from provenance.statistics import _alike
from provenance.statistics import match_tokens as module
from provenance.statistics._alike import ALIKE, MOST_ALIKE, own_correlation
from provenance.statistics.match import match
from provenance.statistics.match_tokens import glimpse, match_tokens, prepare
from provenance.statistics.pvalues import log10_factorial
from tests import reference
from tests.reference import match as reference_match

UNITS, HIDDEN, TOKENS = 48, 32, 96


def drawn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def model(seed, units=UNITS, hidden=HIDDEN, tokens=TOKENS, embeddings=None):
    """A gated MLP, and what it is fed of tokens: embeddings of its own unless they are given."""
    rows = drawn(tokens, hidden, seed=5000 + seed) if embeddings is None else embeddings
    rows = rows / rows.square().mean(dim=1, keepdim=True).sqrt()
    gate, up = (drawn(units, rows.shape[1], seed=2 * seed + place) for place in range(2))
    return MLPFactors(rows, LinearMap(gate, None), LinearMap(up, None))


def changed(side, turn=None, order=None, scale=None):
    """The same MLP: stream rotated, units in another order, ups scaled."""
    turn = torch.eye(side.inputs.shape[1]) if turn is None else turn
    order = torch.arange(len(side.up.weight)) if order is None else order
    up = side.up.weight if scale is None else side.up.weight * scale[:, None]
    return MLPFactors(
        side.inputs @ turn,
        LinearMap(side.gate.weight[order] @ turn, None),
        LinearMap(up[order] @ turn, None),
    )


def noisy(side, amount, seed):
    gate, up = (
        LinearMap(x.weight + amount * drawn(*x.weight.shape, seed=seed + k), None)
        for k, x in enumerate((side.gate, side.up))
    )
    return MLPFactors(side.inputs, gate, up)


def rotation(size, seed):
    return torch.linalg.qr(drawn(size, size, seed=seed)).Q


def test_a_rotated_reordered_and_rescaled_copy_is_at_the_floor():
    base = model(1)
    order = torch.from_numpy(np.random.default_rng(0).permutation(UNITS))
    scale = torch.linspace(0.1, 9, UNITS) * torch.tensor([1.0, -1.0]).repeat(UNITS // 2)
    result = match_tokens(changed(base, rotation(HIDDEN, 3), order, scale), base)
    assert result.statistic == "match_tokens"
    assert result.log10_p == pytest.approx(-log10_factorial(UNITS))
    found = result.gate_matching
    assert np.array_equal(found[:, 1], order.numpy()[found[:, 0]])


@pytest.mark.parametrize("tokens", [33, 96])  # fewer than hidden dimensions need, and more
def test_kin_of_another_width_and_hidden_size_are_told(tokens):
    base = model(1, tokens=tokens)
    wide = torch.zeros(HIDDEN, 80)
    wide[:, :HIDDEN] = rotation(HIDDEN, 4)
    kept = torch.arange(0, UNITS, 2)
    narrow = changed(noisy(base, 0.1, 9), wide, kept)
    for one, other in ((narrow, base), (base, narrow)):
        assert match_tokens(one, other).log10_p < -15


@settings(max_examples=15, deadline=None)
@given(st.integers(8, 20), st.integers(8, 20), st.sampled_from([32, 80]), st.integers(0, 2**20))
def test_agrees_with_the_obvious_method(m, n, tokens, seed):
    """On factors and on answers: 80 tokens of 32 dimensions are compared by factors."""
    small, large = sorted((m, n))
    b = model(seed, large, tokens=tokens)
    a = noisy(changed(b, order=torch.arange(small)), 0.5, seed)
    result = match_tokens(a, b, seed=seed)
    dense = a.dense(), b.dense()
    gate, up = reference_match(dense[0].gate, dense[0].up, dense[1].gate, dense[1].up)
    assert sorted(map(tuple, result.gate_matching)) == gate
    assert sorted(map(tuple, result.up_matching)) == up
    by_answers = match(*dense, seed=seed)
    assert result.log10_p == pytest.approx(by_answers.log10_p, rel=1e-6)


def test_prepared_sides_give_the_same():
    a, b = noisy(model(1), 0.5, 3), model(1)
    prepared = prepare(a, "candidate", 7), prepare(b, "reference", 7)
    assert match_tokens(*prepared, seed=7).log10_p == match_tokens(a, b, seed=7).log10_p


def test_a_glimpse_has_a_row_of_length_one_for_each_unit():
    for tokens in (33, 96):
        seen = glimpse(prepare(model(1, tokens=tokens), "candidate", 0))
        for rows in (seen.gate, seen.up):
            assert len(rows) == UNITS
            torch.testing.assert_close(rows.norm(dim=1), torch.ones(UNITS))


# few tokens first


@pytest.fixture
def few(monkeypatch):
    """Make 24 of 96 tokens few, and the chance of 48 units to be paired alike small enough."""
    monkeypatch.setattr(module, "FIRST", 24)


def test_tokens_that_can_say_no_more_are_not_asked(few, monkeypatch):
    """A copy is told by few of the tokens; strangers, and kin that few do not pair whole, by all."""
    base = model(1)
    asked = []
    whole = module.Probed.whole.func
    monkeypatch.setattr(module.Probed, "whole", property(lambda s: asked.append(1) or whole(s)))
    copy = match_tokens(changed(base, rotation(HIDDEN, 3)), base)
    assert not asked
    assert copy.log10_p == pytest.approx(np.log10(2) - log10_factorial(UNITS))
    assert copy.agreeing() == UNITS
    narrow = match_tokens(changed(base, order=torch.arange(40)), base)
    assert not asked
    assert narrow.log10_p == pytest.approx(np.log10(2) - log10_factorial(40))
    assert match_tokens(noisy(base, 1.7, 9), base).log10_p < -2
    assert len(asked) == 2
    assert match_tokens(model(2), base).log10_p > -3
    assert len(asked) == 4


def test_what_few_tokens_cannot_tell_is_as_if_none_were_asked_first(monkeypatch):
    pairs = [(model(2 * i), model(2 * i + 1)) for i in range(5)] + [
        (noisy(model(1), 1.7, 9), model(1))
    ]
    plain = [match_tokens(*pair).log10_p for pair in pairs]
    monkeypatch.setattr(module, "FIRST", 24)
    assert [match_tokens(*pair).log10_p for pair in pairs] == pytest.approx(plain)


def test_where_few_units_are_paired_alike_by_chance_few_tokens_are_not_enough(few):
    """34 units leave a chance above 1e-40, which would weigh on every p-value."""
    base = model(1, units=34)
    assert match_tokens(base, base).log10_p == pytest.approx(-log10_factorial(34))


def test_units_that_few_tokens_leave_dead_are_told_by_all(few):
    side = model(1)
    inputs = side.inputs.clone()
    inputs[torch.linspace(0, TOKENS - 1, 24).long(), :16] = 0
    gate, up = side.gate.weight.clone(), side.up.weight.clone()
    for weight in (gate, up):
        weight[:10, 16:] = 0
    lit = MLPFactors(inputs, LinearMap(gate), LinearMap(up))
    found = match_tokens(lit, lit)
    assert found.live == (UNITS, UNITS)


# the null

TRIALS = 300
STRANGERS = {
    "embeddings of their own": lambda i: (model(2 * i), model(2 * i + 1)),
    "one table of embeddings": lambda i: (
        model(2 * i, embeddings=drawn(TOKENS, HIDDEN, seed=77 + i)),
        model(2 * i + 1, embeddings=drawn(TOKENS, HIDDEN, seed=77 + i)),
    ),
    "other widths": lambda i: (model(2 * i, 40), model(2 * i + 1, 64)),
    "other hidden sizes": lambda i: (model(2 * i, hidden=24), model(2 * i + 1, hidden=48)),
    "few tokens": lambda i: (model(2 * i, tokens=32), model(2 * i + 1, tokens=32)),
    "tokens that all units hear": lambda i: tuple(
        model(2 * i + k, embeddings=loud(TOKENS, HIDDEN, seed=2 * i + k)) for k in range(2)
    ),
}


def loud(tokens, hidden, seed):
    """Embeddings with a direction in common, and a few that are far from all others."""
    rows = drawn(tokens, hidden, seed=9000 + seed) + 2 * drawn(1, hidden, seed=9500 + seed)
    rows[:4] *= 6 * torch.linspace(1, 2, 4)[:, None]
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("kind", STRANGERS)
def test_strangers_are_below_a_level_no_more_often_than_it_says(kind):
    ps = [match_tokens(*STRANGERS[kind](i), seed=i).log10_p for i in range(TRIALS)]
    for level in (0.01, 0.05, 0.1, 0.5):
        below = sum(p < np.log10(level) for p in ps)
        # a count this large has a chance of less than 1 in 1000 where p-values are uniform
        assert stats.binom.sf(below - 1, TRIALS, level) > 1e-3, (kind, level, below)
    assert stats.binom.cdf(sum(p < np.log10(0.5) for p in ps), TRIALS, 0.5) > 1e-3
    assert min(ps) > -5


# gate and up that say the same


def alike(count, seed, factor=1.0):
    """An MLP with so many units whose up is their gate."""
    side = model(seed)
    up = side.up.weight.clone()
    up[:count] = factor * side.gate.weight[:count]
    return MLPFactors(side.inputs, side.gate, LinearMap(up, None))


@pytest.mark.parametrize("factor", [1.0, -3.0])
def test_gates_that_are_ups_would_look_alike_in_strangers_and_are_refused(factor, monkeypatch):
    sides = [alike(UNITS, seed, factor) for seed in (1, 2)]
    with pytest.raises(DegenerateError, match="100% of the candidate's units say the same"):
        match_tokens(*sides)
    with pytest.raises(DegenerateError, match="of the reference's units say the same"):
        match_tokens(model(3), sides[1])
    monkeypatch.setattr(_alike, "structure", lambda _a, _b: None)
    pairs = [[alike(UNITS, 2 * i + k, factor) for k in range(2)] for i in range(30)]
    ps = [match_tokens(*pair).log10_p for pair in pairs]
    assert sum(p < np.log10(0.05) for p in ps) > 10  # which is why: 1.5 would be


def test_ups_that_are_nearly_gates_are_refused_too():
    side = model(1)
    mixed = side.gate.weight + 0.5 * side.up.weight
    with pytest.raises(DegenerateError, match="say the same"):
        match_tokens(MLPFactors(side.inputs, side.gate, LinearMap(mixed, None)), model(2))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_units_that_all_read_few_dimensions_are_no_kinship(dimensions):
    """Their gates and ups are alike, and so are those of all others: neither matching says of the other."""
    ps = []
    for i in range(30):
        sides = [model(2 * i), model(2 * i + 1)]
        for side in sides:
            side.gate.weight[:, dimensions:] = side.up.weight[:, dimensions:] = 0
        ps.append(match_tokens(*sides, seed=i).log10_p)
    assert sum(p < np.log10(0.05) for p in ps) <= stats.binom.ppf(0.999, 30, 0.05)
    assert min(ps) > -5


def test_a_few_such_units_are_no_reason():
    assert match_tokens(alike(3, 1), model(2)).log10_p > -3
    with pytest.raises(DegenerateError):
        match_tokens(alike(int(MOST_ALIKE * UNITS) + 5, 1), model(2))


@pytest.mark.parametrize("tokens", [33, 96])
def test_how_alike_gate_and_up_are_is_the_slow_twins(tokens):
    side = alike(4, 1)
    side = MLPFactors(side.inputs[:tokens], side.gate, side.up)
    inputs = torch.from_numpy(reference.half_whitened(side.inputs.numpy())).float()
    dense = MLPFactors(inputs, side.gate, side.up).dense()
    slow = [
        abs(stats.pearsonr(dense.gate[:, unit], dense.up[:, unit]).statistic)
        for unit in range(UNITS)
    ]
    prepared = prepare(side, "candidate", 0).whole
    found = own_correlation(prepared)
    expected = torch.tensor(slow)[prepared.live].float()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert int((found > ALIKE).sum()) == 4


@pytest.mark.parametrize(("tokens", "hidden"), [(12, 30), (40, 8), (33, 33)])
def test_inputs_are_half_whitened_as_the_slow_twin_does_it(tokens, hidden):
    generator = torch.Generator().manual_seed(tokens)
    inputs = torch.randn(tokens, hidden, generator=generator, dtype=torch.float64)
    inputs[:, 0] += 5 * torch.randn(tokens, generator=generator)
    inputs[3] *= 30
    found = module.half_whitened(inputs)
    expected = torch.from_numpy(reference.half_whitened(inputs.numpy())).float()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert found.mean(dim=0).abs().max() < 1e-4


def test_inputs_that_are_all_alike_are_left_to_be_dead():
    assert not module.half_whitened(torch.ones(40, 8)).any()


def test_a_large_weight_on_a_dimension_that_no_token_has_declares_no_unit_dead():
    """A copy may have a dimension of its own, which the embeddings of the drawn tokens do not have."""
    side = model(1)
    inputs = torch.cat([side.inputs, torch.zeros(len(side.inputs), 1)], dim=1)
    loud = torch.full((UNITS, 1), 1e9)
    gate, up = (LinearMap(torch.cat([x.weight, loud], dim=1)) for x in (side.gate, side.up))
    assert match_tokens(MLPFactors(inputs, gate, up), side).log10_p < -30


def test_a_plain_mlp_and_values_that_are_not_finite_are_refused():
    side = model(1)
    with pytest.raises(DegenerateError, match="MLP is plain"):
        match_tokens(MLPFactors(side.inputs, None, side.up), side)
    inputs = side.inputs.clone()
    inputs[3, 3] = torch.nan
    with pytest.raises(DegenerateError, match="the reference's inputs hold NaN or infinity"):
        match_tokens(side, MLPFactors(inputs, side.gate, side.up))


def test_units_that_are_dead_are_left_out_on_both_ways():
    base = model(1)
    gate = base.gate.weight.clone()
    gate[:10] = 0
    dead = MLPFactors(base.inputs, LinearMap(gate, None), base.up)
    result = match_tokens(dead, base)
    assert result.live in {(38, 48), (38, 38)}
    answers = MLPActivations(dead.dense().gate, dead.dense().up)
    assert match_tokens(answers, base).live == result.live
