"""What weight files decide is not measured by running models; p-values are corrected as if it were."""

import dataclasses
import itertools
import json
import math

import pytest
import torch
from scipy import stats

from fixtures.models import save_checkpoint, tiny_llama
from fixtures.transforms import (
    add_idle_units,
    add_noise,
    renumber_vocabulary,
    transplant_mlp,
    widen_stream,
)
from provenance import Executor, InputsSpec, ModelSpec, Store, compare, decide, transforms
from provenance.comparison import per_model
from provenance.comparison.plan import Comparison
from provenance.errors import DegenerateError, InputError, ProvenanceError
from provenance.evidence.decide import is_decided
from provenance.statistics import REGISTRY
from provenance.vocabulary import DECIDED

pytestmark = pytest.mark.slow

INPUTS = InputsSpec(tokens=512, sequence_length=64)
PARTS = ("match_tokens", "match_weights", "match")


@pytest.fixture
def executor(tmp_path):
    return Executor(Store(tmp_path / "store"), "cpu")


@pytest.fixture
def measured(executor):
    def measured(candidate, reference, **how):
        return compare(candidate, reference, **{"inputs": INPUTS, "executor": executor, **how})

    return measured


@pytest.fixture
def no_model(monkeypatch):
    """Whoever loads a model, or runs one, fails the test."""

    def refuse(*_, **__):
        pytest.fail("a model was loaded")

    import provenance.loading.model as loading

    monkeypatch.setattr(loading, "load_model", refuse)
    monkeypatch.setattr(per_model.PerModel, "capture", refuse)


def kinds(executor):
    return [entry["kind"] for entry in executor.store.journal()]


def parts_of(block):
    return {part.statistic: part.log10_p for part in block.parts}


def without_time(evidence):
    return dataclasses.replace(evidence, created="").to_json()


def saved(model, folder, tokenizer=None):
    return save_checkpoint(model, folder, tokenizer)


# where files decide


def test_kin_are_told_without_a_model_in_memory(measured, executor, family, no_model):
    del no_model
    for candidate in (family.kin, family.short):
        evidence = measured(candidate, family.base)
        assert decide(evidence, 1e-6) == "dependent"
        assert is_decided(evidence)
        assert (evidence.inputs.kind, evidence.inputs.text) == ("tokens", None)
        assert evidence.candidate.dtype == "as stored"
    assert set(kinds(executor)) == {"hashes", "evidence"}


def test_evidence_says_what_was_measured_and_why_the_rest_was_not(measured, family):
    evidence = measured(family.kin, family.base)
    assert evidence.details["measured"] == "match_tokens"
    told = evidence.details["not measured"]
    assert all(f"{part}: every block was decided without it" in told for part in PARTS[1:])
    for block in evidence.blocks:
        assert parts_of(block)["match_tokens"] < DECIDED
        assert [part.statistic for part in block.parts] == list(PARTS)
        assert {part.reason for part in block.parts[1:]} == {
            "not measured: match_tokens decides the block"
        }


def test_strangers_are_measured_by_all_parts(measured, executor, family):
    evidence = measured(family.other, family.base)
    assert evidence.details["measured"] == ", ".join(PARTS)
    assert "not measured" not in evidence.details
    assert evidence.details["token embeddings"].endswith("shared tokens, by their text")
    assert evidence.inputs.kind == "text"
    assert kinds(executor).count("activations") == 2
    assert decide(evidence, 1e-6) == "independent"
    assert all(None not in parts_of(block).values() for block in evidence.blocks)


def test_a_block_pays_for_all_parts_and_partners_measured_or_not(measured, family):
    """Three blocks: half of the level for the same index, a quarter for each of the others."""
    for candidate, choices in ((family.kin, 2), (family.short, 3)):
        for block in measured(candidate, family.base).blocks:
            least = min(p for p in parts_of(block).values() if p is not None)
            assert block.log10_p == pytest.approx(least + math.log10(3 * choices))


@pytest.mark.parametrize("candidate", ["kin", "other", "short"])
def test_exhaustive_measures_every_part_on_every_pair(measured, family, candidate):
    evidence = measured(getattr(family, candidate), family.base, exhaustive=True, cross=True)
    assert evidence.details["measured"] == ", ".join(PARTS)
    assert all(None not in parts_of(block).values() for block in evidence.blocks)
    assert all(cell is not None for row in evidence.cross for cell in row)


