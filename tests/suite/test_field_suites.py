"""The field's own tables as suites: counts and pairs are the published ones. Nothing is downloaded."""

import re
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256

import numpy as np  # noqa: F401  pytester forgets what a run imported, and numpy cannot be imported twice
import pytest

from provenance import load_suite
from provenance.comparison.plan import VERDICT, Plan, needs
from tests.support.places import ROOT

SUITES = ROOT / "suites"


@dataclass(frozen=True)
class Published:
    """What a list says of itself.

    ``digest`` is the SHA-256 of its pairs of repositories, and was taken from the list, not from the suite.
    """

    models: int
    expects: dict[str, int]
    tags: dict[str, int]
    skipped: int = 0
    digest: str | None = None

    @property
    def claims(self) -> int:
        return sum(self.expects.values())


PUBLISHED = {
    "awm": Published(
        models=94,  # 92 of configs.py, one more of README, and Llama 3 in both its releases
        expects={"finetune": 20, "derived": 30, "pruned": 10, "independent": 81, "unknown": 9},
        tags={
            "sft": 10,
            "cpt": 10,
            "rl": 10,
            "multimodal": 10,
            "pruning": 10,
            "moe": 10,
            "strangers": 90,
        },
        skipped=9,
        digest="09911ca091e7eb3b180c6f2cd46727b89fc05e21862c4416fd9c81ca2075ac55",
    ),
    "lineagebench": Published(
        models=23,
        expects={
            "finetune": 10,
            "derived": 3,
            "merge": 1,
            "quantized": 1,
            "independent": 107,
        },
        tags={"hard_negatives": 107},
        digest="e779d213578313c7eaf0e61fa810262e28d57abce982c71a83e22232e6300f77",
    ),
    "mpk": Published(
        models=136,
        expects={
            "identical": 1,
            "finetune": 31,
            "derived": 10,
            "quantized": 2,
            "pruned": 1,
            "independent": 23,
            "unknown": 43,
        },
        tags={"similar": 55, "dissimilar": 56},
        skipped=43,
        digest="1bd6eafc7ac2ada0a61d7e38f48a7880f09cd5c9f2b7752747157a482965769b",
    ),
    "leafbench": Published(
        models=65,
        expects={"derived": 104, "independent": 650},
        tags={"strangers": 650},
        digest="7b4d651d9ee73526bcf3827f4c7cb4ffa427da607caf8990e0ed9803dc13b54d",
    ),
    "polypythias": Published(
        models=56,
        expects={"unknown": 231, "derived": 6},
        tags={"seeds": 225, "one_start": 6, "one_order": 6},
        digest="212e2241947aa37908d6c47716b63bf76e1c7c43d8206964a06bd6f783d17c7c",
    ),
    "disputes": Published(
        models=24,
        expects={"independent": 5, "derived": 7, "finetune": 2, "unknown": 5},
        tags={
            "solar": 5,
            "pangu": 1,
            "minicpm": 3,
            "yi": 3,
            "miqu": 1,
            "hyperclova": 2,
            "reflection": 4,
        },
        skipped=2,
    ),
}

every_list = pytest.mark.parametrize("name", PUBLISHED)


def path(name):
    return SUITES / f"{name}.suite.yaml"


def suite(name):
    return load_suite(path(name))


def repositories(found):
    """The two repositories of every claim, in one order."""
    return [
        tuple(sorted((found.models[claim.candidate].repo, found.models[claim.reference].repo)))
        for claim in found.claims
    ]


def part(spec):
    """The repository, and which part of the model."""
    return spec.repo, spec.component


@every_list
def test_models_and_claims_are_as_many_as_published(name):
    found, published = suite(name), PUBLISHED[name]
    assert len(found.models) == len(set(map(part, found.models.values()))) == published.models
    assert Counter(claim.expect for claim in found.claims) == published.expects
    tags = Counter(tag for claim in found.claims for tag in claim.tags)
    assert {tag: tags[tag] for tag in published.tags} == published.tags


@every_list
def test_every_model_has_a_name_of_the_hub_and_takes_no_pickle_and_no_code(name):
    found = suite(name)
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", spec.repo) for spec in found.models.values())
    assert not any(spec.allow_pickle or spec.trust_remote_code for spec in found.models.values())
    assert not any(spec.revision for spec in found.models.values())  # no list pins one


@every_list
def test_no_pair_stands_twice_and_no_model_for_nothing(name):
    found = suite(name)
    pairs = [
        frozenset(part(found.models[name]) for name in (claim.candidate, claim.reference))
        for claim in found.claims
    ]
    assert len(set(pairs)) == len(pairs)
    assert all(len(pair) == 2 for pair in pairs)
    assert set().union(*pairs) == set(map(part, found.models.values()))


