"""Numbers of a known type of few bits are found by their levels, and no others are."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks._kind_schemes import ROUNDS, SUB
from provenance.differences.blocks import flat_blocks, row_blocks
from provenance.differences.codebooks import BOOKS, FLOAT8
from provenance.differences.codes import Codes
from provenance.differences.grid import find_grid
from provenance.differences.matrix import Pair, look
from tests import reference as slow

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
CODES = {
    "NF4": (4, 64),
    "NF4, its scales rounded too": (4, 64),
    "FP4": (4, 64),
    "float8": (8, 0),
    "float8, a scale a tensor": (8, 0),
    "float8, a scale for 128 by 128": (8, 128),
    "float8 (e5m2)": (8, 0),
}
EVEN = {f"as K-types, {bits} bits": (bits, size) for bits, size in SUB.items()}


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def weights(seed=0, shape=(64, 512)):
    return 0.02 * torch.randn(shape, generator=drawn(seed))


def looked(stored, theirs, dtype):
    ours = stored.to(dtype)
    return look("w", (0, 0), Pair(ours, ours.float(), theirs, theirs, exact=True), drawn())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scheme", CODES)
def test_a_known_type_is_found_with_its_bits_and_groups(scheme, dtype):
    grid = find_grid(ROUNDS[scheme](weights()).to(dtype), drawn()).grid
    assert (grid.kind, grid.bits, grid.group) == ("codes", *CODES[scheme])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scheme", EVEN)
def test_short_groups_are_found_as_grids_of_few_bits(scheme, dtype):
    theirs = weights()
    grid = looked(ROUNDS[scheme](theirs), theirs, dtype).grid
    assert (grid.kind, grid.bits, grid.group) == ("even", *EVEN[scheme])
    assert (grid.within > 0.99, grid.nearest > 0.99) == (True, True)


@pytest.mark.parametrize("scheme", EVEN)
def test_of_a_short_group_only_the_ends_leave_half_a_step(scheme):
    theirs = weights(2)
    taught = ROUNDS[scheme](theirs + 0.05 * weights(3))
    assert looked(taught, theirs, torch.float32).grid.nearest < 0.99


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scheme", CODES)
def test_all_that_was_rounded_to_a_known_type_is_within_half_a_step(scheme, dtype):
    theirs = weights(1)
    grid = looked(ROUNDS[scheme](theirs), theirs, dtype).grid
    assert grid.within == 1.0
    assert grid.nearest > 0.99


@pytest.mark.parametrize("scheme", CODES)
def test_what_was_trained_on_before_leaves_half_a_step(scheme):
    theirs = weights(2)
    grid = looked(ROUNDS[scheme](theirs + 0.2 * weights(3)), theirs, torch.float32).grid
    assert grid.nearest < 0.99


def _whole_numbers(theirs):
    step = theirs.abs().amax(dim=1, keepdim=True) / 7
    return (theirs / step).round() * step


MADE = {
    "normal": weights,
    "heavy tails": lambda seed: (weights(seed) / weights(seed + 1000)).clamp(-50, 50),
    "uniform": lambda seed: torch.rand(64, 512, generator=drawn(seed)) - 0.5,
    "half zero": lambda seed: weights(seed) * (weights(seed + 1000) > 0),
    "twice": lambda seed: weights(seed).repeat_interleave(2, dim=1)[:, :512],
    "noise on whole numbers": lambda seed: (
        _whole_numbers(weights(seed)) + 1e-2 * weights(seed + 1000)
    ),
    "noise on NF4": lambda seed: ROUNDS["NF4"](weights(seed)) + 1e-3 * weights(seed + 1000),
    "noise on float8": lambda seed: ROUNDS["float8"](weights(seed)) + 1e-2 * weights(seed + 1000),
}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("made", MADE)
def test_other_numbers_are_of_no_known_type_and_lie_on_no_short_grid(made, dtype):
    if made.startswith("noise") and dtype == torch.bfloat16:
        pytest.skip("bfloat16 rounds that noise away")
    found = [find_grid(MADE[made](seed).to(dtype), drawn(seed)) for seed in range(40)]
    assert found == [None] * 40


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_whole_numbers_of_few_bits_are_no_floats(bits):
    theirs = weights()
    step = theirs.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 0.5)
    grid = find_grid((theirs / step).round() * step, drawn()).grid
    assert grid.kind != "codes"


def test_steps_of_a_known_type_are_the_gaps_beside_a_number():
    theirs = weights()
    (book,) = [book for book in BOOKS if book.name == "NF4"]
    codes, made = Codes(book, 64), ROUNDS["NF4"](theirs)
    rows = torch.tensor([3, 40])
    up = codes.steps(made, rows, torch.ones(2, 512)).reshape(-1, 64)
    down = codes.steps(made, rows, -torch.ones(2, 512)).reshape(-1, 64)
    for group, above, below in zip(made[rows].reshape(-1, 64), up, down, strict=True):
        scale = float(group.abs().max())
        for number, one, other in zip(group.tolist(), above.tolist(), below.tolist(), strict=True):
            told = slow.gaps_beside(number / scale, book.levels.tolist())
            assert (one / scale, other / scale) == pytest.approx(told[::-1], rel=1e-4)


@given(st.integers(1, 7), st.integers(1, 30), st.integers(1, 20), st.integers(0, 99))
def test_rows_are_put_together_of_their_blocks(count, columns, size, seed):
    matrix = torch.arange(1.0, count * columns + 1).reshape(count, columns)
    rows = torch.randint(count, (3,), generator=drawn(seed))
    for cut in (flat_blocks, row_blocks):
        blocks = cut(matrix, rows, size)
        assert torch.equal(blocks.rows(blocks.numbers), matrix[rows])
    flat = torch.nn.functional.pad(matrix.reshape(-1), (0, 2 * columns * size))
    blocks = flat_blocks(matrix, rows, size)
    told = [flat[place * size : (place + 1) * size] for place in blocks.places.tolist()]
    assert torch.equal(blocks.numbers, torch.stack(told))


def test_floats_of_8_bits_have_the_numbers_of_their_type():
    for name, dtype in FLOAT8.items():
        (book,) = [book for book in BOOKS if book.name == f"float8 ({name})"]
        assert float(book.levels[-1]) == torch.finfo(dtype).max
        assert torch.equal(book.levels.to(dtype).double(), book.levels)