def test_exhaustive_and_not_agree_on_what_both_measured(measured, family):
    """Early ends cost kin something, and nothing else: the correction is the same."""
    for candidate in ("kin", "other", "short"):
        some = measured(getattr(family, candidate), family.base)
        whole = measured(getattr(family, candidate), family.base, exhaustive=True)
        assert decide(some, 1e-6) == decide(whole, 1e-6)
        for one, other in zip(some.blocks, whole.blocks, strict=True):
            assert other.log10_p <= one.log10_p + 1e-9
            if one.reference_block == other.reference_block:
                known = {k: p for k, p in parts_of(one).items() if p is not None}
                assert known.items() <= parts_of(other).items()


def test_one_block_that_files_leave_in_doubt_is_all_that_is_captured_for(
    measured, family, tmp_path
):
    """The others keep what files say of them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(family.kin)
    stranger = AutoModelForCausalLM.from_pretrained(family.other)
    mixed = transplant_mlp(model, stranger, [1])
    folder = saved(mixed, tmp_path / "mixed", AutoTokenizer.from_pretrained(family.kin))
    evidence = measured(folder, family.base)
    measured_of = {block.candidate_block: parts_of(block) for block in evidence.blocks}
    assert [p is None for p in measured_of[0].values()] == [False, True, True]
    assert [p is None for p in measured_of[2].values()] == [False, True, True]
    assert None not in measured_of[1].values()
    assert evidence.details["measured"] == ", ".join(PARTS)
    shown = [block.candidate_block for block in evidence.blocks if block.log10_p < DECIDED]
    assert shown == [0, 2]


# the store


@pytest.mark.parametrize("candidate", ["kin", "other"])
def test_evidence_does_not_depend_on_what_the_store_holds(family, tmp_path, candidate):
    models = getattr(family, candidate), family.base
    cold = Executor(Store(tmp_path / "cold"), "cpu")
    warm = Executor(Store(tmp_path / "warm"), "cpu")
    for statistic in (*PARTS, "csh"):
        compare(*models, inputs=INPUTS, statistic=statistic, executor=warm)
    specs = [ModelSpec(path=str(path)) for path in models]
    whole = Comparison.of(*specs, INPUTS, "kinship")
    warm.evidence(whole.of_files())
    found = [
        without_time(compare(*models, inputs=INPUTS, executor=executor))
        for executor in (cold, warm)
    ]
    assert found[0] == found[1]


def test_what_must_be_captured_is_nothing_once_files_have_decided(executor, family):
    def asked(candidate, **how):
        specs = [ModelSpec(path=str(path)) for path in (candidate, family.base)]
        return Comparison.of(*specs, INPUTS, "kinship", **how)

    kin, other = asked(family.kin), asked(family.other)
    assert len(executor.captures(kin)) == len(executor.captures(other)) == 2
    for comparison in (kin, other):
        executor.ensure(comparison.of_files())
    assert executor.captures(kin) == ()
    assert len(executor.captures(other)) == 2
    assert len(executor.captures(asked(family.kin, extent="parts"))) == 2


def test_files_alone_say_that_models_were_not_run(executor, family, no_model):
    del no_model
    specs = [ModelSpec(path=str(path)) for path in (family.other, family.base)]
    evidence = executor.evidence(Comparison.of(*specs, INPUTS, "kinship").of_files())
    assert evidence.details["measured"] == "match_tokens, match_weights"
    assert evidence.details["not measured"] == "match: only weight files were read"


# models of other shapes


def test_kin_of_another_depth_and_width_are_told_by_their_files(
    measured, family, tmp_path, no_model
):
    del no_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(family.base)
    small = transforms.prune_width(transforms.prune_depth(base, [0, 2]), 56)
    folder = saved(small, tmp_path / "small", AutoTokenizer.from_pretrained(family.base))
    evidence = measured(folder, family.base)
    assert [block.reference_block for block in evidence.blocks] == [0, 2]
    assert is_decided(evidence)


def test_strangers_of_another_hidden_size_are_measured_and_weights_say_why_they_are_not(
    measured, family, tiny_checkpoint
):
    wide = tiny_checkpoint(5, hidden_size=48, num_hidden_layers=2)
    evidence = measured(wide, family.base)
    assert evidence.details["measured"] == "match_tokens, match"
    assert "match_weights: weights of hidden size 48 and 32" in evidence.details["not measured"]
    assert decide(evidence, 1e-6) == "independent"


@pytest.mark.parametrize("cross", [False, True])
def test_weights_alone_of_another_hidden_size_are_refused_with_the_reason(
    executor, family, tiny_checkpoint, cross
):
    wide = tiny_checkpoint(5, hidden_size=48, num_hidden_layers=2)
    with pytest.raises(DegenerateError, match="weights of hidden size 48 and 32"):
        compare(wide, family.base, statistic="match_weights", cross=cross, executor=executor)


def test_a_wider_stream_that_holds_the_old_one_is_told_by_tokens(
    measured, family, tmp_path, no_model
):
    """Zeros in the new dimensions: the hidden sizes differ, and rows cannot be compared."""
    del no_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(family.base)
    wide = widen_stream(base, 7, 16)
    folder = saved(wide, tmp_path / "wide", AutoTokenizer.from_pretrained(family.base))
    evidence = measured(folder, family.base)
    assert is_decided(evidence)
    assert "match_weights" in evidence.details["not measured"]


def test_a_model_in_another_order_of_ids_is_told_by_the_text_of_tokens(
    measured, family, tmp_path, no_model
):
    """The tokenizer's ids are renumbered, and so are the rows."""
    del no_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(family.kin)
    tokenizer = AutoTokenizer.from_pretrained(family.kin)
    model, tokenizer, _ = renumber_vocabulary(model, tokenizer, 5)
    evidence = measured(saved(model, tmp_path / "renumbered", tokenizer), family.base)
    assert is_decided(evidence)
    assert evidence.inputs.note.endswith("by their text")


