"""Blocks against blocks: what was done to a stack of layers is read off the table."""

import numpy as np
import pytest
import torch

from provenance.architecture.units import MLPActivations, MLPShape
from provenance.capture.units import Shape
from provenance.comparison.blocks import BlockTests, Scope, compare_blocks
from provenance.comparison.sides import Component
from provenance.comparison.table import align
from provenance.evidence.blocks import BlockEvidence
from provenance.statistics._directions import glimpse
from provenance.statistics.match import match, prepare
from provenance.statistics.match_weights import match_weights

pytestmark = pytest.mark.slow

TOKENS, WIDTH, UNITS = 200, 32, 64


class Stack:
    """Blocks by name: equal names are equal weights, on hidden states that all stacks share."""

    def __init__(self, *names, noise=0.2, salt=0, keep=None):
        self._names, self._noise, self._salt, self._keep = names, noise, salt, keep
        count = UNITS if keep is None else len(keep)
        mlps = dict.fromkeys(range(len(names)), (MLPShape("MLP", count),))
        self.shape = Shape("Stack", len(names), mlps, {}, "float32")

    def block(self, index, place=0):
        name = self._names[index]
        weights = torch.Generator().manual_seed(sum(map(ord, name)))
        inputs = torch.Generator().manual_seed(7)
        noise = torch.Generator().manual_seed(1000 * self._salt + index)
        x = torch.randn(TOKENS, WIDTH, generator=inputs)
        sides = []
        for _ in range(2):
            w = torch.randn(WIDTH, UNITS, generator=weights)
            w = w + self._noise * torch.randn(w.shape, generator=noise)
            sides.append((x @ w)[:, self._keep] if self._keep is not None else x @ w)
        return MLPActivations(*sides)


BASE = Stack("a", "b", "c", "d")


def cross(candidate, reference=BASE):
    return compare_blocks([Component("match", match, candidate, reference)], "cross", seed=0)


def found(table, limit=-8):
    return [(p.candidate_block, p.reference_block) for p in table.alignment if p.log10_p < limit]


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        ("acd", [(0, 0), (1, 2), (2, 3)]),  # a layer deleted
        ("dcba", [(0, 3), (1, 2), (2, 1), (3, 0)]),  # reordered
        ("axyd", [(0, 0), (3, 3)]),  # two from another model
        ("xaybzc", [(1, 0), (3, 1), (5, 2)]),  # transplanted into a deeper stranger
        ("wxyz", []),
    ],
)
def test_the_alignment_recovers_what_was_done(names, pairs):
    assert found(cross(Stack(*names, salt=1))) == pairs


def test_a_duplicated_layer_is_kin_twice_and_aligned_once():
    table = cross(Stack("a", "b", "b", "c", "d", salt=1))
    assert [block.reference_block for block in table.blocks] == [0, 1, 1, 2, 3]
    assert all(block.log10_p < -8 for block in table.blocks)
    assert len(found(table)) == 4


def test_units_that_survived_pruning_are_named_in_their_order():
    keep = [31, 2, 17, 5, 28, 11, 0, 39, 22, 8, 14, 35]
    narrow = Stack("a", "b", noise=0.05, salt=1, keep=keep)
    result = match(narrow.block(1), BASE.block(1))
    pairs = result.survivors()
    assert (pairs[:, 0] == sorted(pairs[:, 0])).all()
    assert [keep[i] for i in pairs[:, 0]] == pairs[:, 1].tolist()
    assert len(pairs) >= 11


def test_the_alignment_names_the_units_that_survived():
    keep = [31, 2, 17, 5, 28, 11, 0, 39, 22, 8, 14, 35]
    table = cross(Stack("b", "d", noise=0.05, salt=1, keep=keep))
    assert [(pair.candidate_block, pair.reference_block) for pair in table.alignment] == [
        (0, 1),
        (1, 3),
    ]
    for pair in table.alignment:
        assert len(pair.candidate_units) >= 11
        assert [keep[i] for i in pair.candidate_units] == list(pair.reference_units)


class Counted(Stack):
    """Counts how often each block is read."""

    def __init__(self, *names, **options):
        super().__init__(*names, **options)
        self.reads = []

    def block(self, index, place=0):
        self.reads.append(index)
        return super().block(index, place)


