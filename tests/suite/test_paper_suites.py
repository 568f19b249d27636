"""The paper's tables as suites: what they claim is what the paper found. Nothing is downloaded."""

from collections import Counter

import numpy as np  # noqa: F401  pytester forgets what a run imported, and numpy cannot be imported twice
import pytest

from provenance import load_suite
from tests.support.places import ROOT

SUITES = ROOT / "suites"
PAPER = ["llama2_7b", "llama3_pruning", "llama70b", "hybrids"]


def suite(name):
    return load_suite(SUITES / f"{name}.suite.yaml")


def test_the_paper_has_210_pairs_of_21_models_of_which_69_are_kin():
    found = suite("llama2_7b")
    assert len({spec.repo for spec in found.models.values()}) == 21
    assert Counter(claim.expect for claim in found.claims) == {"derived": 69, "independent": 141}
    roots = [name for name, parent in found.lineage if parent is None]
    assert len(roots) == 7


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama3_pruning", {"pruned": 5}),
        ("llama70b", {"derived": 1, "unknown": 5}),
        ("hybrids", {"derived": 2, "finetune": 1, "pruned": 1, "unknown": 3}),
        ("family", {"derived": 12, "independent": 16}),
    ],
)
def test_the_other_tables(name, expected):
    assert Counter(claim.expect for claim in suite(name).claims) == expected


@pytest.mark.parametrize("name", PAPER)
def test_every_model_comes_from_the_hub_and_takes_no_pickle_and_no_code(name):
    found = suite(name)
    assert all(spec.repo for spec in found.models.values())
    assert not any(spec.allow_pickle or spec.trust_remote_code for spec in found.models.values())
    assert {claim.tags for claim in found.claims} == {("hub", "gpu")}


def test_the_family_has_two_trees_of_four():
    found = suite("family")
    assert len(found.models) == 8
    assert [name for name, parent in found.lineage if parent is None] == ["base", "other"]


@pytest.mark.slow
def test_all_their_tests_are_listed_without_the_hub(pytester, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    paths = [str(SUITES / f"{name}.suite.yaml") for name in PAPER]
    result = pytester.runpytest("--collect-only", "-q", "-p", "no:cacheprovider", *paths)
    assert result.ret == 0
    listed = [line for line in result.outlines if "[verdict]" in line]
    assert len(listed) == 210 + 5 + 6 + 7


@pytest.mark.slow
def test_a_plain_run_leaves_them_out(pytester):
    paths = [str(SUITES / f"{name}.suite.yaml") for name in PAPER]
    result = pytester.runpytest("-p", "no:cacheprovider", *paths)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(
        ["provenance: 455 tests need models from the hub and were not run;*"]
    )
