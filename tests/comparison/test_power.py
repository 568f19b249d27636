"""The power control: copies of either model's blocks must be found, else nothing found says nothing."""

import json
import math
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fixtures.models import save_checkpoint
from fixtures.transforms import add_decoys, rotate_residual_stream
from provenance import InputsSpec, compare
from provenance.architecture.units import LinearMap, MLPActivations, MLPFactors
from provenance.cli import main
from provenance.comparison import power
from provenance.comparison.executor import Executor
from provenance.comparison.limits import BLOCKS
from provenance.comparison.power import disguised
from provenance.errors import ProvenanceError, SuiteError
from provenance.evidence.decide import decide
from provenance.evidence.doubts import NAMES, doubts
from provenance.evidence.meaning import meaning
from provenance.evidence.records import Evidence, EvidenceError
from provenance.gate.verify import Stored, read_stored, verify
from provenance.statistics._sketch import Sketch
from provenance.store.store import Store
from provenance.suite.read import loads

pytestmark = pytest.mark.slow

INPUTS = InputsSpec(tokens=512, sequence_length=64)


def factors(units=24, hidden=10, tokens=17, *, gated=True, bias=True):
    torch.manual_seed(units)

    def linear():
        return LinearMap(torch.randn(units, hidden), torch.randn(units) if bias else None)

    down = torch.randn(units, hidden)
    gate = linear() if gated else None
    return MLPFactors(torch.randn(tokens, hidden), gate, linear(), lambda: down, "silu")


def added(mlp, inputs=None):
    """What an MLP adds to the residual stream, (tokens, hidden)."""
    answers = mlp.dense()
    hidden = (
        torch.nn.functional.gelu(answers.up)
        if answers.gate is None
        else torch.nn.functional.silu(answers.gate) * answers.up
    )
    return hidden @ mlp.down()


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_copy_computes_the_same_in_other_coordinates(monkeypatch, gated, bias):
    monkeypatch.setattr(power, "NOISE", 0.0)
    mlp = factors(gated=gated, bias=bias)
    copy = disguised(mlp, seed=3)
    assert not torch.equal(copy.inputs, mlp.inputs)
    assert not torch.equal(copy.dense().up, mlp.dense().up)
    ours, theirs = added(mlp), added(copy)
    assert not torch.allclose(ours, theirs, atol=1e-3)
    assert torch.allclose(ours.sum(dim=1), theirs.sum(dim=1), atol=1e-4)
    assert torch.allclose(ours.sort(dim=1).values, theirs.sort(dim=1).values, atol=1e-4)


def test_a_copy_is_moved_by_a_tenth_and_no_more(monkeypatch):
    mlp = factors(units=64, hidden=200)
    near = disguised(mlp, seed=3).gate.weight
    monkeypatch.setattr(power, "NOISE", 0.0)
    exact = disguised(mlp, seed=3).gate.weight
    moved = (near - exact).norm(dim=1) / exact.std(dim=1) / math.sqrt(200)
    assert ((moved - 0.1).abs() < 0.03).all()


def test_answers_are_disguised_as_what_they_follow_from(monkeypatch):
    monkeypatch.setattr(power, "NOISE", 0.0)
    dense = factors().dense()
    copy = disguised(replace(dense, activation="silu"), seed=5)
    assert isinstance(copy, MLPActivations)
    assert torch.equal(copy.gate.sum(dim=1).sort().values, dense.gate.sum(dim=1).sort().values) or (
        torch.allclose(copy.gate.sum(dim=1), dense.gate.sum(dim=1), atol=1e-4)
    )
    assert not torch.equal(copy.gate, dense.gate)


def test_rows_of_a_sketch_keep_their_length_and_their_share():
    rows = torch.nn.functional.normalize(torch.randn(2, 30, 16), dim=2)
    sketch = Sketch(30, torch.arange(30), *rows, torch.arange(30) / 500)
    copy = disguised(sketch, seed=1)
    for name in ("gate", "up"):
        assert torch.allclose(getattr(copy, name).norm(dim=1), torch.ones(30))
    order = (copy.share * 500).round().long()
    assert not torch.equal(order, torch.arange(30))
    assert ((copy.gate * sketch.gate[order]).sum(dim=1) > 0.98).all()
    assert ((copy.up * sketch.up[order]).sum(dim=1).abs() > 0.98).all()


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def measured(kept):
    def measured(candidate, reference, **how):
        return compare(
            candidate, reference, **{"inputs": INPUTS, "executor": Executor(kept), **how}
        )

    return measured


