"""MLPs of few units are tested together, however a model's MLP was crumbled into them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.architecture.units import LinearMap, MLPActivations, MLPFactors, MLPShape, joined
from provenance.capture.units import Shape
from provenance.comparison.blocks import compare_blocks
from provenance.comparison.sides import Component
from provenance.errors import DegenerateError
from provenance.evidence.decide import decide_blocks
from provenance.statistics._directions import size
from provenance.statistics.match import match, prepare
from provenance.statistics.pvalues import bonferroni

TOKENS, HIDDEN, UNITS = 256, 24, 80
INPUTS = torch.randn(TOKENS, HIDDEN, generator=torch.Generator().manual_seed(7))


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mlp(seed, units=UNITS):
    gate, up, down = (draw(units, HIDDEN, seed=10 * seed + k) for k in range(3))
    return MLPFactors(INPUTS, LinearMap(gate), LinearMap(up), lambda: down, "SiLUActivation")


def of(side, units, *, out=1.0):
    """Some of an MLP's units, their way out scaled."""
    down = side.down()[units] * out
    gate, up = (LinearMap(x.weight[units]) for x in (side.gate, side.up))
    return replace(side, gate=gate, up=up, down=lambda: down)


def near(side, seed):
    gate, up = (
        LinearMap(x.weight + 0.1 * draw(*x.weight.shape, seed=seed + k))
        for k, x in enumerate((side.gate, side.up))
    )
    return replace(side, gate=gate, up=up)


def crumbled(side, sizes):
    """The units of an MLP in random order, so many in each of several."""
    parts = torch.split(
        torch.randperm(sum(sizes), generator=torch.Generator().manual_seed(1)), sizes
    )
    return [of(side, units) for units in parts]


class Held:
    """One block of MLPs; satisfies `comparison.sides.Units`."""

    def __init__(self, mlps):
        self._mlps = list(mlps)
        shapes = tuple(
            MLPShape(f"expert {at}", mlp.up.weight.shape[0]) for at, mlp in enumerate(self._mlps)
        )
        self.shape = Shape("Made", 1, {0: shapes}, {}, "float32")

    def block(self, index, place=0):
        return self._mlps[place]


def compared(candidate, reference, test=match):
    sides = Held(candidate), Held(reference)
    part = Component("match", test, *sides, prepare, size=size)
    return compare_blocks([part], "same-index", 0).blocks[0]


SIZES = {
    "of 7": [7] * 11 + [3],
    "of 8, each of which can be tested": [8] * 10,
    "of one unit and of many": [1] * 10 + [5] * 4 + [50],
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("idle", [False, True])
def test_crumbs_are_tested_as_one(sizes, idle):
    base = mlp(1)
    candidate = crumbled(near(base, 5), sizes)
    if idle:
        candidate.append(of(mlp(2), torch.arange(UNITS), out=0))
    block = compared(candidate, [base])
    assert block.log10_p < -90
    assert block.mlps[1] == "expert 0"
    assert block.mlps[0].endswith("MLPs joined")
    assert len(block.experts) == len(candidate)
    assert all(expert.log10_p < -90 for expert in block.experts[: len(sizes)])
    turned = compared([base], candidate)
    assert turned.log10_p == pytest.approx(block.log10_p)
    assert turned.mlps == block.mlps[::-1]


def test_crumbs_that_are_padded_with_units_that_do_little_are_crumbs():
    base = mlp(1)
    padded = [
        joined([crumb, of(mlp(20 + at, 70), torch.arange(70), out=1e-3)])
        for at, crumb in enumerate(crumbled(near(base, 5), [8] * 10))
    ]
    block = compared(padded, [base])
    assert block.mlps[0] == "10 MLPs joined"
    assert block.units == (780, UNITS)
    assert block.log10_p < -80


def test_units_whose_work_is_shared_among_crumbs_are_whole_again():
    base = mlp(1)
    kin = near(base, 5)
    apart = 10 * draw(UNITS, HIDDEN, seed=3)
    halves = [
        replace(kin, up=LinearMap(up))
        for up in (kin.up.weight / 2 + apart, kin.up.weight / 2 - apart)
    ]
    crumbs = [crumb for half in halves for crumb in crumbled(half, [8] * 10)]
    assert compared(crumbs, [base]).log10_p < -90


def test_half_of_an_mlp_in_crumbs_beside_one_that_lives():
    base = mlp(1, 140)
    kin = near(base, 5)
    crumbs = crumbled(of(kin, torch.arange(70, 140)), [7] * 10)
    block = compared([of(mlp(9), torch.arange(UNITS), out=1e-2), *crumbs], [base])
    assert block.mlps[0].endswith("joined")
    assert block.log10_p < -50


def test_one_small_mlp_is_tested_with_the_smallest_of_the_others():
    block = compared([mlp(1, 100), mlp(2, 90), mlp(3, 5)], [mlp(4, 90)])
    assert all(expert.log10_p is not None for expert in block.experts)
    kin = compared(
        [mlp(1, 100), of(near(mlp(4, 90), 5), torch.arange(85)), mlp(3, 5)], [mlp(4, 90)]
    )
    assert kin.log10_p < -50


def test_large_mlps_alone_are_tested_one_by_one_and_pay_for_no_other():
    tested = []

    def counted(candidate, reference, *, seed):
        tested.append(match(candidate, reference, seed=seed))
        return tested[-1]

    block = compared([mlp(1), mlp(2)], [mlp(3), mlp(4)], counted)
    assert len(tested) == 4
    least = min(result.log10_p for result in tested)
    assert block.log10_p == pytest.approx(bonferroni(least, 4))


def test_joined_mlps_are_paid_for():
    tested = []

    def counted(candidate, reference, *, seed):
        tested.append(match(candidate, reference, seed=seed))
        return tested[-1]

    candidate, reference = (
        [mlp(s, 40), mlp(s + 1, 40), mlp(s + 2, 40), mlp(s + 3, 200)] for s in (1, 5)
    )
    block = compared(candidate, reference, counted)
    assert len(tested) == 4 * 4 + 3  # the joined against the joined and the large, and the large
    least = min(result.log10_p for result in tested)
    assert block.log10_p == pytest.approx(bonferroni(least, 25))


def test_strangers_in_crumbs_are_not_called_kin_and_not_independent():
    found = 0
    why = "10 MLPs of the candidate but together: they have few units, or share the work of units"
    for seed in range(60):
        candidate = crumbled(mlp(2 * seed + 50), [8] * 10)
        block = compared(candidate, [mlp(2 * seed + 51)])
        found += block.log10_p < -1
        assert block.untested == (why,)
    assert found <= 14  # P(more | 0.1) < 0.001


def test_experts_that_are_never_chosen_may_hide_crumbs_and_leave_no_independence():
    base = mlp(1, 140)
    crumbs = crumbled(near(base, 5), [7] * 20)
    decoys = [
        of(replace(base, up=LinearMap(base.up.weight.roll(1 + turn, 0))), units)
        for turn in range(8)
        for units in torch.arange(140).split(7)
    ]
    block = compared([*crumbs, *decoys], [base])
    assert block.log10_p < -6 or block.untested


def test_what_could_not_be_tested_leaves_no_independence():
    plain = replace(mlp(1), gate=None)
    block = compared([plain, mlp(2)], [mlp(3)])
    assert block.untested == ("expert 0 of the candidate",)
    assert block.untested
    assert decide_blocks([block], 1e-6) == "independent"
    assert compared([mlp(2)], [mlp(3), plain]).untested == ("expert 1 of the reference",)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.booleans(), st.booleans())
