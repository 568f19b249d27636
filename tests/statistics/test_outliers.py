"""Inputs that are loud: none of ordinary models is, and traps do not hide a copy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from provenance.architecture.units import LinearMap, MLPFactors
from provenance.statistics._outliers import LOUD, loud_inputs, without_loud
from provenance.statistics.match import match
from provenance.statistics.match_tokens import match_tokens
from provenance.statistics.pvalues import log10_factorial
from tests.reference import loud_inputs as slow_loud_inputs

UNITS, HIDDEN, TOKENS = 96, 32, 256


def drawn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def model(seed, tokens=TOKENS):
    maps = (LinearMap(drawn(UNITS, HIDDEN, seed=2 * seed + place)) for place in range(2))
    return MLPFactors(drawn(tokens, HIDDEN, seed=900 + seed), *maps)


def trapped(side, traps, size, seed):
    """Some tokens light a dimension each, which gate and up read with large random weights."""
    lit = torch.zeros(len(side.inputs), len(traps))
    lit[torch.as_tensor(traps), torch.arange(len(traps))] = 1.0
    gate, up = (
        LinearMap(torch.cat([x.weight, size * drawn(UNITS, len(traps), seed=seed + k)], dim=1))
        for k, x in enumerate((side.gate, side.up))
    )
    return MLPFactors(torch.cat([side.inputs, lit], dim=1), gate, up)


@pytest.mark.parametrize("tokens", [40, TOKENS])  # by answers, and by factors
@pytest.mark.parametrize("test", [match, match_tokens])
def test_traps_hide_no_copy(test, tokens):
    base = model(1, tokens)
    traps = list(range(0, tokens, 13))
    for size in (30.0, 1e3, 1e6):
        copy = trapped(base, traps, size, seed=5)
        assert test(copy, base).log10_p < -20
        both = trapped(base, traps[::-2], size, seed=8)
        assert test(copy, both).log10_p < -10


def test_traps_of_several_sizes_hide_no_copy():
    """The loudest hide others until they are gone."""
    base = model(1)
    copy = base
    for k, size in enumerate((30.0, 3e3, 3e5)):
        copy = trapped(copy, list(range(k, TOKENS, 37)), size, seed=5 + k)
    assert match(copy, base).log10_p < -30
    assert match_tokens(copy, base).log10_p < -30


def test_strangers_with_one_set_of_traps_stay_strangers():
    ps = [
        match(*(trapped(model(2 * i + k), [3, 50, 90], 1e4, seed=7) for k in range(2))).log10_p
        for i in range(40)
    ]
    assert min(ps) > -4
    assert sum(p < -1 for p in ps) <= 10  # P(more | 0.1) < 0.001


def test_idle_units_that_shout_at_most_inputs_leave_half_of_them():
    base = model(1)
    shouts = trapped(base, list(range(0, TOKENS, 2)) + list(range(1, 100, 2)), 1e4, seed=3)
    loud = loud_inputs(shouts, np.random.default_rng(0))
    assert int(loud.sum()) <= TOKENS // 2


@pytest.mark.parametrize("seed", range(4))
def test_loud_inputs_are_those_of_the_slow_twin(seed):
    side = trapped(model(seed), [2, 77, 140], 50.0, seed=seed)
    slow = slow_loud_inputs(
        side.inputs.numpy(), side.gate.weight.numpy(), side.up.weight.numpy(), LOUD
    )
    assert loud_inputs(side, np.random.default_rng(seed)).numpy().tolist() == slow.tolist()


def test_where_nothing_is_loud_or_finite_the_side_is_left_as_it_is():
    side = model(1)
    assert without_loud(side, "candidate", 0) is side
    odd = replace(side, inputs=side.inputs.clone().index_fill_(0, torch.tensor([3]), torch.nan))
    assert without_loud(odd, "candidate", 0) is odd


def test_what_is_loud_follows_a_renumbering_and_a_rotation():
    side = trapped(model(1), [2, 77, 140], 50.0, seed=1)
    order = torch.randperm(UNITS, generator=torch.Generator().manual_seed(1))
    turn = torch.linalg.qr(drawn(HIDDEN + 3, HIDDEN + 3, seed=4)).Q
    moved = MLPFactors(
        side.inputs @ turn,
        LinearMap(side.gate.weight[order] @ turn),
        LinearMap(side.up.weight[order] @ turn),
    )
    found = [loud_inputs(one, np.random.default_rng(1)) for one in (side, moved)]
    assert torch.equal(*found)
    assert match(moved, side).log10_p == pytest.approx(-log10_factorial(UNITS), rel=1e-3)
