"""Which blocks are like which, cheaply: the true partner comes first, whatever idle units are added."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.comparison.likeness import _Seen, likeliest, likeness
from provenance.comparison.limits import BEST, SAMPLE
from provenance.statistics._directions import Glimpse
from tests.reference import block_likeness

INPUTS = 16


def rows(units, seed):
    x = torch.randn(units, INPUTS, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(x, dim=1)


def block(seed, units=40):
    return Glimpse(rows(units, 2 * seed), rows(units, 2 * seed + 1))


def near(glimpse, seed, amount=0.1):
    """The same units in another order, a little changed, ups of either sign."""
    order = torch.randperm(len(glimpse.up), generator=torch.Generator().manual_seed(seed))
    signs = torch.tensor([1.0, -1.0]).repeat(len(order))[: len(order), None]
    gate, up = (
        torch.nn.functional.normalize(x[order] + amount * rows(len(order), seed + k), dim=1)
        for k, x in enumerate((glimpse.gate, glimpse.up))
    )
    return Glimpse(gate, up * signs)


def beside(*glimpses):
    return Glimpse(torch.cat([g.gate for g in glimpses]), torch.cat([g.up for g in glimpses]))


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 9), st.integers(0, 2**20))
def test_likeness_is_that_of_the_slow_twin(m, n, units, seed):
    ours = [block(seed + i, units) for i in range(m)]
    theirs = [near(ours[0], seed)] + [block(seed + 99 + j, units + 1) for j in range(n - 1)]
    found = likeness([_Seen.of([b]) for b in ours], [_Seen.of([b]) for b in theirs])
    expected = block_likeness(
        [(b.gate.tolist(), b.up.tolist()) for b in ours],
        [(b.gate.tolist(), b.up.tolist()) for b in theirs],
    )
    torch.testing.assert_close(found, torch.tensor(expected).float(), rtol=1e-4, atol=1e-5)


REFERENCE = [block(seed) for seed in range(8)]


@pytest.mark.parametrize("order", [[1, 4, 6], [7, 6, 5, 4, 3, 2, 1, 0], [2, 2, 3, 3, 3]])
def test_true_partners_come_first(order):
    candidate = [[near(REFERENCE[j], seed=50 + i)] for i, j in enumerate(order)]
    ranked = likeliest(candidate, [[b] for b in REFERENCE])
    assert [row[0] for row in ranked] == order
    assert all(sorted(row) == list(range(8)) for row in ranked)


IDLE = {
    "random": lambda i: block(900 + i, 200),
    "one unit many times": lambda i: beside(*[block(900 + i, 1)] * 200),
    "gates of all other blocks, random ups": lambda i: beside(
        *[
            Glimpse(other.gate, rows(40, 700 + 8 * i + k))
            for k, other in enumerate(REFERENCE)
            if k != i
        ]
    ),
    "ups of all other blocks, random gates": lambda i: beside(
        *[
            Glimpse(rows(40, 700 + 8 * i + k), other.up)
            for k, other in enumerate(REFERENCE)
            if k != i
        ]
    ),
    "gates and ups of others, crossed": lambda i: beside(
        *[
            Glimpse(other.gate, other.up.roll(1, dims=0))
            for k, other in enumerate(REFERENCE)
            if k != i
        ]
    ),
}


@pytest.mark.parametrize("kind", IDLE)
@pytest.mark.parametrize("side", ["candidate", "reference"])
def test_idle_units_leave_the_true_partner_among_those_tested(kind, side):
    """An adversary adds many times as many units as there are; order is reversed."""
    plain = [[near(b, seed=50 + i)] for i, b in enumerate(REFERENCE)]
    padded = [[beside(b, IDLE[kind](i))] for i, (b,) in enumerate(plain)]
    if side == "candidate":
        ranked = likeliest(padded[::-1], [[b] for b in REFERENCE])
    else:
        ranked = likeliest([[b] for b in REFERENCE[::-1]], padded)
    assert all(7 - i in row[:BEST] for i, row in enumerate(ranked))


def test_padding_beyond_the_sample_leaves_the_reference_to_find_its_units():
    """Of so many units none of a block's own may be sampled; the other model's look among all."""
    own = near(REFERENCE[3], seed=5)
    many = block(77, 40 * SAMPLE)
    ranked = likeliest(
        [[beside(own, many)]] + [[block(500 + i)] for i in range(3)], [[b] for b in REFERENCE]
    )
    assert 3 in ranked[0][:BEST]


def test_a_block_without_a_testable_mlp_is_like_none():
    ranked = likeliest([[], [near(REFERENCE[2], 9)]], [[REFERENCE[0]], [], [REFERENCE[2]]])
    assert ranked[1][0] == 2
    assert sorted(ranked[0]) == [0, 1, 2]


def test_experts_are_the_units_of_one_block():
    experts = [[near(REFERENCE[3], 9), block(300)], [block(301), near(REFERENCE[5], 9)]]
    ranked = likeliest(experts, [[b] for b in REFERENCE])
    assert [row[0] for row in ranked] == [3, 5]


def test_one_partner_is_ranked_and_ties_keep_their_order():
    assert likeliest([[block(1)], [block(2)]], [[block(3)]]) == [[0], [0]]
    assert likeliest([[]], [[], [], []]) == [[0, 1, 2]]
