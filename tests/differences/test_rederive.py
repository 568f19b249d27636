"""Schemes of rounding: each is named by the numbers that it makes, and by no others."""

from functools import partial

import pytest
import torch

from provenance.differences.rederive import BITS, GGUF_TYPES, _as_gguf, _to_largest, rederived

SCHEMES = {f"{bits} bits, a scale a row": partial(_to_largest, bits=bits) for bits in BITS}
SCHEMES |= {name: partial(_as_gguf, name=name) for name in GGUF_TYPES}


def drawn(seed=1, shape=(48, 96)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def named(stored, counterpart):
    return rederived(stored, counterpart, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kept", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_is_named_by_what_it_makes(scheme, kept):
    pytest.importorskip("gguf")
    reference = drawn().bfloat16().float()
    made = SCHEMES[scheme](reference)
    assert named(made.to(kept), reference) == scheme
    assert named(made[torch.randperm(48)].to(kept), reference) is None, "other rows"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_was_trained_on_before_is_not_made_of_the_reference(scheme):
    pytest.importorskip("gguf")
    reference = drawn()
    assert named(SCHEMES[scheme](reference + 0.02 * drawn(2)), reference) is None


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_rounded_copy_that_was_edited_is_not_said_to_be_made_by_its_own_scheme(scheme):
    pytest.importorskip("gguf")
    reference = SCHEMES[scheme](drawn())
    edited = reference.clone()
    edited[:, ::8] += 0.3 * drawn(3)[:, ::8]
    assert named(edited, reference) is None
    assert named(reference, reference) is None


def test_noise_codes_and_odd_widths_are_of_no_scheme():
    reference = drawn(shape=(16, 41))
    assert named(reference + 0.01 * drawn(4, (16, 41)), reference) is None
    assert named((reference * 10).to(torch.int8), reference) is None
    made = _to_largest(reference, bits=8)
    assert named(made, reference) == "8 bits, a scale a row"


def test_schemes_of_gguf_are_left_out_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr("provenance.differences.rederive.find_spec", lambda _: None)
    reference = drawn()
    pytest.importorskip("gguf")
    assert named(_as_gguf(reference, name="Q8_0"), reference) is None
