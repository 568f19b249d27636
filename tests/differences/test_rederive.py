"""Schemes of rounding: each is named by the numbers that it makes, and by no others."""

import pytest
import torch

from benchmarks._kind_schemes import ROUNDS
from provenance.differences.codebooks import DYNAMIC
from provenance.differences.rederive import rederived
from provenance.differences.schemes import schemes
from tests import reference as slow

SHAPE = (64, 256)
ALL = {scheme.name: scheme for scheme in reversed(list(schemes(SHAPE[1])))}
"""The first of each name: the others have scales of fewer digits."""
SOME = [
    name for name in ALL if not any(size in name for size in ("256", "512", "1024", "2048", "4096"))
]


def drawn(seed=1, shape=SHAPE):
    return 0.02 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def whole(scheme, matrix):
    return scheme.make(matrix, torch.arange(len(matrix)))


def named(stored, counterpart):
    return rederived(stored, counterpart, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kept", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scheme", ALL)
def test_a_scheme_is_named_by_what_it_makes(scheme, kept):
    pytest.importorskip("gguf")
    matrix = drawn().bfloat16().float()
    made = whole(ALL[scheme], matrix)
    told = named(made.to(kept), matrix)
    # of so few scales, rounding them may leave all; and two schemes may make the same numbers
    assert scheme.startswith(told) or torch.equal(whole(ALL[told], matrix).to(kept), made.to(kept))
    assert named(made[torch.randperm(SHAPE[0])].to(kept), matrix) is None, "other rows"


@pytest.mark.parametrize("scheme", SOME)
def test_what_was_trained_on_before_is_not_made_of_the_reference(scheme):
    pytest.importorskip("gguf")
    matrix = drawn()
    assert named(whole(ALL[scheme], matrix + 0.02 * drawn(2)), matrix) is None


@pytest.mark.parametrize("scheme", SOME)
def test_noise_on_a_rounded_copy_hides_its_scheme(scheme):
    pytest.importorskip("gguf")
    matrix = drawn()
    assert named(whole(ALL[scheme], matrix) + 1e-5 * drawn(2), matrix) is None


@pytest.mark.parametrize("scheme", SOME)
def test_a_rounded_copy_that_was_edited_is_not_said_to_be_made_by_its_own_scheme(scheme):
    pytest.importorskip("gguf")
    matrix = whole(ALL[scheme], drawn())
    edited = matrix.clone()
    edited[:, ::8] += 0.3 * drawn(3)[:, ::8]
    assert named(edited, matrix) is None
    assert named(matrix, matrix) is None


SAID = {
    "NF4": "NF4 in blocks of 64",
    "NF4, its scales rounded too": "NF4 in blocks of 64, its scales rounded too",
    "FP4": "FP4 in blocks of 64",
    "FP4, its scales rounded too": "FP4 in blocks of 64, its scales rounded too",
    "float8": "float8 (e4m3), a scale a row",
    "float8, a scale a tensor": "float8 (e4m3), a scale a tensor",
    "float8, a scale for 128 by 128": "float8 (e4m3), a scale for 128 by 128 numbers",
    "float8, no scale": "float8 (e4m3), without a scale",
    "float8 (e5m2)": "float8 (e5m2), a scale a row",
    "float4 (MXFP4)": "MXFP4",
}


@pytest.mark.parametrize("shape", [(150, 100), (40, 416), (256, 64)])
@pytest.mark.parametrize("scheme", SAID)
def test_the_obvious_versions_of_schemes_are_made_again(scheme, shape):
    # written apart, number by number; neither rows nor columns are multiples of a block
    if scheme == "float4 (MXFP4)":
        pytest.importorskip("gguf")
        shape = (shape[0], shape[1] // 32 * 32)
    matrix = drawn(shape=shape)
    assert named(ROUNDS[scheme](matrix), matrix) == SAID[scheme]


def test_numbers_of_16_bits_in_a_file_of_32_are_compared_as_what_they_are():
    matrix = drawn()
    made = ROUNDS["NF4"](matrix).bfloat16()
    assert named(made.float(), matrix) == "NF4 in blocks of 64"


def test_the_levels_of_rounded_scales_are_those_of_the_obvious_loop():
    assert DYNAMIC.tolist() == pytest.approx(slow.dynamic_levels(), rel=1e-6)


def test_off_a_grid_only_hidden_whole_numbers_are_tried():
    matrix = drawn()
    generator = torch.Generator().manual_seed(0)
    rows = whole(ALL["8 bits, a scale a row"], matrix).bfloat16()
    assert rederived(rows, matrix, generator, on_grid=False) == "8 bits, a scale a row"
    assert rederived(rows.float() + 1e-6, matrix, generator, on_grid=False) is None
    nearest = ROUNDS["NF4"](matrix).bfloat16()
    assert rederived(nearest, matrix, generator, on_grid=False) is None


def test_noise_codes_and_odd_widths_are_of_no_scheme():
    matrix = drawn(shape=(16, 41))
    assert named(matrix + 0.01 * drawn(4, (16, 41)), matrix) is None
    assert named((matrix * 1000).to(torch.int8), matrix) is None
    made = whole(ALL["8 bits, a scale a row"], matrix)
    assert named(made, matrix) == "8 bits, a scale a row"


def test_schemes_of_gguf_are_left_out_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr("provenance.differences.schemes.find_spec", lambda _: None)
    names = {scheme.name for scheme in schemes(SHAPE[1])}
    assert not names & {"Q8_0", "MXFP4"}
    assert "NF4 in blocks of 64" in names