def test_joined_mlps_answer_what_each_answers(sizes, bias, other_inputs):
    sides = [mlp(at, size) for at, size in enumerate(sizes)]
    if bias:
        gate = LinearMap(sides[0].gate.weight, draw(sizes[0], seed=3))
        sides[0] = replace(sides[0], gate=gate)
    if other_inputs:
        sides[-1] = replace(sides[-1], inputs=2 * INPUTS)
    one = joined(sides)
    assert isinstance(one, MLPActivations) == (other_inputs and len(sizes) > 1)
    each = [side.dense() for side in sides]
    for name in ("gate", "up"):
        expected = torch.cat([getattr(answers, name) for answers in each], dim=1)
        torch.testing.assert_close(getattr(one.dense(), name), expected)
    if isinstance(one, MLPFactors):
        torch.testing.assert_close(one.down(), torch.cat([side.down() for side in sides]))


def test_what_is_no_mlp_is_not_joined():
    assert joined([object(), object()]) is None
    rows = [MLPActivations(x, x) for x in (torch.ones(3, 2), torch.ones(4, 2))]
    assert joined(rows) is None
    sides = Held([mlp(1, 20), mlp(2, 20)]), Held([mlp(3)])
    sides[0].block = lambda index, place: (_ for _ in ()).throw(DegenerateError("damaged"))
    block = compare_blocks([Component("match", match, *sides, prepare, size=size)], "same-index", 0)
    assert block.blocks[0].state == "degenerate"
    assert np.isnan(block.blocks[0].log10_p or np.nan)


def halved(side, sizes, apart=30.0, seed=3):
    """An MLP's units split in two, all halves in random order, so many in each of several MLPs."""
    noise = apart * draw(*side.up.weight.shape, seed=seed)
    halves = [
        replace(side, up=LinearMap(up))
        for up in (side.up.weight / 2 + noise, side.up.weight / 2 - noise)
    ]
    return crumbled(joined(halves), sizes)


@pytest.mark.parametrize("sizes", [[UNITS] * 2, [40, 120], [UNITS, 64, 16], [40] * 4])
@pytest.mark.parametrize("beside", [0, 2])
def test_halves_in_two_mlps_are_whole_again(sizes, beside):
    base = mlp(1)
    candidate = halved(near(base, 5), sizes) + [mlp(40 + at, 2 * UNITS) for at in range(beside)]
    block = compared(candidate, [base])
    assert block.mlps[0].endswith("MLPs joined")
    assert block.log10_p < -80
    assert compared([base], candidate).log10_p == pytest.approx(block.log10_p)


def test_halves_of_unequal_weight_leave_no_independence():
    one, other = halved(near(mlp(1), 5), [UNITS] * 2)
    halves = [of(one, torch.arange(UNITS), out=3), other]
    block = compared(halves, [mlp(1)])
    assert block.log10_p < -6 or block.untested


def test_halves_are_found_beside_many_units_that_do_nothing():
    base = mlp(1)
    candidate = [
        joined([half, of(mlp(20 + at, 10 * UNITS), torch.arange(10 * UNITS), out=0)])
        for at, half in enumerate(halved(near(base, 5), [UNITS] * 2))
    ]
    block = compared(candidate, [base])
    assert block.mlps[0] == "2 MLPs joined"
    assert block.log10_p < -80


def test_experts_that_are_copies_or_strangers_share_nothing():
    base = mlp(1)
    flipped = replace(
        base, up=LinearMap(-base.up.weight), down=lambda: -base.down(), gate=base.gate
    )
    candidates = ([base, base, near(base, 5)], [base, flipped], [mlp(2), mlp(3), mlp(4)])
    assert all(not compared(x, [mlp(9)]).untested for x in candidates)
