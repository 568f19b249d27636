from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

from provenance.assignment import similarity as _similarity
from provenance.assignment import solve as assignment
from provenance.assignment.solve import TOLERANCE, Products, assign, assign_all
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


@pytest.mark.slow
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
    monkeypatch.setattr("scipy.optimize.linear_sum_assignment", None)
    rng = np.random.default_rng(0)
    similarity = 0.01 * random_matrix(m, n)
    rows, columns = rng.permutation(m)[: min(m, n)], rng.permutation(n)[: min(m, n)]
    similarity[rows, columns] += 1
    found = assign(similarity)
    assert set(zip(found.rows.tolist(), found.columns.tolist(), strict=True)) == set(
        zip(rows.tolist(), columns.tolist(), strict=True)
    )


@pytest.mark.slow
@UNHURRIED
@given(hnp.arrays(np.float64, SMALL, elements=REALS))
def test_transposing_swaps_the_sides(similarity):
    found, swapped = assign(torch.from_numpy(similarity)), assign(torch.from_numpy(similarity.T))
    assert found.total == pytest.approx(swapped.total, abs=1e-9)


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


# certificates, and the sparse path that earns them


@pytest.fixture(params=["sparse", "dense"])
def path(request, monkeypatch):
    """Every matrix that is not decided by its best partners goes this way."""
    limit = 0 if request.param == "sparse" else 1 << 60
    monkeypatch.setattr(assignment, "DENSE_ENTRIES", limit)
    return request.param


def assert_proven(found, similarity):
    """The certificate holds, as somebody else checks it."""
    proof = found.certificate
    prices = proof.row_prices, proof.column_prices
    assert [len(side) for side in prices] == list(similarity.shape)
    worst, bound = reference.bound_by_prices(similarity, *prices)
    scale = np.abs(similarity).max()
    assert max(worst, 0.0) == pytest.approx(proof.violation, abs=1e-12 * scale)
    assert proof.violation <= TOLERANCE * scale
    slack = len(found.rows) * 1e-11 * scale
    assert bound - found.total == pytest.approx(proof.gap, abs=slack)
    assert 0 <= proof.gap <= slack
    matched = similarity[found.rows, found.columns]
    assert found.total == pytest.approx(matched.sum(), abs=slack)
    assert np.allclose(matched, prices[0][found.rows] + prices[1][found.columns], atol=slack)
    assert found.total == pytest.approx(reference.best_total_scipy(similarity), abs=slack)


