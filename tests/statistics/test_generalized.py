"""MLPs of any kind, distilled into gated ones and tested: what is recognised, refused and reported."""

import math
from dataclasses import replace
from functools import cache
from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch.nn.functional import gelu, silu

from provenance.architecture.units import MLPActivations
from provenance.errors import DegenerateError
from provenance.statistics.generalized import (
    Fit,
    Proxy,
    distil,
    generalized,
    seeds_of,
)
from provenance.statistics.match import match
from provenance.vocabulary import DistillSettings
from tests import reference

pytestmark = pytest.mark.slow

HIDDEN, UNITS = 24, 96
QUICK = DistillSettings(steps=500, batch=256, held_out=2048)


def plain_weights(seed):
    """GPT-2's MLP: two matrices, two biases, at the scale that a norm before them makes."""
    g = torch.Generator().manual_seed(seed)
    return (
        torch.randn(UNITS, HIDDEN, generator=g) / HIDDEN**0.5,
        torch.randn(UNITS, generator=g) * 0.1,
        torch.randn(HIDDEN, UNITS, generator=g) / UNITS**0.5,
        torch.randn(HIDDEN, generator=g) * 0.1,
    )


def plain(weights):
    first, bias, second, shift = weights
    return lambda x: gelu(x @ first.T + bias, approximate="tanh") @ second.T + shift