@pytest.mark.parametrize(("kept_bytes", "reads"), [(1 << 30, 4), (0, 16)])
def test_a_block_is_prepared_once_where_there_is_room_to_keep_it(kept_bytes, reads):
    sides = Counted("a", "b", "c", "d", salt=1), Counted("d", "c", "b", "a")
    part = Component("match", match, *sides, prepare)
    table = compare_blocks([part], "cross", 0, kept_bytes=kept_bytes)
    assert [len(side.reads) for side in sides] == [reads, reads]
    assert table == compare_blocks([Component("match", match, *sides)], "cross", 0)


def test_prepared_blocks_never_take_more_room_than_there_is():
    sides = Counted("a", "b", "c", "d", salt=1), Counted("d", "c", "b", "a")
    size = 2 * TOKENS * UNITS * 4 + 8 * UNITS
    part = Component("match", match, *sides, prepare)
    compare_blocks([part], "cross", 0, kept_bytes=3 * size)
    # of four partners two stay beside the candidate's block, and are met first on the way back
    assert len(sides[0].reads) == 4
    assert 4 < len(sides[1].reads) < 16


def test_the_best_of_many_partners_pays_for_the_choice():
    row = cross(Stack("a", "b", "c", "d", salt=1))
    raw = row.cross[0][0]
    assert row.blocks[0].log10_p == pytest.approx(raw + torch.tensor(4.0).log10().item(), abs=1e-6)


def test_independent_stacks_are_dependent_no_more_often_than_stated():
    hits = 0
    for salt in range(40):
        names = [f"q{salt}-{i}" for i in range(3)]
        table = compare_blocks(
            [Component("match", match, Stack(*names), BASE)], "best-of-reference", seed=salt
        )
        hits += sum(block.log10_p < -1.3 for block in table.blocks)
    assert hits <= 14  # 99.9 % of Binomial(120, 0.05)


def test_several_statistics_are_combined_by_bonferroni_and_each_is_kept():
    candidate = Stack("a", "x", salt=1)
    reference = Stack("a", "b")
    parts = [
        Component("match", match, candidate, reference),
        Component("match_weights", match_weights, candidate, reference),
    ]
    block = compare_blocks(parts, "same-index", seed=0).blocks[0]
    assert [part.statistic for part in block.parts] == ["match", "match_weights"]
    least = min(part.log10_p for part in block.parts)
    assert block.log10_p == pytest.approx(least + torch.tensor(2.0).log10().item(), abs=1e-6)


# which partners a block meets, and what it pays


LONG = Stack(*"abcdefgh")
CHOSEN = {"prepare": prepare, "glimpse": glimpse}


def part(candidate, reference, name="match", test=match):
    return Component(name, test, candidate, reference, **CHOSEN)


def test_a_block_meets_its_own_index_first_and_what_that_decides_meets_no_other():
    sides = Counted(*"abcdefgh", noise=0, salt=1), Counted(*"abcdefgh", noise=0)
    table = compare_blocks([part(*sides)], "index-first", 0, extent="decided")
    assert [side.reads for side in sides] == [list(range(8))] * 2
    assert [block.reference_block for block in table.blocks] == list(range(8))


@pytest.mark.parametrize("extent", ["files", "decided", "parts", "all"])
@pytest.mark.parametrize("pairing", ["index-first", "best-of-reference", "cross"])
@pytest.mark.parametrize("names", ["abcdefgh", "xabcdefg", "hgfedcba", "wxyzwxyz"])
def test_partners_are_found_whatever_is_measured_and_pay_alike(names, pairing, extent):
    candidate = Stack(*names, noise=0.05, salt=1)
    some = compare_blocks([part(candidate, LONG)], pairing, 0, extent=extent)
    whole = compare_blocks([part(candidate, LONG)], pairing, 0, extent="all")
    for name, block, other in zip(names, some.blocks, whole.blocks, strict=True):
        assert other.log10_p <= block.log10_p
        if name in "abcdefgh":
            assert block.reference_block == "abcdefgh".index(name)
            assert block.log10_p == other.log10_p < -8
        else:
            assert block.log10_p > -3


