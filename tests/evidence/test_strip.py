"""A strip of blocks: one mark a block, or one for several."""

import pytest

from provenance.evidence.strip import PLAIN_MARKS, strip
from tests.support.synthetic import block, claimed, evidence


def of(*log10_ps):
    blocks = [block(i, log10_p) for i, log10_p in enumerate(log10_ps)]
    return claimed(evidence("a", "b", blocks), "finetune")


@pytest.mark.parametrize(
    ("log10_ps", "drawn", "plain"),
    [
        ([-30.0, -30.0, -30.0, -0.3], "■■■□", "###-"),
        ([-30.0, None], "■·", "#."),
        ([-0.1], "□", "-"),
    ],
)
def test_each_block_has_a_mark(log10_ps, drawn, plain):
    assert strip(of(*log10_ps)) == drawn
    assert strip(of(*log10_ps), PLAIN_MARKS) == plain


def test_of_many_blocks_a_mark_stands_for_several():
    assert strip(of(*[-30.0] * 3, -0.1, -0.1, None, None, None), width=4) == "■◧□·"


@pytest.mark.parametrize("blocks", [1, 11, 12, 13, 35, 96])
def test_no_block_is_left_out(blocks):
    assert len(strip(of(*[-30.0] * blocks))) == min(blocks, 12)
    for i in {0, blocks // 2, blocks - 1}:
        one_free = [-30.0] * blocks
        one_free[i] = -0.1
        assert strip(of(*one_free)).count("■") == min(blocks, 12) - 1


def test_blocks_that_were_not_compared_have_none():
    assert strip(of()) == ""