def gated(seed, units=UNITS // 2):
    g = torch.Generator().manual_seed(seed)
    gate, up = (torch.randn(units, HIDDEN, generator=g) / HIDDEN**0.5 for _ in range(2))
    down = torch.randn(HIDDEN, units, generator=g) / units**0.5
    return lambda x: (silu(3 * x @ gate.T) * (x @ up.T)) @ down.T


def permuted(weights, seed=5):
    order = torch.randperm(UNITS, generator=torch.Generator().manual_seed(seed))
    first, bias, second, shift = weights
    return first[order], bias[order], second[:, order], shift


def noisy(weights, amount, seed=6):
    g = torch.Generator().manual_seed(seed)
    return tuple(w + amount * w.std() * torch.randn(w.shape, generator=g) for w in weights)


def as_gated(weights, start):
    """A gated MLP trained to compute what a plain one does, as a thief of another kind would."""
    made = distil(plain(weights), HIDDEN, QUICK, start)
    return lambda x: (silu(x @ made.gate.T) * (x @ made.up.T)) @ made.down.T


@cache
def proxy(kind, seed, start):
    """Each proxy of these tests is made once."""
    weights = plain_weights(seed)
    mlp = {
        "plain": lambda: plain(weights),
        "disguised": lambda: plain(permuted(noisy(weights, 0.1))),
        "gated": lambda: gated(seed),
        "plain as gated": lambda: as_gated(weights, 1000 + start),
    }[kind]()
    return distil(mlp, HIDDEN, QUICK, start)


def from_mlps(candidate, reference, settings, seed=0):
    """The test of two MLPs, as a model's are distilled: each side from a seed of its own."""
    starts = zip((candidate, reference), seeds_of(seed), strict=True)
    proxies = [distil(mlp, HIDDEN, settings, start) for mlp, start in starts]
    return generalized(*proxies, seed=seed, settings=settings)


def gate_against_up(candidate, reference):
    """The paper's form, on what the proxies' units answer to fresh inputs."""
    inputs = torch.randn(4096, HIDDEN, generator=torch.Generator().manual_seed(1 << 32))
    sides = (MLPActivations(inputs @ x.gate.T, inputs @ x.up.T) for x in (candidate, reference))
    return match(*sides)


def judged(candidate, reference):
    return generalized(proxy(*candidate), proxy(*reference), settings=QUICK)


BASE = ("plain", 0, 1)


def test_a_permuted_noisy_plain_mlp_is_recognised():
    result = judged(("disguised", 0, 2), BASE)
    assert result.statistic == "generalized"
    assert result.log10_p < -8
    assert result.matching.log10_p < math.log10(0.05)
    assert result.agreeing() > 12
    assert result.agreement_log10_p() < -9
    assert result.live == (UNITS, UNITS)


def test_rescaling_units_and_outputs_changes_nothing_that_is_judged():
    """ReLU units may be scaled, up by 3 and down by 3, and all outputs by a constant."""
    first, bias, second, shift = plain_weights(0)

    def relu(up, down, out):
        return lambda x: (
            out * (torch.relu(x @ (up * first).T + up * bias) @ (down * second).T + shift)
        )

    settings = replace(QUICK, steps=50)
    plain_, scaled = (
        distil(mlp, HIDDEN, settings, 1) for mlp in (relu(1, 1, 1), relu(3, 1 / 3, 100))
    )
    assert scaled.fit.nonlinear == pytest.approx(plain_.fit.nonlinear, abs=1e-3)
    assert torch.allclose(scaled.gate, plain_.gate, atol=1e-2)


def test_an_mlp_of_another_kind_is_recognised_by_what_it_computes():
    assert judged(("plain as gated", 0, 3), BASE).agreement_log10_p() < -6
    assert judged(("gated", 7, 4), BASE).agreement_log10_p() > -2


def test_a_gated_mlp_is_recognised_through_its_proxies():
    result = judged(("gated", 7, 4), ("gated", 7, 5))
    assert result.matching.log10_p < -3
    assert result.agreement_log10_p() < -30


def test_independent_pairs_are_not_recognised():
    made = [("plain", 20 + i, 20 + i) for i in range(5)]
    results = [judged(a, b) for a, b in combinations(made, 2)]
    assert min(r.log10_p for r in results) > math.log10(0.05 / len(results)) - 1
    assert sum(r.log10_p < math.log10(0.05) for r in results) <= 2
    assert max(r.agreeing() for r in results) <= 6


def test_equal_starts_would_look_like_kinship_and_are_refused():
    """Why the sides start apart, at the paper's learning rate."""
    settings = replace(QUICK, steps=100, learning_rate=1e-3, least_fit=-math.inf)
    ours, theirs = (distil(plain(plain_weights(i)), HIDDEN, settings, 9) for i in (20, 21))
    with pytest.raises(ValueError, match="both proxies started from seed 9"):
        generalized(ours, theirs, settings=settings)
    fooled = generalized(ours, replace(theirs, seed=10), settings=settings)
    assert fooled.log10_p < -6
    assert gate_against_up(ours, theirs).log10_p < -100
    apart = distil(plain(plain_weights(21)), HIDDEN, settings, 10)
    honest = generalized(ours, apart, settings=settings)
    assert min(honest.log10_p, gate_against_up(ours, apart).log10_p) > -3
    assert all(len(set(seeds_of(i))) == 2 for i in range(5))


def test_a_plain_units_one_direction_draws_the_proxys_gate_and_up_together():
    """Why the paper's form, gate against up, is reported and not judged by."""
    by_chance = math.sqrt(2 / (math.pi * HIDDEN))
    assert proxy(*BASE).alignment() > 1.3 * by_chance


def test_a_bad_fit_is_refused_and_named():
    settings = replace(QUICK, steps=1)
    with pytest.raises(
        DegenerateError, match=r"the candidate's MLP was .* fit of -?0\.\d+.*below 0\.8"
    ):
        from_mlps(plain(plain_weights(0)), plain(plain_weights(1)), settings)
    better, worse = proxy("plain", 20, 20), replace(proxy(*BASE), fit=Fit(0.4, 0.9, 0.8))
    with pytest.raises(DegenerateError, match=r"the reference's MLP .* fit of 0\.400"):
        generalized(better, worse, settings=QUICK)
    with pytest.raises(DegenerateError, match="fit of nan"):
        generalized(better, replace(worse, fit=Fit(math.nan, 0.9, 0.8)), settings=QUICK)


def test_the_fit_is_what_fresh_inputs_say_and_is_reported_for_each_side():
    made = proxy(*BASE)
    result = judged(("disguised", 0, 2), BASE)
    assert result.fits[1] == made.fit
    assert result.seeds == (2, 1)
    fit = made.fit
    assert 0.5 < fit.nonlinear < fit.overall < 1
    assert 1 - fit.overall == pytest.approx((1 - fit.linear) * (1 - fit.nonlinear), rel=0.01)
    # the share that an affine map explains, the obvious way
    x = torch.randn(20000, HIDDEN, generator=torch.Generator().manual_seed(1))
    y = plain(plain_weights(0))(x)
    ones = torch.cat([x, torch.ones(len(x), 1)], dim=1)
    rest = y - ones @ torch.linalg.lstsq(ones, y).solution
    assert fit.linear == pytest.approx(float(1 - (rest.var(0) / y.var(0)).mean()), abs=0.02)


def test_an_affine_mlp_has_no_units_to_find():
    with pytest.raises(DegenerateError, match="affine map"):
        distil(lambda x: 2 * x + 1, HIDDEN, QUICK, 0)


def test_outputs_that_are_not_finite_are_a_named_error():
    with pytest.raises(DegenerateError, match="NaN or infinity"):
        distil(lambda x: x / 0, HIDDEN, QUICK, 0)


def test_a_constant_output_dimension_is_no_obstacle():
    mlp = plain(plain_weights(0))
    settings = replace(QUICK, steps=50)
    made = distil(lambda x: mlp(x) * (torch.arange(HIDDEN) != 3), HIDDEN, settings, 1)
    assert math.isfinite(made.fit.nonlinear)
    assert bool(torch.isfinite(made.gate).all())


def test_one_seed_gives_one_result_and_the_global_generator_is_left_alone():
    settings = replace(QUICK, steps=20, least_fit=-math.inf)
    state = torch.get_rng_state()
    pair = plain(plain_weights(0)), plain(plain_weights(1))
    first, again = (from_mlps(*pair, settings) for _ in range(2))
    assert (first.log10_p, first.correlation, first.fits) == (
        again.log10_p,
        again.correlation,
        again.fits,
    )
    assert first.seeds == (0, 1)
    assert torch.equal(state, torch.get_rng_state())
    assert from_mlps(*pair, settings, seed=1).seeds == (2, 3)


def test_proxies_of_other_shapes_are_refused():
    settings = replace(QUICK, steps=1, width_factor=2)
    with pytest.raises(ValueError, match="one shape"):
        generalized(
            distil(plain(plain_weights(0)), HIDDEN, settings, 7), proxy(*BASE), settings=QUICK
        )


@pytest.mark.parametrize(("few", "many"), [(5, 5), (4, 6)])
def test_the_bound_on_agreements_is_above_the_exact_chance(few, many):
    result = judged(("disguised", 0, 2), BASE)
    ways = list(permutations(range(many), few))
    for k in range(few + 1):
        exact = sum(sum(i == j for i, j in enumerate(way)) >= k for way in ways) / len(ways)
        pairs = np.stack([np.arange(few), np.arange(few)], axis=1)
        other = pairs + np.stack([np.zeros(few), np.arange(few) >= k], axis=1).astype(int)
        matching = replace(result.matching, gate_matching=pairs, up_matching=other)
        bound = replace(result, live=(few, many), matching=matching).agreement_log10_p()
        assert math.log10(exact) <= bound + 1e-9
        assert bound <= 0


def drawn(seed, start, noise=None, base=None):
    """A proxy of random matrices, or another's with noise: what is tested, without a distillation."""
    g = torch.Generator().manual_seed(seed)
    shapes = [(UNITS, HIDDEN), (UNITS, HIDDEN), (HIDDEN, UNITS)]
    gate, up, down = (torch.randn(shape, generator=g) for shape in shapes)
    if base is not None:
        gate, down = base.gate + noise * gate, base.down + noise * down
    return Proxy(gate, up, down, Fit(0.9, 0.95, 0.5), start)


@pytest.mark.parametrize("noise", [None, 3.0, 1.5, 0.7, 0.3])
def test_the_p_value_is_the_obvious_one(noise):
    base = drawn(0, 1)
    other = drawn(1, 0, noise, None if noise is None else base)
    log10_p = generalized(other, base).log10_p
    slow = reference.generalized(other.gate.T, other.down, base.gate.T, base.down)
    assert log10_p == pytest.approx(slow, abs=1e-6)


def test_p_values_of_unrelated_proxies_are_no_smaller_than_uniform():
    ps = sorted(
        10 ** generalized(drawn(2 * i, 0), drawn(2 * i + 1, 1), seed=i).log10_p for i in range(200)
    )
    assert kstest(ps, "uniform", alternative="greater").pvalue > 0.001
    assert sum(p < 0.05 for p in ps) <= 20  # 99.9 % of Binomial(200, 0.05)


def test_the_order_the_scale_and_the_sign_of_units_make_no_difference():
    base, other = drawn(0, 1), drawn(1, 0, 0.7, drawn(0, 1))
    order = torch.randperm(UNITS, generator=torch.Generator().manual_seed(3))
    factors = torch.linspace(-3, 3, UNITS)  # no zero among an even number
    disguised = replace(other, gate=3 * other.gate[order], down=(other.down * factors)[:, order])
    plain_, moved = (generalized(x, base) for x in (other, disguised))
    assert moved.agreeing() == plain_.agreeing()
    assert moved.agreement_log10_p() == plain_.agreement_log10_p()
    assert moved.log10_p == plain_.log10_p


def test_other_hidden_sizes_are_degenerate():
    base = drawn(0, 1)
    narrow = replace(drawn(1, 0), gate=torch.ones(UNITS, 8), up=torch.ones(UNITS, 8))
    with pytest.raises(DegenerateError, match="hidden size 8 and 24 take other inputs") as raised:
        generalized(narrow, base)
    assert raised.value.fits == (0.9, 0.9)
