"""Blocks that repeat each other count once, in either model; those that do not are left alone."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from provenance.architecture.units import MLPActivations, MLPShape
from provenance.capture.units import Shape
from provenance.comparison.blocks import compare_blocks
from provenance.comparison.repeats import EXCESS, counted_together, excess, kin_blocks, seen
from provenance.comparison.sides import Component
from provenance.evidence.decide import aggregate
from provenance.statistics import REGISTRY
from provenance.statistics.generalized import Fit, Proxy
from provenance.statistics.match_weights import glimpse, match_weights, prepare
from provenance.statistics.pvalues import bonferroni, fisher
from tests import reference

UNITS, WIDTH, BLOCKS = 32, 24, 6


class Stack:
    """Blocks that go round: block i is of the kind i modulo ``kinds``, its units in an order of its own."""

    def __init__(self, seed, kinds=1, blocks=BLOCKS, noise=0.0):
        generator = torch.Generator().manual_seed(seed)
        first = [torch.randn(2, WIDTH, UNITS, generator=generator) for _ in range(kinds)]
        self._blocks = []
        for i in range(blocks):
            order = torch.randperm(UNITS, generator=generator)
            changed = noise * torch.randn(2, WIDTH, UNITS, generator=generator)
            self._blocks.append((first[i % kinds] + changed)[:, :, order])
        mlps = dict.fromkeys(range(blocks), (MLPShape("MLP", UNITS),))
        self.shape = Shape("Stack", blocks, mlps, {}, "float32")

    def block(self, index, place=0):
        return MLPActivations(*self._blocks[index])


def compared(candidate, reference, pairing="index-first", seed=0):
    part = Component("match_weights", match_weights, candidate, reference, prepare, glimpse)
    return compare_blocks([part], pairing, seed, extent="parts").blocks


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kinds", "noise", "pairing"),
    [
        ((1, 1), 0.0, "index-first"),
        ((1, 1), 0.0, "best-of-reference"),
        ((1, BLOCKS), 0.0, "best-of-reference"),
        ((1, 1), 0.5, "index-first"),
        ((1, 1), 2.0, "index-first"),
    ],
)
def test_strangers_whose_blocks_repeat_are_below_a_level_no_more_often(kinds, noise, pairing):
    """Fisher's method takes one chance agreement for six."""
    trials = 24
    found = [
        aggregate(
            compared(
                Stack(2 * seed, kinds[0], noise=noise),
                Stack(2 * seed + 1, kinds[1], noise=noise),
                pairing,
                seed,
            )
        )
        for seed in range(trials)
    ]
    assert sum(p < math.log10(0.05) for p in found) <= binom.ppf(0.999, trials, 0.05)
    assert min(found) > -4


@pytest.mark.parametrize("kinds", [1, 2, 3])
def test_blocks_of_a_kind_count_once_on_either_side(kinds):
    pairs = {(i, j) for j in range(BLOCKS) for i in range(j) if (j - i) % kinds == 0}
    for looped in (Stack(1, kinds), Stack(1, kinds, noise=0.5)):
        blocks = {
            i: [seen(prepare(looped.block(i), "reference", 0), glimpse)] for i in range(BLOCKS)
        }
        assert kin_blocks(blocks) == pairs
    found = compared(Stack(1, kinds), Stack(2, kinds))
    assert {b.counted_with for b in found} <= {None, *range(kinds)}
    assert (
        len({b.counted_with if b.counted_with is not None else b.candidate_block for b in found})
        <= kinds
    )


def test_blocks_of_ordinary_models_count_each():
    """Kin of equal depth lose nothing: each block finds its own counterpart."""
    ordinary = Stack(1, BLOCKS)
    blocks = {i: [seen(prepare(ordinary.block(i), "reference", 0), glimpse)] for i in range(BLOCKS)}
    assert kin_blocks(blocks) == set()
    found = compared(Stack(1, BLOCKS, noise=0.4), ordinary)
    assert all(b.counted_with is None for b in found)
    assert aggregate(found) == pytest.approx(fisher([b.log10_p for b in found]))


def test_a_copy_that_repeats_is_still_kin():
    found = compared(Stack(1, 1, noise=0.2), Stack(1, 1, noise=0.2))
    assert aggregate(found) < -20
    twice = compared(Stack(1, 4, blocks=8), Stack(1, 4, blocks=4), "best-of-reference")
    assert [b.counted_with for b in twice] == [None] * 4 + [0, 1, 2, 3]
    groups = [bonferroni(min(twice[i].log10_p, twice[i + 4].log10_p), 2) for i in range(4)]
    assert aggregate(twice) == pytest.approx(fisher(groups))


NODES = st.integers(0, 6)


@given(
    st.dictionaries(NODES, NODES),
    st.sets(st.tuples(NODES, NODES), max_size=4),
    st.sets(st.tuples(NODES, NODES), max_size=4),
)
def test_what_counts_once_is_the_slow_twins(met, ours, theirs):
    found = counted_together(met, {"candidate": ours, "reference": theirs})
    assert found == reference.counted_together(met, ours, theirs)


@pytest.mark.parametrize("statistic", ["csu", "csh", "generalized"])
def test_statistics_without_a_glimpse_see_repeats_too(statistic):
    def side(seed):
        gate, up = Stack(seed).block(0).gate, Stack(seed).block(0).up
        if statistic == "generalized":
            return Proxy(gate.T, up.T, up, Fit(1.0, 1.0, 0.0), seed)
        return MLPActivations(None if statistic == "csh" else gate, up)

    assert REGISTRY[statistic].load_glimpse() is None
    first, same, other = (seen(side(seed), None) for seed in (1, 1, 2))
    assert excess(first, same) > 5 * EXCESS
    assert abs(excess(first, other)) < EXCESS


@settings(max_examples=20)
@given(st.integers(1, 9), st.integers(0, 2**20))
def test_a_block_without_units_is_kin_to_none(units, seed):
    generator = torch.Generator().manual_seed(seed)
    live = MLPActivations(*torch.randn(2, WIDTH, units, generator=generator))
    dead = MLPActivations(*torch.zeros(2, WIDTH, units))
    assert seen(dead, None) is None
    blocks = {0: [seen(live, None)], 1: [seen(live, None)], 2: []}
    assert kin_blocks(blocks) <= {(0, 1)}
