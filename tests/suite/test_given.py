"""suite/given.py: claims that are given a base of both models, and their mistakes, at file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from provenance.comparison.plan import Plan, comparison, needs
from provenance.errors import SuiteError
from provenance.suite.oversights import oversights
from provenance.suite.read import load, loads
from provenance.vocabulary import GIVEN_EXPECTATIONS

MODELS = """\
version: 1
models: {m: {path: ./m}, base: {path: ./base}, 1: {path: ./a}}
pairs:
  - {candidate: m, reference: 1, """


def suite(claimed, more=""):
    return loads(f"{MODELS}{claimed}}}\n{more}", Path("/a.suite.yaml"))


def mistakes(claimed, more=""):
    with pytest.raises(SuiteError) as caught:
        suite(claimed, more)
    return [problem.message for problem in caught.value.problems]


@pytest.mark.parametrize("expect", GIVEN_EXPECTATIONS)
def test_a_base_is_read(expect):
    (claim,) = suite(f"expect: {expect}, given: base").claims
    assert claim.given == "base"
    (claim,) = suite(f"expect: {expect}").claims
    assert claim.given is None


def test_the_base_is_compared_before_what_is_shared_beyond_it():
    found = suite("expect: derived, given: base")
    pair = comparison(found, found.claims[0])
    beside, whole = needs(found, found.claims[0], "verdict").comparisons()
    assert whole == pair
    assert whole.given == found.models["base"]
    assert (beside.reference, beside.given, beside.extent) == (
        found.models["base"],
        None,
        "decided",
    )
    assert Plan.of([whole]).models() == tuple(found.models[name] for name in ("m", "1", "base"))
    assert whole.of_files().given is None


def test_a_base_is_used(tmp_path):
    file = tmp_path / "a.suite.yaml"
    file.write_text(f"{MODELS}expect: derived, given: base}}\n")
    assert not any("no claim is about" in one.message for one in oversights(load(file)))


MISTAKES = {
    "unknown": ("expect: derived, given: bass", "base 'bass' is not declared under models:; did you mean"),
    "the-candidate": ("expect: derived, given: m", "'m' is the candidate itself, and no base of both"),
    "the-reference": ("expect: derived, given: 1", "'1' is the reference itself, and no base of both"),
    "of-nothing": ("expect: unknown, given: base", "given belongs to a claim of derived, finetune,"),
    "of-a-copy": ("expect: identical, given: base", "given belongs to a claim of derived, finetune,"),
    "of-shares": ("expect: {merge: {1: 0.5, base: 0.5}}, given: base", "given belongs to a claim of"),
    "of-a-merge": ("expect: merge, given: base", "given belongs to a claim of derived, finetune,"),
    "sampled": ("expect: derived, given: base, sample: 2", "read off whole models: remove sample"),
    "a-list": ("expect: derived, given: [base]", "given must be the name of a model under models:"),
    "of-many": (
        "expect: derived}\n  - {candidate: m, expect: {nearest: base}, given: base",
        "given is of one pair",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_told(case):
    claimed, told = MISTAKES[case]
    assert any(told in message for message in mistakes(claimed)), mistakes(claimed)


def test_a_sample_by_default_is_told():
    more = "defaults: {sample: 2, scope: sampled}\n"
    assert any(
        "remove sample, or given" in m for m in mistakes("expect: derived, given: base", more)
    )
