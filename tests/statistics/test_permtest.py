"""p is uniform under the null, and right where it can be counted."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats

from fixtures.models import tiny_llama
from provenance.errors import DegenerateError
from provenance.statistics.l2 import l2
from provenance.statistics.permtest import l2_permtest, permtest
from provenance.statistics.symmetries import Symmetries
from tests.support.reference_weights import every_order_l2
from tests.support.symmetric import member_of, small

GROUPED = {"num_key_value_heads": 2}
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_fast_l2_equals_the_slow_one(seed):
    a, b = (parameters(tiny_llama(seed + k, **GROUPED)) for k in range(2))
    symmetries = Symmetries.of(b, heads=4, key_value_heads=2)
    slow = permtest(l2, a, b, trials=7, seed=seed, symmetries=symmetries)
    fast = l2_permtest(a, b, trials=7, seed=seed, symmetries=symmetries)
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
    l2_permtest(a, b, trials=9, seed=0, symmetries=symmetries)
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


def test_no_trials_and_no_number_are_refused():
    with pytest.raises(ValueError, match="trials is 0"):
        permtest(l2, small(1), small(2), trials=0, seed=0)
    with pytest.raises(DegenerateError, match="NaN or infinite"):
        permtest(lambda a, b: math.nan, small(1), small(2), trials=2, seed=0)