# blocks that have moved


def test_a_do_nothing_block_in_front_hides_no_copy_of_equal_depth(measured, family, tmp_path):
    """Every block has moved by one, so that none meets its own at the same index."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(family.base)
    stranger = tiny_llama(17, vocab_size=base.config.vocab_size, num_hidden_layers=3)
    candidate = transforms.arrange_blocks(base, [0, 0, 1])
    idle = candidate.model.layers[0]
    idle.load_state_dict(stranger.model.layers[0].state_dict())
    with torch.no_grad():
        idle.self_attn.o_proj.weight.zero_()
        idle.mlp.down_proj.weight.zero_()
    folder = saved(candidate, tmp_path / "shifted", AutoTokenizer.from_pretrained(family.base))
    evidence = measured(folder, family.base)
    assert evidence.pairing == "index-first"
    assert [block.reference_block for block in evidence.blocks[1:]] == [0, 1]
    assert all(block.log10_p < DECIDED for block in evidence.blocks[1:])
    assert evidence.blocks[0].log10_p > -3
    assert decide(evidence, 1e-6) == "dependent"
    alone = measured(folder, family.base, statistic="match")
    assert decide(alone, 1e-6) == "dependent"


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """Eight blocks: more partners than are tested of a block."""
    base = tiny_llama(0, num_hidden_layers=8)
    for name, weight in base.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            weight.data *= 0.05  # else a block that is moved is fed something else
    return base, saved(base, tmp_path_factory.mktemp("deep") / "base")


ARRANGED = {
    "shallow": [1, 4, 6],
    "deep": [0, 1, 2, 3, 2, 3, 4, 5, 6, 7],
    "reversed": [7, 6, 5, 4, 3, 2, 1, 0],
}


@pytest.mark.parametrize("how", ARRANGED)
@pytest.mark.parametrize("statistic", ["kinship", *PARTS])
def test_a_true_partner_is_among_those_that_are_tested(measured, deep, tmp_path, how, statistic):
    base, folder = deep
    copy = transforms.permute_mlp_units(transforms.arrange_blocks(base, ARRANGED[how]), 3)
    copy = add_noise(copy, seed=4, scale=0.1)
    inputs = InputsSpec("random", tokens=512, sequence_length=64)
    evidence = measured(saved(copy, tmp_path / "copy"), folder, statistic=statistic, inputs=inputs)
    assert [block.reference_block for block in evidence.blocks] == ARRANGED[how]
    assert all(block.log10_p < -6 for block in evidence.blocks)


@pytest.mark.parametrize("kind", ["zero", "dead", "random"])
def test_idle_units_do_not_steer_the_choice(measured, deep, tmp_path, kind):
    base, folder = deep
    copy = add_idle_units(
        transforms.arrange_blocks(base, ARRANGED["reversed"]), seed=1, kind=kind, share=4.0
    )
    evidence = measured(saved(copy, tmp_path / "copy"), folder, inputs=InputsSpec("tokens"))
    assert [block.reference_block for block in evidence.blocks] == ARRANGED["reversed"]
    assert all(block.log10_p < DECIDED for block in evidence.blocks)


def test_copies_of_other_blocks_gates_with_random_ups_do_not_steer_the_choice(
    measured, deep, tmp_path
):
    """Each block also has, as idle units, the gates of the next three blocks of the reference."""
    base, folder = deep
    order = ARRANGED["reversed"]
    copy = widened_by_gates(transforms.arrange_blocks(base, order), base, order)
    evidence = measured(saved(copy, tmp_path / "copy"), folder, inputs=InputsSpec("tokens"))
    assert [block.reference_block for block in evidence.blocks] == order
    assert all(block.log10_p < -6 for block in evidence.blocks)


def widened_by_gates(model, base, order):
    """The model with units whose gates are other blocks', whose ups are random and downs zero."""
    import copy

    generator = torch.Generator().manual_seed(11)
    config = copy.deepcopy(model.config)
    config.intermediate_size = 4 * model.config.intermediate_size
    made = type(model)(config).eval().requires_grad_(requires_grad=False)
    state = dict(model.state_dict())
    for place, own in enumerate(order):
        others = [(own + step) % len(order) for step in (1, 2, 3)]
        gates = [base.model.layers[k].mlp.gate_proj.weight.detach() for k in others]
        path = f"model.layers.{place}.mlp"
        gate, up, down = (state[f"{path}.{n}_proj.weight"] for n in ("gate", "up", "down"))
        noise = torch.randn(3 * len(up), up.shape[1], generator=generator) * up.std()
        state[f"{path}.gate_proj.weight"] = torch.cat([gate, *gates])
        state[f"{path}.up_proj.weight"] = torch.cat([up, noise])
        state[f"{path}.down_proj.weight"] = torch.cat([down, *3 * [torch.zeros_like(down)]], dim=1)
    made.load_state_dict(state)
    return made


