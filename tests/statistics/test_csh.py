"""`csh`: `csu` on the columns of activations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from provenance.errors import DegenerateError
from provenance.statistics.csh import csh
from provenance.statistics.pvalues import log10_factorial
from tests.support.reference_weights import cosine_matching


def hidden(units, seed, tokens=64, width=24):
    """What a gated MLP's units put out on inputs that all models share."""
    x = torch.randn(tokens, width, generator=torch.Generator().manual_seed(10**6))
    generator = torch.Generator().manual_seed(seed)
    gate, up = (torch.randn(width, units, generator=generator) for _ in range(2))
    return torch.nn.functional.silu(x @ gate) * (x @ up)


def noisy(x, amount, seed):
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    return x + amount * x.std() * noise


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 40), st.integers(0, 2**31), st.floats(0, 3))
def test_agrees_with_the_obvious_method(units, seed, noise):
    b = hidden(units, seed)
    a = noisy(b, noise, seed + 1)
    found = dict(csh(a, b, seed=seed).matching.tolist())
    assert [found[unit] for unit in range(units)] == cosine_matching(a.T.numpy(), b.T.numpy())


def test_equal_activations_give_the_least_p():
    result = csh(hidden(50, 1), hidden(50, 1))
    assert result.statistic == "csh"
    assert result.log10_p == pytest.approx(-log10_factorial(50))


@pytest.mark.slow
def test_p_is_uniform_for_independent_models():
    ps = [10 ** csh(hidden(32, 2 * i), hidden(32, 2 * i + 1), seed=i).log10_p for i in range(400)]
    assert stats.kstest(ps, "uniform").pvalue > 0.001
    assert stats.binomtest(sum(p <= 0.05 for p in ps), 400, 0.05).pvalue > 0.001


def test_noisy_copies_are_found():
    assert csh(noisy(hidden(64, 1), 1.0, 2), hidden(64, 1)).log10_p < -30


@pytest.mark.slow
def test_units_constant_at_the_same_index_in_both_are_no_kinship():
    def dead(seed):
        x = hidden(36, seed)
        x[:, :12] = 0.5
        return x

    results = [csh(dead(2 * i), dead(2 * i + 1), seed=i) for i in range(200)]
    assert {r.live for r in results} == {24}
    assert np.mean([r.log10_p < np.log10(0.05) for r in results]) <= 0.10


def test_a_unit_constant_in_one_model_is_dropped_from_both():
    a, b = hidden(32, 1), hidden(32, 1)
    b[:, 5] = 1
    result = csh(a, b)
    assert (result.live, result.agreeing()) == (31, 31)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.rand(9, 10), torch.rand(8, 10), r"shapes must be equal.*\(10, 9\)"),
        (torch.rand(9, 10), torch.full((9, 10), torch.nan), "the reference's values hold NaN"),
        (torch.ones(9, 10), torch.rand(9, 10), "0 of 10 units"),
        (torch.ones(0, 10), torch.rand(0, 10), "0 of 10 units"),
        (torch.rand(2, 9, 10), torch.rand(2, 9, 10), "csh needs a matrix"),
    ],
)
def test_what_has_no_test_is_a_named_error(a, b, message):
    with pytest.raises(DegenerateError, match=message):
        csh(a, b)
