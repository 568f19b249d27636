"""Strangers whose structure could make them look like kin are called so no oftener than by chance."""

import pytest
from scipy.stats import binom

from tests.adversary.bench import THRESHOLD, Bench
from tests.adversary.strangers import drawn_pair, pair, tried

pytestmark = pytest.mark.slow

LEVELS = (0.1, 0.01, 1e-3, THRESHOLD)
RARE = 1e-3
"""Chance of a red test where the p-values are uniform."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("bench"))


def are_strangers(bench, pairs):
    found = [tried(bench, one) for one in pairs]
    kin = [made.command for finding, made in found if finding.verdict == "dependent"]
    assert binom.sf(len(kin) - 1, len(found), THRESHOLD) > RARE, "\n".join(kin)
    tested = [(finding.log10_p, made) for finding, made in found if finding.log10_p is not None]
    assert len(tested) > len(found) / 2
    for level in LEVELS:
        below = [made.command for log10_p, made in tested if 10**log10_p < level]
        # p-values that are corrected for a choice are no smaller than uniform ones
        assert binom.sf(len(below) - 1, len(tested), level) > RARE, "\n".join(below)


def test_strangers_are_called_kin_no_oftener_than_by_chance(bench):
    are_strangers(bench, [drawn_pair(seed, trained=0) for seed in range(8)])


@pytest.mark.extended
def test_of_many_strangers_no_more_are_called_kin_than_by_chance(bench):
    are_strangers(bench, map(drawn_pair, range(20, 520)))


def test_a_pair_can_be_repeated_from_what_is_printed():
    for seed in range(200):
        assert pair(str(drawn_pair(seed))) == drawn_pair(seed)
