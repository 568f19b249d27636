"""Exhibits of what two models have in common."""

from dataclasses import replace

import pytest

from provenance.errors import DegenerateError
from provenance.evidence.blocks import PartEvidence
from provenance.exhibits.overlaps import most_agreeing, setting_overlap, token_overlap
from tests.support import synthetic


def test_an_overlap_of_tokens_is_the_share_of_those_of_either():
    assert token_overlap({b"a", b"b", b" c"}, {b"b", b" c", b"d", b"e"}) == (2 / 5, 5)
    assert token_overlap({b"a"}, {b"a"}) == (1.0, 1)
    assert token_overlap({b"a"}, {b"b"}) == (0.0, 2)


def test_a_setting_that_one_lacks_is_not_equal():
    ours, theirs = {"layers": 4, "act": "silu", "bias": None}, {"layers": 4, "act": "gelu"}
    assert setting_overlap(ours, theirs) == (1 / 3, 3)
    assert setting_overlap(theirs, ours) == (1 / 3, 3)


@pytest.mark.parametrize(
    ("measure", "nothing"), [(token_overlap, ()), (setting_overlap, {})], ids=["tokens", "settings"]
)
def test_of_nothing_there_is_no_overlap(measure, nothing):
    with pytest.raises(DegenerateError, match="neither"):
        measure(nothing, nothing)


def part(statistic, agreeing, log10_p=-0.5):
    return PartEvidence(statistic, log10_p, 0.0, (64, 64), agreeing)


def test_the_most_agreeing_block_counts_by_one_statistic_alone():
    blocks = [
        replace(synthetic.block(0, -0.3), parts=(part("match_tokens", 3), part("match", 40))),
        replace(synthetic.block(1, -0.3), parts=(part("match_tokens", 29), part("match", 1))),
        replace(synthetic.block(2, None), parts=(part("match_tokens", 50, None),)),
    ]
    assert most_agreeing(blocks, "kinship", "match_tokens") == (29.0, 2)


def test_of_a_statistic_without_parts_the_blocks_themselves_count():
    blocks = [replace(synthetic.block(i, -0.3), agreeing=i + 1) for i in range(3)]
    assert most_agreeing(blocks, "match_tokens", "match_tokens") == (3.0, 3)
    with pytest.raises(DegenerateError, match="no blocks were tested by match_tokens"):
        most_agreeing(blocks, "match", "match_tokens")
