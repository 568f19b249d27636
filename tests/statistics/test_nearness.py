"""Nearness: 0 of strangers whatever their shapes, 1 of a copy, also where no matching agrees."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from provenance.architecture.units import LinearMap, MLPFactors
from provenance.evidence.doubts import MOST_NEARNESS
from provenance.statistics._directions import Directions
from provenance.statistics._nearness import SAMPLE, by_chance, nearness
from provenance.statistics.match_tokens import match_tokens
from tests import reference


def unit(rows):
    return torch.nn.functional.normalize(rows, dim=1)


def side(gate, up, basis=None):
    tokens = gate.shape[1] + 1 if basis is None else len(basis)
    return Directions(len(gate), tokens, torch.arange(len(gate)), unit(gate), unit(up), basis)


def random_side(units, dimensions, seed, basis=None):
    draw = torch.Generator().manual_seed(seed)
    return side(*torch.randn(2, units, dimensions, generator=draw), basis)


shapes = st.tuples(
    st.integers(8, SAMPLE), st.integers(8, SAMPLE), st.integers(40, 200), st.integers(0, 999)
)


@given(shapes)
def test_it_is_what_all_products_say(shape):
    ours, theirs, dimensions, seed = shape
    a, b = random_side(ours, dimensions, seed), random_side(theirs, dimensions, seed + 1)
    some = min(ours, theirs) // 2
    b.gate[:some] = unit(a.gate[:some] + 0.05 * torch.randn(some, dimensions))
    found = nearness(a, b)
    slow = reference.nearness(a.gate.numpy(), a.up.numpy(), b.gate.numpy(), b.up.numpy())
    assert found == pytest.approx(slow, abs=1e-4)


@pytest.mark.parametrize(("ours", "theirs"), [(8, 8), (64, 64), (200, 900), (1500, 300)])
@pytest.mark.parametrize("dimensions", [16, 64, 256])
def test_strangers_are_as_near_as_chance_makes_them(ours, theirs, dimensions):
    for seed in range(5):
        a = random_side(ours, dimensions, 2 * seed)
        b = random_side(theirs, dimensions, 2 * seed + 1)
        assert nearness(a, b) < MOST_NEARNESS


@pytest.mark.parametrize("dimensions", [40, 256])
def test_a_copy_is_near_in_any_order_and_so_are_crossed_decoys_and_a_part(dimensions):
    a = random_side(300, dimensions, 1)
    order, other = torch.randperm(300), torch.randperm(300)
    assert nearness(a, side(a.gate[order], -a.up[order])) > 0.99
    assert nearness(a, side(a.gate[order], a.up[other])) > 0.99
    strange = random_side(300, dimensions, 2)
    few = torch.cat([a.gate[:60], strange.gate[:240]])
    assert nearness(a, side(few, strange.up)) > 0.9
    assert nearness(a, side(a.gate[order], strange.up)) > 0.99
    both = side(torch.cat([a.gate, strange.gate]), torch.cat([strange.up, a.up]))
    assert nearness(a, both) > 0.99
    assert nearness(both, side(a.gate[:60], a.up[other[:60]])) > 0.99


def test_with_a_basis_it_is_the_same():
    basis = torch.linalg.qr(torch.randn(300, 60)).Q
    a, b = random_side(80, 60, 1, basis), random_side(90, 60, 2, basis)
    dense = [side(x.gate @ basis.T, x.up @ basis.T) for x in (a, b)]
    assert nearness(a, b) == pytest.approx(0.0, abs=0.05)
    assert nearness(a, a) == pytest.approx(1.0)
    assert nearness(dense[0], dense[0]) == pytest.approx(1.0)


def test_where_there_are_few_directions_nothing_is_near():
    """As of strangers that share embeddings of low rank."""
    assert by_chance(1000, 1.5) == 1.0
    shared = torch.randn(3, 256)
    a, b = (random_side(400, 3, seed) for seed in (1, 2))
    low = [side(x.gate @ shared, x.up @ shared) for x in (a, b)]
    assert nearness(*low) < MOST_NEARNESS
    spread = torch.randn(256, 256) / torch.arange(1, 257)[:, None]
    a, b = (random_side(400, 256, seed) for seed in (3, 4))
    assert nearness(*(side(x.gate @ spread, x.up @ spread) for x in (a, b))) < MOST_NEARNESS


@pytest.mark.parametrize("units", [1, 2, 9])
def test_few_units_are_no_fault(units):
    a, b = random_side(units, 50, 1), random_side(units, 50, 2)
    assert 0 <= nearness(a, b) <= nearness(a, a) <= 1


def test_the_statistic_brings_it_unless_it_pairs_all():
    draw = torch.Generator().manual_seed(3)
    tokens = torch.randn(256, 120, generator=draw)

    def mlp(gate, up):
        return MLPFactors(tokens, LinearMap(gate), LinearMap(up), None, "silu")

    gate, up, other = torch.randn(3, 96, 120, generator=draw) / math.sqrt(120)
    crossed = mlp(gate, up[torch.randperm(96, generator=draw)])
    ours = mlp(gate, up)
    assert match_tokens(ours, ours).nearness is None
    found = match_tokens(crossed, ours)
    assert found.log10_p > -3
    assert found.nearness > 0.95
    assert match_tokens(mlp(other, other.flip(0)), ours).nearness < 0.05
