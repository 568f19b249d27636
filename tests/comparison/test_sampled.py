"""Sampled comparisons: what is found, what is read for it, and what it says where nothing is."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import pytest
import torch
from huggingface_hub import close_session

from fixtures.synthetic_weights import Size, Weights, write_checkpoint
from provenance import Executor, ProvenanceError, Store, compare
from provenance.evidence.decide import decide
from provenance.evidence.records import Evidence, EvidenceError
from provenance.vocabulary import ModelSpec
from tests.support.hub_server import serve

DENSE = Size(blocks=5, hidden=64, units=96, vocabulary=400)
MIXTURE = Size(blocks=3, hidden=64, units=72, vocabulary=400, experts=20)
ALPHA = 1e-6


@pytest.fixture(autouse=True)
def sessions():
    yield
    close_session()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of a base, of a copy in a disguise, and of a stranger; dense ones and mixtures."""
    root = tmp_path_factory.mktemp("models")
    found = {}
    for kind, size in (("dense", DENSE), ("mixture", MIXTURE)):
        for name, weights in {
            "base": Weights(size, 0),
            "copy": Weights(size, 0, disguise=7),
            "stranger": Weights(size, 1),
        }.items():
            found[kind, name] = write_checkpoint(root / kind / name, weights)
    deep = replace(DENSE, blocks=7)
    found["dense", "deep"] = write_checkpoint(root / "deep", Weights(deep, 0))
    return found


@pytest.fixture
def executor(tmp_path):
    return Executor(Store(tmp_path / "store"), "cpu")


def sampled(executor, models, kind, candidate, reference="base", sample=2, **settings):
    paths = (str(models[kind, name]) for name in (candidate, reference))
    return compare(*paths, sample=sample, executor=executor, **settings)


@pytest.mark.parametrize("kind", ["dense", "mixture"])
def test_a_copy_in_a_disguise_is_found_in_a_sample(executor, models, kind):
    found = sampled(executor, models, kind, "copy")
    assert decide(found, ALPHA) == "dependent"
    assert len(found.blocks) == 2
    assert all(block.candidate_block == block.reference_block for block in found.blocks)
    assert found.scope == "sampled"
    assert found.details["measured"] == "match_tokens"


@pytest.mark.parametrize("kind", ["dense", "mixture"])
def test_of_a_stranger_nothing_is_found_and_that_is_no_independence(executor, models, kind):
    found = sampled(executor, models, kind, "stranger")
    assert decide(found, ALPHA) == "not found"
    assert found.details["measured"] == "match_tokens, match_weights"
    assert {role: record.found_at(ALPHA) for role, record in found.power.items()} == {
        "candidate": True,
        "reference": True,
    }


def test_names_are_doubted_where_whoever_saved_the_model_chose_them(executor, models, tmp_path):
    assert sampled(executor, models, "mixture", "stranger", sample=1).candidate.by_names == ()
    own = tmp_path / "own"
    shutil.copytree(models["mixture", "stranger"], own)
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps(config | {"model_type": "its_own"}))
    found = compare(str(own), str(models["mixture", "base"]), sample=1, executor=executor)
    assert found.candidate.by_names
    assert decide(found, ALPHA) == "not found"


def test_the_experts_that_are_alike_are_tested(executor, models):
    found = sampled(executor, models, "mixture", "copy", sample=3)
    order = Weights(MIXTURE, 0, disguise=7)
    for block in found.blocks:
        truth = order._order(f"experts of {block.candidate_block}", MIXTURE.experts)
        partners = {
            int(one.candidate.split()[1]): one.reference
            for one in block.experts
            if one.log10_p is not None and one.candidate.startswith("expert")
        }
        assert len(partners) == 3
        assert partners == {place: f"expert {truth[place]}" for place in partners}


def test_experts_are_found_without_a_router_that_tells(executor, models, monkeypatch):
    monkeypatch.setattr(
        "provenance.comparison.choosing.routers_alike",
        lambda ours, theirs: torch.zeros(len(ours), len(theirs)),
    )
    assert decide(sampled(executor, models, "mixture", "copy"), ALPHA) == "dependent"


def test_a_block_at_another_place_is_found(executor, models):
    found = sampled(executor, models, "dense", "base", "deep", sample=5)
    assert [block.reference_block for block in found.blocks] == [0, 1, 2, 3, 4]
    assert found.pairing == "best-of-reference"


