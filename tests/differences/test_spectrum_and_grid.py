"""How many directions a difference has, and on what grid numbers lie: against slow versions."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from provenance.differences.grid import LEVELS, NEAR, _fewest_steps, _gaps, find_grid
from provenance.differences.spectrum import median_of_noise, spectrum
from tests import reference

pytestmark = pytest.mark.slow

SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=drawn(seed))


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (48, 96), (128, 32), (20, 200)])
def test_the_median_of_noise_is_that_of_drawn_noise(rows, columns):
    ratio = min(rows, columns) / max(rows, columns)
    told = reference.median_singular_value(rows, columns, 40, 0)
    assert median_of_noise(ratio) == pytest.approx(told, rel=0.05)


@pytest.mark.parametrize("shape", [(64, 64), (96, 256), (700, 40), (600, 600)])
def test_noise_of_any_size_has_no_rank(shape):
    ranks = [spectrum(10.0**-seed * noise(*shape, seed=seed), drawn()).rank for seed in range(8)]
    assert sum(ranks) <= 1


@given(st.integers(1, 12), SEEDS)
def test_a_low_rank_above_noise_is_counted(rank, seed):
    low = noise(80, rank, seed=seed) @ noise(rank, 120, seed=seed + 1)
    found = spectrum(low + 0.01 * noise(80, 120, seed=seed + 2), drawn())
    assert found.rank == rank
    assert found.carried > 0.99
    assert found.noise == pytest.approx(0.01, rel=0.2)


def test_of_a_large_matrix_a_part_has_the_same_rank():
    low = noise(900, 5) @ noise(5, 1500, seed=1)
    found = spectrum(low + 1e-3 * noise(900, 1500, seed=2), drawn())
    assert (found.rank, found.ranks) == (5, 512)


def test_nothing_has_no_spectrum():
    found = spectrum(torch.zeros(8, 8), drawn())
    assert (found.rank, found.carried, found.noise) == (0, 0.0, 0.0)


def test_rank_one_without_noise_is_one():
    assert spectrum(torch.ones(40, 1) @ torch.ones(1, 30), drawn()).rank == 1


def quantized(matrix, bits, size):
    """Rounded to nearest, from the least to the largest number of each group."""
    groups = matrix.reshape(-1, size or matrix.shape[1])
    low, high = groups.amin(dim=1, keepdim=True), groups.amax(dim=1, keepdim=True)
    step = (high - low) / (2**bits - 1)
    return (((groups - low) / step).round() * step + low).reshape(matrix.shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("size", [0, 128, 32])
@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_a_grid_is_found_with_its_bits_and_groups(bits, size, dtype):
    if dtype == torch.float16:
        bits = min(bits, 6)  # of 8 bits it rounds numbers by a tenth of a step
    found = find_grid(quantized(noise(96, 512), bits, size).to(dtype), drawn())
    assert found is not None
    assert (found.grid.bits, found.grid.group) == (bits, size)


@pytest.mark.parametrize("far", [1.0, 5.0])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_symmetric_grid_is_found(bits, far):
    matrix = noise(64, 256)
    matrix[:, 7] *= far if bits == 8 else 1.0  # an outlier a row takes most of the range
    step = matrix.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)
    found = find_grid((matrix / step).round() * step, drawn())
    assert found is not None
    assert (found.grid.kind, found.grid.group) == ("even", 0)
    assert bits - 1 <= found.grid.bits <= bits


def test_rows_of_heavy_tails_are_found_as_rows():
    torch.manual_seed(0)
    matrix = torch.distributions.StudentT(3.0).sample((64, 576))
    step = matrix.abs().amax(dim=1, keepdim=True) / 127
    found = find_grid((matrix / step).round() * step, drawn())
    assert (found.grid.kind, found.grid.group) == ("even", 0)
    assert found.grid.bits >= 7


def test_a_codebook_is_found_as_levels():
    book = torch.tensor([-1.0, -0.6, -0.35, -0.2, -0.1, 0.0, 0.07, 0.15, 0.3, 0.5, 0.7, 1.0])
    groups = noise(512, 64)
    scale = groups.abs().amax(dim=1, keepdim=True)
    places = (groups / scale).unsqueeze(-1).sub(book).abs().argmin(dim=-1)
    found = find_grid((book[places] * scale).reshape(64, 512), drawn())
    assert found is not None
    assert (found.grid.kind, found.grid.bits, found.grid.group) == ("levels", 4, 64)


@pytest.mark.parametrize(
    "made",
    [
        lambda: noise(128, 256),
        lambda: noise(128, 256).bfloat16(),
        lambda: noise(128, 256).half(),
        lambda: torch.distributions.StudentT(2.0).sample((128, 256)),
        lambda: noise(128, 256) * (noise(128, 256, seed=1) > 0),  # half are zeros
        lambda: noise(128, 256) * (noise(128, 256, seed=1) > 1),
        lambda: torch.cat([100 * torch.ones(128, 1), noise(128, 255)], dim=1),  # an outlier
        lambda: torch.zeros(128, 256),
        lambda: torch.ones(128, 256),
    ],
)
def test_other_numbers_lie_on_no_grid(made):
    torch.manual_seed(0)
    assert find_grid(made(), drawn()) is None


@pytest.mark.parametrize("bits", [3, 8])
def test_a_share_of_groups_on_a_grid_is_told(bits):
    matrix = quantized(noise(96, 512), bits, 32)
    found = find_grid(matrix, drawn())
    assert found.share(matrix, drawn()) > 0.9
    assert found.share(noise(96, 512, seed=1), drawn()) < 0.1
    half = torch.cat([matrix[:48], noise(48, 512, seed=1)])
    assert 0.25 < found.share(half, drawn()) < 0.75


@given(st.lists(st.integers(0, 40), min_size=20, max_size=60), st.integers(2, 60))
def test_the_fewest_steps_are_those_of_the_obvious_loop(codes, stretch):
    group = [0.3 + code / stretch for code in (0, 40, *codes)]
    told = reference.steps_between(group, LEVELS, NEAR)
    found = _fewest_steps(torch.tensor([group], dtype=torch.float64))
    inner = sum(0.3 < x < max(group) for x in group)
    assert int(found) == (told if inner >= 12 else 0)


@given(st.lists(st.sampled_from([-2.0, -0.5, 0.0, 0.25, 3.0]), min_size=2, max_size=30))
def test_gaps_are_those_of_the_obvious_loop(group):
    found = _gaps(torch.tensor([group]))
    assert found[0].tolist() == pytest.approx([reference.gap_at(group, x) for x in group])


def test_steps_of_an_even_grid_are_its_steps():
    matrix = quantized(noise(16, 128), 4, 32)
    found = find_grid(matrix, drawn())
    groups = matrix.reshape(-1, 32)
    told = (groups.amax(dim=1) - groups.amin(dim=1)) / 15
    steps = found.steps(matrix, torch.arange(16), matrix).reshape(-1, 32)
    assert np.mean(np.isclose(steps[:, 0], told, rtol=1e-3)) > 0.9
