"""What is evident from a part of the vectors is what the whole matrix says."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.assignment import evident
from provenance.assignment.evident import evident_partners
from provenance.assignment.solve import Products, assign

WIDTH = 160


def unit_rows(m, seed, width=WIDTH):
    rows = torch.randn(m, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(rows, dim=1)


def kin(a, noise, seed, n=None):
    """Rows of `a` in another order, with noise, among strangers."""
    width = a.shape[1]
    more = [] if n is None else [unit_rows(n - len(a), seed + 1, width)]
    b = torch.nn.functional.normalize(a + noise * unit_rows(len(a), seed, width), dim=1)
    order = torch.randperm(n or len(a), generator=torch.Generator().manual_seed(seed))
    return torch.cat([b, *more])[order]


@pytest.mark.parametrize("absolute", [False, True])
@given(st.integers(40, 300), st.integers(0, 60), st.floats(0, 0.6), st.integers(0, 999))
@settings(deadline=None, max_examples=40)
def test_partners_are_those_of_the_whole_matrix(absolute, m, more, noise, seed):
    a = unit_rows(m, seed)
    b = kin(a, noise, seed + 1, m + more)
    if absolute:
        b = b * torch.where(torch.arange(len(b)) % 2 == 0, 1.0, -1.0)[:, None]
    products = Products(a, b, absolute=absolute)
    found = evident_partners(products)
    whole = products.rows(0, m).max(dim=1)
    if found is not None:
        assert found.partners.tolist() == whole.indices.tolist()
        assert torch.allclose(torch.from_numpy(found.best).float(), whole.values, atol=1e-5)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_those_of_near_kin_are_evident_and_few_products_are_made(noise, monkeypatch):
    a = unit_rows(600, 1, 576)
    products = Products(a, kin(a, noise, 2), absolute=True)
    assert evident_partners(products) is not None
    monkeypatch.setattr("provenance.assignment.solve.survey", pytest.fail)
    found = assign(products)
    assert (found.certificate.method, found.certificate.violation) == ("argmax", 0.0)
    partners = products.rows(0, 600).argmax(dim=1)
    assert found.columns.tolist() == partners.tolist()


def test_units_that_differ_in_the_last_coordinates_alone_are_looked_at_in_full():
    a = unit_rows(400, 1)
    a[:20, : WIDTH // evident.PART] = a[0, : WIDTH // evident.PART]
    b = kin(a, 0.05, 2)
    found = evident_partners(Products(a, b))
    assert found.partners.tolist() == (a @ b.T).argmax(dim=1).tolist()


def test_strangers_and_few_coordinates_are_not_evident():
    assert evident_partners(Products(unit_rows(300, 1), unit_rows(300, 2))) is None
    a = unit_rows(300, 1, evident.LEAST - 1)
    assert evident_partners(Products(a, a)) is None
    assert evident_partners(Products(a.double(), a.double())) is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("row", [0, 7])
def test_what_is_not_finite_is_not_evident(bad, row):
    a = unit_rows(300, 1)
    b = a.clone()
    b[row, 3] = bad
    assert evident_partners(Products(a, b)) is None


def test_twins_are_no_mistake():
    a = unit_rows(300, 1)
    a[7] = a[3]
    found, whole = assign(Products(a, a)), assign(a @ a.T)
    assert found.total == pytest.approx(whole.total)
    assert sorted(found.columns.tolist()) == list(range(300))
