"""Universal units: what strangers share anyway is taken from a p-value before it is believed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provenance.statistics.pvalues import bonferroni, log10_p_of_correlation, spearman
from provenance.statistics.universal import LEAST_PART, UNIVERSAL, beyond_universal
from tests.support.correlations import correlation_of

DRAWS = 3000


def strangers(n, alike, rng):
    """The test of two orders of n units that agree in some, and else are independent."""
    first, second = rng.permutation(n), rng.permutation(n)
    kept = rng.choice(n, alike, replace=False)
    others = np.setdiff1d(np.arange(n), kept)
    left = np.setdiff1d(np.arange(n), first[kept])
    second[kept] = first[kept]
    second[others] = rng.permutation(left)
    return spearman(first, second)


@pytest.mark.parametrize(
    ("ranked", "alike", "units", "least"),
    [
        (400, 40, None, 0.03),
        (400, 40, (400, 400), 0.03),
        (1500, 150, (1500, 4000), 0.03),
        # the strongest quarter, with all that are universal in it: fewer of its units vary
        (100, 40, (400, 900), 0.02),
    ],
)
def test_strangers_that_share_universal_units_are_seldom_below_a_level(ranked, alike, units, least):
    rng = np.random.default_rng(5)
    found = [strangers(ranked, alike, rng) for _ in range(DRAWS)]
    plain = np.array([one.log10_p for one in found])
    beyond = np.array(
        [beyond_universal(one.log10_p, one.correlation, (ranked, ranked), units) for one in found]
    )
    level = np.log10(0.05)
    assert (plain <= level).mean() > 0.2
    assert least < (beyond <= level).mean() < 0.05 + 3 * (0.05 * 0.95 / DRAWS) ** 0.5


@given(
    st.integers(10, 10**6),
    st.floats(-1, 1),
    st.integers(1, 1000),
    st.sampled_from([1.0, 2.0, 10.0]),
)
def test_it_is_a_p_value_no_smaller_than_that_of_any_agreement(n, correlation, tests, wider):
    log10_p = bonferroni(log10_p_of_correlation(correlation, n), tests)
    units = n, round(n * wider)
    less = beyond_universal(log10_p, correlation, (n, n))
    sets = beyond_universal(log10_p, correlation, (n, n), units)
    assert log10_p <= less <= 0
    assert less - 1e-9 <= sets <= 0


def test_few_units_are_left_as_they_are():
    assert UNIVERSAL * 9 < 1
    for n in (0, 1, 3, 9):
        assert beyond_universal(-3.0, 0.9, (n, n)) == -3.0
    assert beyond_universal(-3.0, 0.6, (10, 10)) > -3.0


@pytest.mark.parametrize("ranked", range(10))
@pytest.mark.parametrize("correlation", [-1.0, 0.3, 1.0])
def test_few_of_the_strongest_units_have_no_t_law(ranked, correlation):
    assert beyond_universal(-3.0, correlation, (ranked, 12), (36, 48)) == -3.0


def test_the_share_is_that_of_all_units_where_only_the_strongest_were_ranked():
    n = 400
    log10_p = log10_p_of_correlation(0.3, n)
    p_values = [
        beyond_universal(log10_p, 0.3, (n, n), units)
        for units in ((n, n), (n, 2 * n), (2 * n, 3 * n), (4 * n, 5 * n), (40 * n, 50 * n))
    ]
    assert p_values[0] == p_values[1] < p_values[2] < p_values[3] == p_values[4]
    most = log10_p_of_correlation(0.3 - UNIVERSAL / LEAST_PART, n)
    assert p_values[4] == pytest.approx(most)


@pytest.mark.parametrize("n", [2**63 - 1, 10**9, 10**7])
def test_numbers_beyond_all_models_are_evaluated(n):
    assert -1e15 < beyond_universal(-1e14, 1.0, (n, n)) <= 0
    assert beyond_universal(-9.0, 1e-4, (n, n)) > -9.0


@pytest.mark.parametrize("n", [10, 64, 1536, 14336])
@pytest.mark.parametrize("log10_p", [-0.01, -0.5, -4.0])
def test_the_correlation_of_a_p_value_is_found_back(n, log10_p):
    assert log10_p_of_correlation(correlation_of(log10_p, n), n) == pytest.approx(log10_p, abs=1e-6)


def test_the_t_law_is_that_of_two_orders():
    rng = np.random.default_rng(2)
    for n in (10, 64, 500):
        found = spearman(rng.permutation(n), rng.permutation(n))
        assert log10_p_of_correlation(found.correlation, n) == pytest.approx(
            found.log10_p, rel=1e-9
        )


@pytest.mark.parametrize(("correlation", "n"), [(0.5, 9), (1.5, 20), (-2.0, 20)])
def test_what_has_no_such_law_is_refused(correlation, n):
    with pytest.raises(ValueError, match=r"the t law is of 10 and more"):
        log10_p_of_correlation(correlation, n)
