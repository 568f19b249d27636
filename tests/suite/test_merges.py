"""suite/merges.py: claims that name the parents of a merge, and their mistakes, at file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from provenance.comparison.plan import comparison, needs
from provenance.errors import SuiteError
from provenance.estimate.suites import wanted_of
from provenance.suite.oversights import oversights
from provenance.suite.read import load, loads
from provenance.vocabulary import SHARE_TOLERANCE

MODELS = """\
version: 1
models: {m: {path: ./m}, base: {path: ./base}, a: {path: ./a}, 1: {path: ./b}}
pairs:
  - {candidate: m, reference: a, """


def suite(claimed, more=""):
    return loads(f"{MODELS}{claimed}}}\n{more}", Path("/a.suite.yaml"))


def mistakes(claimed, more=""):
    with pytest.raises(SuiteError) as caught:
        suite(claimed, more)
    return [(problem.column, problem.message) for problem in caught.value.problems]


def test_shares_and_parents_are_read():
    (claim,) = suite("expect: {merge: {a: 0.6, base: 0.4}}, tolerance: 0.1").claims
    assert (claim.expect, claim.parents) == ("merge", (("a", 0.6), ("base", 0.4)))
    assert claim.tolerance == 0.1
    assert claim.wants_parents
    assert not claim.wants_difference
    (claim,) = suite("expect: merge, parents: [1, base, a]").claims
    assert claim.parents == (("1", None), ("base", None), ("a", None))
    assert claim.tolerance == SHARE_TOLERANCE
    (claim,) = suite("expect: merge").claims
    assert claim.parents == ()
    assert claim.wants_difference


def test_shares_may_be_negative_and_whole():
    (claim,) = suite("expect: {merge: {a: 1, 1: 0.5, base: -0.5}}").claims
    assert dict(claim.parents) == {"a": 1.0, "1": 0.5, "base": -0.5}


def test_every_parent_is_compared_before_the_shares_are_measured():
    found = suite("expect: {merge: {base: 0.4, a: 0.6}}")
    pair = comparison(found, found.claims[0])
    beside, own, whole = needs(found, found.claims[0], "verdict").comparisons()
    assert whole == pair
    assert (beside.reference, own.reference) == (found.models["base"], found.models["a"])
    assert {beside.parents, own.parents} == {()}
    assert whole.parents == (found.models["base"], found.models["a"])
    assert list(wanted_of(found).comparisons) == [beside, own]
    assert pair.of_files().parents == ()


def test_a_model_that_is_a_parent_alone_is_not_of_no_claim(tmp_path):
    path = tmp_path / "a.suite.yaml"
    path.write_text(f"{MODELS}expect: {{merge: {{a: 0.6, 1: 0.4}}}}}}\n")
    told = [note.message for note in oversights(load(path)) if "no claim" in note.message]
    assert len(told) == 1
    assert told[0].startswith("no claim is about model 'base'")


@pytest.mark.parametrize(
    ("claimed", "message"),
    [
        ("expect: {merge: {a: 0.6, 1: 0.5}}", "the shares sum to 1.1, and not to 1: for task"),
        ("expect: {merge: {a: 1}}", "a merge has two parents or more: give the share of each"),
        ("expect: {merge: 3}", "merge must be a mapping of models to shares, such as"),
        ("expect: {mirge: {a: 1}}", "unknown key 'mirge'; did you mean 'merge'?"),
        ("expect: {merge: {a: x, 1: 0.4}}", "the share of 'a' must be a number from -10 to 10"),
        ("expect: {merge: {a: .nan, 1: 0.4}}", "the share of 'a' must be a number from -10 to 10"),
        ("expect: {merge: {a: 20, 1: -19}}", "the share of 'a' must be a number from -10 to 10"),
        ("expect: {merge: {a: 0.6, b: 0.4}}", "parent 'b' is not declared under models:; declared"),
        ("expect: {merge: {base: 0.6, 1: 0.4}}", "the reference 'a' is none of the parents: add"),
        ("expect: {merge: {a: 0.6, m: 0.4}}", "'m' is the candidate, and no parent of itself"),
        ("expect: {merge: {a: 0.6, 1: 0.4}}, parents: [a, 1]", "expect has the parents already"),
        ("expect: {merge: {a: 0.6, 1: 0.4}}, sample: 3", "shares are read off whole models"),
        ("expect: {merge: {a: 0.6, 1: 0.4}}, kind: any", "with kind: any no shares are measured"),
        ("expect: {merge: {a: 0.6, 1: 0.4}}, tolerance: 0.7", "tolerance must be a number from 0"),
        ("expect: merge, parents: [a]", "parents must be a list of two models or more"),
        ("expect: merge, parents: a", "parents must be a list of two models or more"),
        ("expect: merge, parents: [a, a]", "parent 'a' is in the list twice: keep one"),
        ("expect: merge, parents: [a, [b]]", "a parent must be the name of a model under models:"),
        ("expect: merge, tolerance: 0.1", "tolerance belongs to shares: write expect: {merge:"),
        ("expect: finetune, parents: [a, base]", "parents are of a merge: write expect: merge"),
        ("expect: [merge]", "expect must be one of independent, finetune"),
    ],
)
def test_a_mistake_is_told(claimed, message):
    assert any(told.startswith(message) for _, told in mistakes(claimed)), mistakes(claimed)


def test_each_mistake_has_its_place():
    line = MODELS.splitlines()[-1] + "expect: {merge: {a: 0.6, b: 0.4}}"
    assert mistakes("expect: {merge: {a: 0.6, b: 0.4}}")[0][0] == line.index("b: 0.4") + 1


def test_defaults_that_leave_shares_unmeasured_are_told_of():
    more = "defaults: {kind: any}\n"
    assert mistakes("expect: merge, parents: [a, base]", more)
    assert suite("expect: merge, parents: [a, base], kind: measured", more).claims[0].wants_parents
