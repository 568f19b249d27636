"""The effective rank of what MLPs are fed."""

import pytest
import torch

from provenance.capture.power import ROWS, effective_rank, least_rank
from provenance.evidence.doubts import LEAST_RANK


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rank", [1, 3, 20])
def test_of_equal_directions_it_is_their_number(rank):
    rows = torch.eye(64)[torch.arange(rank + 1).repeat(40)]
    assert effective_rank(rows) == pytest.approx(rank, rel=1e-6)


def test_two_inputs_make_one_direction_however_often_they_come():
    pair = drawn(2, 64)
    assert effective_rank(pair[torch.arange(300) % 2]) == pytest.approx(1.0)


def test_one_input_and_rounding_are_none():
    rows = drawn(1, 64).expand(200, 64)
    assert effective_rank(rows * (1 + 1e-7 * drawn(200, 64))) == 1.0


def test_a_few_tokens_of_great_length_do_not_rule_it():
    rows = drawn(400, 64)
    many = effective_rank(rows)
    rows[:3] *= 1e4
    assert effective_rank(rows) == pytest.approx(many, rel=0.05)
    assert many > LEAST_RANK


def test_of_many_rows_some_are_enough():
    rows = drawn(8 * ROWS, 32)
    assert effective_rank(rows) == pytest.approx(effective_rank(rows[:ROWS]), rel=0.05)


def test_the_least_of_all_counts():
    assert least_rank([drawn(50, 8), torch.ones(50, 8)]) == 1.0
    assert least_rank([]) is None