@pytest.mark.parametrize("blocks", [1, 2, 3, 8])
@pytest.mark.parametrize("pairing", ["same-index", "index-first", "best-of-reference", "cross"])
@pytest.mark.parametrize("i", [0, 9])  # 9: a block that the reference has none of
def test_the_levels_of_all_partners_of_a_block_add_up_to_its_own(pairing, blocks, i):
    shape = Stack(*"abcdefgh"[:blocks]).shape
    candidate = Stack(*"abcdefghij").shape
    tests = BlockTests(["match"], (candidate, shape), Scope(pairing, 0))
    met = [i] if pairing == "same-index" else range(blocks)
    assert sum(1 / tests.choices.of_blocks(i, j) for j in met) == pytest.approx(1)


def test_what_is_measured_is_what_is_undecided_and_the_rest_says_why():
    names = "abcdwxyz"
    candidate = Stack(*names, noise=0.02, salt=1)
    tests = BlockTests(
        ["match", "match_weights", "csh"],
        (candidate.shape, LONG.shape),
        Scope("index-first", 0, extent="decided"),
    )
    assert tests.wanted() == list(range(8))
    tests.measure(part(candidate, LONG))
    assert tests.wanted() == tests.undecided() == [4, 5, 6, 7]
    tests.skip("csh", "it is not wanted")
    tests.measure(part(candidate, LONG, "match_weights", match_weights))
    assert tests.details() == {
        "measured": "match, match_weights",
        "not measured": "csh: it is not wanted",
    }
    blocks = tests.table().blocks
    for index, block in enumerate(blocks):
        first, second, third = block.parts
        assert third.reason == "it is not wanted"
        assert first.log10_p is not None or block.reference_block != index
        if index < 4:
            assert (second.log10_p, second.reason) == (
                None,
                "not measured: match decides the block",
            )
        least = min(p.log10_p for p in block.parts if p.log10_p is not None)
        choices = 2 if block.reference_block == index else 2 * 7
        assert block.log10_p == pytest.approx(min(0, least + np.log10(3 * choices)))


def test_two_parts_of_one_name_are_a_mistake():
    with pytest.raises(ValueError, match="two parts have one name: match, match"):
        compare_blocks([part(BASE, BASE), part(BASE, BASE)], "same-index", 0)


def test_nothing_measured_is_no_number_and_says_why():
    tests = BlockTests(["match", "csh"], (LONG.shape, LONG.shape), Scope("index-first", 0))
    tests.skip("match", "one reason")
    tests.skip("csh", "another")
    (first, *_) = tests.table().blocks
    assert (first.log10_p, first.state, first.reason) == (None, "degenerate", "one reason; another")
    assert tests.details()["measured"] == "nothing"


@pytest.mark.parametrize("extent", ["decided", "parts", "all"])
def test_strangers_that_choose_among_likely_partners_are_dependent_no_more_often(extent):
    hits = 0
    for salt in range(20):
        names = [f"q{salt}-{i}" for i in range(8)]
        table = compare_blocks([part(Stack(*names), LONG)], "index-first", salt, extent=extent)
        hits += sum(block.log10_p < -1.3 for block in table.blocks)
    assert hits <= 18  # 99.9 % of Binomial(160, 0.05)


def test_the_alignment_is_optimal_and_not_greedy():
    """Greedy takes the strongest cell first and is left with nothing."""

    def cell(i, j, log10_p):
        return BlockEvidence(i, j, log10_p, 0.5, (8, 8), (8, 8), 4)

    table = {(0, 0): -10.0, (0, 1): -9.0, (1, 0): -9.0, (1, 1): 0.0}
    none = dict.fromkeys(table, np.zeros((0, 2), dtype=np.int64))
    pairs = align({key: cell(*key, p) for key, p in table.items()}, none)
    assert [(p.candidate_block, p.reference_block) for p in pairs] == [(0, 1), (1, 0)]


def test_each_block_keeps_what_its_strongest_statistic_matched():
    sides = (Stack("a", "b", salt=1), Stack("a", "x", salt=2))
    blocks = cross(*sides).blocks
    (gate, up), stranger = blocks[0].matchings, blocks[1].matchings
    assert len(gate) == UNITS
    assert sum(x == y for x, y in zip(gate, up, strict=True)) == blocks[0].agreeing
    assert stranger[0] != stranger[1]