# what cannot be asked


def test_where_gate_and_up_say_the_same_nothing_is_tested(measured, tiny_checkpoint, tmp_path):
    same = tiny_llama(3)
    with torch.no_grad():
        for layer in same.model.layers:
            layer.mlp.up_proj.weight.copy_(layer.mlp.gate_proj.weight)
    folder = saved(same, tmp_path / "same")
    stranger = tiny_checkpoint(4, tokenizer=False)
    with pytest.raises(DegenerateError, match=r"gate and up of .* say the same"):
        measured(folder, stranger, statistic="match_tokens")


def test_a_model_that_has_no_token_in_common_is_measured_by_the_rest(
    measured, family, tmp_path, tiny_checkpoint
):
    odd = tiny_checkpoint(6)
    make_odd(odd)
    evidence = measured(odd, family.base, inputs=InputsSpec("random", tokens=512))
    assert "match_tokens: the two vocabularies share 0 tokens" in evidence.details["not measured"]
    assert evidence.details["measured"] == "match_weights, match"
    with pytest.raises(DegenerateError, match=r"no block could be tested|share 0 tokens"):
        measured(odd, family.base, statistic="match_tokens")


def test_a_null_control_needs_no_token_in_common(executor, family, tmp_path, tiny_checkpoint):
    from pathlib import Path

    from provenance.comparison.plan import comparison, negative_control
    from provenance.suite.read import loads

    wide = tiny_checkpoint(6, hidden_size=48, num_hidden_layers=3)
    make_odd(wide)
    text = (
        "version: 1\ncontrols: true\ninputs: {kind: random, tokens: 512, sequence_length: 64}\n"
        f"models: {{odd: {{path: {wide}}}, base: {{path: {family.base}}}}}\n"
        "pairs: [{candidate: odd, reference: base, expect: independent}]\n"
    )
    suite = loads(text, Path("/a.suite.yaml"))
    (claim,) = suite.claims
    evidence = executor.evidence(comparison(suite, claim))
    assert evidence.details["measured"] == "match"
    assert decide(evidence, 1e-6) == "inconclusive"  # a tokenizer that is made so hides a copy
    null = executor.evidence(negative_control(suite, claim))
    assert all(cell is not None for row in null.cross for cell in row)


