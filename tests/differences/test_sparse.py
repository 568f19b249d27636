"""Merges that leave changes out number by number: what is named, and the parts against slow versions."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.transforms import merges
from fixtures.transforms.merges import Parts
from provenance.differences.digits import LEAST, UNIT, Storage
from provenance.differences.kept import PER_LINE, Spread, density_of_largest, is_random, unevenness
from provenance.differences.rule import Numbers, Rule, rules
from provenance.differences.sparse import MOST_PARENTS, Traces
from provenance.differences.together import Matrix
from tests import reference

SHAPE = 128, 100
EXACT = Storage(2.0**-24)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def family(parents=2, size=0.3, dtype=torch.float32, seed=0):
    """A base and its descendants, as they are stored."""
    base = normal(seed, *SHAPE)
    others = (base + size * normal(seed + 1 + i, *SHAPE) for i in range(parents))
    return [one.to(dtype) for one in (base, *others)]


def merged(models, parts):
    wide = [one.double() for one in models]
    generator = torch.Generator().manual_seed(parts.seed)
    return merges._in_parts(wide, parts, generator).to(models[0].dtype)


def read(matrices, parents):
    """What some matrices show, each a merge and its parents as they are stored."""
    traces = Traces(parents, 0)
    for number, (ours, *others) in enumerate(matrices):
        shown = Matrix(ours.float(), [one.float() for one in others], Storage.of(ours))
        traces.see(number, shown)
    return traces.merge()


def read_merges(make, parents=2, count=3, **how):
    families = [family(parents, seed=100 * number, **how) for number in range(count)]
    return read([(make(one), *one) for one in families], parents + 1)


NAMED = {
    "dare": (2, Parts((0.6, 0.4), 0.5, rescaled=True), "DARE", (0.6, 0.4)),
    "dare-of-few": (2, Parts((0.6, 0.4), 0.1, rescaled=True), "DARE", (0.6, 0.4)),
    "dare-of-most": (2, Parts((0.6, 0.4), 0.9, rescaled=True), "DARE", (0.6, 0.4)),
    "dare-not-rescaled": (2, Parts((0.6, 0.4), 0.5), "DARE", (0.3, 0.2)),
    "dare-of-three": (3, Parts((0.5, 0.3, 0.2), 0.5, rescaled=True), "DARE", (0.5, 0.3, 0.2)),
    "dare-less-a-parent": (2, Parts((0.6, -0.4), 0.5, rescaled=True), "DARE", (0.6, -0.4)),
    "dare-ties": (2, Parts((0.6, 0.4), 0.5, elected=True), "DARE-TIES", (0.3, 0.2)),
    "ties": (2, Parts((1, 1), 0.3, "largest", elected=True, mean=True), "TIES", (0.5, 0.5)),
    "ties-by-weights": (
        2, Parts((3, 1), 0.5, "largest", elected=True, mean=True), "TIES", (0.75, 0.25),
    ),
    "ties-by-lambda": (
        2, Parts((1, 1), 0.8, "largest", elected=True, mean=True, factor=0.7), "TIES", (0.35, 0.35),
    ),
    "ties-of-three": (
        3, Parts((2, 1, 1), 0.5, "largest", elected=True, mean=True), "TIES", (0.5, 0.25, 0.25),
    ),
    "ties-not-normalized": (
        2, Parts((0.6, 0.4), 0.5, "largest", elected=True), "TIES", (0.6, 0.4),
    ),
    "ties-of-one": (1, Parts((0.8,), 0.3, "largest"), "TIES", (0.8,)),
    "della": (2, Parts((0.6, 0.4), 0.5, "graded", elected=True, mean=True), "sparse", (0.6, 0.4)),
    "breadcrumbs": (2, Parts((0.6, 0.4), 0.5, "middle"), "sparse", (0.6, 0.4)),
    "trimmed": (2, Parts((0.6, 0.4), 0.5, "largest"), "sparse", (0.6, 0.4)),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_a_merge_of_parts_is_named_with_its_shares(case, dtype):
    parents, parts, method, shares = NAMED[case]
    found = read_merges(lambda one: merged(one, parts), parents, dtype=dtype)
    if parents == 3 and dtype == torch.bfloat16:  # too few numbers tell eight candidates apart
        assert found is None
        return
    assert found is not None
    assert (found.method, found.base) == (method, 0)
    assert found.shares == pytest.approx((1 - sum(shares), *shares), abs=0.03)
    assert found.densities[0] is None
    if found.kept != "otherwise" or dtype == torch.float32:
        # which numbers of bfloat16 tell depends on the size of the change, and so does what is kept
        assert found.densities[1:] == pytest.approx([parts.density] * parents, abs=0.03)
    assert found.fits > 0.99
    assert found.left_over < (1e-5 if dtype == torch.float32 else 0.1)
    assert found.fault(parents + 1) is None
    assert method in found.words()


def linear(models, weights=(0.6, 0.4)):
    base, *others = (one.double() for one in models)
    made = base + sum(w * (one - base) for w, one in zip(weights, others, strict=True))
    return made.to(models[0].dtype)


def pruned(matrix, share=0.5):
    cut = matrix.abs() < matrix.abs().flatten().quantile(share)
    return torch.where(cut, torch.zeros_like(matrix), matrix)


def rounded(matrix):
    step = matrix.abs().amax(dim=1, keepdim=True) / 127
    return (matrix / step).round() * step


TIES = Parts((1, 1), 0.5, "largest", elected=True, mean=True)
DARE = Parts((0.6, 0.4), 0.5, rescaled=True)
NOT_NAMED = {
    "linear": linear,
    "task-arithmetic": lambda one: linear(one, (0.7, 0.6)),
    "one-of-them": lambda one: one[1],
    "the-base": lambda one: one[0],
    "linear-then-pruned": lambda one: pruned(linear(one).float()).to(one[0].dtype),
    "linear-then-pruned-a-little": lambda one: pruned(linear(one).float(), 0.05).to(one[0].dtype),
    "linear-then-rounded": lambda one: rounded(linear(one)),
    "linear-then-noise": lambda one: (linear(one) + 0.01 * normal(9, *SHAPE)).to(one[0].dtype),
    "ties-then-noise": lambda one: (merged(one, TIES) + 0.03 * normal(9, *SHAPE)).to(one[0].dtype),
    "dare-then-noise": lambda one: (merged(one, DARE) + 0.03 * normal(9, *SHAPE)).to(one[0].dtype),
    "dare-then-rounded": lambda one: rounded(merged(one, DARE)),
    "a-fine-tune-of-one": lambda one: (one[1] + 0.05 * normal(9, *SHAPE)).to(one[0].dtype),
    "another-fine-tune": lambda one: (one[0] + 0.1 * normal(9, *SHAPE)).to(one[0].dtype),
}


@pytest.mark.parametrize("case", NOT_NAMED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_nothing_else_is_called_a_merge_of_parts(case, dtype):
    assert read_merges(NOT_NAMED[case], dtype=dtype) is None


def test_whole_matrices_of_one_parent_or_the_other_are_no_merge_of_parts():
    families = [family(seed=100 * number) for number in range(4)]
    made = [(one[number % 2 + 1], *one) for number, one in enumerate(families)]
    assert read(made, 3) is None


def test_a_parent_that_is_not_used_has_no_share():
    def make(one):
        return merged(one[:2], Parts((0.8,), 0.5, rescaled=True))

    found = read_merges(make)
    assert found.method == "DARE"
    assert found.shares == pytest.approx((0.2, 0.8, 0.0), abs=0.02)
    assert found.densities == (None, pytest.approx(0.5, abs=0.02), 0.0)
    assert found.low[2] == found.high[2] == 0


def test_the_base_is_found_wherever_it_stands_and_is_needed():
    families = [family(seed=100 * number) for number in range(3)]
    made = [(merged(one, DARE), one[1], one[0], one[2]) for one in families]
    found = read(made, 3)
    assert found.base == 1
    assert found.shares == pytest.approx((0.6, 0.0, 0.4), abs=0.03)
    assert read([one[:2] + one[3:] for one in made], 2) is None


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 2), (0, 1, 2), (2, 0, 1)], ids=str)
def test_rows_of_two_models_are_no_merge_of_either_onto_the_other(order):
    first, second = order[-2:]
    rows = torch.arange(SHAPE[0])[:, None] % 3 == 0
    families = [family(seed=100 * number) for number in range(3)]
    made = [
        (torch.where(rows, one[first], one[second]), *(one[i] for i in order)) for one in families
    ]
    assert read(made, len(order)) is None


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (2, 1, 0)], ids=str)
def test_the_largest_changes_of_one_parent_are_its_own_wherever_the_base_stands(order):
    parts = Parts((1.0,), 0.3, "largest")
    families = [family(seed=100 * number) for number in range(3)]
    found = read(
        [(merged(one[:2], parts), *(one[i] for i in order)) for one in families], len(order)
    )
    assert (found.method, order[found.base]) == ("TIES", 0)
    assert found.shares == pytest.approx([float(place == 1) for place in order])


@pytest.mark.parametrize("size", [1e-3, 0.3])
def test_what_no_parent_changes_is_changed_by_no_merge_of_them(size):
    """In every other matrix, or in a half of each, the parents are the base."""
    for shared in ("matrices", "columns"):
        made = []
        for number in range(6):
            base, *others = family(seed=100 * number)
            apart = torch.full(SHAPE, number % 2 == 0)
            if shared == "columns":
                apart[:] = torch.arange(SHAPE[1]) < SHAPE[1] // 2
            models = [base, *(torch.where(apart, one, base) for one in others)]
            noise = torch.where(apart, 0.0, size * normal(number, *SHAPE)).float()
            made.append((merged(models, TIES), merged(models, TIES) + noise, *models))
        assert read([(one, *models) for one, _, *models in made], 3).method == "TIES"
        assert read([(one, *models) for _, one, *models in made], 3) is None


def test_arithmetic_in_bfloat16_is_allowed_for():
    parts = replace(DARE, dtype=torch.bfloat16)

    def make(one):
        generator = torch.Generator().manual_seed(0)
        return merges._in_parts(one, parts, generator).to(one[0].dtype)

    found = read_merges(make, dtype=torch.bfloat16)
    assert found.method == "DARE"
    assert found.shares == pytest.approx((0, 0.6, 0.4), abs=0.03)


def test_more_parents_than_can_be_tried_are_left_alone():
    models = family(MOST_PARENTS)
    parts = Parts((0.2,) * MOST_PARENTS, 0.5)
    assert read([(merged(models, parts), *models)] * 2, MOST_PARENTS + 1) is None


@given(
    st.lists(st.floats(0.2, 2), min_size=1, max_size=3),
    st.sampled_from(["sum", "mean"]),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=30)
def test_each_number_is_given_to_the_nearest_of_all_that_may_be_kept(factors, mixed, seed):
    generator = torch.Generator().manual_seed(seed)
    parents, number = len(factors), 12
    weights = torch.rand(parents, generator=generator, dtype=torch.float64) + 0.1
    weights = (weights / weights.sum()).tolist() if mixed == "mean" else [1.0] * parents
    changes, base, away = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((parents, number), (number,), (number,))
    )
    # no step: every tolerance is the same share of one size, so that the nearest is the likeliest
    numbers = Numbers(base * 0, away, changes, 0.0, 1e-3)
    found = Rule(mixed, tuple(factors), tuple(weights)).candidates(numbers)
    for place in range(number):
        kept, left = reference.nearest_of_changes(
            float(away[place]),
            changes[:, place].tolist(),
            factors,
            weights if mixed == "mean" else None,
        )
        assert float(found.left[place]) == pytest.approx(left, abs=1e-9 + 0.02)
        if float(found.left[place]) < left - 1e-9 or left > 0.1:
            continue
        assert tuple(found.kept[:, place].tolist()) == kept


@given(
    st.lists(st.floats(0.3, 1.5), min_size=1, max_size=3),
    st.floats(0.3, 0.7),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=20)
def test_factors_come_back_from_what_was_made_number_by_number(factors, density, seed):
    generator = torch.Generator().manual_seed(seed)
    changes = torch.randn(len(factors), 2000, generator=generator, dtype=torch.float64)
    kept = torch.rand(changes.shape, generator=generator) < density
    made = reference.made_of_changes(changes.tolist(), kept.tolist(), factors, None)
    away = torch.tensor(made, dtype=torch.float64)
    numbers = Numbers(torch.zeros_like(away), away, changes, 2.0**-24)
    (found, *_) = (rule for rule in rules(numbers) if rule.mixed == "sum")
    assert found.factors == pytest.approx(factors, rel=1e-4)
    nearest = found.candidates(numbers)
    told = nearest.tells
    assert bool((nearest.kept == kept)[:, told].all())
    assert bool(nearest.fits.all())
    assert float(told.double().mean()) > 0.99


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=80))
def test_unevenness_is_that_of_a_binomial_law_group_by_group(drawn):
    kept, groups = (list(one) for one in zip(*drawn, strict=True))
    found = unevenness(torch.tensor(kept), torch.tensor(groups), 2)
    assert found == pytest.approx(reference.unevenness(kept, groups, PER_LINE, 2))


@given(st.lists(st.floats(0.01, 100), min_size=20, max_size=60, unique=True), st.floats(0.1, 0.9))
def test_the_largest_are_told_with_their_density(sizes, share):
    threshold = sorted(sizes)[int(share * len(sizes))]
    kept = [size >= threshold for size in sizes]
    every = torch.tensor(sizes, dtype=torch.float64)
    found = density_of_largest(every, torch.tensor(kept), every)
    told = reference.density_by_threshold(sizes, kept)
    assert found == pytest.approx(sum(size >= told for size in sizes) / len(sizes))


def test_what_is_not_the_largest_has_no_threshold():
    sizes = normal(0, 5000).abs()
    drawn = normal(1, 5000)
    assert density_of_largest(sizes, drawn > 0, sizes) is None
    assert density_of_largest(sizes, drawn > 9, sizes) is None


PLACES = torch.arange(6000)


def spread(sizes, kept):
    return Spread.of(sizes, kept, PLACES[: len(sizes)] // 100, PLACES[: len(sizes)] % 100)


def test_what_is_kept_whatever_its_size_row_and_column_is_random():
    sizes, drawn = normal(0, 6000).abs(), normal(1, 6000)
    assert is_random([spread(sizes, drawn > 0)]) is True
    assert is_random([spread(sizes[:600], drawn[:600] > 0)]) is None
    assert is_random([spread(sizes[:600], drawn[:600] > 0)] * 10) is True
    assert is_random([]) is None
    assert is_random([spread(sizes, drawn > 0.3 * (sizes.mean() - sizes))]) is False
    middle = (sizes - sizes.mean()).abs() < sizes.std()
    assert is_random([spread(sizes, middle)]) is False
    for line in (PLACES // 100, PLACES % 100):
        assert is_random([spread(sizes, line % 2 == 0)]) is False


def test_storage_is_that_of_the_narrowest_type_that_holds_all():
    numbers = normal(0, 64).float()
    assert Storage.of(numbers) == EXACT
    assert Storage.of(numbers.bfloat16()) == Storage(UNIT[torch.bfloat16])
    assert Storage.of(numbers.bfloat16().float()) == Storage(UNIT[torch.bfloat16])
    assert Storage.of(numbers.half().float()) == Storage(UNIT[torch.float16], LEAST[torch.float16])
