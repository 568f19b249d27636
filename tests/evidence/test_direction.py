"""Which came first: every reading on differences made by hand, and the rates that are told beside it."""

from dataclasses import replace
from typing import get_args

import pytest

from benchmarks._direction_page import read_counts
from provenance.evidence.difference import EQUAL, Grid
from provenance.evidence.direction import COUNTED, HALF, Sign, direction_of
from provenance.evidence.kinds import WITHIN, ZEROS
from tests.evidence.test_kinds import GRID, MADE, MOVED, READ, ZEROED, record


def rounded(**changes):
    told = {"kind": "even", "bits": 4, "group": 32, "within": 1.0, "nearest": 1.0, "quarter": 0.5}
    return replace(GRID, grid=Grid(**{**told, **changes}))


TOLD = {
    "rounded": (record(rounded(), rounded()), "grid"),
    "rounded-but-for-a-few": (record(rounded(nearest=WITHIN)), "grid"),
    "beyond-half-a-step": (record(rounded(nearest=WITHIN - 0.01)), None),
    "near-the-levels": (record(rounded(quarter=HALF[1] + 0.01)), None),
    "away-from-the-levels": (record(rounded(quarter=HALF[0] - 0.01)), None),
    "one-that-is-not-rounded": (record(rounded(), rounded(quarter=1.0)), None),
    "of-an-older-version": (record(GRID), None),
    "a-grid-and-trained-on": (record(rounded(within=0.5)), None),
    "zeros": (record(ZEROED, ZEROED), "zeros"),
    "zeros-beside-what-is-equal": (record(ZEROED, replace(ZEROED, new_zeros=0.0, unchanged=1.0)), "zeros"),
    "zeros-and-trained-on": (record(replace(ZEROED, kept=EQUAL - 0.01)), None),
    "zeros-and-one-trained-on": (record(ZEROED, ZEROED, MOVED), None),
    "few-zeros": (record(replace(ZEROED, new_zeros=ZEROS - 1e-6)), None),
    "made-again": (record(MADE), "grid"),
    "made-again-beside-one-that-is-not-rounded": (record(MADE, rounded(quarter=1.0)), None),
    "zeros-and-more-left-out": (record(ZEROED, left_out=("x",)), None),
}  # fmt: skip


@pytest.mark.parametrize("case", TOLD)
def test_what_was_lost_tells_a_direction(case):
    made, sign = TOLD[case]
    found = direction_of(made)
    assert (None if found is None else found.sign) == sign


@pytest.mark.parametrize(
    "case", sorted(READ.keys() - {"zeros", "zeros-beside-a-grid-of-both", "made-again"})
)
def test_no_other_difference_tells_one(case):
    made, _ = READ[case]
    assert direction_of(made) is None


@pytest.mark.parametrize("sign", get_args(Sign))
def test_the_rate_that_is_told_is_the_one_that_was_counted(sign):
    assert COUNTED[sign] == read_counts().of_sign(sign)
    made, _ = TOLD["rounded" if sign == "grid" else "zeros"]
    wrong, of = COUNTED[sign]
    assert (
        f"That was wrong in {wrong} of {of} pairs that were not made" in direction_of(made).words()
    )
