"""`csu` and `csu_all` against the slow obvious version; false positives, power, traps, laziness."""

import weakref
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fixtures.models import tiny_llama
from provenance.errors import ArchitectureError, DegenerateError
from provenance.statistics.csu import csu, csu_all
from provenance.statistics.pvalues import log10_factorial
from tests.support.reference_weights import cosine_matching, identity_p, identity_p_enumerated

pytestmark = pytest.mark.slow


def weights(units, seed, hidden=24):
    return torch.randn(units, hidden, generator=torch.Generator().manual_seed(seed))


def noisy(x, amount, seed):
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    return x + amount * x.float().std() * noise


def in_rank_order(result):
    """The matching as numbers in the order in which units were ranked."""
    number = {int(unit): k for k, unit in enumerate(result.matching[:, 0])}
    return list(range(len(number))), [number[int(unit)] for unit in result.matching[:, 1]]


@settings(max_examples=40, deadline=None)
@given(st.integers(10, 40), st.integers(0, 2**31), st.floats(0, 3), st.booleans())
def test_agrees_with_the_obvious_method(units, seed, noise, kin):
    b = weights(units, seed)
    a = noisy(b, noise, seed + 1) if kin else weights(units, seed + 2)
    result = csu(a, b, seed=seed)
    found = dict(result.matching.tolist())
    assert [found[unit] for unit in range(units)] == cosine_matching(a.numpy(), b.numpy())
    correlation, p = identity_p(*in_rank_order(result))
    assert result.correlation == pytest.approx(correlation, abs=1e-12)
    if p > 1e-300:
        floor = -log10_factorial(units)
        assert result.log10_p == pytest.approx(max(np.log10(p), floor), abs=1e-6)
    assert -log10_factorial(units) - 1e-9 <= result.log10_p <= 0


@pytest.mark.parametrize("seed", range(6))
def test_of_eight_units_p_is_the_share_of_all_orders(seed):
    b = weights(8, seed)
    a = noisy(b, 3.0, seed + 100) if seed % 2 else weights(8, seed + 200)
    result = csu(a, b, seed=seed)
    _, partners = in_rank_order(result)
    assert 10**result.log10_p == pytest.approx(identity_p_enumerated(partners))


def test_equal_weights_give_the_least_p_that_n_units_can_show():
    result = csu(weights(50, 1), weights(50, 1))
    assert result.correlation == 1.0
    assert result.log10_p == pytest.approx(-log10_factorial(50))
    assert result.agreeing() == result.live == result.units == 50


@pytest.mark.parametrize(("noise", "most"), [(0.3, -60), (1.0, -30), (2.0, -5)])
def test_noisy_copies_are_found(noise, most):
    assert csu(noisy(weights(64, 1), noise, 2), weights(64, 1)).log10_p < most


def test_p_is_uniform_for_independent_weights():
    ps = [10 ** csu(weights(32, 2 * i), weights(32, 2 * i + 1), seed=i).log10_p for i in range(400)]
    assert stats.kstest(ps, "uniform").pvalue > 0.001
    assert stats.binomtest(sum(p <= 0.05 for p in ps), 400, 0.05).pvalue > 0.001


def test_the_test_is_one_sided():
    """Matched to the reverse of the identity, models are no more alike than strangers."""
    reverse = weights(40, 1).flip(0)
    assert csu(reverse, weights(40, 1)).log10_p > -3


def test_permuted_units_defeat_it():
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    result = csu(weights(64, 1)[order], weights(64, 1))
    assert result.log10_p > -3
    pairs = dict(result.matching.tolist())
    assert [pairs[k] for k in range(64)] == order.tolist()


@pytest.mark.parametrize("ties", ["all", "classes"])
def test_ties_are_not_broken_towards_the_identity(ties):
    """A solver that walks down the diagonal of equal rows would find every unit at its own index."""

    def tied(seed):
        if ties == "all":
            return torch.ones(40, 6) * (seed + 1)
        return weights(4, seed, 6).repeat(10, 1)[
            torch.randperm(40, generator=torch.Generator().manual_seed(seed))
        ]

    ps = [10 ** csu(tied(2 * i), tied(2 * i + 1), seed=i).log10_p for i in range(200)]
    assert stats.binomtest(sum(p <= 0.05 for p in ps), 200, 0.05).pvalue > 0.001


def test_whole_stretches_alike_are_no_identity():
    """Early units small, late units large in their first entry: likeness by place, not kinship."""

    def graded(seed):
        x = weights(40, seed, 6)
        x[:20, 0] += 4
        x[20:, 0] -= 4
        return x

    ps = [10 ** csu(graded(2 * i), graded(2 * i + 1), seed=i).log10_p for i in range(200)]
    assert sum(p <= 0.05 for p in ps) <= 24  # unranked by the shared order: all 200


@pytest.mark.parametrize("dead", [4, 12])
def test_rows_that_are_zero_in_both_are_no_kinship(dead):
    def masked(seed):
        x = weights(36, seed)
        x[:dead] = 0
        return x

    results = [csu(masked(2 * i), masked(2 * i + 1), seed=i) for i in range(200)]
    assert {r.live for r in results} == {36 - dead}
    assert np.mean([r.log10_p < np.log10(0.05) for r in results]) <= 0.10


