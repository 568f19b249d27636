"""suite/samples.py: claims on a sample, and what they cannot ask for, at file and line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provenance.comparison.plan import Plan, needs
from provenance.errors import SuiteError
from provenance.plugin.cases import control_tests, parts_of
from provenance.suite.read import loads

MODELS = "version: 1\nmodels: {base: {recipe: quickstart/base}, chat: {repo: acme/chat}}\n"
INDEPENDENCE = "a sample shows no independence of the rest: remove sample, or claim no more"


def suite(keys="sample: 4", expect="finetune", more=""):
    pair = f"  - {{candidate: chat, reference: base, expect: {expect}, {keys}}}\n"
    return loads(f"{MODELS}{more}pairs:\n{pair}", Path("/a.suite.yaml"))


def mistakes(*arguments, **settings):
    with pytest.raises(SuiteError) as caught:
        suite(*arguments, **settings)
    return [(problem.line, problem.message) for problem in caught.value.problems]


def test_a_claim_on_a_sample_is_one_test_of_ranges():
    found = suite()
    (claim,) = found.claims
    assert (claim.sample, claim.scope) == (4, "whole")
    assert parts_of(found, claim) == ["verdict"]
    pair = needs(found, claim, "verdict").pair
    assert (pair.sample, pair.extent) == (4, "sampled")


def test_no_cluster_opens_whole_models_for_a_sample():
    found = suite()
    pair = needs(found, found.claims[0], "verdict").pair
    whole = replace(pair, sample=None, extent="decided")
    assert Plan.of([pair, whole]).of_whole_models().comparisons == (whole,)


def test_the_defaults_hold_for_pairs_that_say_nothing():
    found = suite("tags: [a]", more="defaults: {sample: 2}\n")
    assert found.claims[0].sample == 2
    assert suite("sample: 3", more="defaults: {sample: 2}\n").claims[0].sample == 3


def test_independence_has_to_say_that_it_is_of_the_sample():
    ((line, message),) = mistakes(expect="independent")
    assert line == 4
    assert message.startswith(INDEPENDENCE)
    assert suite("sample: 4, scope: sampled", "independent").claims[0].scope == "sampled"
    assert suite("sample: 4", "independent", "defaults: {scope: sampled, sample: 1}\n").claims


def test_independence_that_a_lineage_implies_has_to_say_it_too():
    lineage = "defaults: {sample: 2}\nlineage:\n  base:\n  chat:\n"
    with pytest.raises(SuiteError, match=INDEPENDENCE):
        loads(MODELS + lineage, Path("/a.suite.yaml"))
    said = lineage.replace("sample: 2", "sample: 2, scope: sampled")
    assert len(loads(MODELS + said, Path("/a.suite.yaml")).claims) == 1


BESIDE = {
    "blocks: [0, 1]": "a sample draws its blocks: give blocks: all",
    "blocks: cross": "a sample draws its blocks: give blocks: all",
    "exhaustive: true": "exhaustive compares all, and a sample some: keep one",
    "statistic: csu": "csu reads the whole of both models: a sample is compared by kinship",
    "statistic: [kinship, match]": "match reads the whole of both models",
    "alpha: {default: 0.001, '0': 0.0001}": "none has an alpha of its own: give one number",
}


@pytest.mark.parametrize(("key", "message"), BESIDE.items(), ids=BESIDE)
def test_what_a_sample_cannot_decide_is_refused_beside_it(key, message):
    ((line, found),) = mistakes(f"sample: 4, {key}")
    assert line == 4
    assert message in found


def test_a_scope_without_a_sample_is_refused():
    assert mistakes("scope: sampled")[0][1].startswith("scope: sampled belongs to a sample")


@pytest.mark.parametrize("number", ["0", "many", "2.5", "20000"])
def test_a_sample_is_a_number_of_blocks(number):
    assert "sample must be" in mistakes(f"sample: {number}")[0][1]


def test_controls_of_whole_models_are_for_claims_of_whole_models():
    found = suite("sample: 4, scope: sampled", "independent", "controls: all\n")
    (claim,) = found.claims
    assert control_tests(found) == {}
    assert parts_of(found, claim) == ["verdict"]
    assert len(needs(found, claim, "verdict").comparisons()) == 1