SHAPES = st.tuples(st.integers(1, 24), st.integers(1, 24))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    st.data(),
    SHAPES.flatmap(
        lambda shape: (
            hnp.arrays(np.float32, shape, elements=st.floats(-4, 4, width=32))
            | hnp.arrays(np.float32, shape, elements=st.sampled_from([0.0, 0.5, 1.0]))
            | hnp.arrays(np.float32, shape, elements=st.sampled_from([-1.0, 1.0]))
        )
    ),
)
def test_every_assignment_is_proven_to_be_the_best(data, similarity):
    """Whichever way it is found; real numbers, and ties without end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assignment, "DENSE_ENTRIES", data.draw(st.sampled_from([0, 1 << 60])))
        assert_proven(assign(torch.from_numpy(similarity)), similarity.astype(np.float64))


def adversaries():
    noise = random_matrix(90, 90)
    distances = torch.arange(90.0)
    return {
        "duplicated rows": noise[torch.arange(90) // 3],
        "duplicated columns": noise[:, torch.arange(90) // 5],
        "constant rows": torch.where(torch.arange(90)[:, None] % 2 == 0, torch.ones(()), noise),
        "all equal": torch.full((90, 90), 0.25),
        "zero": torch.zeros(90, 90),
        "rank one": torch.outer(noise[0], noise[1]),
        "all want the same few": noise * 0.01 + (torch.arange(90) < 4).float() * 5,
        "one huge row": torch.where(torch.arange(90)[:, None] == 7, noise * 1e6, noise),
        "one huge entry": noise + 1e6 * torch.eye(90)[[3]].T * torch.eye(90)[[60]],
        "tiny numbers": noise * 1e-30,
        "neighbours": -(distances[:, None] - distances).abs(),
        "products of positions": distances[:, None] * distances / 8100,
        "nearly tied": torch.round(noise * 2) / 2 + 1e-6 * random_matrix(90, 90, 1),
    }


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(90, 90), (60, 90), (90, 60)])
@pytest.mark.parametrize("name", list(adversaries()))
def test_no_structure_misleads_it(name, shape, path):
    similarity = adversaries()[name][: shape[0], : shape[1]]
    found = assign(similarity)
    assert_proven(found, similarity.double().numpy())
    assert found.certificate.method in {"argmax", path, "dense"}


def independent(n, m, k=64, seed=0):
    sides = [
        torch.randn(size, k, generator=torch.Generator().manual_seed(seed + i))
        for i, size in enumerate((n, m))
    ]
    return [side / side.norm(dim=1, keepdim=True) for side in sides]


def few_values(kind, units, width, seed):
    """Rows of few different numbers, of length 1: nearly all of their products are tied."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(units, width, generator=generator)
    chosen = torch.rand(units, width, generator=generator)
    rows = {
        "ternary": noise.sign() * (chosen < 0.02),
        "nearly ternary": noise.sign() * (chosen < 0.02) + 1e-6 * chosen,
        "binary": (chosen < 0.1).float(),
        "signs": noise.sign(),
        "one-hot": torch.eye(width)[chosen.argmax(dim=1)],
        "constant": torch.ones(units, width),
        "five rows": noise[:5][chosen.argmax(dim=1) % 5],
        "groups": noise * (torch.arange(units)[:, None] % 32 == torch.arange(width) * 32 // width),
        "rank two": noise[:, :2] @ noise[:2],
        "copies": noise[: units // 8].repeat(8, 1),
    }[kind]
    rows[:, 0] += (rows == 0).all(dim=1)
    return torch.nn.functional.normalize(rows, dim=1)


@pytest.mark.slow
@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize(
    "kind",
    [
        "ternary",
        "nearly ternary",
        "binary",
        "signs",
        "one-hot",
        "constant",
        "five rows",
        "groups",
        "rank two",
        "copies",
    ],
)
def test_ties_without_end_come_to_an_end(kind, absolute):
    """Of ternary rows scipy's solver alone did not: rows outbid each other by what float32 rounds."""
    a, b = (few_values(kind, 384, 128, seed) for seed in (0, 1))
    products = Products(a, b, absolute=absolute)
    assert_proven(assign(products), products.rows(0, 384).double().numpy())


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(500, 500), (400, 500), (500, 400)])
@pytest.mark.parametrize("absolute", [False, True])
def test_independent_units_are_solved_among_few_candidates(shape, absolute):
    a, b = independent(*shape)
    found = assign(Products(a, b, absolute=absolute))
    dense = (a @ b.T).abs() if absolute else a @ b.T
    assert found.certificate.method == "sparse"
    assert found.certificate.pairs < 0.25 * dense.numel()
    assert found.total == pytest.approx(
        reference.best_total_scipy(dense.double().numpy()), abs=1e-6
    )
    assert found.certificate.violation <= TOLERANCE
    assert found.certificate.gap < 1e-9


def test_a_missed_candidate_is_found_by_the_proof(monkeypatch):
    """With hardly any pairs at first, entries that exceed their prices bring in the rest."""
    monkeypatch.setattr("provenance.assignment.likely_pairs.WITHIN", 0.02)
    similarity = random_matrix(400, 400)
    found = assign(similarity)
    assert found.certificate.method == "sparse"
    assert found.certificate.rounds > 1
    best = reference.best_total_scipy(similarity.double().numpy())
    assert found.total == pytest.approx(best, abs=1e-6)


