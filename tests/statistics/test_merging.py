"""Units of one gate are one unit again, whatever their work was split into; what is idle is set aside."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.transforms.identities import rewrite
from fixtures.transforms.widening import Mlp
from provenance.architecture.units import LinearMap, MLPActivations, MLPFactors
from provenance.errors import DegenerateError
from provenance.statistics import match_tokens, match_weights
from provenance.statistics._activations import activation_of
from provenance.statistics._directions import directions
from provenance.statistics._merging import merge_units
from provenance.statistics.match import SHARES, match, prepare, sets_of_strongest
from provenance.statistics.pvalues import LEAST_UNITS
from provenance.vocabulary import ROLES
from tests import reference

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


def test_a_gate_so_far_up_that_its_unit_is_bilinear_adds_nothing_to_another_of_its_direction():
    side = mlp(1, bias=True)
    shifted = replace(side, gate=replace(side.gate, bias=side.gate.bias + 60))
    shifted = changed(shifted, up=draw(UNITS, HIDDEN, seed=9))
    merged = merge_units(joined(side, shifted))
    assert merged.units.tolist() == list(range(UNITS))
    assert cosines(merged.side.up.weight, side.up.weight).abs().min() > 0.999


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
    prepared = directions(side, "candidate", 0, centred=True)
    gate, up = answers.gate[places].double(), answers.up[places]
    made = torch.nn.functional.silu(gate)
    done = torch.from_numpy(reference.beyond(gate.numpy(), made.numpy(), 1)).float() * up
    torch.testing.assert_close(
        prepared.core.activity(),
        done.square().mean(dim=0).sqrt()[prepared.live],
        rtol=1e-3,
        atol=1e-3,
    )


def test_activity_is_of_what_the_mlp_is_fed_not_of_the_mixtures_that_units_are_told_apart_by():
    side = mlp(3, bias=True, tokens=HIDDEN)
    fed = side.inputs @ torch.diag(torch.logspace(-1, 1, HIDDEN)) + 0.3
    side = replace(side, inputs=fed)
    prepared = match_tokens.prepare(side, "candidate", 0).whole
    plain = directions(side, "candidate", 0, centred=True)
    assert prepared.live.tolist() == plain.live.tolist()
    torch.testing.assert_close(
        prepared.core.activity(), plain.core.activity(), rtol=1e-2, atol=1e-3
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


def uneven(seed, units, steepness):
    """An MLP whose units do work of very different size."""
    side = mlp(seed, units)
    return changed(side, down=side.down() * torch.logspace(0, -steepness, units)[:, None])


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(8, 60), st.integers(8, 60)),
    st.tuples(st.floats(0, 3), st.floats(0, 3)),
)
def test_a_set_of_the_strongest_has_a_quarter_of_the_narrower_side_and_none_is_tried_twice(
    units, steepness
):
    sides = [
        directions(uneven(k, *of), role, 0, centred=True)
        for k, (role, *of) in enumerate(zip(ROLES, units, steepness, strict=True))
    ]
    least = max(LEAST_UNITS, -(-min(units) // 4))
    expected = [
        [
            reference.strongest(side.core.added.tolist(), share, least if share < 1 else 10**6)
            for side in sides
        ]
        for share in SHARES
    ]
    expected = [one for k, one in enumerate(expected) if one not in expected[:k]]
    found = [
        [
            {side.live.tolist().index(unit) for unit in kept.live.tolist()}
            for side, kept in zip(sides, of, strict=True)
        ]
        for _, of in sets_of_strongest(*sides)
    ]
    assert found == expected


def test_the_best_set_counts_at_the_price_of_all_three():
    a, b = (directions(uneven(k, 40 + 8 * k, 2), ROLES[k], 0, centred=True) for k in range(2))
    alone = [
        match(*(replace(side, core=None) for side in sides)).log10_p
        for _, sides in sets_of_strongest(a, b)
    ]
    assert len(alone) > 1
    assert match(a, b).log10_p == pytest.approx(min(alone) + np.log10(len(SHARES)))


def test_strangers_that_share_a_few_strong_units_stay_strangers():
    """As detectors of one token do: 6 of 96 units, which do nine tenths of the work.

    By the 8 strongest units alone 26 of the 40 pairs had a p-value of 0.01 or less.
    """
    shared = changed(mlp(1, 6), down=30 * mlp(1, 6).down())
    least = []
    for seed in range(40):
        pair = [joined(shared, mlp(2 * seed + 10 + k, 90 + 32 * k)) for k in range(2)]
        least.append(match(*pair, seed=seed).log10_p)
    assert sum(p <= np.log10(0.01) for p in least) <= 4
    assert min(least) > -5


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


ACTIVATIONS = {
    "silu": "SiLUActivation",
    "gelu": "GELUActivation",
    "gelu_pytorch_tanh": "GELUTanh",
    "relu": "ReLU",
    "relu2": "ReLUSquaredActivation",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
}


def rows(seed, units=UNITS):
    """Gate, up and down as transforms take them, of answers that an activation bends."""
    return Mlp(*(draw(units, HIDDEN, seed=10 * seed + k) * (0.3, 0.3, 1)[k] for k in range(3)))


def near(units, seed, by=0.1):
    """A fine-tune: noise of a tenth of each matrix's deviation."""
    of = (units.gate, units.up, units.down)
    return Mlp(*(x + by * x.std() * draw(*x.shape, seed=seed + k) for k, x in enumerate(of)))


