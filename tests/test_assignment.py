from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

from provenance.assignment import assign
from provenance.errors import DegenerateError
from tests import reference

UNHURRIED = settings(deadline=None)  # a busy machine is no failure

SMALL = hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)
REALS = st.floats(-10, 10, allow_nan=False)
TIED = st.sampled_from([0.0, 0.5, 1.0])


def random_matrix(m, n, seed=0):
    return torch.randn(m, n, generator=torch.Generator().manual_seed(seed))


def assert_pairs_every_unit_of_the_smaller_side(found, m, n):
    assert found.shape == (m, n)
    assert found.rows.dtype == found.columns.dtype == np.int64
    assert len(found.rows) == len(found.columns) == min(m, n)
    smaller, larger = (found.rows, found.columns) if m <= n else (found.columns, found.rows)
    assert smaller.tolist() == list(range(min(m, n)))
    assert len(set(larger.tolist())) == min(m, n)
    assert set(larger.tolist()) <= set(range(max(m, n)))
    assert found.partners.tolist() == larger.tolist()


@UNHURRIED
@given(hnp.arrays(np.float64, SMALL, elements=REALS) | hnp.arrays(np.float64, SMALL, elements=TIED))
def test_assignment_is_the_best_of_all(similarity):
    found = assign(torch.from_numpy(similarity))
    assert_pairs_every_unit_of_the_smaller_side(found, *similarity.shape)
    assert found.total == pytest.approx(reference.best_total(similarity), abs=1e-9)
    assert found.total == pytest.approx(similarity[found.rows, found.columns].sum(), abs=1e-9)


@pytest.mark.parametrize(("m", "n"), [(200, 200), (150, 200), (200, 150), (1, 9), (9, 1), (1, 1)])
def test_assignment_is_as_good_as_scipy(m, n):
    similarity = random_matrix(m, n)
    found = assign(similarity)
    dense = similarity.double().numpy()
    assert_pairs_every_unit_of_the_smaller_side(found, m, n)
    assert found.total == pytest.approx(dense[linear_sum_assignment(dense, maximize=True)].sum())


@pytest.mark.parametrize(("m", "n"), [(50, 50), (30, 50), (50, 30)])
def test_related_units_are_found_without_solving(m, n, monkeypatch):
    monkeypatch.setattr("provenance.assignment.linear_sum_assignment", None)
    rng = np.random.default_rng(0)
    similarity = 0.01 * random_matrix(m, n)
    rows, columns = rng.permutation(m)[: min(m, n)], rng.permutation(n)[: min(m, n)]
    similarity[rows, columns] += 1
    found = assign(similarity)
    assert set(zip(found.rows.tolist(), found.columns.tolist(), strict=True)) == set(
        zip(rows.tolist(), columns.tolist(), strict=True)
    )


@UNHURRIED
@given(hnp.arrays(np.float64, SMALL, elements=REALS))
def test_transposing_swaps_the_sides(similarity):
    found, swapped = assign(torch.from_numpy(similarity)), assign(torch.from_numpy(similarity.T))
    assert found.total == pytest.approx(swapped.total, abs=1e-9)


@pytest.mark.parametrize(("m", "n"), [(4, 4), (3, 5), (5, 3)])
def test_accessors_invert_each_other(m, n):
    found = assign(random_matrix(m, n))
    columns, rows = found.column_of_row(), found.row_of_column()
    assert (columns.shape, rows.shape) == ((m,), (n,))
    assert [(r, c) for r, c in enumerate(columns) if c >= 0] == sorted(
        zip(found.rows, found.columns, strict=True)
    )
    assert [(rows[c], c) for c in range(n) if rows[c] >= 0] == sorted(
        zip(found.rows, found.columns, strict=True), key=lambda pair: pair[1]
    )
    assert (columns == -1).sum() == m - min(m, n)
    assert (rows == -1).sum() == n - min(m, n)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_floating_point_type_is_solved_in_float64(dtype):
    similarity = random_matrix(20, 30).to(dtype)
    before = similarity.clone()
    found = assign(similarity)
    assert torch.equal(similarity, before)
    assert found.total == pytest.approx(assign(similarity.double()).total)


def test_a_tensor_that_needs_a_gradient_is_only_read():
    similarity = random_matrix(6, 6).requires_grad_()
    assert assign(similarity).total == assign(similarity.detach()).total


def test_an_assignment_cannot_be_written():
    found = assign(random_matrix(5, 5))
    for indices in (found.rows, found.columns):
        with pytest.raises(ValueError, match="read-only"):
            indices[0] = 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_similarity_that_is_no_number_is_refused(value, dtype):
    similarity = torch.eye(3, dtype=dtype)
    similarity[1, 2] = value
    with pytest.raises(DegenerateError, match="NaN or infinite"):
        assign(similarity)


@pytest.mark.parametrize(
    "similarity", [torch.ones(3), torch.ones(0, 3), torch.ones(2, 2, 2), torch.ones(2, 2).int()]
)
def test_what_is_no_matrix_of_reals_is_refused(similarity):
    with pytest.raises(ValueError, match="must be a floating-point matrix"):
        assign(similarity)
