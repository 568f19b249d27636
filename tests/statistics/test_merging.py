"""Units of one gate are one unit again, whatever their work was split into; what is idle is set aside."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.architecture.units import LinearMap, MLPFactors
from provenance.statistics._directions import directions
from provenance.statistics._merging import merge_units
from provenance.statistics.match import SHARES, match

pytestmark = pytest.mark.slow

TOKENS, HIDDEN, UNITS = 512, 32, 48


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mlp(seed, units=UNITS, *, bias=False, tokens=TOKENS):
    """Rows of gate and up with their biases, and of down, and inputs that all MLPs share."""
    gate, up, down = (draw(units, HIDDEN, seed=10 * seed + k) for k in range(3))
    biases = [draw(units, seed=10 * seed + k) if bias else None for k in (3, 4)]
    maps = (LinearMap(gate, biases[0]), LinearMap(up, biases[1]))
    return MLPFactors(draw(tokens, HIDDEN, seed=7), *maps, lambda: down)


def pick(x, index):
    return None if x is None else x[index]


def joined(*sides):
    """One MLP with the units of several."""

    def of(name):
        maps = [getattr(side, name) for side in sides]
        biases = [x.bias for x in maps]
        bias = None if biases[0] is None else torch.cat(biases)
        return LinearMap(torch.cat([x.weight for x in maps]), bias)

    down = torch.cat([side.down() for side in sides])
    return MLPFactors(sides[0].inputs, of("gate"), of("up"), lambda: down)


def changed(side, *, up=None, down=None, gate=None):
    out = side.down() if down is None else down
    gates = side.gate if gate is None else replace(side.gate, weight=gate)
    ups = side.up if up is None else replace(side.up, weight=up)
    return MLPFactors(side.inputs, gates, ups, lambda: out)


def split(side, seed, scale=10.0, parts=2):
    """A side whose units' work is shared at random between several units of the same gate."""
    apart = [draw(*side.up.weight.shape, seed=seed + k) * scale for k in range(parts - 1)]
    last = side.up.weight - sum(apart)
    bias = side.up.bias
    sides = [changed(side, up=up) for up in (*apart, last)]
    if bias is not None:
        sides = [replace(s, up=replace(s.up, bias=bias / parts)) for s in sides]
    return joined(*sides)


def function(side):
    """What an MLP computes, from all of its units one by one."""
    out = torch.zeros(len(side.inputs), HIDDEN, dtype=torch.float64)
    maps = (side.gate, side.up)
    for unit, row in enumerate(side.down().double()):
        gate, up = (
            side.inputs.double() @ x.weight[unit].double()
            + (0 if x.bias is None else x.bias[unit].double())
            for x in maps
        )
        out += (torch.nn.functional.silu(gate) * up)[:, None] * row
    return out


def cosines(a, b):
    return torch.nn.functional.cosine_similarity(a, b, dim=1)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**20), st.integers(2, 4), st.booleans())
def test_what_was_split_is_whole_again(seed, parts, bias):
    whole = mlp(seed, bias=bias)
    cut = split(whole, seed + 1, parts=parts)
    torch.testing.assert_close(function(cut), function(whole), rtol=1e-3, atol=1e-2)
    merged = merge_units(cut)
    assert merged.units.tolist() == list(range(UNITS))
    assert cosines(merged.side.gate.weight, whole.gate.weight).min() > 0.9999
    assert cosines(merged.side.up.weight, whole.up.weight).abs().min() > 0.999
    sizes = merged.side.up.weight.norm(dim=1) * merged.ways_out
    expected = whole.up.weight.norm(dim=1) * whole.down().norm(dim=1)
    if not bias:  # with one, a unit's size has the bias in it
        torch.testing.assert_close(sizes, expected, rtol=1e-2, atol=0)


def test_nothing_is_read_and_nothing_merged_where_all_gates_differ():
    side = replace(mlp(1), down=lambda: pytest.fail("down was read"))
    assert merge_units(side) is None


def test_units_that_cancel_out_are_gone():
    side, extra = mlp(1), mlp(2, 8)
    padded = joined(side, extra, changed(extra, down=-extra.down()))
    assert merge_units(padded).units.tolist() == list(range(UNITS))


def test_two_units_of_one_gate_that_do_two_things_stay_two():
    side = mlp(1)
    twins = changed(mlp(2), gate=side.gate.weight)
    merged = merge_units(joined(side, twins))
    assert sorted(merged.units.tolist()) == sorted([*range(UNITS)] * 2)


def test_gates_that_differ_by_more_than_noise_are_two():
    side = mlp(1)
    moved = side.gate.weight + 0.6 * draw(UNITS, HIDDEN, seed=3)
    assert merge_units(joined(side, changed(side, gate=moved))) is None


def test_gates_that_differ_in_their_mean_alone_are_two():
    side = mlp(1, bias=True)
    shifted = replace(side, gate=replace(side.gate, bias=side.gate.bias + 20))
    assert merge_units(joined(side, shifted)) is None


