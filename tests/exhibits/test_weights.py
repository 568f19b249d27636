"""Exhibits of weights: what is a cosine, what is a profile, and what is none."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from provenance.exhibits.weights import LEAST_BLOCKS, cosine, likeness_of_profiles

curves = st.lists(st.floats(1e-3, 1e3), min_size=LEAST_BLOCKS, max_size=12)


def slow_likeness(a, b):
    """The correlation of two curves, each read at as many evenly spaced depths as the shorter has."""
    points = min(len(a), len(b))
    depths = [k / (points - 1) for k in range(points)]
    ours, theirs = (np.interp(depths, np.linspace(0, 1, len(c)), c) for c in (a, b))
    return np.corrcoef(ours, theirs)[0, 1]


@given(curves, curves)
def test_a_likeness_is_the_correlation_at_equal_depths(a, b):
    assume(min(np.std(a) / np.mean(a), np.std(b) / np.mean(b)) > 1e-3)
    value = likeness_of_profiles(a, b)
    assume(value is not None)
    assert value == pytest.approx(slow_likeness(a, b), abs=1e-6)
    assert -1 <= value <= 1
    assert likeness_of_profiles(b, a) == pytest.approx(value, abs=1e-9)


@given(curves, st.floats(0.1, 10))
def test_scale_changes_no_likeness(curve, scale):
    assume(np.std(curve) / np.mean(curve) > 1e-3)
    assert likeness_of_profiles(curve, [scale * each for each in curve]) == pytest.approx(1)


@pytest.mark.parametrize("curve", [[1.0, 1.0, 1.0], [1.0, 2.0], [1.0], []])
def test_a_constant_or_a_short_curve_has_no_likeness(curve):
    assert likeness_of_profiles(curve, [1.0, 2.0, 4.0, 3.0]) is None
    assert likeness_of_profiles([1.0, 2.0, 4.0, 3.0], curve) is None


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20), st.data())
def test_a_cosine_is_numpys(a, data):
    b = data.draw(st.lists(st.floats(-100, 100), min_size=len(a), max_size=len(a)))
    assume(min(np.linalg.norm(a), np.linalg.norm(b)) > 1e-6)
    expected = np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b))
    value = cosine(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64))
    assert value == pytest.approx(expected, abs=1e-9)


def test_zero_has_no_cosine():
    assert cosine(torch.zeros(3), torch.ones(3)) is None


def test_weights_that_began_at_1_point_one_way_though_nothing_joins_them():
    generator = torch.Generator().manual_seed(0)
    a, b = (1 + 0.05 * torch.randn(64, generator=generator) for _ in range(2))
    assert cosine(a, b) > 0.99
    assert abs(cosine(a - 1, b - 1)) < 0.3
