from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.errors import DegenerateError
from provenance.statistics._student_t import log10_sf_student_t
from provenance.statistics.pvalues import (
    bonferroni,
    fisher,
    format_p,
    holm,
    log10_factorial,
    permutation_p,
    spearman,
)
from tests import reference

UNHURRIED = settings(deadline=None)  # a busy machine is no failure

LOG10_PS = st.floats(min_value=-5000, max_value=0, allow_nan=False)
NOT_A_LOG10_P = [math.nan, math.inf, -math.inf, 0.1]


def vectors(least, most):
    """Two vectors of distinct ints of one length, of unequal ranges."""
    return st.integers(least, most).flatmap(
        lambda n: st.tuples(
            st.lists(st.integers(-50, 200), min_size=n, max_size=n, unique=True),
            st.lists(st.integers(0, 10**12), min_size=n, max_size=n, unique=True),
        )
    )


# log10 n!


@pytest.mark.parametrize("n", [0, 1, 2, 5, 20, 170])
def test_factorial_is_that_of_integers(n):
    assert log10_factorial(n) == pytest.approx(math.log10(math.factorial(n)), rel=1e-14, abs=1e-15)


def test_factorial_passes_the_range_of_floats():
    # SCIENCE: -log10(h!) for the widths of known models
    assert [round(log10_factorial(h)) for h in (3072, 8192, 11008, 14336)] == [
        9381,
        28503,
        39713,
        53363,
    ]


def test_factorial_of_a_negative_number_is_refused():
    with pytest.raises(ValueError, match="n is -1"):
        log10_factorial(-1)


# Student's t

CORRELATIONS = [
    *(-1 + 1e-9, -0.99, -0.5, -0.1, -1e-3, -1e-9, 0.0, 1e-12, 1e-9, 1e-4, 0.01, 0.05, 0.1),
    *(0.2, 0.3, 0.31, 0.4, 0.6, 0.7, 0.7072, 0.9, 0.99, 1 - 1e-6, 1 - 1e-10, 1 - 1e-15),
]


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 4, 5, 10, 37, 100, 1000, 11008, 30000])
@pytest.mark.parametrize("r", CORRELATIONS)
def test_t_tail_agrees_with_mpmath(n, r):
    t = r * math.sqrt((n - 2) / ((1 - r) * (1 + r)))
    expected = reference.log10_sf_student_t(t, n - 2)
    assert log10_sf_student_t(t, n - 2) == pytest.approx(expected, rel=1e-12, abs=1e-60)


@UNHURRIED
@given(st.floats(0, 1e6), st.integers(1, 5000))
def test_two_tails_make_one(t, df):
    upper, lower = log10_sf_student_t(t, df), log10_sf_student_t(-t, df)
    assert 10**upper + 10**lower == pytest.approx(1, rel=1e-12)


def test_t_tail_has_no_seam_where_the_method_changes():
    tail = [log10_sf_student_t(t, 998) for t in np.linspace(52.4, 54.2, 400)]
    assert min(tail) < -291
    assert max(tail) > -289
    steps = np.diff(tail)
    assert np.all(steps < 0)
    assert np.abs(np.diff(steps)).max() < 1e-5


@pytest.mark.parametrize(("t", "df"), [(1e300, 1), (1e160, 5), (1e-300, 3), (1e7, 1e6)])
def test_t_tail_of_extreme_arguments_is_finite(t, df):
    assert math.isfinite(log10_sf_student_t(t, df))


def test_t_tail_of_zero_is_one_half():
    assert log10_sf_student_t(0.0, 7) == math.log10(0.5)


@pytest.mark.parametrize(("t", "df"), [(math.nan, 1), (math.inf, 1), (1, 0), (1, math.inf)])
def test_t_tail_refuses_what_is_no_number(t, df):
    with pytest.raises(ValueError, match="must be finite"):
        log10_sf_student_t(t, df)


# Spearman


@pytest.mark.slow
@UNHURRIED
@given(vectors(10, 60))
def test_spearman_agrees_with_scipy(pair):
    r, p = reference.spearman_scipy(*pair)
    result = spearman(*pair)
    assert result.correlation == pytest.approx(r, abs=1e-12)
    floor = -log10_factorial(len(pair[0]))
    expected = max(math.log10(p), floor) if p > 1e-250 else result.log10_p
    assert result.log10_p == pytest.approx(expected, rel=1e-8, abs=1e-12)
    assert result.n == len(pair[0])


