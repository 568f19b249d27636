"""SIGKILL at every stage of a run: the next run completes, and computes again only what was cut."""

import os
import signal
from collections import Counter

import pytest

from provenance import Evidence, Results, Store

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="POSIX signals"),
    pytest.mark.extended,  # every case starts pytest twice or more
]

CONFTEST = """
import os, signal
from pathlib import Path
from provenance.store import folder as store_folder
from provenance.store import store
from provenance.plugin.outputs import results_json as keeping
from provenance.plugin.progress import Progress

WHERE, COUNT, FLAG = {where!r}, {count}, Path({flag!r})
passed = 0

def at(where):
    global passed
    passed += where == WHERE
    if where == WHERE and passed == COUNT:
        try:
            FLAG.touch(exist_ok=False)  # one death a run, whatever the number of workers
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

told = Progress.__call__
Progress.__call__ = lambda self, stage: (at(stage.action), told(self, stage))[1]

sealed, synced = store.seal, store_folder.sync

def seal(folder, kind, fields):
    at("write " + kind)  # its files are there, its manifest is not
    found = sealed(folder, kind, fields)
    at("rename " + kind)  # all is there, under a temporary name
    return found

def sync(folder):
    at("placed")  # in its place, and not yet in the journal
    return synced(folder)

store.seal, store_folder.sync = seal, sync

kept = keeping.pytest_provenance_results

def pytest_provenance_results(config, results):
    at("report")
    return ()
"""

STAGES = [
    ("load", 1),
    ("capture", 2),
    ("match", 2),
    ("write hashes", 1),
    ("write activations", 2),
    ("rename activations", 1),
    ("rename evidence", 2),
    ("placed", 3),
    ("report", 1),
]


def entries(store):
    """How often each entry was computed, by kind."""
    computed = Counter((record["kind"], record["digest"]) for record in Store(store).journal())
    return Counter(kind for kind, _ in computed), max(computed.values(), default=0)


def leftovers(store):
    return list((store / "v1" / "tmp").iterdir())


@pytest.fixture
def scene(tmp_path, write_suite):
    """A suite of three claims, and what kills the run that checks them."""
    write_suite(tmp_path)

    def arm(where, count):
        text = CONFTEST.format(where=where, count=count, flag=str(tmp_path / "dead"))
        (tmp_path / "conftest.py").write_text(text)

    def disarm():
        (tmp_path / "conftest.py").unlink()

    return tmp_path, arm, disarm


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, write_suite, run):
    """What a run computes that nobody kills, and what it finds."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_suite(folder)
    assert run(folder, folder / "store").returncode == 0
    return entries(folder / "store")[0], found(folder)


def found(folder):
    """Evidence apart from its time, by claim."""
    results = Results.from_json((folder / "kept" / "results.json").read_text())
    assert results.state == "pass"
    measured = {}
    for result in results.claims:
        fields = result.evidence.to_dict()
        del fields["created"]
        measured[result.claim.id] = fields
    return measured


def check_recovery(again, folder, undisturbed):
    kinds, evidence = undisturbed
    store = folder / "store"
    assert again.returncode == 0, again.stdout + again.stderr
    assert found(folder) == evidence
    computed, most = entries(store)
    assert most == 1  # what was complete was not computed again
    # who dies between an entry's rename and its line in the journal leaves an entry without a line
    assert computed <= kinds
    assert (kinds - computed).total() <= 1
    assert leftovers(store) == []
    for path in (store / "v1" / "evidence").glob("*/*/evidence.json"):
        Evidence.from_json(path.read_text())


@pytest.mark.parametrize(("where", "count"), STAGES)
def test_a_run_after_a_killed_one_computes_only_what_was_cut(scene, undisturbed, run, where, count):
    folder, arm, disarm = scene
    arm(where, count)
    killed = run(folder, folder / "store")
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    disarm()
    check_recovery(run(folder, folder / "store"), folder, undisturbed)


@pytest.mark.parametrize(
    ("where", "count"), [("write activations", 1), ("rename evidence", 1), ("placed", 1)]
)
def test_a_worker_that_dies_is_reported_and_the_others_go_on(scene, undisturbed, run, where, count):
    folder, arm, disarm = scene
    arm(where, count)
    hurt = run(folder, folder / "store", "-n", "4")
    assert hurt.returncode == pytest.ExitCode.TESTS_FAILED, hurt.stdout + hurt.stderr
    assert "crashed while running" in hurt.stdout
    results = Results.from_json((folder / "kept" / "results.json").read_text())
    states = Counter(result.state for result in results.claims)
    assert states["fail"] == 1
    assert states["pass"] == 2
    disarm()
    check_recovery(run(folder, folder / "store"), folder, undisturbed)