def test_what_does_not_come_to_an_end_is_solved_as_a_whole(monkeypatch):
    monkeypatch.setattr(assignment, "ROUNDS", 0)
    similarity = random_matrix(300, 300)
    found = assign(similarity)
    assert found.certificate.method == "dense"
    best = reference.best_total_scipy(similarity.double().numpy())
    assert found.total == pytest.approx(best, abs=1e-6)


def test_a_large_matrix_is_never_whole(monkeypatch):
    """Of products no more than a tile is ever made."""
    a, b = independent(600, 500)
    expected = assign(Products(a, b))
    monkeypatch.setattr(_similarity, "WHOLE_BYTES", 0)
    monkeypatch.setattr(_similarity, "TILE_BYTES", 64 * 600 * 4)
    asked = []
    rows = Products.rows
    monkeypatch.setattr(
        Products, "rows", lambda self, i, j: asked.append(j - i) or rows(self, i, j)
    )
    found = assign(Products(a, b))
    assert max(asked) <= 64 * 600 // 500
    assert found.certificate.method == "sparse"
    assert found.rows.tolist() == expected.rows.tolist()
    assert found.columns.tolist() == expected.columns.tolist()


def test_products_stand_for_their_matrix():
    a, b = independent(30, 40)
    for absolute in (False, True):
        products = Products(a, b, absolute=absolute)
        dense = (a @ b.T).abs() if absolute else a @ b.T
        assert products.shape == (30, 40)
        assert torch.allclose(products.rows(5, 20), dense[5:20], atol=1e-6)
        assert torch.allclose(products.transposed().rows(0, 40), dense.T, atol=1e-6)
        found, expected = assign(products), assign(dense)
        assert found.columns.tolist() == expected.columns.tolist()


@pytest.mark.parametrize(
    "sides",
    [
        (torch.ones(2, 3), torch.ones(2, 4)),
        (torch.ones(2, 3), torch.ones(2, 3).double()),
        (torch.ones(2, 3), torch.ones(0, 3)),
        (torch.ones(2, 3).int(), torch.ones(2, 3).int()),
        (torch.ones(3), torch.ones(3)),
    ],
)
def test_products_of_unlike_sides_are_refused(sides):
    with pytest.raises(ValueError, match="must be floating-point matrices alike in all but rows"):
        Products(*sides)


def test_one_matrix_has_one_assignment_and_proof():
    a, b = independent(300, 300)
    one, two = assign(Products(a, b)), assign(Products(a, b))
    assert one.columns.tolist() == two.columns.tolist()
    assert np.array_equal(one.certificate.row_prices, two.certificate.row_prices)


def test_a_proof_cannot_be_written():
    proof = assign(random_matrix(5, 5)).certificate
    for prices in (proof.row_prices, proof.column_prices):
        with pytest.raises(ValueError, match="read-only"):
            prices[0] = 1


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_several_are_solved_as_each_alone_and_threads_are_left_as_they_were(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        matrices = [random_matrix(120, 100, seed) for seed in range(3)]
        together = assign_all(matrices)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for found, matrix in zip(together, matrices, strict=True):
        assert found.columns.tolist() == assign(matrix).columns.tolist()


def test_the_sparse_solver_is_given_whole_numbers(monkeypatch):
    """With fractions scipy's solver may never return: rounding moves it in circles."""
    from scipy.sparse import csgraph

    solver = csgraph.min_weight_full_bipartite_matching

    def checked(graph):
        assert (graph.data == np.rint(graph.data)).all()
        assert 1 <= graph.data.min() <= graph.data.max() * len(graph.data) < 2.0**54
        assert graph.shape[0] < graph.shape[1]  # a square one is reduced first, which may not end
        first = graph.indices[graph.indptr[:-1]]
        assert len(set(first.tolist())) == len(first)  # a full matching is found at once
        return solver(graph)

    monkeypatch.setattr(csgraph, "min_weight_full_bipartite_matching", checked)
    for shape in ((300, 300), (256, 384)):
        assert assign(random_matrix(*shape)).certificate.method == "sparse"