@pytest.mark.parametrize(("statistic", "part"), [("kinship", "match_tokens"), ("match", "match")])
def test_a_copy_of_either_stranger_would_be_found(measured, family, statistic, part):
    evidence = measured(family.other, family.base, statistic=statistic)
    assert decide(evidence, 1e-6) == "independent"
    for role in ("candidate", "reference"):
        record = evidence.power[role]
        assert (record.statistic, record.blocks[-1] < 3) == (part, True)
        assert record.found_at(1e-6)
        assert record.log10_p < -100
    says = meaning(evidence, "independent", 1e-6, NAMES)
    assert "Power control: copies in disguise are found, one of the candidate (p = " in says
    assert f"by {part}) and one of the reference (p = " in says
    assert Evidence.from_json(evidence.to_json()) == evidence


def test_at_most_so_many_blocks_are_tried(measured, family, tmp_path, monkeypatch):
    assert BLOCKS == 2
    monkeypatch.setattr("provenance.comparison.blocks.BLOCKS", 1)
    evidence = measured(
        family.other, family.base, statistic="match_tokens", executor=Executor(Store(tmp_path))
    )
    assert {len(record.blocks) for record in evidence.power.values()} == {1}


def test_kin_need_no_control(measured, family):
    assert measured(family.kin, family.base).power == {}


def test_a_pair_with_one_block_in_common_needs_none(measured, family, tmp_path):
    """Two of its blocks are strangers', and the third decides what the pair is."""
    ours, theirs = (
        AutoModelForCausalLM.from_pretrained(folder) for folder in (family.base, family.other)
    )
    for block in (0, 2):
        ours.model.layers[block].load_state_dict(theirs.model.layers[block].state_dict())
    folder = save_checkpoint(ours, tmp_path / "one", AutoTokenizer.from_pretrained(family.base))
    evidence = measured(folder, family.base, statistic="match_tokens")
    assert sum(block.log10_p < -20 for block in evidence.blocks) == 1
    assert (decide(evidence, 1e-6), evidence.power) == ("dependent", {})


def alike(model):
    """Every up is the first one, but for less than the control moves it."""
    for layer in model.model.layers:
        rows = layer.mlp.up_proj.weight.data
        rows.copy_(rows[:1] + 0.002 * rows.std() * torch.randn_like(rows))


@pytest.mark.parametrize("role", ["candidate", "reference"])
@pytest.mark.parametrize("statistic", ["kinship", "match"])
def test_a_model_whose_copy_is_not_found_has_no_stranger(
    measured, family, tmp_path, role, statistic
):
    model = AutoModelForCausalLM.from_pretrained(family.other)
    torch.manual_seed(0)
    alike(model)
    folder = save_checkpoint(model, tmp_path / "alike", AutoTokenizer.from_pretrained(family.other))
    pair = (folder, family.base) if role == "candidate" else (family.base, folder)
    evidence = measured(*pair, statistic=statistic)
    assert decide(evidence, 1e-6) == "inconclusive"
    assert not evidence.power[role].found_at(1e-6)
    assert f"A copy of the {role} in disguise would not have been found at 1e-06: p = " in " ".join(
        doubts(evidence)
    )


def test_a_control_that_was_turned_off_is_said_to_be(measured, family):
    evidence = measured(family.other, family.base, control=False)
    assert (evidence.power, evidence.details["power control"]) == ({}, "turned off")
    assert decide(evidence, 1e-6) == "independent"
    assert "No power control was run: it is turned off." in meaning(
        evidence, "independent", 1e-6, NAMES
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", "power"),
        ("controls: power", "power"),
        ("controls: true", "all"),
        ("controls: all", "all"),
        ("controls: false", "none"),
        ("controls: none", "none"),
    ],
)
def test_a_suite_says_which_controls_it_has(tmp_path, written, meant):
    suite = loads(SUITE.format(base="./b", other="./o", controls=written), tmp_path / "a.yaml")
    assert suite.controls == meant


@pytest.mark.parametrize("written", ["yes", "1", "positive", "[power]", "{power: 1}"])
def test_other_controls_are_refused_in_words(tmp_path, written):
    text = SUITE.format(base="./b", other="./o", controls=f"controls: {written}")
    with pytest.raises(SuiteError, match=r"a\.yaml:2:\d+: .*all, power or none"):
        loads(text, tmp_path / "a.yaml")


SUITE = """\
version: 1
{controls}
inputs: {{tokens: 512, sequence_length: 64}}
models:
  base: {{path: {base}}}
  other: {{path: {other}}}
pairs:
  - {{candidate: other, reference: base, expect: independent}}
"""


