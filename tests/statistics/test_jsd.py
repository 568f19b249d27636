"""`jsd` against the definition, its bounds and its limits."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from provenance.errors import DegenerateError
from provenance.statistics.jsd import JensenShannon
from tests.support.reference_weights import jsd as reference_jsd


def logits(tokens, vocabulary, seed, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tokens, vocabulary, generator=generator) * scale


def jsd(candidate, reference):
    running = JensenShannon()
    running.update(candidate, reference)
    return running.result()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 5), st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31),
    st.floats(0.01, 100),
)  # fmt: skip
def test_agrees_with_the_definition(tokens, v1, v2, seed, scale):
    a, b = logits(tokens, v1, seed, scale), logits(tokens, v2, seed + 1, scale)
    result = jsd(a, b)
    assert result.value == pytest.approx(reference_jsd(a.tolist(), b.tolist()), abs=1e-12)
    assert 0 <= result.value <= math.log(2)
    assert result.vocabularies == (v1, v2)
    assert result.compared == min(v1, v2)
    assert jsd(b, a).value == pytest.approx(result.value, abs=1e-15)


def test_agrees_with_scipy():
    a, b = logits(20, 50, 1), logits(20, 50, 2)
    distances = jensenshannon(a.double().softmax(1).numpy(), b.double().softmax(1).numpy(), axis=1)
    assert jsd(a, b).value == pytest.approx(float((distances**2).mean()), rel=1e-12)


def test_equal_models_have_none_and_disjoint_ones_all():
    a = logits(7, 11, 1)
    assert jsd(a, a + 5.0).value == pytest.approx(0, abs=1e-13)
    assert jsd(a, a).value == pytest.approx(0, abs=1e-15)
    left, right = torch.zeros(1, 4), torch.zeros(1, 4)
    left[:, 2:], right[:, :2] = -math.inf, -math.inf
    assert jsd(left, right).value == math.log(2)


def test_logits_that_overflow_an_exponential_are_no_trouble():
    a = torch.tensor([[1e4, 0.0, -1e4]])
    b = torch.tensor([[0.0, 1e4, -1e4]])
    assert jsd(a, b).value == pytest.approx(math.log(2))


def test_a_small_divergence_keeps_its_digits():
    """For p = q + e it is e' diag(1/p) e / 8 in the limit: here 1e-12 or so."""
    a = logits(4, 100, 1).double()
    step = 1e-5 * logits(4, 100, 2, 1.0).double()
    p = a.softmax(1)
    expected = float(((p * step.square()).sum(1) - (p * step).sum(1).square()).mean() / 8)
    assert jsd(a + step, a).value == pytest.approx(expected, rel=1e-3)


def test_batches_add_up_to_the_whole():
    a, b = logits(30, 9, 1), logits(30, 9, 2)
    running = JensenShannon()
    for start, end in ((0, 1), (1, 17), (17, 17), (17, 30)):
        running.update(a[start:end], b[start:end])
    assert running.result().value == pytest.approx(jsd(a, b).value, rel=1e-14)
    assert running.result().tokens == 30


def test_long_batches_are_taken_in_pieces(monkeypatch):
    a, b = logits(30, 9, 1), logits(30, 9, 2)
    whole = jsd(a, b).value
    monkeypatch.setattr("provenance.statistics.jsd._CHUNK", 40)
    assert jsd(a, b).value == pytest.approx(whole, rel=1e-14)


def test_ids_beyond_the_smaller_vocabulary_are_one_outcome():
    a = logits(3, 8, 1)
    padded = torch.cat([a, torch.full((3, 4), -math.inf)], dim=1)
    assert jsd(a, padded).value == pytest.approx(0, abs=1e-15)
    heavy = torch.cat([a, torch.full((3, 4), 1e3)], dim=1)
    assert jsd(a, heavy).value == pytest.approx(math.log(2))


def test_merging_outcomes_only_lessens_it():
    a, b = logits(10, 12, 1), logits(10, 12, 2)
    missing = torch.cat([b[:, :9], torch.full((10, 3), -math.inf)], dim=1)
    assert jsd(a, b[:, :9]).value <= jsd(a, missing).value + 1e-15


def test_half_precision_logits_are_taken_exactly():
    a, b = logits(10, 12, 1).bfloat16(), logits(10, 12, 2).bfloat16()
    assert jsd(a, b).value == jsd(a.double(), b.double()).value


@pytest.mark.parametrize(
    ("bad", "role"), [(math.nan, "candidate"), (math.inf, "reference"), (-math.inf, "reference")]
)
def test_what_is_no_distribution_is_a_named_error(bad, role):
    sides = {"candidate": logits(3, 5, 1), "reference": logits(3, 5, 2)}
    sides[role][1] = bad
    with pytest.raises(DegenerateError, match=f"the {role}'s logits hold NaN"):
        jsd(*sides.values())


def test_a_refused_batch_leaves_the_mean_alone():
    running = JensenShannon()
    running.update(logits(3, 5, 1), logits(3, 5, 2))
    before = running.result()
    with pytest.raises(DegenerateError):
        running.update(logits(3, 5, 1), logits(3, 5, 1) * math.nan)
    assert running.result() == before


def test_no_tokens_is_a_named_error():
    with pytest.raises(DegenerateError, match="no token"):
        JensenShannon().result()
    with pytest.raises(DegenerateError, match="no token"):
        jsd(torch.zeros(0, 3), torch.zeros(0, 3))


def test_other_tokens_or_vocabularies_are_refused():
    with pytest.raises(ValueError, match="on the same tokens"):
        jsd(logits(3, 5, 1), logits(4, 5, 1))
    with pytest.raises(ValueError, match=r"\(tokens, vocabulary\)"):
        jsd(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3))
    running = JensenShannon()
    running.update(logits(3, 5, 1), logits(3, 5, 2))
    with pytest.raises(ValueError, match="after batches of"):
        running.update(logits(3, 6, 1), logits(3, 5, 2))
