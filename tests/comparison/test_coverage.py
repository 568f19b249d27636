"""Pairs of which most was not compared, or that were fed what tells nothing, are not called independent."""

import json
from dataclasses import replace

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from fixtures.models import save_checkpoint
from provenance import InputsSpec, compare
from provenance.comparison.executor import Executor
from provenance.comparison.plan import Comparison
from provenance.evidence.decide import decide
from provenance.evidence.doubts import LEAST_COVERAGE, doubts
from provenance.store.store import Store
from provenance.vocabulary import Memory, ModelSpec

INPUTS = InputsSpec(tokens=512, sequence_length=64)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def measured(kept):
    def measured(candidate, reference, inputs=INPUTS, memory=None, statistic="match"):
        executor = Executor(kept) if memory is None else Executor(kept, memory=memory)
        return compare(candidate, reference, inputs=inputs, statistic=statistic, executor=executor)

    return measured


def changed(source, folder, change, *, tokenizer=True):
    model = AutoModelForCausalLM.from_pretrained(source)
    change(model)
    read = AutoTokenizer.from_pretrained(source) if tokenizer else None
    return save_checkpoint(model, folder, read)


def idle(model):
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.data.zero_()


def test_strangers_are_covered_and_independent(measured, family):
    evidence = measured(family.other, family.base)
    assert decide(evidence, 1e-6) == "independent"
    assert not doubts(evidence)
    for coverage in evidence.coverage.values():
        assert min(coverage.share, coverage.effect, *coverage.blocks) > 1.5 * LEAST_COVERAGE
    assert evidence.inputs.distinct == (evidence.inputs.distinct[0],) * 2
    assert evidence.details["candidate_rank"] > 10


@pytest.mark.parametrize("role", ["candidate", "reference"])
def test_a_model_whose_mlps_are_idle_is_no_stranger(measured, family, tmp_path, role):
    folder = changed(family.other, tmp_path / "idle", idle)
    pair = (folder, family.base) if role == "candidate" else (family.base, folder)
    evidence = measured(*pair)
    assert evidence.coverage[role].share == 0.0
    assert decide(evidence, 1e-6) == "inconclusive"
    assert f"Most of the {role} was not compared" in doubts(evidence)[0]


@pytest.mark.parametrize("text", ["a" * 20_000, ("\x07" * 64 + "\x08" * 64) * 200])
def test_a_text_of_one_letter_or_two_is_no_test(measured, family, tmp_path, text):
    file = tmp_path / "text.txt"
    file.write_text(text)
    inputs = InputsSpec(text=str(file), tokens=512, sequence_length=64)
    evidence = measured(family.other, family.base, inputs, statistic="kinship")
    assert max(evidence.inputs.distinct) <= 3
    assert decide(evidence, 1e-6) == "inconclusive"


def test_without_the_references_tokenizer_no_text_is_read(measured, family, tmp_path):
    bare = changed(family.base, tmp_path / "bare", lambda _: None, tokenizer=False)
    evidence = measured(family.other, bare)
    assert (evidence.inputs.kind, evidence.inputs.asked) == ("random", "text")
    assert decide(evidence, 1e-6) == "inconclusive"
    asked = measured(family.other, bare, InputsSpec("random", tokens=512, sequence_length=64))
    assert (asked.inputs.asked, decide(asked, 1e-6)) == (None, "independent")


def test_a_borrowed_tokenizer_must_fit(measured, family, tmp_path):
    """An untrained model reads no text better than by guessing, whatever its tokenizer."""
    bare = changed(family.other, tmp_path / "bare", lambda _: None, tokenizer=False)
    evidence = measured(bare, family.base)
    assert evidence.inputs.borrowed
    assert decide(evidence, 1e-6) == "inconclusive"
    kin = measured(
        changed(family.kin, tmp_path / "k", lambda _: None, tokenizer=False), family.base
    )
    assert decide(kin, 1e-6) == "dependent"


def test_a_control_is_fed_what_the_reference_is_fed_beside_the_candidate(kept, family, tmp_path):
    """The candidate says that it takes sequences of 16: so the pair is fed these, and its control."""
    short = changed(family.other, tmp_path / "short", lambda _: None)
    config = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 16}))
    models = [ModelSpec(path=str(folder)) for folder in (short, family.base)]
    pair = Comparison.of(*models, INPUTS, "match")
    disguised = replace(models[1], disguised="all")
    executor = Executor(kept)
    plain = Comparison.of(disguised, models[1], INPUTS, "match")
    found, control, other = (
        executor.evidence(one) for one in (pair, replace(plain, fed_as=models[0]), plain)
    )
    assert control.inputs.digest == found.inputs.digest != other.inputs.digest
    assert [one.inputs.sequence_length for one in (found, control, other)] == [16, 16, 64]
    assert decide(control, 1e-6) == "dependent"
    alike = replace(plain, fed_as=ModelSpec(path=str(family.other)))
    assert executor.evidence(alike).created == other.created  # one control serves both


def test_a_streamed_model_is_covered_as_a_loaded_one(family, tmp_path):
    found = [
        compare(
            family.other,
            family.base,
            inputs=INPUTS,
            statistic="match",
            executor=Executor(Store(tmp_path / name), memory=memory),
        ).coverage["candidate"]
        for name, memory in (("loaded", Memory()), ("streamed", Memory(resident=1)))
    ]
    assert found[0].share == pytest.approx(found[1].share, rel=1e-4)
    assert found[0].effect == pytest.approx(found[1].effect, rel=1e-4)
    assert found[0].blocks == pytest.approx(found[1].blocks, rel=1e-4)