def as_factors(units, activation, bias=0.0):
    maps = (LinearMap(units.gate), LinearMap(units.up))
    return MLPFactors(draw(TOKENS, HIDDEN, seed=7) + bias, *maps, lambda: units.down, activation)


def as_rows(units, activation):
    return MLPActivations(units.gate.T, units.up.T, lambda: units.down, activation)


def computed(units, activation):
    x = draw(TOKENS, HIDDEN, seed=7).double()
    function = activation_of(activation).function
    done = function(x @ units.gate.double().T) * (x @ units.up.double().T)
    return done @ units.down.double()


def log10_ps(candidate, base, activation, seed=0):
    """By each statistic that merges."""
    asked = [as_factors(x, activation) for x in (candidate, base)]
    rows = [as_rows(x, activation) for x in (candidate, base)]
    found = (
        match(*asked, seed=seed),
        match_tokens.match_tokens(*asked, seed=seed),
        match_weights.match_weights(*rows, seed=seed),
    )
    return [result.log10_p for result in found]


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([*ACTIVATIONS]), st.integers(0, 2**20), st.sampled_from([1.0, 0.5, 0.1]))
def test_a_function_written_otherwise_has_the_units_it_had(kind, seed, share):
    name, base = ACTIVATIONS[kind], rows(seed)
    generator = torch.Generator().manual_seed(seed)
    written = rewrite(base, kind, generator, share)
    torch.testing.assert_close(
        computed(written, name), computed(base, name), rtol=1e-4, atol=1e-4 * HIDDEN
    )
    merged = merge_units(as_factors(written, name))
    cosine = torch.nn.functional.normalize(merged.side.gate.weight, dim=1)
    cosine = (cosine @ torch.nn.functional.normalize(base.gate, dim=1).T).abs()
    assert sorted(cosine.argmax(dim=1).tolist()) == list(range(UNITS))
    found = merged.side.up.weight[cosine.argmax(dim=0)]
    assert cosines(found, base.up).abs().min() > 0.99
    kin = near(base, seed + 5)
    # few tokens may decide, at a cost of log10(2), or all
    assert log10_ps(written, kin, name) == pytest.approx(log10_ps(base, kin, name), abs=0.4)


@pytest.mark.parametrize("kind", ["silu", "gelu"])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_short_gates_that_make_up_for_negated_ones_hide_nothing(kind, share):
    name, base = ACTIVATIONS[kind], rows(3)
    written = rewrite(base, kind, torch.Generator().manual_seed(1), share, short=True)
    expected = computed(base, name)
    assert (computed(written, name) - expected).norm() < 1e-2 * expected.norm()
    assert max(log10_ps(written, near(base, 4), name)) < -50