def test_p_is_corrected_for_every_partner_that_could_have_been_chosen(executor, models):
    """Of all pairs of experts and of blocks, as if all had been tested."""
    found = sampled(executor, models, "mixture", "copy", sample=1)
    (block,) = found.blocks
    best = min(part.log10_p for part in block.parts if part.log10_p is not None)
    mlps = MIXTURE.experts + 1
    tests = 3 * mlps**2 * 2  # three parts; half of the level is for the block of equal index
    assert block.log10_p == pytest.approx(best + math.log10(tests), abs=1e-9)


def test_what_is_not_needed_is_not_read(executor, models):
    found = sampled(executor, models, "mixture", "copy", sample=1)
    for ranges in found.ranges.values():
        assert ranges.bytes < ranges.of / 4
        assert ranges.files == {}


def test_disk_and_hub_give_one_evidence_and_the_hub_says_what_the_whole_is(
    models, tmp_path, monkeypatch
):
    near = sampled(Executor(Store(tmp_path / "a"), "cpu"), models, "dense", "copy")
    files = {
        f"org/{name}": {file.name: file.read_bytes() for file in models["dense", name].iterdir()}
        for name in ("copy", "base")
    }
    with serve(files["org/base"]) as hub:
        hub.others = files
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        )
        far = compare(
            ModelSpec(repo="org/copy"),
            ModelSpec(repo="org/base"),
            sample=2,
            executor=Executor(Store(tmp_path / "b"), "cpu"),
        )
    assert decide(far, ALPHA) == decide(near, ALPHA) == "dependent"
    assert far.candidate.source.startswith("repo:org/copy@0123")
    assert far.candidate.weights_digest is None
    assert {role: ranges.of for role, ranges in far.ranges.items()} == {
        role: ranges.of for role, ranges in near.ranges.items()
    }


def test_evidence_of_a_sample_is_read_back(executor, models):
    found = sampled(executor, models, "dense", "copy")
    assert Evidence.from_json(found.to_json()) == found
    with pytest.raises(EvidenceError, match="scope: it is 'whole', and there are ranges of"):
        Evidence.from_json(replace(found, scope="whole").to_json())
    with pytest.raises(
        EvidenceError, match="scope: it is 'sampled', and there are ranges of neither"
    ):
        Evidence.from_json(replace(found, ranges={}).to_json())
    details = {key: text for key, text in found.details.items() if key != "sample"}
    with pytest.raises(EvidenceError, match="its details name no sample"):
        Evidence.from_json(replace(found, details=details).to_json())
    ranges = {role: replace(one, files={"a": "b" * 63}) for role, one in found.ranges.items()}
    with pytest.raises(EvidenceError, match="what stands for 'a' is no SHA-256"):
        Evidence.from_json(replace(found, ranges=ranges).to_json())


def test_a_sample_is_kept_apart_from_the_whole_and_measured_once(executor, models):
    first = sampled(executor, models, "dense", "copy")
    again = sampled(Executor(executor.store, "cpu"), models, "dense", "copy")
    assert again == first
    assert sampled(executor, models, "dense", "copy", sample=3) != first


@pytest.mark.parametrize("statistic", ["match", "csu", "csu_all", "generalized"])
def test_statistics_of_the_whole_take_no_sample(executor, models, statistic):
    with pytest.raises(
        ProvenanceError, match="reads the whole of both models: a sample is compared"
    ):
        sampled(executor, models, "dense", "copy", statistic=statistic)


def test_a_model_of_one_statistic_alone_is_sampled_too(executor, models):
    found = sampled(executor, models, "dense", "base", statistic="match_weights")
    assert decide(found, ALPHA) == "dependent"


def test_a_budget_that_is_too_small_is_refused_and_nothing_is_kept(models, tmp_path):
    executor = Executor(Store(tmp_path / "store"), "cpu", budget=100_000)
    with serve({f.name: f.read_bytes() for f in models["dense", "base"].iterdir()}) as hub:
        url = f"{hub.endpoint}/org/tiny/resolve/main"
        with pytest.raises(
            ProvenanceError, match="the budget is 100,000: raise --budget, or lower"
        ):
            compare(str(models["dense", "copy"]), url, sample=4, executor=executor)
        assert hub.moved <= 100_000
    assert "evidence" not in executor.store.size()


def test_a_fingerprint_has_nothing_to_sample(executor, models, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(
        ProvenanceError, match="is an adapter, and parts are read of a model's own safetensors"
    ):
        compare(str(adapter), str(models["dense", "base"]), sample=1, executor=executor)