@settings(UNHURRIED, max_examples=30)
@given(vectors(3, 7))
def test_spearman_of_few_units_is_exact(pair):
    assert 10 ** spearman(*pair).log10_p == pytest.approx(reference.spearman_enumerated(*pair))


# One-sided critical values at 0.05: Ramsey, Journal of Educational Statistics 14, 1989, 245-253.
@pytest.mark.parametrize(
    ("n", "critical"), [(4, 1.0), (5, 0.9), (6, 0.829), (7, 0.714), (8, 0.643), (9, 0.6)]
)
def test_spearman_of_few_units_agrees_with_the_published_table(n, critical):
    rng = np.random.default_rng(n)
    for _ in range(300):
        result = spearman(np.arange(n), rng.permutation(n))
        assert (10**result.log10_p <= 0.05) == (round(result.correlation, 3) >= critical)


@pytest.mark.parametrize("n", [3, 9, 10, 11, 500, 20000])
def test_equal_orders_have_correlation_one_and_the_least_p_that_n_units_can_show(n):
    order = np.random.default_rng(n).permutation(n)
    result = spearman(order, order * 3 + 7)
    assert result.correlation == 1.0
    assert result.log10_p == pytest.approx(-log10_factorial(n), rel=1e-14)


@pytest.mark.parametrize("n", [3, 9, 10, 20000])
def test_opposite_orders_have_p_one(n):
    result = spearman(np.arange(n), np.arange(n)[::-1])
    assert result.correlation == -1.0
    assert result.log10_p == 0.0


@pytest.mark.parametrize("n", [10, 12, 100, 3000])
def test_p_never_goes_below_what_n_units_can_show(n):
    order = np.arange(n)
    swapped = order.copy()
    swapped[[0, 1]] = 1, 0
    assert -log10_factorial(n) <= spearman(order, swapped).log10_p < 0


def test_p_passes_the_range_of_floats():
    n = 11008
    order = np.arange(n)
    shuffled = order.copy()
    shuffled[: n // 2] = np.random.default_rng(0).permutation(n // 2)
    result = spearman(order, shuffled)
    t = result.correlation * math.sqrt((n - 2) / (1 - result.correlation**2))
    assert result.log10_p == pytest.approx(reference.log10_sf_student_t(t, n - 2), rel=1e-10)
    assert result.log10_p < -308


@pytest.mark.slow
@UNHURRIED
@given(vectors(3, 30), st.randoms())
def test_spearman_depends_on_neither_the_order_of_units_nor_the_sides(pair, random):
    units = list(zip(*pair, strict=True))
    random.shuffle(units)
    a, b = zip(*units, strict=True)
    assert spearman(b, a) == spearman(*pair)


def test_p_values_of_independent_orders_are_uniform():
    rng = np.random.default_rng(0)
    ps = [10 ** spearman(np.arange(200), rng.permutation(200)).log10_p for _ in range(2000)]
    assert [np.mean(np.array(ps) < q) for q in (0.05, 0.5)] == pytest.approx([0.05, 0.5], abs=0.03)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_than_three_units_have_no_correlation(n):
    with pytest.raises(DegenerateError, match=f"{n} units"):
        spearman(list(range(n)), list(range(n)))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1, 2, 2], [1, 2, 3], "ranks_a holds a value twice"),
        ([1, 2, 3], [3, 1, 3], "ranks_b holds a value twice"),
        ([1, 2, 3], [1, 2, 3, 4], "ranks_a has 3 values and ranks_b 4"),
        ([1.0, 2.0, 3.0], [1, 2, 3], "float64"),
        ([[1, 2, 3]], [1, 2, 3], "shape"),
    ],
)
def test_spearman_refuses_what_is_no_order(a, b, message):
    with pytest.raises(ValueError, match=message):
        spearman(a, b)


# Fisher, Bonferroni, Holm


@pytest.mark.slow
@UNHURRIED
@given(st.lists(LOG10_PS, min_size=1, max_size=80))
def test_fisher_agrees_with_mpmath(log10_ps):
    assert fisher(log10_ps) == pytest.approx(reference.fisher(log10_ps), rel=1e-9, abs=1e-12)


def test_fisher_of_one_p_value_is_itself():
    assert fisher([-412.7]) == pytest.approx(-412.7, rel=1e-14)


def test_fisher_of_ones_is_one():
    assert fisher([0.0] * 5) == 0.0


def test_fisher_needs_a_p_value():
    with pytest.raises(ValueError, match="no p-values"):
        fisher([])