def test_negated_gates_are_seen_where_no_two_are_one():
    base = rows(1)
    short = Mlp(1e-3 * base.up, 2e3 * base.gate, base.down)
    negated = Mlp(-base.gate, base.up, base.down) + short
    expected = computed(base, "SiLUActivation")
    assert (computed(negated, "SiLUActivation") - expected).norm() < 1e-2 * expected.norm()
    assert merge_units(as_factors(negated, "SiLUActivation")) is None
    assert max(log10_ps(negated, near(base, 4), "SiLUActivation")) < -50


def test_short_units_that_cancel_are_no_decoys():
    """Three gates that are no two parallel, at a length at which SiLU is half of its answer."""
    base = rows(1)
    first, second = base.gate, base.gate.roll(1, 0)
    crossed = base.up.roll(2, 0)
    decoys = Mlp(first + second, crossed, base.down) + Mlp(-first, crossed, base.down)
    decoys += Mlp(-second, crossed, base.down)
    decoys = Mlp(1e-3 * decoys.gate, 3e3 * decoys.up, decoys.down)
    hidden = base + decoys
    expected = computed(base, "SiLUActivation")
    assert (computed(hidden, "SiLUActivation") - expected).norm() < 3e-2 * expected.norm()
    assert max(log10_ps(hidden, near(base, 4), "SiLUActivation")[:2]) < -40


@pytest.mark.parametrize("opposed", [False, True])
def test_a_chain_of_idle_units_links_no_gates(opposed):
    """Idle gates lead in small steps from each unit to the next, at either sign."""
    base = rows(1)
    steps = torch.linspace(0, 1, 12)[1:-1, None, None]
    to = base.gate.roll(1, 0) * (-1 if opposed else 1)
    idle = ((1 - steps) * base.gate + steps * to).reshape(-1, HIDDEN)
    if opposed:
        idle[::2] *= -1
    ups = draw(len(idle), HIDDEN, seed=5)
    chained = base + Mlp(idle, ups, torch.zeros_like(ups))
    merged = merge_units(as_factors(chained, "SiLUActivation"))
    assert sorted(merged.units.tolist()) == list(range(UNITS))
    kin = near(base, 4)
    assert log10_ps(chained, kin, "SiLUActivation") == pytest.approx(
        log10_ps(base, kin, "SiLUActivation"), abs=0.4
    )


def test_a_chain_of_units_that_cancel_keeps_units_apart():
    base = rows(1)
    steps = torch.linspace(0, 1, 12)[1:-1, None, None]
    between = ((1 - steps) * base.gate + steps * base.gate.roll(1, 0)).reshape(-1, HIDDEN)
    ups, out = (draw(len(between), HIDDEN, seed=k) for k in (5, 6))
    chained = base + Mlp(between, ups, out) + Mlp(between, ups, -out)
    assert max(log10_ps(chained, near(base, 4), "SiLUActivation")) < -40


def test_units_that_are_split_negated_and_among_decoys_are_found():
    base = rows(1)
    written = rewrite(base, "silu", torch.Generator().manual_seed(1), 0.5)
    idle = Mlp(rows(2).gate, rows(2).up, torch.zeros(UNITS, HIDDEN))
    crossed = Mlp(base.gate, base.up.flip(0), torch.zeros(UNITS, HIDDEN))
    assert max(log10_ps(written + idle + crossed, near(base, 4), "SiLUActivation")) < -50


