"""checkpoints/coded/grids.py: which number of a scale a row of a weight is multiplied by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provenance.checkpoints.coded.grids import scale_of
from provenance.checkpoints.safetensors_header import StoredTensor
from tests.reference import scale_at


def stored(shape):
    return StoredTensor("scale", "F32", tuple(shape), 0, 0, Path("f"))


@st.composite
def grids(draw):
    """A weight, the side of its blocks, and a scale with one number for all, for each, or for a block."""
    lead = draw(st.lists(st.integers(2, 3), max_size=2))
    rows, columns = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    block, blocks = [], []
    for size in (rows, columns):
        side = draw(st.sampled_from([1, 2, 3, size]))
        block.append(side)
        blocks.append(-(-size // side))
    shape = [*(draw(st.sampled_from([[1] * len(lead), lead]))), *blocks]
    return (*lead, rows, columns), tuple(block), shape


@given(grids(), st.data())
def test_each_row_is_multiplied_by_the_numbers_of_its_blocks(grid, data):
    weight, block, shape = grid
    numbers = np.arange(np.prod(shape), dtype=float).reshape(shape)
    scale = scale_of(stored(shape), weight, block)
    flat = numbers.reshape(scale.tensor.shape)
    rows = int(np.prod(weight[:-1]))
    for row in range(rows):
        place = np.unravel_index(row, weight[:-1])
        expected = [scale_at(numbers, (*place, column), block) for column in range(weight[-1])]
        found = [flat[scale.place(row), column // scale.sides[1]] for column in range(weight[-1])]
        assert found == expected
    start, stop = sorted(data.draw(st.tuples(st.integers(0, rows), st.integers(0, rows))))
    run = range(start, stop, data.draw(st.integers(1, 3)))
    cover = scale.cover(run)
    assert {scale.place(row) for row in run} <= set(cover) <= set(range(scale.tensor.shape[0]))


def test_a_cover_is_told_without_counting_rows():
    scale = scale_of(stored((1, 1)), (2**40, 2**20), None)
    assert scale.cover(range(2**40)) == range(1)
    assert scale_of(stored((2**40, 1)), (2**40, 8), None).cover(range(2**39)) == range(2**39)


@pytest.mark.parametrize(
    ("scale", "weight", "block"),
    [
        ((3,), (4, 8), None),
        ((2, 1), (4, 8), None),
        ((2, 2), (4, 8), (2, 2)),
        ((2, 4), (4, 8), None),
        ((3, 4, 1), (2, 4, 8), None),
        ((2,), (2, 4, 8), None),
        ((0,), (4, 8), None),
        ((4, 8, 1), (4, 8), None),
    ],
)
def test_a_scale_of_another_shape_is_none(scale, weight, block):
    assert scale_of(stored(scale), weight, block) is None


def test_one_number_is_of_all():
    for shape in ((), (1,), (1, 1)):
        scale = scale_of(stored(shape), (4, 8), None)
        assert [scale.place(row) for row in range(4)] == [0, 0, 0, 0]
        assert scale.sides == (4, 8)
