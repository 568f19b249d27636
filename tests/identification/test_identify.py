"""One model against many: kin are found in order, strangers are not, and no fault loses the others."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fixtures.models import TINY, save_checkpoint, tiny_llama
from provenance import Executor, InputsSpec, Store, fingerprint, identify, read_results
from provenance.cli import main
from provenance.comparison.closeness import UNITS, near
from provenance.errors import SourceError
from provenance.evidence.decide import pair_p
from provenance.evidence.relatives import Relative, concluded, in_order
from provenance.identification import references_of
from provenance.vocabulary import ModelSpec
from tests import reference
from tests.statistics.test_nearness import random_side

pytestmark = pytest.mark.slow

INPUTS = InputsSpec(tokens=256, sequence_length=64)
QUICK = ["--tokens", "256", "--sequence-length", "64", "--device", "cpu"]


@pytest.fixture
def executor(shared_store):
    return Executor(Store(shared_store), "cpu")


@pytest.fixture
def zoo(tmp_path, family):
    """A folder with two kin of what is asked about, a stranger, and one that is broken."""
    for name in ("base", "short", "other"):
        shutil.copytree(getattr(family, name), tmp_path / "zoo" / name)
    broken = shutil.copytree(family.base, tmp_path / "zoo" / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    return tmp_path / "zoo"


def found_of(found):
    return {one.name.rpartition("/")[2]: one.finding for one in found.references}


# who is kin


def test_kin_are_found_nearest_first_and_a_broken_reference_loses_no_other(zoo, family, executor):
    found = identify(family.kin, [zoo], inputs=INPUTS, executor=executor)
    assert found_of(found) == {
        "short": "kin",
        "base": "kin",
        "other": "none found",
        "broken": "not checked",
    }
    assert found.nearest.name.endswith("short")  # kin's own blocks, with one left out
    assert found.nearest.closeness.mean > 0.999 > found.kin[1].closeness.mean
    assert found.as_near == ()
    (broken,) = found.failed
    assert "is not a whole safetensors file" in broken.error
    assert found.references[-1] is broken


def test_p_values_are_corrected_over_all_references_those_that_failed_included(
    zoo, family, executor
):
    found = identify(family.kin, [zoo], inputs=INPUTS, executor=executor)
    tested = [one for one in found.references if one.evidence is not None]
    assert len(tested) == 3
    for one in tested:  # of three blocks: one look
        assert one.log10_p == pair_p(one.evidence)
    slow = reference.holm([*(10**one.log10_p for one in tested), 1.0])[:3]
    assert [one.corrected for one in tested] == pytest.approx([math.log10(p) for p in slow])


def test_the_same_checkpoint_is_nearest_and_is_not_measured(tmp_path, family, executor):
    copy = shutil.copytree(family.kin, tmp_path / "copy")
    found = identify(family.kin, [family.base, copy], inputs=INPUTS, executor=executor)
    assert found.nearest.source == f"path:{copy}"
    assert (found.nearest.same, found.nearest.log10_p, found.as_near) == (True, None, ())


def test_a_fingerprint_is_a_reference_like_any_other(tmp_path, family, executor):
    marks = tmp_path / "library"
    marks.mkdir()
    for name in ("base", "other"):
        source = getattr(family, name)
        fingerprint(source, marks / f"{name}.safetensors", inputs=INPUTS, executor=executor)
    found = identify(family.kin, [marks], inputs=INPUTS, executor=executor)
    assert found_of(found) == {"base.safetensors": "kin", "other.safetensors": "none found"}
    assert found.nearest.evidence.statistic == "match"
    assert found.nearest.closeness.measured_on == "match"


def test_a_few_blocks_settle_a_reference_and_the_rest_costs_nothing(tmp_path, executor):
    shape = {"num_hidden_layers": 9}
    base, other = tiny_llama(0, **shape), tiny_llama(1, **shape)
    places = [save_checkpoint(one, tmp_path / name) for name, one in (("b", base), ("o", other))]
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in base.parameters():
            weight.add_(0.01 * torch.randn(weight.shape, generator=generator))
    model = save_checkpoint(base, tmp_path / "model")
    fed = InputsSpec("random", tokens=256, sequence_length=64)
    found = identify(model, places, inputs=fed, executor=executor)
    kin, stranger = found.references
    assert (kin.finding, kin.settled_by) == ("kin", "3 of 9 blocks")
    assert len(kin.evidence.blocks) == 3
    # corrected for the second look, which was not taken
    assert kin.log10_p == pytest.approx(pair_p(kin.evidence) + math.log10(2))
    assert stranger.finding == "none found"
    whole = identify(model, places[:1], inputs=fed, exhaustive=True, executor=executor)
    assert whole.nearest.settled_by == "9 blocks"


def test_what_is_wrong_with_the_model_itself_is_raised(tmp_path, family, executor):
    with pytest.raises(SourceError, match=r"is not there"):
        identify(tmp_path / "nothing", [family.base], executor=executor)


# which references are meant


def test_a_folder_stands_for_all_that_is_in_it_but_the_model_itself(zoo):
    names = references_of([str(zoo)], ModelSpec(path=str(zoo / "base")))
    assert [name.removeprefix(f"{zoo}/") for name in names] == ["broken", "other", "short"]
    once = references_of([str(zoo / "short"), str(zoo), str(zoo / "short")])
    assert len(once) == 4


def test_one_model_under_several_paths_is_one_reference(zoo, monkeypatch):
    monkeypatch.chdir(zoo)
    (zoo / "alias").symlink_to("short")
    named = ["short", "./short", str(zoo / "short"), "short/", "alias"]
    assert list(references_of(named)) == ["short"]
    parts = [ModelSpec(path="short", component=one) for one in (None, "language")]
    assert len(references_of(parts)) == 2
    (zoo / "loop").symlink_to("loop")
    (zoo / "round").symlink_to(".")
    assert len(references_of([str(zoo)])) == 4


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["{zoo}/nothing"], "there is no folder"),
        (["{zoo}/empty"], "has no checkpoint, GGUF file or fingerprint in it"),
        (["{zoo}/base"], "there is no reference"),
    ],
)
def test_a_name_without_a_reference_is_refused_in_a_line(zoo, names, message):
    (zoo / "empty").mkdir()
    with pytest.raises(SourceError, match=message) as refused:
        references_of([n.format(zoo=zoo) for n in names], ModelSpec(path=str(zoo / "base")))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["db", "db/fingerprints/org__x.json.gz", "x.base"])
def test_fingerprints_of_modeldna_are_refused_in_a_line(tmp_path, name):
    (tmp_path / "db" / "fingerprints").mkdir(parents=True)
    (tmp_path / "db" / "manifest.json").write_text("{}")
    for file in ("db/fingerprints/org__x.json.gz", "x.base"):
        (tmp_path / file).write_bytes(b"x")
    with pytest.raises(
        SourceError, match="no p-value follows from them; give the models"
    ) as refused:
        references_of([tmp_path / name])
    assert "\n" not in str(refused.value)


# the statistics


@given(st.lists(st.floats(-12, 0).map(lambda p: None if p > -0.01 else p), min_size=1, max_size=12))
def test_conclusions_are_those_of_holm_over_all(log10_ps):
    measured = [Relative(str(i), "", p) for i, p in enumerate(log10_ps)]
    found = concluded(measured, 1e-4)
    tested = [p for p in log10_ps if p is not None]
    absent = [1.0] * (len(log10_ps) - len(tested))
    slow = iter(reference.holm([10**p for p in tested] + absent))
    for one, p in zip(found, log10_ps, strict=True):
        expected = None if p is None else next(slow)
        if expected is None:
            assert (one.corrected, one.finding) == (None, "not checked")
        else:
            assert 10**one.corrected == pytest.approx(expected)
            assert (one.finding == "kin") == (one.corrected < -4)
    assert {one.name for one in in_order(found)} == {one.name for one in measured}


def test_strangers_are_called_kin_no_more_often_than_the_level_says():
    rng = np.random.default_rng(22)
    runs, alpha, wrong = 2000, 0.05, 0
    for _ in range(runs):
        strangers = [Relative(str(i), "", math.log10(p)) for i, p in enumerate(rng.random(20))]
        wrong += any(one.finding == "kin" for one in concluded(strangers, alpha))
    assert wrong / runs < alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)
    assert wrong / runs > alpha - 4 * math.sqrt(alpha * (1 - alpha) / runs)


@pytest.mark.parametrize(("ours", "theirs"), [(40, 40), (40, 24), (24, 300)])
def test_closeness_is_the_mean_cosine_with_the_nearest_unit(ours, theirs):
    a, b = random_side(ours, 48, 1), random_side(theirs, 48, 2)
    assert min(ours, theirs) <= UNITS
    slow = reference.closeness(a.gate.numpy(), b.gate.numpy())
    assert near(a, b) == pytest.approx(slow, abs=1e-5)
    assert near(a, a) == pytest.approx(1.0, abs=1e-5)


# the command


def test_a_lead_that_fails_loses_nothing_else(zoo, family, executor, monkeypatch):
    def fails(*_):
        raise RuntimeError("no such\nmatrix")

    monkeypatch.setattr("provenance.identification.run.kept_lead", fails)
    named = [zoo / name for name in ("base", "short")]
    found = identify(family.kin, named, inputs=INPUTS, executor=executor)
    assert len(found.kin) == 2
    assert [one.reason for one in found.leads] == ["unexpected RuntimeError: no such matrix"]


@pytest.fixture
def run(capfd, shared_store):
    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["identify", *map(str, arguments), "--store", str(shared_store), *QUICK])
        out, err = capfd.readouterr()
        return stop.value.code, "".join(out.split("\n")), err  # a narrow console breaks lines

    return run


def test_the_command_names_the_nearest_and_exits_1_for_what_it_could_not_compare(run, zoo, family):
    code, out, err = run(family.kin, zoo)
    assert (code, err) == (1, "")
    assert f"nearest kin: {zoo}/short" in out
    assert "over 4 references" in out
    assert f"not checked: {zoo}/broken: " in out
    assert "no independence" in out


def test_a_claim_of_the_nearest_decides_the_exit_code(run, family):
    others = [family.short, family.base, family.other]
    assert run(family.kin, *others, "--nearest", family.short)[0] == 0
    code, out, _ = run(family.kin, *others, "--nearest", family.base)
    assert code == 1
    assert "does not hold" in out
    code, out, err = run(family.kin, *others, "--nearest", "nobody")
    assert (code, out) == (2, "")
    assert err.startswith("provenance: --nearest nobody is none of the references: ")
    assert err.count("\n") == 1


def test_json_has_the_evidence_of_each_and_results_can_be_read(run, family, tmp_path):
    file = tmp_path / "results.json"
    code, out, _ = run(family.kin, family.base, family.other, "--json", "--results", file)
    assert code == 0
    fields = json.loads(out)
    assert fields["nearest"] == str(family.base)
    base, other = fields["references"]
    assert base["evidence"]["statistic"] == "kinship"
    assert base["closeness"]["mean"] > 0.9
    assert (other["finding"], other["closeness"]) == ("none found", None)
    assert len(read_results([file]).claims) == 2


def test_no_kin_is_said_in_a_line(run, family):
    code, out, _ = run(family.kin, family.other)
    assert code == 0
    assert "no kin found among 1 reference" in out


def test_models_of_other_shapes_are_compared_where_they_can_be(tmp_path, family, run):
    """Plain MLPs have no gates: the reference is said to be so, and the others are compared."""
    wide = save_checkpoint(
        tiny_llama(5, hidden_size=48, vocab_size=TINY["vocab_size"]), tmp_path / "w"
    )
    code, out, _ = run(family.kin, family.base, wide)
    assert code in {0, 1}
    assert f"nearest kin: {family.base}" in out