def test_rows_that_are_zero_in_either_are_dropped_from_both():
    a, b = weights(32, 1), weights(32, 1)
    a[3], b[5] = 0, 0
    result = csu(a, b)
    assert (result.units, result.live, result.agreeing()) == (32, 30, 30)
    assert not {3, 5} & set(result.matching.reshape(-1).tolist())
    assert result.correlation == 1.0


def test_scale_and_dtype_do_not_matter():
    a = weights(32, 1)
    for other in (a * 1e30, a * 1e-30, a.bfloat16(), a.double() * 1e-3):
        assert csu(other, a).correlation == 1.0


def test_inputs_stay_as_they_were():
    a, b = weights(16, 1), weights(16, 2)
    before = a.clone(), b.clone()
    csu(a, b)
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.ones(9, 3), torch.ones(10, 3), "shapes must be equal"),
        (torch.ones(9), torch.ones(9), "needs a matrix"),
        (torch.ones(9, 3), torch.full((9, 3), torch.nan), "the reference's values hold NaN"),
        (torch.full((9, 3), torch.inf), torch.ones(9, 3), "the candidate's values hold NaN"),
        (torch.ones(7, 3), torch.ones(7, 3), "7 of 7 units are live in both models; csu needs 8"),
        (torch.zeros(9, 3), torch.ones(9, 3), "0 of 9 units"),
    ],
)
def test_what_has_no_test_is_a_named_error(a, b, message):
    with pytest.raises(DegenerateError, match=message):
        csu(a, b)


def test_one_seed_gives_one_result():
    a, b = noisy(weights(64, 1), 3.0, 2), weights(64, 1)
    assert csu(a, b, seed=3).log10_p == csu(a, b, seed=3).log10_p


# csu_all


class Counted(Mapping):
    """Loads a tensor when asked, and counts those that are alive."""

    alive = 0
    most = 0

    def __init__(self, make, names):
        self.make, self.names, self.reads = make, names, []

    def __getitem__(self, name):
        self.reads.append(name)
        tensor = self.make(name)
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)
        weakref.finalize(tensor, self.forget)
        return tensor

    @staticmethod
    def forget():
        Counted.alive -= 1

    def __iter__(self):
        return iter(self.names)

    def __len__(self):
        return len(self.names)


def parameters(seed, **overrides):
    return {k: v.detach() for k, v in tiny_llama(seed, **overrides).named_parameters()}


def test_every_matrix_is_tested_along_an_axis_that_can_be_permuted():
    a = parameters(0)
    result = csu_all(a, a)
    axes = {test.name.rpartition("layers.0.")[2]: test.axis for test in result.tensors}
    assert axes["mlp.gate_proj.weight"] == axes["mlp.down_proj.weight"] == 0
    assert axes["self_attn.o_proj.weight"] == 0
    assert axes["self_attn.q_proj.weight"] == axes["model.embed_tokens.weight"] == 1
    assert result.exact()
    assert len(result.tensors) == 2 * 7 + 2
    assert {name.split(".")[-2] for name, _ in result.skipped} == {
        "input_layernorm",
        "post_attention_layernorm",
        "norm",
    }


def test_the_combined_p_is_bonferronis():
    a = parameters(0)
    b = {name: noisy(x, 1.5, 7) for name, x in a.items()}
    result = csu_all(b, a)
    least = min(test.result.log10_p for test in result.tensors)
    assert result.log10_p == pytest.approx(least + np.log10(16))
    assert result.strongest().result.log10_p == least
    assert result.log10_p < -5


def test_independent_models_are_not_found():
    ps = [10 ** csu_all(parameters(2 * i), parameters(2 * i + 1)).log10_p for i in range(30)]
    assert sum(p <= 0.05 for p in ps) <= 6  # 99.9 % of Binomial(30, 0.05)


def test_a_long_axis_is_sampled_alike_in_both():
    a = parameters(0)
    result = csu_all(a, a, limit=20)
    for test in result.tensors:
        assert test.size > test.result.units == test.result.agreeing() == 20
    drawn = {tuple(sorted(t.result.matching[:, 0])) for t in result.tensors if t.size == 64}
    assert drawn == {tuple(range(20))}


def test_an_unknown_matrix_is_tested_by_rows_and_called_inexact():
    result = csu_all({"w": weights(16, 1)}, {"w": weights(16, 1)})
    assert not result.exact()
    assert result.tensors[0].axis == 0


def test_what_is_not_tested_is_said():
    a = {"one": weights(16, 1), "here": weights(16, 2), "odd": weights(16, 3)}
    b = {"one": weights(16, 1), "there": weights(16, 2), "odd": weights(12, 3)}
    reasons = dict(csu_all(a, b).skipped)
    assert reasons["here"] == "the reference has none"
    assert reasons["there"] == "the candidate has none"
    assert "(16, 24) and (12, 24)" in reasons["odd"]


def test_no_more_than_a_pair_of_tensors_is_held():
    names = [f"w{k}" for k in range(6)]
    a, b = (Counted(lambda name, s=s: weights(16, s + int(name[1])), names) for s in (0, 50))
    Counted.most = 0
    csu_all(a, b)
    assert a.reads == b.reads == names
    assert Counted.most == 2


def test_nothing_to_test_is_a_named_error():
    with pytest.raises(ArchitectureError, match="no matrix that can be tested"):
        csu_all({"norm": torch.ones(9)}, {"norm": torch.ones(9)})
    with pytest.raises(ValueError, match="limit is 7"):
        csu_all({}, {}, limit=7)