def test_another_order_of_units_is_merged_alike():
    cut = split(mlp(1), 5)
    order = torch.randperm(2 * UNITS, generator=torch.Generator().manual_seed(1))
    down = cut.down()[order]
    maps = (LinearMap(cut.gate.weight[order]), LinearMap(cut.up.weight[order]))
    one, other = merge_units(cut), merge_units(MLPFactors(cut.inputs, *maps, lambda: down))
    both = [m.side.up.weight[m.side.gate.weight[:, 0].argsort()] for m in (one, other)]
    assert cosines(*both).abs().min() > 0.9999


@pytest.mark.parametrize("tokens", [TOKENS, 2 * TOKENS, HIDDEN])
def test_activity_is_that_of_the_obvious_computation(tokens):
    side = mlp(3, bias=True, tokens=tokens)
    answers = side.dense()
    places = torch.linspace(0, tokens - 1, min(512, tokens)).long()
    done = torch.nn.functional.silu(answers.gate[places]) * answers.up[places]
    prepared = directions(side, "candidate", 0, centred=True)
    torch.testing.assert_close(
        prepared.core.activity(),
        done.square().mean(dim=0).sqrt()[prepared.live],
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("tokens", [TOKENS, HIDDEN])
def test_a_split_model_is_recognised_by_match(tokens):
    base = mlp(1, tokens=tokens)
    kin = changed(base, up=base.up.weight + 0.1 * draw(UNITS, HIDDEN, seed=4))
    plain, cut = (match(side, base) for side in (kin, split(kin, 5)))
    assert cut.log10_p == pytest.approx(plain.log10_p)
    assert (cut.units, cut.live) == ((2 * UNITS, UNITS), (UNITS, UNITS))
    assert cut.agreeing() == plain.agreeing()
    without = [replace(side, down=None) for side in (split(kin, 5), base)]
    assert match(*without).log10_p > -4  # as it would be without merging


def test_idle_decoys_do_not_hide_a_model():
    base = mlp(1)
    crossed = base.up.weight[torch.randperm(UNITS, generator=torch.Generator().manual_seed(2))]
    decoys = changed(base, up=crossed, down=torch.zeros(UNITS, HIDDEN))
    kin = changed(
        base,
        gate=base.gate.weight + 0.2 * draw(UNITS, HIDDEN, seed=5),
        up=base.up.weight + 0.2 * draw(UNITS, HIDDEN, seed=4),
    )
    hidden = joined(kin, decoys)
    assert match(hidden, base).log10_p < -15
    assert match(*(replace(side, down=None) for side in (hidden, base))).log10_p > -3


def test_the_strongest_units_are_the_fewest_that_do_their_share():
    side = mlp(6)
    down = side.down() * torch.linspace(0.01, 3, UNITS)[:, None]
    found = directions(replace(side, down=lambda: down), "candidate", 0, centred=True)
    added = torch.empty(UNITS, dtype=torch.float64)
    added[found.live] = (found.core.activity() * down.norm(dim=1)[found.live]).double().square()
    for share in (0.9, 0.5, 0.1):
        kept = found.strongest(share)
        chosen = added[kept.live].sum() / added.sum()
        assert chosen >= share
        assert chosen - added[kept.live].min() / added.sum() < share
        assert (
            kept.gate
            == found.gate[[found.live.tolist().index(unit) for unit in kept.live.tolist()]]
        ).all()
    assert found.strongest(1.0).live.tolist() == found.live.tolist()


def test_other_widths_cost_their_correction_and_equal_ones_none():
    base = mlp(1, 40)
    part = changed(mlp(1, 40), up=base.up.weight)
    narrow = MLPFactors(
        base.inputs,
        LinearMap(base.gate.weight[:30]),
        LinearMap(base.up.weight[:30]),
        lambda: base.down()[:30],
    )
    least = match(replace(narrow, down=None), base).log10_p
    assert match(narrow, base).log10_p == pytest.approx(least + np.log10(len(SHARES)))
    assert match(part, base).log10_p == match(replace(part, down=None), base).log10_p


@pytest.mark.parametrize("padding", ["split", "decoys", "wider"])
def test_padded_strangers_stay_strangers(padding):
    """False positives at 0.05 of 200 pairs, each padded as a cheat would: no more than chance."""
    found = []
    for seed in range(200):
        base, stranger = mlp(3 * seed + 100), mlp(3 * seed + 101)
        if padding == "split":
            stranger = split(stranger, seed)
        elif padding == "decoys":
            decoys = changed(base, up=base.up.weight.flip(0), down=0.1 * base.down())
            stranger = joined(stranger, decoys)
        else:
            stranger = mlp(3 * seed + 101, UNITS + 16)
        found.append(match(stranger, base, seed=seed).log10_p <= np.log10(0.05))
    assert sum(found) <= 19  # P(more | 0.05) < 0.002


def test_many_units_of_one_gate_are_found_without_comparing_all_with_all():
    side = mlp(1, 4)
    many = joined(*[changed(side, up=draw(4, HIDDEN, seed=k)) for k in range(200)])
    merged = merge_units(many)
    assert sorted(set(merged.units.tolist())) == [0, 1, 2, 3]
    assert len(merged.units) <= 4 * HIDDEN
