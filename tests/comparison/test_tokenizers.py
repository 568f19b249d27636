"""Models that read by different tokenizers are compared on one text, and each is run once."""

import json

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, AutoTokenizer

from fixtures.models import save_checkpoint
from fixtures.transforms import renumber_vocabulary
from provenance import Executor, InputsSpec, ModelSpec, Store, compare, decide
from provenance.capture.units import read_loss
from provenance.comparison.plan import Comparison
from provenance.vocabulary import Memory

pytestmark = pytest.mark.slow

INPUTS = InputsSpec(tokens=512, sequence_length=64)
END = "<|endoftext|>"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def measured(store):
    """Evidence of `match` on the text, or on other inputs."""

    def measure(candidate, reference, inputs=INPUTS, **options):
        executor = Executor(store)
        options = {"statistic": "match", **options}
        return compare(candidate, reference, inputs=inputs, executor=executor, **options)

    return measure


def changed_tokenizer(source, folder, change):
    """A copy of a model whose tokenizer.json is changed."""
    model, tokenizer = (
        auto.from_pretrained(source) for auto in (AutoModelForCausalLM, AutoTokenizer)
    )
    save_checkpoint(model, folder, tokenizer)
    file = folder / "tokenizer.json"
    fields = json.loads(file.read_text())
    change(fields)
    file.write_text(json.dumps(fields))
    return folder


def renumbered(source, folder):
    """A copy whose vocabulary is in another order, in the tokenizer and in the model alike."""
    model, tokenizer = (
        auto.from_pretrained(source) for auto in (AutoModelForCausalLM, AutoTokenizer)
    )
    model, tokenizer, _ = renumber_vocabulary(model, tokenizer, 4)
    return save_checkpoint(model, folder, tokenizer)


def finer(source, folder):
    """A copy whose tokenizer has forgotten the later half of its merges."""

    def forget(fields):
        merges = fields["model"]["merges"]
        fields["model"]["merges"] = merges[: len(merges) // 2]

    return changed_tokenizer(source, folder, forget)


def begun(source, folder):
    """A copy whose tokenizer puts a token in front of every text."""
    model, tokenizer = (
        auto.from_pretrained(source) for auto in (AutoModelForCausalLM, AutoTokenizer)
    )
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{END} $A {END}", special_tokens=[(END, tokenizer.convert_tokens_to_ids(END))]
    )
    return save_checkpoint(model, folder, tokenizer)


# two tokenizations


def test_kin_with_a_renumbered_vocabulary_agree_at_all_positions(measured, family, tmp_path):
    evidence = measured(renumbered(family.base, tmp_path / "renumbered"), family.base)
    assert [block.agreeing for block in evidence.blocks] == [64, 64, 64]
    assert (evidence.inputs.kind, evidence.inputs.tokens) == ("text", 512)
    assert evidence.inputs.note == (
        "text in two tokenizations: 512 positions where both have a token that ends at the same character"
    )
    random = measured(tmp_path / "renumbered", family.base, InputsSpec("random", tokens=512))
    assert random.log10_p > evidence.log10_p / 10  # other tokens to each: little is left


def test_kin_whose_tokens_end_elsewhere_are_found(measured, family, tmp_path):
    evidence = measured(finer(family.kin, tmp_path / "finer"), family.base)
    assert decide(evidence, 1e-6) == "dependent"
    assert evidence.inputs.kind == "text"
    assert 256 < evidence.inputs.tokens < 512
    assert evidence.inputs.note.startswith(
        f"text in two tokenizations: {evidence.inputs.tokens} positions"
    )


@pytest.mark.parametrize("change", [renumbered, finer, begun])
def test_strangers_with_two_tokenizers_are_not_kin(measured, family, tmp_path, change):
    evidence = measured(change(family.other, tmp_path / "changed"), family.base)
    assert evidence.inputs.kind == "text"
    assert evidence.log10_p > -3


def test_what_was_fed_is_named_alike_whichever_is_the_candidate(measured, family, tmp_path):
    folder = finer(family.kin, tmp_path / "finer")
    one, other = measured(folder, family.base), measured(family.base, folder)
    assert one.inputs.digest == other.inputs.digest
    assert one.inputs.digest != measured(family.kin, family.base).inputs.digest


def test_a_model_is_run_once_on_a_text_whatever_its_partners_tokenizers(
    measured, store, family, tmp_path
):
    folders = [family.base, finer(family.kin, tmp_path / "a"), begun(family.other, tmp_path / "b")]
    for i, candidate in enumerate(folders):
        for reference in folders[:i]:
            measured(candidate, reference)
    assert [entry["kind"] for entry in store.journal()].count("activations") == 3