@pytest.mark.parametrize("kind", ["silu", "relu2"])
def test_what_is_merged_follows_a_renumbering(kind):
    name = ACTIVATIONS[kind]
    written = rewrite(rows(1), kind, torch.Generator().manual_seed(2), 0.5)
    order = torch.randperm(len(written.gate), generator=torch.Generator().manual_seed(3))
    one, other = (merge_units(as_factors(x, name)) for x in (written, written.of(order)))
    assert len(one.units) == len(other.units)
    gates = [torch.nn.functional.normalize(x.side.gate.weight, dim=1) for x in (one, other)]
    alike = (gates[0] @ gates[1].T).abs()
    places = alike.argmax(dim=1)
    assert sorted(places.tolist()) == list(range(len(places)))
    assert alike.amax(dim=1).min() > 0.9999
    assert cosines(one.side.up.weight, other.side.up.weight[places]).abs().min() > 0.999
    torch.testing.assert_close(one.ways_out, other.ways_out[places], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["silu", "relu", "sigmoid"])
def test_strangers_that_are_written_otherwise_stay_strangers(kind):
    """False positives at 0.05 of 24 pairs by three statistics, one or both sides rewritten."""
    found = np.zeros(3)
    for seed in range(24):
        a, b = rows(3 * seed + 100, 24), rows(3 * seed + 101, 24)
        generator = torch.Generator().manual_seed(seed)
        a = rewrite(a, kind, generator, (1.0, 0.5)[seed % 2])
        if seed % 3:
            b = rewrite(b, kind, generator)
        found += np.array(log10_ps(a, b, ACTIVATIONS[kind], seed)) <= np.log10(0.05)
    assert found.max() <= 5  # P(more | 0.05) < 0.002


def test_doubled_strangers_are_strangers_by_their_rows():
    found = 0
    for seed in range(40):
        a, b = (rows(2 * seed + k + 300, 16) for k in range(2))
        a, b = (Mlp(x.gate, x.up, x.down / 4) for x in (a, b))
        eight = [sum([x] * 7, start=x) for x in (a, b)]
        sides = [as_rows(x, "SiLUActivation") for x in eight]
        found += match_weights.match_weights(*sides, seed=seed).log10_p <= np.log10(0.05)
    assert found <= 7  # P(more | 0.05) < 0.002


def test_rows_with_a_value_that_is_not_finite_are_refused_by_name():
    side = rows(1)
    side.gate[3, 2] = float("nan")
    with pytest.raises(DegenerateError, match="the candidate's gate activations hold NaN"):
        match_weights.match_weights(as_rows(side, ""), as_rows(rows(2), ""))


@pytest.mark.parametrize("tokens", [TOKENS, HIDDEN])
@pytest.mark.parametrize("size", [1e9, 1e25])
def test_a_huge_weight_on_a_dimension_that_no_input_has_kills_no_unit(size, tokens):
    base = mlp(1, tokens=tokens)
    inputs = base.inputs.clone()
    inputs[:, 5] = 0
    weight = base.gate.weight.clone()
    weight[:, 5] = size
    hidden = replace(base, inputs=inputs, gate=LinearMap(weight))
    found = directions(hidden, "candidate", 0, centred=True)
    assert sorted(found.live.tolist()) == list(range(UNITS))
    assert match(hidden, replace(base, inputs=inputs)).log10_p < -50


@pytest.mark.parametrize("tokens", [TOKENS, HIDDEN])
def test_an_mlp_much_of_which_is_done_by_dead_units_is_not_tested(tokens):
    """Gates that say one thing of every input leave a linear map; ups that do, a plain MLP."""
    base = mlp(1, tokens=tokens)
    still = replace(
        base,
        gate=LinearMap(torch.zeros(UNITS, HIDDEN), torch.full((UNITS,), 2.0)),
        up=replace(base.up, bias=torch.zeros(UNITS)),
    )
    moving = mlp(2, 16, bias=True, tokens=tokens)
    weak = changed(moving, down=1e-3 * moving.down())
    with pytest.raises(DegenerateError, match="100% of what the candidate's MLP adds"):
        match(joined(still, weak), base)
    # units that are one hide nothing of it
    with pytest.raises(DegenerateError, match="100% of what the candidate's MLP adds"):
        match(joined(still, weak, weak), base)
    without = joined(changed(still, down=torch.zeros(UNITS, HIDDEN)), moving)
    assert len(prepare(without, "candidate", 0).live) == 16
    assert match(without, base).log10_p <= 0