def make_odd(folder):
    """Give a model a tokenizer none of whose texts another has."""
    content = json.loads((folder / "tokenizer.json").read_text())
    content["decoder"] = content["pre_tokenizer"] = None
    content["model"]["vocab"] = {f"q{i}": i for i in content["model"]["vocab"].values()}
    content["model"]["merges"] = []
    (folder / "tokenizer.json").write_text(json.dumps(content))


def test_a_tokenizer_that_cannot_be_read_stops_no_run_on_random_ids(
    measured, family, tiny_checkpoint
):
    odd = tiny_checkpoint(6)
    (odd / "tokenizer.json").write_text("{")
    evidence = measured(odd, family.base, inputs=InputsSpec("random", tokens=512))
    assert "match_tokens" in evidence.details["not measured"]
    assert "tokenizer.json" in evidence.details["not measured"]


def test_few_tokens_of_text_still_ask_about_as_many_embeddings_as_are_needed(measured, family):
    few = InputsSpec(tokens=16, sequence_length=16)
    evidence = measured(family.kin, family.base, inputs=few)
    assert "match_tokens" in evidence.details["measured"]


@pytest.mark.parametrize("statistic", ["kinship", *PARTS])
def test_weights_of_another_shape_are_refused_in_one_way(
    measured, family, tiny_checkpoint, statistic
):
    from safetensors.torch import load_file, save_file

    folder = tiny_checkpoint(6)
    weights, name = load_file(folder / "model.safetensors"), "model.layers.0.mlp.up_proj.weight"
    weights[name] = weights[name][:-1].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ProvenanceError) as raised:
        measured(folder, family.base, statistic=statistic)
    assert str(raised.value) == (
        f"path:{folder}: weights of another shape than the configuration's: {name} is [63, 32], "
        "not [64, 32]"
    )


# inputs of kind "tokens"


def test_on_tokens_no_model_is_run_whatever_runs_models_is_refused(measured, family, no_model):
    del no_model
    inputs = InputsSpec("tokens")
    evidence = measured(family.kin, family.base, inputs=inputs)
    assert (evidence.statistic, decide(evidence, 1e-6)) == ("match_tokens", "dependent")
    stranger = measured(family.other, family.base, inputs=inputs)
    assert decide(stranger, 1e-6) == "independent"
    for row in REGISTRY.values():
        if not (row.runs_models and row.on_tokens is None):
            continue
        with pytest.raises(InputError, match="inputs of kind 'tokens' do not: use kind") as raised:
            measured(family.kin, family.base, inputs=inputs, statistic=row.name)
        assert "\n" not in str(raised.value)
        assert "match_tokens" in str(raised.value)


@pytest.mark.parametrize("statistic", ["csu", "csu_all", "l2", "match_weights"])
def test_what_reads_weights_is_measured_on_tokens_as_ever(measured, family, no_model, statistic):
    del no_model
    found = [
        measured(family.kin, family.base, inputs=inputs, statistic=statistic, permutations=19)
        for inputs in (InputsSpec("tokens"), InputsSpec("hidden"))
    ]
    assert found[0].statistic == found[1].statistic == statistic
    assert found[0].log10_p == found[1].log10_p


def test_strangers_are_below_a_level_no_more_often_than_it_says(measured, tmp_path):
    """From files to blocks: of all pairs of models that share nothing but the text of their tokens."""
    folders = [
        saved(tiny_llama(50 + i, hidden_size=(32, 48)[i % 2]), tmp_path / str(i)) for i in range(10)
    ]
    found = [
        block.log10_p
        for pair in itertools.combinations(folders, 2)
        for block in measured(*pair, inputs=InputsSpec("tokens")).blocks
    ]
    for level in (0.05, 0.1):
        below = sum(p < math.log10(level) for p in found)
        # p-values that are corrected for a choice are no smaller than uniform ones
        assert stats.binom.sf(below - 1, len(found), level) > 1e-3
    assert len(found) == 90
    assert min(found) > -4


def test_the_seed_draws_the_tokens(measured, family):
    digests = {
        measured(
            family.kin, family.base, inputs=InputsSpec("tokens", tokens=64, seed=s)
        ).inputs.digest
        for s in (0, 1)
    }
    assert len(digests) == 2