def test_what_a_plan_captures_is_what_the_comparison_needs(measured, store, family, tmp_path):
    executor = Executor(store)
    specs = [
        ModelSpec(path=str(folder)) for folder in (finer(family.kin, tmp_path / "a"), family.base)
    ]
    comparison = Comparison(*specs, INPUTS, "match")
    for capture in executor.captures(comparison):
        executor.capture(capture)
    computed = [entry["kind"] for entry in store.journal()].count("activations")
    executor.evidence(comparison)
    assert [entry["kind"] for entry in store.journal()].count("activations") == computed == 2


@pytest.mark.parametrize("statistic", ["jsd", "mode_connectivity"])
def test_whole_models_with_two_tokenizers_get_the_same_random_ids(
    measured, family, tmp_path, statistic
):
    folder = renumbered(family.base, tmp_path / "renumbered")
    evidence = measured(folder, family.base, statistic=statistic, permutations=2)
    assert evidence.inputs.kind == "random"
    assert evidence.inputs.note == "random ids: the two tokenizers give different ids for the text"


# what is in front


def test_what_is_in_front_of_a_text_is_fed_and_not_compared(measured, family, tmp_path):
    folder = begun(family.kin, tmp_path / "begun")
    evidence = measured(folder, family.base)
    assert decide(evidence, 1e-6) == "dependent"
    assert (evidence.inputs.kind, evidence.inputs.tokens) == ("text", 512)
    alike = measured(folder, begun(family.base, tmp_path / "base"))
    assert alike.inputs.tokens == 512
    assert alike.inputs.digest not in {
        evidence.inputs.digest,
        measured(family.kin, family.base).inputs.digest,
    }


@pytest.mark.parametrize("statistic", ["jsd", "mode_connectivity"])
def test_whole_models_are_fed_it_too(measured, family, tmp_path, statistic):
    kin, base = (begun(getattr(family, name), tmp_path / name) for name in ("kin", "base"))
    evidence = measured(kin, base, statistic=statistic, permutations=2)
    assert (evidence.inputs.kind, evidence.inputs.tokens) == ("text", 512)
    if statistic == "jsd":
        assert evidence.details["tokens"] == 512


# out of its element


def loud(source, folder):
    """A copy that is sure of the wrong tokens."""
    model, tokenizer = (
        auto.from_pretrained(source) for auto in (AutoModelForCausalLM, AutoTokenizer)
    )
    with torch.no_grad():
        model.lm_head.weight.mul_(20)
    return save_checkpoint(model, folder, tokenizer)


def test_of_a_model_that_is_out_of_its_element_no_independence_is_believed(
    measured, family, tmp_path
):
    evidence = measured(loud(family.other, tmp_path / "loud"), family.base)
    assert evidence.out_of_element() == ("candidate",)
    assert evidence.details["candidate_loss"] > evidence.details["reference_loss"] + 1
    assert evidence.details["candidate_vocabulary"] == 300
    assert decide(evidence, 1e-6) == "inconclusive"
    untrained = measured(family.other, family.base)
    assert (untrained.out_of_element(), decide(untrained, 1e-6)) == ((), "independent")
    kin = measured(loud(family.kin, tmp_path / "kin"), family.base)
    assert (kin.out_of_element(), decide(kin, 1e-6)) == (("candidate",), "dependent")


def test_of_random_ids_there_is_no_loss(measured, family):
    evidence = measured(family.other, family.base, InputsSpec("random", tokens=512))
    assert not {"candidate_loss", "reference_loss"} & set(evidence.details)


@pytest.mark.parametrize("change", [finer, begun])
def test_the_loss_is_that_of_the_first_sequence(store, family, tmp_path, change):
    folder = change(family.base, tmp_path / "changed")
    executor = Executor(store)
    checkpoint = executor.checkpoint(ModelSpec(path=str(folder)))
    fed = executor.work.encoded.for_one(InputsSpec(tokens=512, sequence_length=200), checkpoint)
    entry = executor.work.activations(checkpoint, fed, gated=True)
    sequence = fed.sequences()[0]
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        logits = model(input_ids=sequence[None]).logits[0]
    losses = torch.nn.functional.cross_entropy(logits[:-1], sequence[1:], reduction="none")
    loss = read_loss(entry.path)
    assert loss.nats == pytest.approx(float(losses[:127].mean()), rel=1e-4)
    assert loss.vocabulary == 300


def test_a_streamed_model_has_its_loss_from_the_same_pass(store, family, tmp_path):
    details = [
        compare(
            family.kin,
            family.base,
            inputs=INPUTS,
            statistic="match",
            executor=Executor(Store(tmp_path / name), memory=memory),
        ).details
        for name, memory in (("loaded", Memory()), ("streamed", Memory(resident=1)))
    ]
    assert details[0].keys() == details[1].keys() >= {"candidate_loss", "reference_loss"}
    for name, value in details[0].items():
        other = details[1][name]
        assert value == (pytest.approx(other, rel=1e-5) if isinstance(value, float) else other)