@pytest.mark.parametrize(
    ("controls", "says", "tested"),
    [
        ("", "Power control: copies in disguise are found, one of other (p = ", None),
        ("controls: none", "No power control was run", "without a power control"),
    ],
)
def test_the_verdict_of_a_suite_says_what_was_controlled(
    pytester, family, shared_store, controls, says, tested
):
    pytester.path.joinpath("a.suite.yaml").write_text(
        SUITE.format(base=family.base, other=family.other, controls=controls)
    )
    result = pytester.runpytest_inprocess(
        f"--provenance-store={shared_store}", "--provenance-evidence=kept"
    )
    result.assert_outcomes(passed=4)
    (claim,) = json.loads((pytester.path / "kept" / "results.json").read_text())["claims"]
    assert says in claim["judgement"]["meaning"]
    assert bool(tested) == (tested is not None and tested in result.stdout.str())


@pytest.mark.parametrize(
    ("options", "registry", "power"),
    [((), "", 2), (("--no-control",), "", 0), ((), "control: false\n", 0)],
)
def test_an_audit_has_the_control_too(
    capfd, tmp_path, family, shared_store, options, registry, power
):
    (tmp_path / "r.yaml").write_text(
        "version: 1\ninputs: {tokens: 512, sequence_length: 64}\nmodels:\n"
        f"  base: {{path: {family.base}}}\n  other: {{path: {family.other}}}\n{registry}"
    )
    results = tmp_path / "results.json"
    where = ["--history", str(tmp_path / "h.sqlite"), "--store", str(shared_store)]
    command = ["audit", str(tmp_path / "r.yaml"), "--results", str(results), *where, *options]
    with pytest.raises(SystemExit) as stop:
        main([*command, "-q"])
    assert stop.value.code == 0, capfd.readouterr()
    (claim,) = json.loads(results.read_text())["claims"]
    assert len(claim["evidence"]["power"]) == power


def test_a_control_that_no_test_gives_is_refused(measured, family):
    fields = json.loads(measured(family.other, family.base).to_json())
    for log10_p, why in ((0.5, "above 0"), (-1e20, "below any")):
        fields["power"]["reference"]["log10_p"] = log10_p
        with pytest.raises(EvidenceError, match=f"power of the reference.*{why}"):
            Evidence.from_json(json.dumps(fields))


@pytest.mark.parametrize("blocks", [[], [99], [-1], [0, 3]])
def test_a_control_on_blocks_that_are_not_there_is_refused(measured, family, blocks):
    fields = json.loads(measured(family.other, family.base).to_json())
    fields["power"]["candidate"]["blocks"] = blocks
    with pytest.raises(EvidenceError, match="power of the candidate: blocks are some of its 3"):
        Evidence.from_json(json.dumps(fields))


# --- decoys --------------------------------------------------------------------------------------


def among_decoys(model, like, strength, folder):
    """A model with decoys of another: gates of its units beside ups of others."""
    read = AutoModelForCausalLM.from_pretrained
    made = add_decoys(read(model), read(like), 7, strength=strength)
    return save_checkpoint(made, folder, AutoTokenizer.from_pretrained(model))


def crossed(model):
    """Give every gate the up of another unit: nothing but decoys are left of the MLPs."""
    torch.manual_seed(1)
    for layer in model.model.layers:
        up = layer.mlp.up_proj.weight.data
        up.copy_(up[torch.randperm(len(up))])


def test_strangers_are_not_near(measured, family):
    evidence = measured(family.other, family.base)
    assert all(block.nearness < 0.05 for block in evidence.blocks)


@pytest.mark.parametrize("strength", [0.0, 1.0, 4.0])
def test_a_copy_among_decoys_is_never_independent(measured, family, tmp_path, strength):
    candidate = among_decoys(family.kin, family.base, strength, tmp_path / "decoys")
    assert decide(measured(candidate, family.base), 1e-6) != "independent"


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("role", ["candidate", "reference"])
def test_what_is_near_and_matches_nothing_is_inconclusive(measured, family, tmp_path, role, turned):
    model = AutoModelForCausalLM.from_pretrained(family.kin)
    crossed(model)
    made = rotate_residual_stream(model, 3) if turned else model
    folder = save_checkpoint(made, tmp_path / "x", AutoTokenizer.from_pretrained(family.kin))
    pair = (folder, family.base) if role == "candidate" else (family.base, folder)
    evidence = measured(*pair)
    assert evidence.log10_p > -3
    assert min(block.nearness for block in evidence.blocks) > 0.8
    assert decide(evidence, 1e-6) == "inconclusive"
    says = " ".join(doubts(evidence))
    assert "units of the candidate have their like among those of the reference" in says
    assert "in 2 more" in says
    assert Evidence.from_json(evidence.to_json()) == evidence


