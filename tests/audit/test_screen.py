"""An audit looks at a few blocks of a pair first, and at all where those show anything."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st

from fixtures.models import save_checkpoint, tiny_llama
from fixtures.transforms import transplant_mlp
from provenance import Executor, Results, Store
from provenance.audit import (
    AuditedModel,
    AuditedPair,
    History,
    Registry,
    ScreenedBlock,
    audit_registry,
    audit_results,
    foresee,
    load_registry,
)
from provenance.audit.screen import LEAST_BLOCKS, LEVEL, SAMPLE, screen_of, strangers
from provenance.cli import main
from provenance.cluster.local import run_here
from provenance.comparison.plan import Comparison, pair_seed, sampled
from provenance.errors import ProvenanceError
from provenance.evidence.blocks import BlockEvidence
from provenance.evidence.decide import decide_blocks
from provenance.gate.verify import Stored, verify, verify_by_suite
from provenance.vocabulary import InputsSpec, ModelSpec

pytestmark = pytest.mark.slow

BLOCKS = 9

INPUTS = "inputs: {tokens: 512, sequence_length: 64}"


@pytest.fixture(scope="session")
def deep(tmp_path_factory, tiny_tokenizer):
    """Strangers of nine blocks; one that has a block of the first, where no screen looks."""
    root = tmp_path_factory.mktemp("deep")
    shape = {"vocab_size": len(tiny_tokenizer), "num_hidden_layers": BLOCKS}
    models = {name: tiny_llama(seed, **shape) for seed, name in enumerate(("one", "two", "three"))}
    paths = {
        name: save_checkpoint(model, root / name, tiny_tokenizer) for name, model in models.items()
    }
    # which blocks are looked at follows from the weights: try one block after the other
    for name, seen in (("thief", False), ("clumsy", True)):
        for block in range(BLOCKS):
            taken = transplant_mlp(models["two"], models["one"], [block])
            paths[name] = save_checkpoint(taken, root / f"{name}{block}", tiny_tokenizer)
            if (block in screened(paths[name], paths["one"])) == seen:
                break
    return SimpleNamespace(**paths)


def screened(candidate, reference):
    """The blocks that a screen looks at."""
    executor = Executor(Store(Path(reference).parent / "store"))
    pair = [executor.checkpoint(ModelSpec(path=str(path))) for path in (candidate, reference)]
    return sampled(range(BLOCKS), SAMPLE, pair_seed(0, *pair))


@pytest.fixture
def audit(tmp_path, shared_store):
    """Audit models by name; ``audit.told`` has what was measured."""
    home = tmp_path / "models"

    lying = {}

    def audit(store=shared_store, *, exhaustive=False, backend="local", **models):
        for name in [name for name in lying if models.get(name) != lying[name]]:
            shutil.rmtree(home / name)
            del lying[name]
        for name in [name for name in models if name not in lying]:
            lying[name] = shutil.copytree(models[name], home / name) and models[name]
        path = tmp_path / "registry.yaml"
        more = "exhaustive: true\n" if exhaustive else ""
        path.write_text(f"version: 1\n{INPUTS}\n{more}folder: models\n")
        audit.told, audit.registry = [], load_registry(path)
        with History(str(tmp_path / "h.sqlite")) as history:
            executor = Executor(Store(store), "cpu", audit.told.append)
            return audit_registry(audit.registry, executor, history, backend=backend)

    audit.path = tmp_path / "registry.yaml"
    return audit


def only(found):
    (pair,) = found.pairs
    return pair


def measured(audit, action="audit"):
    """What the last audit did, once each, in its order."""
    return list(dict.fromkeys(stage.subject for stage in audit.told if stage.action == action))


def kinds(found):
    return [(change.kind, *change.names) for change in found.changes]


# what is screened


def test_a_model_that_is_added_costs_one_forward_pass_and_a_matching_with_each_other(
    audit, family, deep, tmp_path
):
    store = tmp_path / "store"
    before = {"a": family.base, "b": family.other, "c": family.short}
    audit(store, **before)
    journal = len(Store(store).journal())
    found = audit(store, **before, d=family.kin)
    added = [entry["kind"] for entry in Store(store).journal()[journal:]]
    # "hashes" are what is remembered of the new model's files
    assert sorted({*added} - {"hashes"}) == ["activations", "evidence"]
    assert (added.count("activations"), added.count("evidence")) == (1, 3)
    assert measured(audit, "capture") == [f"path:{tmp_path / 'models' / 'd'}"]
    assert len(measured(audit, "match")) == 3
    assert (found.measured, found.known) == (3, 3)
    assert measured(audit) == [f"d and {name}" for name in "abc"]


def test_strangers_are_called_so_by_a_few_blocks_and_the_audit_says_which(audit, deep):
    pair = only(audit(a=deep.one, b=deep.two))
    assert (pair.verdict, pair.known) == ("independent", False)
    wanted = screened(deep.two, deep.one)
    assert [block.candidate_block for block in pair.screened] == list(wanted)
    # of strangers any partner may be the best
    assert {block.reference_block for block in pair.screened} <= set(range(BLOCKS))
    assert all(block.log10_p >= math.log10(LEVEL) for block in pair.screened)
    again = audit(a=deep.one, b=deep.two)
    assert only(again) == replace(pair, known=True)
    assert measured(audit) == []
    assert again.changes == ()


def test_a_screened_block_that_is_kin_has_all_blocks_compared(audit, deep):
    pair = only(audit(a=deep.one, b=deep.clumsy))
    assert (pair.verdict, pair.screened) == ("dependent", ())
    whole = only(audit(exhaustive=True, a=deep.one, b=deep.clumsy))
    assert whole == replace(pair, known=True)


def test_kinship_in_a_block_that_is_not_screened_is_missed_and_exhaustive_finds_it(audit, deep):
    missed = audit(a=deep.one, b=deep.thief)
    assert (only(missed).verdict, missed.screened) == ("independent", 1)
    found = audit(exhaustive=True, a=deep.one, b=deep.thief)
    assert (only(found).verdict, found.screened, found.exhaustive) == ("dependent", 0, True)
    assert only(found).log10_p < only(missed).log10_p
    assert kinds(found) == [("new-kin", "b", "a")]
    assert "the same weights; then, only 3 blocks were compared" in found.changes[0].detail
    later = audit(a=deep.one, b=deep.thief)  # what is known by all blocks is not screened again
    assert (only(later).verdict, later.known, later.changes) == ("dependent", 1, ())


def test_a_model_of_few_blocks_is_not_screened_nor_is_one_checkpoint_under_two_names(
    audit, deep, family
):
    shallow = only(audit(a=family.base, b=family.other))
    assert (shallow.verdict, shallow.screened) == ("independent", ())
    assert len(audit.told) > 0
    twins = only(audit(a=deep.one, b=deep.one))
    assert (twins.verdict, twins.screened) == ("dependent", ())


def test_a_block_for_each_block_is_screened_against_all_of_a_deeper_reference(
    audit, deep, tiny_checkpoint
):
    other = tiny_checkpoint(8, num_hidden_layers=BLOCKS + 2)
    pair = only(audit(a=other, b=deep.one))
    wanted = screened(deep.one, other)
    assert [block.candidate_block for block in pair.screened] == list(wanted)


def test_what_is_said_of_whole_models_and_of_shallow_ones_has_no_screen():
    models = ModelSpec(path="a"), ModelSpec(path="b")
    blocks = Comparison.of(*models, InputsSpec(), "kinship")
    whole = Comparison.of(*models, InputsSpec(), "csu_all")
    assert screen_of(blocks, LEAST_BLOCKS) == replace(blocks, sample=SAMPLE)
    assert screen_of(blocks, LEAST_BLOCKS - 1) is None
    assert screen_of(blocks, None) is None
    assert screen_of(whole, 40) is None


def test_a_failure_is_recorded_once_and_by_all_blocks(audit, deep, tmp_path):
    from fixtures.pairs import tiny_gpt2

    plain = save_checkpoint(tiny_gpt2(vocab_size=300, n_layer=BLOCKS), tmp_path / "plain")
    pair = only(audit(a=deep.one, b=plain))
    assert "MLPs are plain" in pair.error
    assert only(audit(a=deep.one, b=plain)).known


# why it is sound


log10_ps = st.lists(st.floats(-30, 0), min_size=SAMPLE + 1, max_size=12)


def evidence_of(values):
    blocks = tuple(BlockEvidence(i, i, p, 0.0, (8, 8), (8, 8), 0) for i, p in enumerate(values))
    inputs = SimpleNamespace(distinct=None, kind="text", borrowed=False)
    return SimpleNamespace(
        blocks=blocks,
        statistic="match",
        candidate=SimpleNamespace(by_names=()),
        reference=SimpleNamespace(by_names=()),
        out_of_element=tuple,
        coverage={},
        power={},
        scope="whole",
        permutations=None,
        log10_p=None,
        details={},
        inputs=inputs,
    )


@given(log10_ps, st.integers(0, 5), st.sampled_from([1e-6, 1e-3, 0.2, 0.9]))
def test_a_screen_that_shows_nothing_would_be_called_independent_by_itself(values, seed, threshold):
    screened = [values[i] for i in sampled(range(len(values)), SAMPLE, seed)]
    evidence = evidence_of(screened)
    if strangers(evidence, threshold):
        assert decide_blocks(evidence.blocks, threshold) == "independent"
    else:
        assert min(screened) < math.log10(max(LEVEL, threshold))


def test_a_screened_block_that_could_not_be_tested_has_all_blocks_compared():
    found = evidence_of([-0.1, -0.2, -0.3])
    blocks = found.blocks
    assert strangers(found, 1e-6)
    dead = replace(blocks[0], log10_p=None, correlation=None, state="degenerate", reason="dead")
    found.blocks = (dead, *blocks[1:])
    assert not strangers(found, 1e-6)


def test_a_statistic_that_a_disguise_defeats_shows_nothing_by_a_screen():
    found = evidence_of([-0.1, -0.2, -0.3])
    found.statistic = "csu"
    assert not strangers(found, 1e-6)


# no kinship is lost by a screen


@pytest.mark.parametrize("renamed", [False, True])
def test_old_kin_are_measured_in_full_whatever_has_become_of_their_evidence(
    audit, deep, tmp_path, renamed
):
    audit(exhaustive=True, a=deep.one, b=deep.thief)
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'h.sqlite'}")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("DELETE FROM provenance_evidence"))
    engine.dispose()
    name = "c" if renamed else "b"
    found = audit(**{"a": deep.one, name: deep.thief})
    assert (only(found).verdict, found.screened) == ("dependent", 0)
    assert kinds(found) == ([("moved", "b", "c")] if renamed else [])


def test_kinship_under_a_name_is_lost_by_the_test_of_all_blocks_alone(audit, deep):
    audit(exhaustive=True, a=deep.one, b=deep.thief)
    found = audit(a=deep.one, b=deep.two)
    assert kinds(found) == [("changed-digest", "b"), ("lost-kin", "b", "a")]
    assert only(found).screened == ()


def test_weights_that_were_kin_under_other_names_are_measured_in_full(audit, deep, tmp_path):
    audit(exhaustive=True, a=deep.one, b=deep.thief)
    audit(a=deep.three, b=deep.two)
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'h.sqlite'}")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("DELETE FROM provenance_evidence"))
    engine.dispose()
    pairs = audit(x=deep.one, y=deep.three, z=deep.thief).pairs
    assert {(p.candidate, p.reference): p.verdict for p in pairs} == {
        ("y", "x"): "independent",
        ("z", "y"): "independent",
        ("z", "x"): "dependent",
    }
    assert [p.screened for p in pairs if p.verdict == "dependent"] == [()]


# what is kept and told


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_history_gives_back_the_blocks_that_were_screened(database, tmp_path, request):
    url = f"sqlite:///{tmp_path / 'h.sqlite'}"
    if database == "postgresql":
        url = request.getfixturevalue("new_postgresql")()
    models = tuple(AuditedModel(name, name, f"sha256:{name}", "w") for name in "ab")
    screened = AuditedPair(
        "b", "a", "independent", -0.2, "k", screened=(ScreenedBlock(2, 5, -0.3),)
    )
    with History(url) as history:
        run = history.begin("ours", Registry(tmp_path, {}), models)
        history.record(run, screened)
        history.finish(run)
        assert history.last_complete("ours").pairs == (screened,)


def test_results_say_of_a_screened_pair_what_was_compared(audit, deep):
    found = audit(a=deep.one, b=deep.two)
    text = audit_results(found, audit.registry).to_json()
    (result,) = Results.from_json(text).claims
    wanted = screened(deep.two, deep.one)
    assert result.claim.blocks.indices == wanted
    assert result.evidence.details["sample"] == "blocks {}, {}, {} of 9".format(*wanted)
    assert result.judgement.verdict == "independent"
    assert result.judgement.meaning.startswith(f"Screened: only block {wanted[0]} (p = ")
    assert (result.state, result.log10_p) == ("pass", only(found).log10_p)


def test_a_claim_of_a_suite_is_never_settled_by_a_screen(audit, deep, tmp_path):
    from provenance.suite.read import load

    found = audit(a=deep.one, b=deep.thief)
    results = audit_results(found, audit.registry)
    path = tmp_path / "ours.suite.yaml"
    path.write_text(
        f"version: 1\n{INPUTS}\nmodels:\n  a: {{path: models/a}}\n  b: {{path: models/b}}\n"
        "pairs:\n- {candidate: b, reference: a, expect: independent, statistic: kinship}\n"
    )
    (checked,) = verify_by_suite([Stored("results.json", results)], load(path))
    assert (checked.state, checked.log10_p) == ("fail", only(found).log10_p)
    assert [one.complaints for one in verify(Stored("results.json", results))] == [()]


# the command


@pytest.fixture
def run(capfd, shared_store, tmp_path, audit, deep):
    """Run the command on a stranger and a thief; (exit code, stdout)."""
    audit(a=deep.one, b=deep.thief)
    (tmp_path / "h.sqlite").unlink()

    def run(*arguments):
        where = ["--store", str(shared_store), "--history", str(tmp_path / "h.sqlite")]
        with pytest.raises(SystemExit) as stop:
            main(["audit", str(audit.path), *map(str, arguments), *where, "--device", "cpu"])
        return stop.value.code, capfd.readouterr().out

    return run


def test_a_dry_run_says_how_many_pairs_would_be_screened(run):
    first = "1 pairs to measure, 1 of them by a screen first, 0 known\nwould screen: b and a\n"
    assert run("--dry-run") == (0, first)
    assert json.loads(run("--dry-run", "--json")[1])["to_screen"] == [["b", "a"]]
    out = run("--dry-run", "--exhaustive")[1]
    assert out == "1 pairs to measure, 0 known\nwould measure: b and a\n"
    run()
    assert run("--dry-run")[1] == "0 pairs to measure, 1 known\n"
    assert run("--dry-run", "--exhaustive")[1].startswith("1 pairs to measure, 0 known\n")


def test_the_command_says_what_was_screened_and_exhaustive_finds_what_it_missed(run):
    out = run()[1]
    assert "independent: 1 of 1 pairs\n" in out
    assert "1 of these by a few of their blocks; --exhaustive compares all\n" in out
    found = json.loads(run("--json")[1])
    assert (found["screened"], found["exhaustive"]) == (1, False)
    (pair,) = found["pairs"]
    assert len(pair["screened"]) == SAMPLE
    assert all(block["log10_p"] >= math.log10(LEVEL) for block in pair["screened"])
    code, out = run("--exhaustive", "--fail-on", "new-kin")
    assert code == 1
    assert "few of their blocks" not in out
    assert "new-kin: b and a: dependent, p = " in out


def test_foresight_measures_old_kin_in_full(audit, deep, tmp_path, shared_store):
    audit(exhaustive=True, a=deep.one, b=deep.thief)
    audit.path.write_text(f"version: 1\n{INPUTS.replace('512', '448')}\nfolder: models\n")
    executor = Executor(Store(shared_store), "cpu")
    with History(str(tmp_path / "h.sqlite"), read_only=True) as history:
        outlook = foresee(load_registry(audit.path), executor, history)
    assert (outlook.to_measure, outlook.to_screen) == ((("b", "a"),), ())


# what a cluster computes ahead


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    """A cluster that is another executor of this process; has the plans that it was given."""
    plans = []

    def run_plan(plan, executor, backend, on_stage):
        assert backend == "head:6379"
        plans.append(plan)
        return run_here(plan, Executor(executor.store, "cpu"), None)

    def open_models(models, executor, backend, on_stage):
        for model in models:
            if Path(model.path).name != "bad":
                Executor(executor.store, "cpu").checkpoint(model)

    monkeypatch.setattr("provenance.audit.plan.run_plan", run_plan)
    monkeypatch.setattr("provenance.audit.run.open_models", open_models)
    return plans


def test_an_audit_on_a_cluster_finds_what_one_here_does_and_measures_nothing_here(
    audit, deep, tmp_path, cluster
):
    models = {"a": deep.one, "b": deep.two, "c": deep.clumsy, "d": deep.thief}
    found = audit(tmp_path / "store", backend="head:6379", **models)
    assert not {stage.action for stage in audit.told} & {"load", "capture", "match"}
    screens, wholes = cluster
    assert len(screens.comparisons) == 6
    assert {one.sample for one in screens.comparisons} == {SAMPLE}
    assert 0 < len(wholes.comparisons) < 6
    assert {one.sample for one in wholes.comparisons} == {None}
    computed = len(Store(tmp_path / "store").journal())
    (tmp_path / "h.sqlite").unlink()
    here = audit(tmp_path / "store", **models)
    assert here.pairs == found.pairs
    assert len(Store(tmp_path / "store").journal()) == computed
    again = audit(tmp_path / "store", backend="head:6379", **models)
    assert again.known == 6
    assert [plan.comparisons for plan in cluster[2:]] == [(), ()]


def test_what_a_cluster_could_not_compute_fails_its_pair_and_is_not_tried_here(
    audit, deep, family, tmp_path, cluster, monkeypatch
):
    def failing(plan, executor, backend, on_stage):
        return dict.fromkeys(plan.comparisons, ProvenanceError("its node died three times"))

    monkeypatch.setattr("provenance.audit.plan.run_plan", failing)
    pair = only(audit(tmp_path / "store", backend="head:6379", a=deep.one, b=deep.two))
    assert (pair.verdict, pair.error) == (None, "its node died three times")
    assert not {stage.action for stage in audit.told} & {"load", "capture", "match"}


def test_a_model_that_cannot_be_read_is_nothing_to_a_cluster(audit, family, tmp_path, cluster):
    bad = shutil.copytree(family.other, tmp_path / "bad")
    (bad / "config.json").write_text("{")
    found = audit(tmp_path / "store", backend="head:6379", a=family.base, b=family.kin, bad=bad)
    assert [pair.verdict for pair in found.pairs] == ["dependent", None, None]
    assert len(cluster[0].comparisons) == 1


def test_an_audit_is_run_where_it_can_be(audit, family, capsys, tmp_path):
    audit(a=family.base, b=family.other)
    with pytest.raises(SystemExit) as ended:
        main(["audit", str(audit.path), "--history", str(tmp_path / "x"), "--executor", "nowhere"])
    assert ended.value.code == 2
    assert "is no place to run a plan" in capsys.readouterr().err
