"""A plan in parts: who does what, in whatever order the parts run, and what whoever judges sees of it."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance import InputsSpec, ModelSpec, Store
from provenance.cluster import Shard, run_shard
from provenance.cluster.shards import divide, models_key, plan_key
from provenance.cluster.states import Failure, State, States, latest
from provenance.comparison.plan import Capture, Comparison, Plan
from provenance.errors import (
    DegenerateError,
    DeviceError,
    ProvenanceError,
    SourceError,
    StoreError,
)
from tests.support.places import DOCS
from tests.support.suite_runs import count, finish, found, journal, start, write_suite

INPUTS = InputsSpec(kind="random", tokens=64, sequence_length=32)


def spec(name):
    return ModelSpec(path=f"/models/{name}")


def plan_of(pairs):
    return Plan.of(Comparison.of(spec(a), spec(b), INPUTS, "match") for a, b in pairs)


# which part


@pytest.mark.parametrize("text", ["1/1", "3/8", "8/8", "00003/008"])
def test_a_part_is_read(text):
    assert Shard.parse(text) == Shard(*map(int, text.split("/")))


@pytest.mark.parametrize("text", ["", "0/4", "5/4", "1", "1/", "-1/4", "1/4/2", "a/b", "1/9999999"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(ProvenanceError, match="is no part of a plan: write k/n"):
        Shard.parse(text)


plans = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=40, unique=True
)


@given(plans, st.lists(st.integers(0, 10**10), min_size=10, max_size=10), st.integers(1, 12))
def test_each_model_and_each_pair_has_one_part_and_sizes_are_balanced(pairs, sizes, parts):
    plan = plan_of(pairs)
    models = {spec(k): ("d", sizes[k]) for k in range(10)}
    division = divide(plan, models, parts)
    assert division.models.keys() == set(plan.models())
    assert division.owners.keys() == set(plan.comparisons)
    assert {*division.models.values(), *division.owners.values()} <= set(range(1, parts + 1))
    assert all(division.owners[c] in division.parts(c) for c in plan.comparisons)
    load = Counter()
    for model, part in division.models.items():
        load[part] += models[model][1]
    total, largest = sum(load.values()), max(models[m][1] for m in division.models)
    assert max(load.values()) <= total / parts + largest + 10  # what the greedy rule promises
    assert division == divide(plan, dict(reversed(models.items())), parts)


def test_what_parts_go_by_changes_with_the_plan_and_with_the_models():
    plan, other = plan_of([(0, 1)]), plan_of([(1, 0)])
    models = {spec(0): ("a", 1), spec(1): ("b", 1)}
    assert plan_key(plan) != plan_key(other)
    assert models_key(plan, models) != models_key(plan, models | {spec(1): (None, 0)})


# in whatever order: parts as threads, each step of which waits for its turn


class Turns:
    """Lets one thread at a time take one step, in an order that follows from a seed."""

    def __init__(self, seed):
        self._random = random.Random(seed)
        self._condition = threading.Condition()
        self._waiting, self._alive, self._next = set(), set(), None

    def run(self, works):
        threads = [
            threading.Thread(target=self._run, args=(name, work)) for name, work in works.items()
        ]
        self._alive = set(works)
        for thread in threads:
            thread.start()
        with self._condition:
            while self._alive:
                self._condition.wait_for(lambda: self._waiting == self._alive and not self._next)
                if self._alive:
                    self._next = self._random.choice(sorted(self._alive))
                    self._condition.notify_all()
        for thread in threads:
            thread.join()

    def _run(self, name, work):
        try:
            work(partial(self.step, name))
        finally:
            with self._condition:
                self._alive.discard(name)
                self._waiting.discard(name)
                self._condition.notify_all()

    def step(self, name):
        with self._condition:
            self._waiting.add(name)
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._next == name)
            self._waiting.discard(name)
            self._next = None


class Shared:
    """What a store holds, and how often each thing was computed."""

    def __init__(self, broken=()):
        self.broken = set(broken)
        self.notes, self.evidence = {}, set()
        self.captured, self.compared = Counter(), Counter()


class FakeNotes:
    def __init__(self, shared, step):
        self._shared, self._step = shared, step

    def write(self, name, text):
        self._step()
        self._shared.notes[name] = text

    def read(self, name):
        self._step()
        return self._shared.notes.get(name)


class FakeExecutor:
    """What a part asks of an executor, on models that are names; each operation is a step."""

    device = "cpu"

    def __init__(self, shared, step):
        self._shared, self._step = shared, step
        self.store = SimpleNamespace(notes=FakeNotes(shared, step))

    def checkpoint(self, model):
        if ("open", model) in self._shared.broken:
            raise SourceError(f"{model.path} is gone")
        return SimpleNamespace(digest=model.path, parameters=len(model.path))

    def captures(self, comparison):
        return tuple(
            Capture(model, model, INPUTS, gated=True)
            for model in dict.fromkeys((comparison.candidate, comparison.reference))
        )

    def has(self, comparison):
        self._step()
        return comparison in self._shared.evidence

    def capture(self, capture):
        self._step()
        self._shared.captured[capture.model] += 1
        if ("run", capture.model) in self._shared.broken:
            raise DegenerateError(f"{capture.model.path} is constant")

    def ensure(self, comparison):
        self._step()
        if comparison in self._shared.evidence:
            return
        for model in (comparison.candidate, comparison.reference):
            assert self._shared.captured[model], "compared before it was captured"
        if ("match", comparison.candidate) in self._shared.broken:
            raise DegenerateError("too few units")
        self._shared.compared[comparison] += 1
        self._shared.evidence.add(comparison)


def run_parts(plan, shared, count, seed, parts=None):
    done = {}

    def work(index, step):
        done[index] = run_shard(plan, FakeExecutor(shared, step), Shard(index, count))

    indices = parts or range(1, count + 1)
    Turns(seed).run({index: partial(work, index) for index in indices})
    return done


@settings(max_examples=60, deadline=None)
@given(plans, st.integers(1, 5), st.integers(0, 10**6))
def test_at_once_in_any_order_all_is_computed_and_no_model_run_twice(pairs, parts, seed):
    plan, shared = plan_of(pairs), Shared()
    done = run_parts(plan, shared, parts, seed)
    assert shared.evidence == set(plan.comparisons)
    assert shared.captured == dict.fromkeys(plan.models(), 1)
    assert sum(part.captured for part in done.values()) == len(plan.models())
    assert all(not part.failures for part in done.values())


@settings(max_examples=40, deadline=None)
@given(plans, st.permutations([1, 2, 3]))
def test_one_after_the_other_in_any_order_all_is_computed_once(pairs, order):
    plan, shared = plan_of(pairs), Shared()
    left = [run_parts(plan, shared, 3, 0, [index])[index].left for index in order]
    assert shared.evidence == set(plan.comparisons)
    assert set(shared.captured.values()) == set(shared.compared.values()) == {1}
    assert left[-1] == 0


@settings(max_examples=40, deadline=None)
@given(
    plans,
    st.integers(0, 10**6),
    st.sets(
        st.tuples(st.sampled_from(["open", "run", "match"]), st.integers(0, 9).map(spec)),
        max_size=3,
    ),
)
def test_what_is_wrong_with_a_model_is_noted_and_costs_no_other(pairs, seed, broken):
    plan, shared = plan_of(pairs), Shared(broken)
    run_parts(plan, shared, 3, seed)
    bad = {
        c
        for c in plan.comparisons
        if ("match", c.candidate) in broken
        or any((what, m) in broken for what in ("open", "run") for m in (c.candidate, c.reference))
    }
    assert shared.evidence == set(plan.comparisons) - bad
    noted = {}
    for text in shared.notes.values():
        noted |= json.loads(text)["failures"]
    assert len(noted) == len(bad)
    assert max(shared.captured.values(), default=1) == 1


def test_a_part_that_died_is_made_up_for_by_running_it_again():
    class Killed(BaseException):
        pass

    plan = plan_of([(a, b) for a in range(6) for b in range(a)])
    for steps in range(1, 60, 3):
        shared, left = Shared(), iter(range(steps))

        def step(left=left):
            if next(left, None) is None:
                raise Killed

        try:
            run_shard(plan, FakeExecutor(shared, step), Shard(1, 2))
        except Killed:
            run_parts(plan, shared, 2, 0, [2])
        run_parts(plan, shared, 2, 0, [1])
        run_parts(plan, shared, 2, 0, [2])
        assert shared.evidence == set(plan.comparisons)


@pytest.mark.parametrize("error", [StoreError("full"), DeviceError("none")])
def test_what_is_wrong_with_the_machine_ends_the_part(error):
    class Broken(FakeExecutor):
        device = "cuda:99"

        def capture(self, capture):
            raise error

    with pytest.raises(type(error)):
        run_shard(plan_of([(0, 1)]), Broken(Shared(), lambda: None), Shard(1, 1))


def test_a_model_too_large_for_a_device_that_is_there_is_no_fault_of_the_part():
    class Small(FakeExecutor):
        def capture(self, capture):
            raise DeviceError("out of memory")

    done = run_shard(plan_of([(0, 1)]), Small(Shared(), lambda: None), Shard(1, 1))
    assert [str(error) for error in done.failures.values()] == ["out of memory"]


def test_the_latest_notes_count_and_of_each_part_its_own(tmp_path):
    store = Store(tmp_path)
    for models, parts, index, stand, when in [
        ("a" * 8, 4, 1, "ended", "2026-01-01"),
        ("a" * 8, 2, 1, "begun", "2026-01-02"),
        ("b" * 8, 2, 1, "ended", "2026-01-03"),
        ("a" * 8, 2, 2, "captured", "2026-01-02"),
    ]:
        States(store, "p" * 8, models, parts).write(index, State(stand, {}, "host", when))
    found_count, states = latest(store, "p" * 8)
    assert (found_count, {k: s.stand for k, s in states.items()}) == (
        2,
        {1: "ended", 2: "captured"},
    )
    assert latest(store, "q" * 8) == (0, {})


def test_a_failure_comes_back_as_what_it_was():
    kept = Failure.of(0, DegenerateError("constant"))
    assert type(kept.error()) is DegenerateError
    assert str(kept.error()) == "constant"
    assert type(replace(kept, kind="let_go").error()) is ProvenanceError
    assert type(replace(kept, kind="SuiteError").error()) is ProvenanceError


# a suite in parts

EXAMPLES = DOCS / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_suite(tmp_path_factory.mktemp("suite"), 4)


@pytest.fixture(scope="module")
def alone(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone")
    running = start(folder, out)
    text = finish(running)
    assert running.returncode == 0, text
    return found(out), Counter(kind for kind, _ in journal(out))


MERGE = ("provenance.cli", "merge")


def merged(folder, out, *arguments):
    running = start(folder, out, *arguments, command=MERGE)
    return finish(running), running.returncode


def part(folder, out, which, *arguments):
    return start(folder, out, "--provenance-shard", which, *arguments)


def test_parts_at_once_give_what_one_process_gives(folder, alone, tmp_path, monkeypatch):
    both = [part(folder, tmp_path, which) for which in ("1/2", "2/2")]
    texts = [finish(running) for running in both]
    assert [running.returncode for running in both] == [0, 0], texts
    assert all("nothing was judged" in text for text in texts)
    assert not (tmp_path / "kept").exists()
    computed = journal(tmp_path)
    assert Counter(kind for kind, _ in computed) == alone[1]
    assert max(computed.values()) == 1
    text, code = merged(folder, tmp_path)
    assert code == 0, text
    assert found(tmp_path) == alone[0]
    assert journal(tmp_path) == computed
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "torch.py").write_text("raise ImportError('a merge needs no torch')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hidden"), prepend=os.pathsep)
    text, code = merged(folder, tmp_path, "-n", "2")
    assert code == 0, text
    assert found(tmp_path) == alone[0]
    assert journal(tmp_path) == computed


def test_parts_on_machines_that_share_a_url_run_no_model_twice(
    folder, alone, tmp_path, monkeypatch
):
    store = ("--provenance-store", (tmp_path / "shared").as_uri())

    def on(machine, begin, *arguments):
        monkeypatch.setenv("PROVENANCE_STORE_CACHE", str(tmp_path / machine))
        return begin(folder, tmp_path, *arguments, *store)

    both = [on("a", part, "1/2"), on("b", part, "2/2")]
    texts = [finish(running) for running in both]
    assert [running.returncode for running in both] == [0, 0], texts
    text, code = on("c", merged)
    assert code == 0, text
    assert found(tmp_path) == alone[0]

    def computed(machine):
        monkeypatch.setenv("PROVENANCE_STORE_CACHE", str(tmp_path / machine))
        return {
            (r["kind"], r["digest"]) for r in Store(store[1]).journal() if r["kind"] != "hashes"
        }

    first, second, third = map(computed, "abc")
    assert not third
    twice = {kind for kind, _ in first & second}
    assert twice <= {"checkpoint", "evidence"}  # there are no locks between machines
    kinds = Counter(kind for kind, _ in first | second)
    assert kinds == {kind: number for kind, number in alone[1].items() if kind != "hashes"}


def test_a_part_that_did_not_end_fails_its_claims_by_name_until_it_is_run_again(
    folder, alone, tmp_path
):
    finish(part(folder, tmp_path, "2/2"))
    running = part(folder, tmp_path, "1/2")
    end = time.monotonic() + 300
    before = count(tmp_path, "activations")
    while count(tmp_path, "activations") == before and running.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGKILL)
    finish(running)
    computed = journal(tmp_path)
    text, code = merged(folder, tmp_path)
    assert code == 1, text
    assert "no part has compared this pair: run --provenance-shard 1/2 again" in text
    assert journal(tmp_path) == computed, "a merge computed something"
    again = part(folder, tmp_path, "1/2")
    text = finish(again)
    assert again.returncode == 0, text
    text, code = merged(folder, tmp_path)
    assert code == 0, text
    assert found(tmp_path) == alone[0]
    assert max(journal(tmp_path).values()) == 1


def test_without_parts_a_merge_says_that_there_are_none(folder, tmp_path):
    text, code = merged(folder, tmp_path, "-k", "m1-vs-m0")
    assert code == 1, text
    assert "no part has been run of what these tests need" in text
    assert count(tmp_path, "evidence") == count(tmp_path, "checkpoint") == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--provenance-shard", "3/2"), "'3/2' is no part of a plan"),
        (("--provenance-shard", "1/2", "-n", "2"), "leave out -n"),
        (
            ("--provenance-shard", "1/2", "--provenance-executor", "stored"),
            "leave out --provenance-ex",
        ),
    ],
)
def test_what_does_not_go_with_a_part_is_one_line(folder, tmp_path, arguments, says):
    running = start(folder, tmp_path, *arguments)
    text = finish(running)
    assert running.returncode == 4
    assert says in text
    assert "Traceback" not in text


def test_a_part_whose_store_cannot_be_used_has_failed(folder, tmp_path):
    (tmp_path / "store").write_text("in the way")
    running = part(folder, tmp_path, "1/1")
    text = finish(running)
    assert running.returncode == 4, text
    assert "part 1 of 1: cannot use the store" in text


def test_a_list_of_tests_computes_nothing_and_other_tests_are_counted(folder, tmp_path):
    running = part(folder, tmp_path, "1/1", "--collect-only")
    assert "verdict" in finish(running)
    assert journal(tmp_path) == {}
    other = folder / "test_other.py"
    other.write_text("def test_other():\n    raise AssertionError\n")
    try:
        running = part(folder, tmp_path, "1/1", str(other), "-k", "test_other or m1-vs-m0")
        text = finish(running)
    finally:
        other.unlink()
    assert running.returncode == 0, text
    assert "1 tests are not of suites" in text
    assert count(tmp_path, "evidence") > 0


# the examples of a batch system


@pytest.mark.skipif(shutil.which("bash") is None, reason="the example needs bash")
def test_the_script_of_a_job_array_runs_each_part(folder, alone, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "pytest").write_text(f'#!/bin/sh\nexec {sys.executable} -m pytest "$@"\n')
    (programs / "pytest").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PROVENANCE_STORE": str(tmp_path / "store"),
        "SLURM_ARRAY_TASK_COUNT": "2",
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
    }
    for task in ("1", "2"):
        subprocess.run(
            ["bash", EXAMPLES / "slurm.sh", "a.suite.yaml"],
            cwd=folder,
            env=environment | {"SLURM_ARRAY_TASK_ID": task},
            check=True,
        )
    assert Counter(kind for kind, _ in journal(tmp_path)) == alone[1]
    text, code = merged(folder, tmp_path)
    assert code == 0, text
    assert found(tmp_path) == alone[0]


def test_submitit_runs_the_parts_and_the_whole_is_judged(folder, alone, tmp_path):
    pytest.importorskip("submitit")
    store = tmp_path / "store"
    command = [sys.executable, str(EXAMPLES / "parts.py"), "a.suite.yaml", "--parts", "2"]
    command += ["--store", str(store), "--logs", str(tmp_path / "logs"), "--cluster", "local"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "did not end" not in done.stderr
    computed = journal(tmp_path)
    assert Counter(kind for kind, _ in computed) == alone[1]
    assert max(computed.values()) == 1
    assert len(list((tmp_path / "logs").glob("*_result.pkl"))) == 2