def test_a_fifth_of_the_units_is_enough_to_be_noticed(measured, family, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(family.kin)
    crossed(model)
    for layer in model.model.layers:
        for linear in (layer.mlp.gate_proj, layer.mlp.up_proj):
            rows = linear.weight.data
            rows[13:] = rows.std() * torch.randn_like(rows[13:])
    folder = save_checkpoint(model, tmp_path / "x", AutoTokenizer.from_pretrained(family.kin))
    evidence = measured(folder, family.base)
    assert evidence.log10_p > -3
    assert min(block.nearness for block in evidence.blocks) > 0.5
    assert decide(evidence, 1e-6) == "inconclusive"


@pytest.mark.parametrize("threshold", [1e-6, 1e-200])
def test_a_copy_must_be_found_at_the_threshold_of_the_claim(measured, family, threshold):
    """Three blocks of 64 units can show about 1e-265, and strangers have to be told apart by that."""
    evidence = measured(family.other, family.base)
    least = max(record.log10_p for record in evidence.power.values())
    assert decide(evidence, threshold) == (
        "independent" if least < math.log10(threshold) else "inconclusive"
    )
    assert decide(evidence, 10.0 ** (least - 1)) == "inconclusive"
    says = meaning(evidence, "inconclusive", 10.0 ** (least - 1), NAMES)
    assert "in disguise would not have been found at" in says


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_decoys_make_no_stranger_near(measured, family, tmp_path, strength):
    """Rows of the reference mean other things in the coordinates of a stranger."""
    candidate = among_decoys(family.other, family.base, strength, tmp_path / "decoys")
    evidence = measured(candidate, family.base)
    assert max(block.nearness for block in evidence.blocks) < 0.1
    assert decide(evidence, 1e-6) == "independent"


@pytest.mark.parametrize("nearness", [-0.1, 1.5])
def test_a_nearness_that_no_units_have_is_refused(measured, family, nearness):
    fields = json.loads(measured(family.other, family.base).to_json())
    fields["blocks"][1]["nearness"] = nearness
    with pytest.raises(EvidenceError, match="block 1: nearness is"):
        Evidence.from_json(json.dumps(fields))


# --- records that are missing --------------------------------------------------------------------


def without(fields, *sides):
    return {**fields, "power": {k: v for k, v in fields["power"].items() if k not in sides}}


@pytest.mark.parametrize("sides", [("candidate",), ("reference",), ("candidate", "reference")])
def test_evidence_whose_record_of_the_control_is_gone_is_refused(measured, family, tmp_path, sides):
    fields = json.loads(measured(family.other, family.base).to_json())
    assert fields["details"]["power control"] == "candidate, reference"
    text = json.dumps(without(fields, *sides))
    with pytest.raises(EvidenceError, match="power: its details say of the power control"):
        Evidence.from_json(text)
    (tmp_path / "evidence.json").write_text(text)
    with pytest.raises(ProvenanceError, match="there is a record of"):
        read_stored(tmp_path / "evidence.json")


def test_what_is_said_of_a_control_is_what_there_is_a_record_of(measured, family):
    fields = json.loads(measured(family.other, family.base).to_json())
    for says in ("turned off", "not run", "candidate", "reference, candidate", 1):
        fields["details"]["power control"] = says
        with pytest.raises(EvidenceError, match="there is a record of candidate, reference"):
            Evidence.from_json(json.dumps(fields))


def test_evidence_that_says_nothing_of_a_control_is_told_from_evidence_that_does(measured, family):
    found = measured(family.other, family.base)
    fields = json.loads(found.to_json())
    del fields["details"]["power control"]
    bare = without(fields, "candidate", "reference")
    with pytest.raises(EvidenceError, match="do not say what became of the power control"):
        Evidence.from_json(json.dumps(bare))  # the record and the detail are gone
    older = Evidence.from_json(json.dumps({**bare, "schema": 1}))
    off = measured(family.other, family.base, control=False)
    kin = measured(family.kin, family.base)
    says = [verify(Stored("e.json", one))[0].says for one in (older, found, off, kin)]
    assert ["no power control is on record" in text for text in says] == [True, False, False, False]


def test_of_kin_no_control_is_run(measured, family):
    kin = measured(family.kin, family.base)
    assert (kin.schema, kin.details["power control"], kin.power) == (2, "not run", {})
    assert verify(Stored("e.json", kin))[0].stands


def test_independence_whose_control_is_said_not_to_have_run_does_not_stand(measured, family):
    fields = json.loads(measured(family.other, family.base).to_json())
    fields["details"]["power control"] = "not run"
    forged = Evidence.from_json(json.dumps(without(fields, "candidate", "reference")))
    (found,) = verify(Stored("e.json", forged))
    assert not found.stands
    assert "no record of the power control" in found.complaints[0]