@pytest.mark.parametrize("name", [name for name, one in PUBLISHED.items() if one.digest])
def test_the_pairs_are_those_of_the_list(name):
    lines = sorted(" ".join(pair) for pair in repositories(suite(name)))
    assert sha256("\n".join(lines).encode()).hexdigest() == PUBLISHED[name].digest


@every_list
def test_what_cannot_be_decided_is_claimed_by_nobody_and_skipped_with_a_reason(name):
    skipped = [claim for claim in suite(name).claims if claim.skip is not None]
    assert len(skipped) == PUBLISHED[name].skipped
    assert all(claim.expect == "unknown" or "withdrawn" in claim.skip for claim in skipped)


@every_list
def test_the_plan_is_made_without_reading_a_model(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", None)  # a call would fail
    found = suite(name)
    tested = [claim for claim in found.claims if claim.skip is None]
    plan = Plan.of(
        one for claim in found.claims for one in needs(found, claim, VERDICT).comparisons()
    )
    assert len(plan.comparisons) == len(tested) == PUBLISHED[name].claims - PUBLISHED[name].skipped
    assert {spec.repo for spec in plan.models()} == {
        found.models[side].repo for claim in tested for side in (claim.candidate, claim.reference)
    }


@every_list
def test_its_head_says_that_it_was_not_run_and_what_runs_it(name):
    head = path(name).read_text("utf-8").partition("version: 1")[0]
    prose = " ".join(head.replace("#", " ").split())
    assert "Not run by us" in prose
    assert f"pytest suites/{name}.suite.yaml --provenance-hub" in prose
    assert "read on 2026-11-30" in prose


@every_list
def test_no_claim_is_run_without_the_hub_and_small_ones_need_no_gpu(name):
    claims = suite(name).claims
    assert all("hub" in claim.tags for claim in claims)
    assert not any({"small", "gpu"} <= set(claim.tags) for claim in claims)


def test_small_pairs_can_be_chosen():
    small = {name: sum("small" in one.tags for one in suite(name).claims) for name in PUBLISHED}
    assert small == {
        "awm": 6,
        "lineagebench": 1,
        "mpk": 26,
        "leafbench": 39,
        "polypythias": 192,
        "disputes": 0,
    }


def test_nothing_shows_independence_of_plain_mlps_so_nothing_claims_it():
    found = suite("polypythias")
    assert {claim.statistic for claim in found.claims} == {"csu"}
    assert {claim.expect for claim in found.claims if "seeds" in claim.tags} == {"unknown"}
    starts = {
        side for c in found.claims if "one_start" in c.tags for side in (c.candidate, c.reference)
    }
    assert starts == {"pythia-160m", *(f"pythia-160m-data-seed{n}" for n in (1, 2, 3))}


@pytest.mark.parametrize("size", ["14m", "31m", "70m", "160m", "410m"])
def test_ten_seeds_of_a_size_are_45_pairs(size):
    claims = [
        claim for claim in suite("polypythias").claims if {"seeds", f"s{size}"} <= set(claim.tags)
    ]
    assert len(claims) == 45
    assert len({side for claim in claims for side in (claim.candidate, claim.reference)}) == 10


@every_list
def test_the_page_about_them_has_the_same_counts(name):
    page = (ROOT / "docs" / "lists.md").read_text("utf-8")
    (row,) = re.findall(rf"^\| `{name}` \|.*$", page, re.MULTILINE)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    found = suite(name)
    tested = Counter(claim.expect for claim in found.claims if claim.skip is None)
    strangers, unknown = tested.pop("independent", 0), tested.pop("unknown", 0)
    skipped = PUBLISHED[name].skipped
    counts = [len(found.models), sum(tested.values()), strangers, unknown, skipped]
    assert [int(cell) for cell in cells[2:7]] == counts
    assert cells[-1] == "no"


@pytest.mark.slow
def test_all_their_tests_are_listed_without_the_hub(pytester, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    paths = [str(path(name)) for name in PUBLISHED]
    result = pytester.runpytest("--collect-only", "-q", "-p", "no:cacheprovider", *paths)
    assert result.ret == 0
    listed = [line for line in result.outlines if "[verdict]" in line]
    assert len(listed) == sum(published.claims for published in PUBLISHED.values())


@pytest.mark.slow
def test_a_plain_run_leaves_them_out(pytester):
    result = pytester.runpytest("-p", "no:cacheprovider", *(str(path(name)) for name in PUBLISHED))
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(
        ["provenance: 2786 tests need models from the hub and were not run;*"]
    )
