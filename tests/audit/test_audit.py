"""Every pair of a registry is judged once, and a later run says what changed."""

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy

from provenance import Executor, Results, Store
from provenance.audit import (
    AuditedModel,
    AuditedPair,
    History,
    HistoryError,
    Registry,
    audit_registry,
    audit_results,
    foresee,
    load_registry,
)
from provenance.errors import DeviceError, InputError, StoreError
from provenance.vocabulary import InputsSpec
from tests.support.places import DOCS

pytestmark = pytest.mark.slow

QUICK = InputsSpec(tokens=512, sequence_length=64)
INPUTS = "inputs: {tokens: 512, sequence_length: 64}"


in_both = pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def url(request, tmp_path):
    """An empty history: in SQLite, where a test does not ask for both databases."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return f"sqlite:///{tmp_path / 'history.sqlite'}"
    return request.getfixturevalue("new_postgresql")()


@pytest.fixture
def folder(tmp_path, family, plain_family):
    """A folder of four models: ``a`` and ``b`` are kin, ``d`` has nothing to compare."""
    home = tmp_path / "models"
    home.mkdir()
    sources = {"a": family.base, "b": family.kin, "c": family.other, "d": plain_family.base}
    for name, source in sources.items():
        shutil.copytree(source, home / name)
    return home


@pytest.fixture
def registry(tmp_path, folder):
    """The same folder, read by a file that says what is fed."""
    path = tmp_path / "registry.yaml"
    path.write_text(f"version: 1\n{INPUTS}\nfolder: models\n")
    return path


@pytest.fixture
def run(registry, url, shared_store):
    """Audit the registry as it is now; what was measured is in ``run.measured``."""

    def run(path=registry, store=shared_store, **how):
        run.measured = []

        def tell(stage):
            if stage.action == "audit":
                run.measured.append(stage.subject)

        with History(url) as history:
            executor = Executor(Store(store), "cpu", tell)
            return audit_registry(load_registry(path), executor, history, **how)

    return run


def verdicts(found):
    return {(pair.candidate, pair.reference): pair.verdict for pair in found.pairs}


def changed(found):
    return sorted((change.kind, *change.names) for change in found.changes)


def replace(folder, source):
    shutil.rmtree(folder)
    shutil.copytree(source, folder)


# judging


@in_both
def test_every_pair_is_judged_once_and_what_cannot_be_is_recorded_with_its_reason(run):
    found = run()
    assert verdicts(found) == {
        ("b", "a"): "dependent",
        ("c", "a"): "independent",
        ("c", "b"): "independent",
        ("d", "a"): None,
        ("d", "b"): None,
        ("d", "c"): None,
    }
    plain = [pair for pair in found.pairs if "d" in pair.names]
    assert all("MLPs are plain" in pair.error for pair in plain)
    assert found.threshold == pytest.approx(1e-6 / 6)
    assert (found.measured, found.known, found.failed) == (3, 0, 3)
    assert (found.since, found.changes) == (None, ())


@in_both
def test_a_second_run_measures_nothing_even_with_another_store(run, tmp_path):
    first = run()
    assert len(run.measured) == 6
    second = run(store=tmp_path / "empty")
    assert run.measured == []
    assert verdicts(second) == verdicts(first)
    assert (second.measured, second.known, second.changes) == (0, 6, ())
    assert second.since == first.run
    assert not (tmp_path / "empty" / "v1" / "activations").exists()


def test_models_that_moved_elsewhere_are_known(run, tmp_path, folder):
    run()
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / "registry.yaml"
    moved.write_text(f"version: 1\n{INPUTS}\nfolder: models\n")
    folder.rename(tmp_path / "elsewhere" / "models")
    found = run(moved)
    assert run.measured == []
    assert found.since is None  # another path is another registry


def test_a_registry_has_the_name_that_it_is_given(run, tmp_path, folder):
    first = run(name="ours")
    folder.rename(tmp_path / "renamed")
    other = tmp_path / "other.yaml"
    other.write_text(f"version: 1\n{INPUTS}\nfolder: renamed\n")
    second = run(other, name="ours")
    assert (second.since, second.changes) == (first.run, ())


def test_pairs_that_are_ignored_are_not_measured(run, registry):
    text = f"version: 1\n{INPUTS}\nfolder: models\nignore:\n- {{pair: [b, a], reason: a mirror}}\n"
    registry.write_text(text)
    found = run()
    assert len(found.pairs) == 5
    assert found.ignored == (("a", "b", "a mirror"),)
    assert found.threshold == pytest.approx(1e-6 / 5)


def test_one_checkpoint_under_two_names_is_kin_of_itself(run, folder, family):
    replace(folder / "d", family.base)
    found = {pair.names: pair for pair in run().pairs}
    assert found[frozenset("ad")].verdict == "dependent"


def test_what_may_be_mended_without_other_weights_is_tried_again(run, folder, family):
    replace(folder / "d", family.broken)
    assert [pair.error for pair in run().pairs if "up_proj" in (pair.error or "")] != []
    assert run().known == 3
    assert len(run.measured) == 3


def test_an_unreadable_model_does_not_stop_the_others(run, folder):
    (folder / "d" / "model.safetensors").write_bytes(b"torn")
    found = run()
    (model,) = [model for model in found.models if model.error]
    assert model.name == "d"
    assert model.digest is None
    assert "model.safetensors" in model.error
    assert (found.measured, found.failed) == (3, 3)


def test_a_surprise_in_one_pair_does_not_stop_the_others(run, monkeypatch):
    measure = Executor.evidence

    def surprise(self, comparison):
        if comparison.candidate.path.endswith("b"):
            raise RuntimeError("boom\nboom")
        return measure(self, comparison)

    monkeypatch.setattr(Executor, "evidence", surprise)
    errors = [pair.error for pair in run().pairs if pair.candidate == "b"]
    assert errors == ["unexpected RuntimeError: boom boom"]
    monkeypatch.setattr(Executor, "evidence", measure)
    assert changed(run()) == [("new-kin", "b", "a")]
    assert run.measured == ["b and a"]


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"device": "cuda:77"}, DeviceError),
        ({"store": "/proc/no-store"}, StoreError),
    ],
)
def test_what_is_wrong_with_the_machine_is_no_fault_of_a_pair(
    registry, tmp_path, shared_store, how, error
):
    executor = Executor(Store(how.get("store", shared_store)), how.get("device", "cpu"))
    loaded = load_registry(registry)
    with History(str(tmp_path / "h.sqlite")) as history, pytest.raises(error):
        # another text than other tests have, which the shared store does not know
        audit_registry(loaded, executor, history, name=str(error))


def test_a_text_that_is_not_there_is_no_fault_of_a_pair(registry, run):
    registry.write_text("version: 1\ninputs: {text: ./none.txt}\nfolder: models\n")
    with pytest.raises(InputError, match=r"none\.txt"):
        run()


# what changed


@in_both
def test_swapped_weights_behind_a_name_are_noticed(run, folder, family):
    run()
    replace(folder / "c", family.short)
    found = run()
    assert ("changed-digest", "c") in changed(found)
    assert ("new-kin", "c", "a") in changed(found)
    assert ("new-kin", "c", "b") in changed(found)
    assert sorted(run.measured) == ["c and a", "c and b", "d and c"]


def test_kinship_that_is_not_there_any_more_is_noticed(run, folder, family, tiny_checkpoint):
    run()
    replace(folder / "b", tiny_checkpoint(7, num_hidden_layers=3))
    found = run()
    assert changed(found) == [("changed-digest", "b"), ("lost-kin", "b", "a")]
    assert "it was dependent" in found.changes[1].detail


def test_a_new_relative_is_new_kin_and_a_new_stranger_is_not(run, folder, family):
    run()
    shutil.copytree(family.short, folder / "e")
    found = run()
    assert changed(found) == [
        ("failing", "e", "d"),
        ("new-kin", "e", "a"),
        ("new-kin", "e", "b"),
        ("new-model", "e"),
    ]


def test_a_renamed_model_is_followed(run, folder):
    run()
    (folder / "b").rename(folder / "renamed")
    found = run()
    assert changed(found) == [("moved", "b", "renamed")]
    assert run.measured == []  # though the two of a pair have changed their roles


def test_a_model_that_is_gone_takes_its_pairs_along(run, folder):
    run()
    shutil.rmtree(folder / "b")
    assert changed(run()) == [("model-gone", "b")]


def test_a_model_that_cannot_be_read_any_more_is_said_once(run, folder, family):
    run()
    (folder / "a" / "model.safetensors").write_bytes(b"torn")
    assert changed(run()) == [("failing", "a")]
    replace(folder / "a", family.base)
    found = run()
    assert ("mended", "a") in changed(found)
    assert run.measured == []


def test_a_configuration_that_changed_alone_is_said_to(run, folder):
    run()
    path = folder / "c" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"rms_norm_eps": 1e-5}))
    (change,) = [c for c in run().changes if c.kind == "changed-digest"]
    assert change.detail == "its configuration changed, its weights did not"


# the history


SCRIPT = """\
import os, signal, sys
from provenance import Executor, Store, audit_registry, load_registry
from provenance.audit import History
registry, url, store = sys.argv[1:]
seen = []
def tell(stage):
    if stage.action == "audit":
        seen.append(stage.subject)
    if len(seen) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