@UNHURRIED
@given(st.lists(st.floats(1e-12, 1), max_size=12))
def test_holm_agrees_with_its_definition(ps):
    adjusted = holm([math.log10(p) for p in ps])
    assert [10**p for p in adjusted] == pytest.approx(reference.holm(ps))


@UNHURRIED
@given(st.lists(LOG10_PS, max_size=12))
def test_holm_keeps_the_order_of_p_values(log10_ps):
    adjusted = holm(log10_ps)
    assert all(before <= after <= 0 for before, after in zip(log10_ps, adjusted, strict=True))
    by_given = sorted(zip(log10_ps, adjusted, strict=True))
    assert [after for _, after in by_given] == sorted(adjusted)


@UNHURRIED
@given(LOG10_PS, st.integers(1, 10**6))
def test_bonferroni_multiplies_and_stops_at_one(log10_p, tests):
    assert bonferroni(log10_p, tests) == min(0.0, log10_p + math.log10(tests))


def test_bonferroni_counts_at_least_one_test():
    with pytest.raises(ValueError, match="tests is 0"):
        bonferroni(-1.0, 0)


@pytest.mark.parametrize("value", NOT_A_LOG10_P)
@pytest.mark.parametrize(
    "combine", [lambda v: fisher([-1.0, v]), lambda v: holm([-1.0, v]), lambda v: bonferroni(v, 2)]
)
def test_a_combination_refuses_what_is_no_log10_p(combine, value):
    with pytest.raises(ValueError, match="is not the log10 of a p-value"):
        combine(value)


# Permutation p


@pytest.mark.slow
@UNHURRIED
@given(st.integers(0, 5), st.lists(st.integers(0, 5), min_size=1, max_size=20), st.integers(0, 99))
def test_permutation_p_agrees_with_its_definition(observed, null, seed):
    among_ties = int(np.random.default_rng(seed).integers(null.count(observed) + 1))
    log10_p = permutation_p(observed, null, np.random.default_rng(seed))
    assert 10**log10_p == pytest.approx(reference.permutation_p(observed, null, among_ties))
    assert -math.log10(len(null) + 1) - 1e-12 <= log10_p <= 0


def test_permutation_p_is_never_zero():
    assert permutation_p(1e300, np.zeros(99), np.random.default_rng(0)) == -2


def test_permutation_p_of_a_constant_statistic_is_uniform():
    rng = np.random.default_rng(0)
    ps = [10 ** permutation_p(0.0, np.zeros(9), rng) for _ in range(5000)]
    values, counts = np.unique(np.round(ps, 6), return_counts=True)
    assert values == pytest.approx(np.arange(1, 11) / 10)
    assert counts.min() > 400


@pytest.mark.parametrize(("observed", "null"), [(math.nan, [1.0]), (0.0, [1.0, math.inf])])
def test_a_statistic_that_is_no_number_has_no_p(observed, null):
    with pytest.raises(DegenerateError, match="NaN or infinite"):
        permutation_p(observed, null, np.random.default_rng(0))


@pytest.mark.parametrize("null", [[], [[1.0]]])
def test_permutation_p_needs_a_vector_of_draws(null):
    with pytest.raises(ValueError, match="null has shape"):
        permutation_p(0.0, null, np.random.default_rng(0))


# Text


@pytest.mark.parametrize(
    ("log10_p", "text"),
    [
        (0.0, "1.0"),
        (math.log10(0.999), "1.0"),
        (math.log10(0.37), "0.37"),
        (math.log10(0.0996), "0.10"),
        (math.log10(0.0021), "0.0021"),
        (math.log10(0.00013), "0.00013"),
        (math.log10(0.000012), "1.2e-5"),
        (math.log10(9.96e-5), "0.00010"),
        (math.log10(1.3) - 412, "1.3e-412"),
        (math.log10(9.98) - 412, "1.0e-411"),
        (-39713.2, "6.3e-39714"),
    ],
)
def test_p_is_written_with_two_digits(log10_p, text):
    assert format_p(log10_p) == text


@pytest.mark.slow
@UNHURRIED
@given(LOG10_PS)
def test_written_p_is_within_rounding_of_p(log10_p):
    mantissa, _, exponent = format_p(log10_p).partition("e")
    read = math.log10(float(mantissa)) + int(exponent or 0)
    assert read == pytest.approx(log10_p, abs=math.log10(1.05) + 1e-9)


@pytest.mark.parametrize("value", NOT_A_LOG10_P)
def test_only_a_log10_p_is_written(value):
    with pytest.raises(ValueError, match="is not the log10 of a p-value"):
        format_p(value)
