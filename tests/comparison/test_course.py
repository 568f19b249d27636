"""provenance/comparison/course.py: a comparison knows its stages before it begins, and makes up none."""

import pytest
import torch
from safetensors.torch import load_file

from fixtures.models import save_checkpoint, tiny_llama
from provenance import Executor, InputsSpec, Store
from provenance.cli import main
from provenance.comparison.course import Course
from provenance.comparison.plan import Comparison
from provenance.vocabulary import ModelSpec, Stage

RANDOM = InputsSpec(kind="random", tokens=256, sequence_length=32)
BROAD = Stage("match", "a against b")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    home = tmp_path_factory.mktemp("models")
    return [
        ModelSpec(path=str(save_checkpoint(tiny_llama(seed), home / str(seed)))) for seed in (0, 1)
    ]


def told(tmp_path, comparison):
    """Which stages were told of with which action, each once."""
    seen = {}
    executor = Executor(
        Store(tmp_path / "store"), "cpu", lambda s: seen.setdefault((str(s.number), s.action))
    )
    evidence = executor.evidence(comparison)
    return list(seen), evidence


def test_all_parts_are_counted_where_all_are_measured(models, tmp_path):
    comparison = Comparison.of(*models, RANDOM, "kinship", extent="all")
    seen, evidence = told(tmp_path, comparison)
    assert evidence.details["measured"] == "match_tokens, match_weights, match"
    assert seen == [
        ("stage 3 of 5", "match"),
        ("stage 4 of 5", "match"),
        ("stage 5 of 5", "load"),
        ("stage 5 of 5", "capture"),
        ("stage 5 of 5", "match"),
    ]


def test_parts_that_may_not_be_needed_are_the_most_there_can_be(models, tmp_path):
    comparison = Comparison.of(models[0], models[0], RANDOM, "kinship")
    seen, evidence = told(tmp_path, comparison)
    assert "not measured" in evidence.details
    assert seen[0] == ("stage 3 of up to 5", "match")
    assert ("stage 5 of up to 5", "capture") not in seen


@pytest.mark.parametrize("statistic", ["match", "match_weights", "l2", "csu"])
def test_a_statistic_of_one_part_has_three_stages(statistic, models, tmp_path):
    seen, _ = told(tmp_path, Comparison.of(*models, RANDOM, statistic))
    assert {number for number, _ in seen} == {"stage 3 of 3"}


def test_weight_files_alone_are_fewer_stages(models):
    course = Course()
    files = Comparison.of(*models, RANDOM, "kinship").of_files()
    with course.of(files, 2):
        course.open(2)
        assert str(course.numbered(BROAD).number) == "stage 2 of 4"
        course.measure("match_weights")
        assert str(course.numbered(BROAD).number) == "stage 4 of 4"
        assert course.numbered(Stage("wait", "a and b")).number is None
    assert course.numbered(BROAD).number is None


def test_what_is_made_belongs_to_the_model_that_is_opened(models, tmp_path):
    pickled = save_checkpoint(tiny_llama(2), tmp_path / "pickled")
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    spec = ModelSpec(path=str(pickled), allow_pickle=True)
    seen, _ = told(tmp_path, Comparison.of(models[0], spec, RANDOM, "match_weights"))
    assert seen[0] == ("stage 2 of 3", "convert")


def test_stored_evidence_is_told_of_without_a_stage(models, tmp_path):
    comparison = Comparison.of(*models, RANDOM, "match_weights")
    told(tmp_path, comparison)
    assert told(tmp_path, comparison)[0] == []


def test_the_log_of_a_ci_system_names_every_part_as_it_begins(
    models, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("CI", "true")
    paths = [str(model.path) for model in models]
    options = ["--store", str(tmp_path / "store"), "--device", "cpu", "--exhaustive"]
    fed = ["--inputs", "random", "--tokens", "256", "--sequence-length", "32"]
    with pytest.raises(SystemExit):
        main(["compare", *paths, *fed, *options])
    lines = capsys.readouterr().err.splitlines()
    matching = [line for line in lines if line.startswith("provenance: match ")]
    assert [line.partition(" (")[2] for line in matching] == [
        "stage 3 of 5)",
        "stage 4 of 5)",
        "stage 5 of 5)",
    ]