with History(url) as history:
    audit_registry(load_registry(registry), Executor(Store(store), "cpu", tell), history)
"""


@pytest.mark.usefixtures("warm_python")
@in_both
def test_a_run_that_is_killed_loses_nothing_and_is_not_taken_for_complete(
    run, registry, url, folder, family, tiny_checkpoint, tmp_path
):
    first = run()
    replace(folder / "c", family.short)
    replace(folder / "d", tiny_checkpoint(11, num_hidden_layers=3))
    command = [sys.executable, "-c", SCRIPT, registry, url, tmp_path / "store"]
    killed = subprocess.run([*map(str, command)], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    found = run(store=tmp_path / "another")
    assert len(run.measured) == 3  # of five, two were kept
    assert found.run == first.run + 2
    assert found.since == first.run
    assert ("changed-digest", "c") in changed(found)


@in_both
def test_two_runs_at_once_leave_one_whole_history(run, registry, url, shared_store, tmp_path):
    found, errors = [], []
    gate = threading.Barrier(2)

    def work():
        try:
            gate.wait()
            with History(url) as history:
                executor = Executor(Store(shared_store), "cpu")
                found.append(audit_registry(load_registry(registry), executor, history))
        except Exception as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert {one.run for one in found} == {1, 2}
    assert verdicts(found[0]) == verdicts(found[1])
    third = run()
    assert (third.known, third.changes, third.since) == (6, (), 2)


@in_both
def test_many_who_open_and_write_one_history_at_once_do_not_get_in_each_others_way(url):
    """Of an SQLite file whoever comes first or goes last changes how it is kept."""
    errors = []
    gate = threading.Barrier(4)
    models = tuple(AuditedModel(name, name, "digest", "digest") for name in "abc")

    def work():
        try:
            gate.wait()
            for _ in range(5):
                with History(url) as history:
                    number = history.begin("ours", Registry(Path("/x"), {}), models)
                    history.keep_failure("key", "match", "why not")
                    history.record(number, AuditedPair("b", "a", error=history.known("key")))
                    history.finish(number)
        except HistoryError as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with History(url) as history:
        last = history.last_complete("ours")
    assert last.run == 20
    assert (len(last.models), [pair.error for pair in last.pairs]) == (3, ["why not"])


@in_both
@pytest.mark.parametrize("schema", [1, 3])
def test_a_history_of_another_schema_is_refused(url, schema):
    History(url).close()
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"UPDATE provenance_schema SET version = {schema}"))
    engine.dispose()
    refusal = rf"of schema {schema}, and this version .* reads schema 2: name another history with"
    for read_only in (False, True):
        with pytest.raises(HistoryError, match=refusal):
            History(url, read_only=read_only)


@in_both
def test_evidence_that_cannot_be_read_is_measured_again(run, url):
    run()
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.text("UPDATE provenance_evidence SET evidence = '{}' WHERE error IS NULL")
        )
    engine.dispose()
    found = run()
    assert (found.measured, found.known, found.changes) == (3, 3, ())
    assert (run().measured, run.measured) == (0, [])


def test_each_model_is_loaded_and_run_once(registry, folder, tmp_path):
    shutil.rmtree(folder / "d")
    told = []
    executor = Executor(Store(tmp_path / "store"), "cpu", told.append)
    with History(str(tmp_path / "h.sqlite")) as history:
        audit_registry(load_registry(registry), executor, history)
    loaded = [stage.subject for stage in told if stage.action == "load"]
    assert sorted(loaded) == [f"path:{folder / name}" for name in "abc"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql+nodriver://host/x", "cannot use the history mysql"),
        ("postgresql+pg8000://u:secret@127.0.0.1:1/x", "needs the driver pg8000"),
        ("postgresql+psycopg://u:secret@127.0.0.1:1/x", "cannot use the history"),
        ("://", "URL cannot be read"),
        ("/proc/none/history.sqlite", "cannot make the folder"),
        ("{torn}", "file is not a database"),
    ],
)
def test_a_history_that_cannot_be_used_is_one_line_without_the_password(url, words, tmp_path):
    torn = tmp_path / "torn.sqlite"
    torn.write_bytes(b"no database at all" * 100)
    with pytest.raises(HistoryError, match=words) as caught:
        History(url.format(torn=torn))
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_without_sqlalchemy_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(HistoryError, match=r"pip install 'pytest-provenance\[audit\]'"):
        History("x.sqlite")


def test_the_environment_names_the_history(monkeypatch, tmp_path):
    monkeypatch.setenv("PROVENANCE_HISTORY", str(tmp_path / "sub" / "ours.sqlite"))
    History().close()
    assert (tmp_path / "sub" / "ours.sqlite").exists()


def test_foresight_measures_and_writes_nothing(registry, tmp_path, shared_store):
    file = tmp_path / "none.sqlite"
    stages = []
    executor = Executor(Store(shared_store), "cpu", stages.append)
    with History(str(file), read_only=True) as history:
        outlook = foresee(load_registry(registry), executor, history)
    assert (len(outlook.to_measure), outlook.known) == (6, ())
    assert stages == []
    assert not file.exists()


def test_foresight_knows_what_is_known(run, registry, url, folder, family, shared_store):
    run()
    replace(folder / "c", family.short)
    with History(url, read_only=True) as history:
        outlook = foresee(load_registry(registry), Executor(Store(shared_store), "cpu"), history)
    assert sorted(outlook.to_measure) == [("c", "a"), ("c", "b"), ("d", "c")]


# the page


def blocks(kind):
    page = (DOCS / "audit.md").read_text("utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def test_the_registry_of_the_page_can_be_read(tmp_path, folder):
    (text,) = [block for block in blocks("text") if block.startswith("version: 1")]
    shutil.copytree(folder / "c", folder / "chat-mirror")
    path = tmp_path / "page.yaml"
    path.write_text(text.replace("/srv/models", str(folder)))
    found = load_registry(path)
    assert {"base", "chat", "a", "chat-mirror"} <= set(found.models)
    assert found.ignored == {frozenset({"chat", "chat-mirror"}): "a mirror of ours"}
    assert found.allowed == {"chat": "not there before its release"}


def test_the_program_of_the_page_runs(tmp_path, monkeypatch, tiny_checkpoint, capfd, shared_store):
    for name in ("one", "two"):
        shutil.copytree(tiny_checkpoint(3, tokenizer=False), tmp_path / "checkpoints" / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROVENANCE_STORE", str(shared_store))
    (program,) = blocks("python")
    exec(program, {})
    shutil.rmtree(tmp_path / "checkpoints" / "two")
    shutil.copytree(tiny_checkpoint(4, tokenizer=False), tmp_path / "checkpoints" / "two")
    exec(program, {})
    assert "changed-digest ('two',) other weights stand behind this name" in capfd.readouterr().out


# results


def test_results_hold_every_pair_with_its_evidence(run, registry):
    found = run()
    loaded = load_registry(registry)
    results = Results.from_json(audit_results(found, loaded).to_json())
    states = {result.claim.id: result.state for result in results.claims}
    assert (states["b-vs-a"], states["c-vs-a"], states["d-vs-a"]) == ("pass", "pass", "fail")
    by_id = {result.claim.id: result for result in results.claims}
    assert by_id["b-vs-a"].judgement.verdict == "dependent"
    assert by_id["b-vs-a"].log10_p < -50
    assert "MLPs are plain" in by_id["d-vs-a"].error
    assert by_id["b-vs-a"].holm is not None


def test_neighbouring_pairs_share_a_model(registry):
    pairs = load_registry(registry).pairs()
    assert len({frozenset(pair) for pair in pairs}) == len(pairs) == 6
    assert all(set(one) & set(two) for one, two in pairwise(pairs))


@pytest.mark.parametrize(
    ("pair", "judged"),
    [
        (AuditedPair("a", "b", "independent", -0.3), True),
        (AuditedPair("a", "b", "inconclusive", -4.0), True),
        (AuditedPair("a", "b", "dependent"), True),  # one digest, of which no block was tested
        (AuditedPair("a", "b", "inconclusive"), False),  # no block could be tested
        (AuditedPair("a", "b", error="a cannot be read"), False),
    ],
)
def test_a_pair_is_judged_where_something_was_measured(pair, judged):
    assert pair.judged is judged
