"""No composition of changes that keep the function makes a copy independent."""

import dataclasses

import pytest
import torch

from fixtures import transforms
from provenance.inputs import corpus
from tests.adversary.bench import Bench, loaded
from tests.adversary.compositions import CHANGES, TEXT, Step, composed, drawn, parsed, written
from tests.adversary.copies import attempt, drawn_attempt, tried

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def case(bench):
    return loaded(bench.base(0))


def is_no_stranger(bench, what):
    finding, made = tried(bench, what)
    assert finding.verdict != "independent", f"{finding}; to repeat it: {made.command}"


@pytest.mark.parametrize("seed", range(20))
def test_a_copy_is_not_called_independent(bench, seed):
    is_no_stranger(bench, drawn_attempt(seed, ("silu",)))


@pytest.mark.parametrize("scale", [3.0, 30.0])
def test_halves_in_two_experts_of_the_same_width_are_found(bench, case, scale):
    halves = transforms.crumble(transforms.split_units(case.model, 1, scale=scale), 2, 1)
    finding = bench.found(dataclasses.replace(case, model=halves), bench.base(0))
    assert finding.verdict == "dependent"


@pytest.mark.extended
@pytest.mark.parametrize("seed", range(20, 520))
def test_no_copy_of_many_is_called_independent(bench, seed):
    is_no_stranger(bench, drawn_attempt(seed))


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_keeps_the_function_and_leaves_the_model_alone(case, name):
    before = {key: tensor.clone() for key, tensor in case.model.state_dict().items()}
    steps = parsed("crumble:1" if name == "permute_experts" else "")
    changed, made = composed(case, [*steps, Step(name, 5)], corpus.text(*TEXT))
    assert len(made) == len(steps) + 1
    after = case.model.state_dict()
    assert all(torch.equal(tensor, after[key]) for key, tensor in before.items())
    ids = changed.tokenizer("import sys", add_special_tokens=False)["input_ids"]
    old = case.tokenizer("import sys", add_special_tokens=False)["input_ids"]
    assert changed.order[old].tolist() == ids


def test_a_composition_can_be_repeated_from_what_is_printed():
    for seed in range(200):
        made = drawn_attempt(seed)
        assert attempt(str(made)) == made
        assert parsed(written(made.steps)) == made.steps == drawn(seed)
    names = {step.name for seed in range(500) for step in drawn(seed)}
    assert names == set(CHANGES)
