"""A p-value that is the least its permutations allow decides nothing, and that is what is said of it."""

import math
from dataclasses import replace

import pytest

from provenance.evidence.decide import decide
from provenance.evidence.doubts import NAMES, doubts
from provenance.evidence.meaning import BETWEEN, between, meaning
from provenance.evidence.permutations import at_bound
from provenance.evidence.verdict import judge_pair
from tests.evidence.test_verdict import ALPHA, claim, evidence


def drawn(trials, rank=1, statistic="l2"):
    """Evidence of a permutation test: the statistic is the rank-th largest of trials + 1."""
    return evidence(
        statistic=statistic, permutations=trials, log10_p=math.log10(rank / (trials + 1))
    )


def descent(found, expect="finetune", **changes):
    made = replace(claim(expect), statistic=found.statistic, **changes)
    return judge_pair(made, found)


@pytest.mark.parametrize("trials", [19, 99, 999, 9999])  # p of 0.05 and 0.01, at 0.001, and below
def test_at_the_bound_every_output_says_that_p_can_be_no_smaller(trials):
    found = drawn(trials)
    says = f"p cannot be smaller than 1/{trials + 1}, and the threshold is 1e-06"
    assert decide(found, ALPHA) == "inconclusive"
    for text in (
        meaning(found, "inconclusive", ALPHA, NAMES),
        descent(found).meaning,
        descent(found, "independent").meaning,
        descent(found, "unknown").meaning,
    ):
        assert says in text
        assert "at least 1000000 permutations" in text
        assert "Nothing was found" not in text
        assert "tokens" not in text
    assert descent(found).state == "fails"


@pytest.mark.parametrize("trials", [99, 999])
@pytest.mark.parametrize("statistic", ["l2", "mode_connectivity"])
def test_one_draw_above_it_is_no_bound(trials, statistic):
    assert at_bound(drawn(trials, 1, statistic), ALPHA)
    assert at_bound(drawn(trials, 2, statistic), ALPHA) is None


def test_where_nothing_was_found_that_is_still_said():
    (says,) = doubts(drawn(99, 50), threshold=ALPHA)
    assert says.startswith("Nothing was found, but l2 finds no copy in a disguise")


def test_a_bound_below_the_threshold_decides():
    assert at_bound(drawn(99), 0.05) is None
    assert decide(drawn(99), 0.05) == "dependent"
    assert at_bound(drawn(99), 0.01)  # not below it
    assert decide(drawn(99), 0.01) == "inconclusive"
    needed = math.ceil(1 / 0.01)
    assert at_bound(drawn(needed), 0.01) is None
    assert decide(drawn(needed), 0.01) == "dependent"


def test_evidence_without_permutations_has_no_bound():
    assert at_bound(evidence(-0.3), ALPHA) is None
    assert at_bound(evidence(None, permutations=99), ALPHA) is None


def test_at_the_bound_a_lenient_claim_warns_and_where_nothing_was_found_it_fails():
    assert descent(drawn(99), inconclusive="warn").state == "warns"
    assert descent(drawn(99, 50), inconclusive="warn").state == "fails"


@pytest.mark.parametrize(
    ("found", "more"),
    [
        (drawn(9999, 2), "permutations"),
        (drawn(9999, 2, "mode_connectivity"), "permutations"),
        (evidence(-5.0), "tokens"),
        (evidence(-5.0, statistic="kinship"), "tokens"),
        (evidence(-5.0, statistic="match_tokens"), "tokens"),
        (evidence(-5.0, statistic="match_weights"), None),
        (evidence(-5.0, statistic="csu"), None),
    ],
)
def test_what_would_decide_is_what_the_statistic_could_be_given_more_of(found, more):
    said = between(found)
    assert said == (f"{BETWEEN}: more {more} would decide." if more else f"{BETWEEN}.")
    assert said in meaning(found, "inconclusive", ALPHA, NAMES)
    assert said in descent(found, "independent").meaning
    weak = descent(found).meaning
    assert weak.endswith(f": try more {more}." if more else "the claimed descent.")
