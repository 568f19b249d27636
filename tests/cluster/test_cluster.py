"""A plan that is run ahead of its tests: what its tasks are, what they ask for, who hears of failures."""

import pickle
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

from provenance import Executor, InputsSpec, ModelSpec, Store
from provenance.cluster import check_backend, driver, run_plan, tasks
from provenance.cluster.ray_backend import Ended, Tasks
from provenance.cluster.resources import Capacity, Requests, Resources
from provenance.comparison.plan import Capture, Comparison, Plan
from provenance.errors import (
    DegenerateError,
    DeviceError,
    ProvenanceError,
    SourceError,
    StoreError,
)
from provenance.vocabulary import Memory
from tests.support.places import ROOT

pytestmark = pytest.mark.slow

GIB = 1 << 30
INPUTS = InputsSpec(tokens=512, sequence_length=64)
BIG = {"CPU": 16.0, "memory": 64.0 * GIB}
GPU = {"CPU": 4.0, "memory": 32.0 * GIB, "GPU": 2.0}


def spec(path, **more):
    return ModelSpec(path=str(path), **more)


def compared(candidate, reference, statistic="match", inputs=INPUTS):
    return Comparison.of(spec(candidate), spec(reference), inputs, statistic)


def kinds(store):
    return Counter(record["kind"] for record in store.journal())


def measured(computed):
    """What was computed, but for digests of files: those of copies that lie in another store are others."""
    return {one: count for one, count in computed.items() if one[0] != "hashes"}


# what a task asks for


def requests(*nodes, device="auto", resident=None):
    return Requests(Capacity.of(nodes), device, Memory(working=2 * GIB, resident=resident))


def sized(gib, dtype=None):
    """A model whose weights take so much in float32."""
    return SimpleNamespace(parameters=gib * GIB // 4, spec=ModelSpec(path="x", dtype=dtype))


def test_without_a_gpu_a_run_asks_for_a_cpu_a_gibibyte_and_for_its_weights():
    assert requests(BIG).running([sized(6)]) == Resources(6, 0, 8 * GIB)
    assert requests(BIG).running([sized(6, "bfloat16")]) == Resources(3, 0, 5 * GIB)
    assert requests(BIG).running([sized(6), sized(2)]) == Resources(8, 0, 10 * GIB)


def test_with_gpus_a_run_asks_for_one_and_comparing_for_a_cpu():
    both = requests(BIG, GPU)
    assert both.running([sized(6)]) == Resources(1, 1, 5 * GIB)  # of half the width there
    assert both.matching() == Resources(1, 0, 2 * GIB)
    assert both.opening() == Resources(1)
    assert requests(BIG, GPU, device="cpu").running([sized(6)]).gpus == 0


def test_where_the_device_asked_for_is_a_gpu_every_task_asks_for_one():
    only = requests(BIG, GPU, device="cuda")
    assert [n.gpus for n in (only.opening(), only.running([sized(1)]), only.matching())] == [1] * 3


def test_nothing_is_asked_for_that_no_node_has():
    assert requests(BIG).running([sized(600)]) == Resources(16, 0, 64 * GIB)
    assert requests(BIG, GPU).running([sized(600)]) == Resources(1, 1, 32 * GIB)
    assert requests(BIG, resident=4 * GIB).running([sized(600)]) == Resources(4, 0, 6 * GIB)
    assert requests({"CPU": 0.0}).opening() == Resources(1)  # one may join


def test_a_device_that_a_cluster_cannot_give_is_refused():
    with pytest.raises(DeviceError, match="'cuda:1': on a cluster Ray chooses the GPU"):
        requests(GPU, device="cuda:1")
    with pytest.raises(DeviceError, match="no node of the cluster has a GPU"):
        requests(BIG, device="cuda")


# what must be captured


@pytest.fixture
def executor(tmp_path):
    return Executor(Store(tmp_path / "store"), "cpu")


def test_models_that_read_alike_are_captured_once_for_all_their_pairs(executor, family):
    names = [family.base, family.kin, family.other, family.short]
    pairs = [(a, b) for a in names for b in names if a != b]
    found = {one for a, b in pairs for one in executor.captures(compared(a, b))}
    assert {one.model for one in found} == {spec(name) for name in names}
    assert len(found) == len(names)
    assert kinds(executor.store).keys() == {"hashes"}


def test_a_model_is_captured_again_for_partners_that_read_otherwise(
    executor, family, tiny_checkpoint
):
    strangers = [
        tiny_checkpoint(7, max_position_embeddings=32),
        tiny_checkpoint(8, tokenizer=False),
    ]
    captures = {
        one for other in strangers for one in executor.captures(compared(family.base, other))
    }
    of_base = [one for one in captures if one.model == spec(family.base)]
    fed = {(one.inputs.kind, one.inputs.sequence_length, one.vocabulary) for one in of_base}
    assert fed == {("text", 32, None), ("random", 64, 128)}


def test_what_is_captured_is_all_that_comparing_needs(executor, family, tiny_checkpoint):
    """Whichever partner stood for the one at hand."""
    short = [tiny_checkpoint(seed, max_position_embeddings=32) for seed in (7, 8)]
    pairs = [compared(family.base, short[0]), compared(family.base, short[1], "kinship")]
    for one in {one for pair in pairs for one in executor.captures(pair)}:
        executor.capture(one)
    before = kinds(executor.store)["activations"]
    for pair in pairs:
        executor.ensure(pair)
    after = kinds(executor.store)
    assert (before, after["activations"], after["evidence"]) == (3, 3, 2)
    assert all(map(executor.has, pairs))


def test_imitations_differ_by_role_and_not_by_text(quick_distillation, tmp_path, plain_family):
    executor = Executor(Store(tmp_path / "store"), "cpu")
    first = compared(plain_family.base, plain_family.kin, "generalized")
    again = replace(first, inputs=replace(INPUTS, tokens=64))
    turned = compared(plain_family.kin, plain_family.base, "generalized")
    assert executor.captures(first) == executor.captures(again)
    assert len({*executor.captures(first), *executor.captures(turned)}) == 4
    for one in executor.captures(first):
        executor.capture(one)
    executor.ensure(first)
    assert kinds(executor.store)["proxies"] == 2


@pytest.mark.parametrize("statistic", ["csu", "match_weights", "l2", "jsd"])
def test_statistics_of_weights_and_of_whole_models_have_nothing_captured(
    executor, family, statistic
):
    assert executor.captures(compared(family.kin, family.base, statistic)) == ()


def test_what_another_process_met_is_not_tried_again(executor, family):
    executor.remember(compared(family.kin, family.base), DegenerateError("seen elsewhere"))
    with pytest.raises(DegenerateError, match="seen elsewhere"):
        executor.evidence(compared(family.kin, family.base))
    assert executor.store.journal() == []


# a plan, in whichever order its tasks end


class Disorderly:
    """Tasks that a cluster would run, run here, and heard of in an order of chance."""

    def __init__(self, executor, token, seed=0, fate=lambda _: None):
        self._settings = tasks.Settings.of(executor, token)
        self._random = random.Random(seed)
        self._fate = fate
        self._waiting = []
        self.submitted = []

    def __len__(self):
        return len(self._waiting)

    def submit(self, task, needs, near=None):
        self.submitted.append(task)
        self._waiting.append(task)

    def ended(self):
        task = self._waiting.pop(self._random.randrange(len(self._waiting)))
        end = self._fate(task)
        error = None if end else tasks.perform(self._settings, task, on_cpu=False)
        yield end or Ended(task, "node", error)


@pytest.fixture
def token(executor):
    executor.store.notes.write("cluster/token", "")
    return "cluster/token"


@pytest.fixture
def plan(family):
    names = [family.kin, family.other, family.short, family.broken, family.base.parent / "gone"]
    pairs = [compared(name, family.base) for name in names]
    pairs.append(compared(family.other, family.kin, "csu"))
    return Plan.of([*pairs, compared(family.kin, family.base, "jsd")])


def run(plan, executor, tasks):
    told = []
    started = driver._Run(plan, executor, tasks, requests(BIG, device="cpu"))
    return started.failures_of("here", told.append), told


def texts(plan, executor, failures):
    found = {}
    for one in plan.comparisons:
        if one not in failures:
            found[one] = executor.evidence(one).to_dict() | {"created": ""}
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_plan_gives_what_one_process_gives_and_computes_nothing_twice(
    plan, tmp_path, token, executor, seed
):
    alone = Executor(Store(tmp_path / "alone"), "cpu")
    expected = run_plan(plan, alone)
    failures, told = run(plan, executor, Disorderly(executor, token, seed))
    assert {one: str(e) for one, e in failures.items()} == {
        one: str(e) for one, e in expected.items()
    }
    assert len(failures) == 2
    assert kinds(executor.store) == kinds(alone.store)
    assert texts(plan, executor, failures) == texts(plan, alone, failures)
    assert told[-1].done == told[-1].total
    assert all(stage.done <= stage.total for stage in told)


def test_what_the_store_holds_is_not_run_again(plan, token, executor):
    run(plan, executor, Disorderly(executor, token))
    again = Disorderly(executor, token)
    failures, _ = run(plan, executor, again)
    assert len(failures) == 2
    again = [one for one in again.submitted if isinstance(one, Comparison)]
    assert not any(map(executor.has, again))


def test_a_model_that_cannot_be_captured_fails_its_pairs_alone(family, token, executor):
    pairs = [compared(family.kin, family.base), compared(family.other, family.short)]

    def fate(task):
        dies = not isinstance(task, (ModelSpec, Comparison)) and task.model == spec(family.kin)
        return Ended(task, None, DeviceError("it died")) if dies else None

    given = Disorderly(executor, token, 0, fate)
    failures, _ = run(Plan.of(pairs), executor, given)
    assert {one: str(error) for one, error in failures.items()} == {pairs[0]: "it died"}
    assert pairs[0] not in given.submitted
    assert executor.has(pairs[1])


def test_a_mistake_of_ours_is_left_to_who_judges(family, token, executor):
    pair = compared(family.kin, family.base)

    def fate(task):
        return Ended(task, None, is_bug=True) if isinstance(task, ModelSpec) else None

    assert run(Plan.of([pair]), executor, Disorderly(executor, token, 0, fate))[0] == {}
    assert not executor.has(pair)


@pytest.fixture
def default_plan(family):
    """Pairs that files decide (kin, short), leave in doubt (other), or that cannot be had."""
    names = [family.kin, family.other, family.short, family.broken, family.base.parent / "gone"]
    return Plan.of(compared(name, family.base, "kinship") for name in names)


@pytest.mark.parametrize("seed", range(3))
def test_files_are_read_first_and_what_they_decide_is_not_captured(
    default_plan, family, tmp_path, token, executor, seed
):
    alone = Executor(Store(tmp_path / "alone"), "cpu")
    expected = run_plan(default_plan, alone)
    given = Disorderly(executor, token, seed)
    failures, told = run(default_plan, executor, given)
    assert {one: str(e) for one, e in failures.items()} == {
        one: str(e) for one, e in expected.items()
    }
    assert texts(default_plan, executor, failures) == texts(default_plan, alone, failures)
    captured = [one for one in given.submitted if isinstance(one, Capture)]
    assert {spec(family.other), spec(family.base)} <= {one.model for one in captured}
    assert not {spec(family.kin), spec(family.short)} & {one.model for one in captured}
    assert len(captured) == len({one.model for one in captured})
    compared_ones = [one for one in given.submitted if isinstance(one, Comparison)]
    files = [one for one in compared_ones if one.extent == "files"]
    assert {one.candidate for one in files} >= {spec(family.kin), spec(family.other)}
    assert compared_ones[: len(files)] == files  # before any other
    assert given.submitted.index(captured[0]) > given.submitted.index(files[-1])
    assert told[-1].done == told[-1].total
    assert all(stage.done <= stage.total for stage in told)


def test_a_plan_of_decided_pairs_captures_nothing_and_runs_nothing_again(family, token, executor):
    plan = Plan.of(compared(name, family.base, "kinship") for name in (family.kin, family.short))
    given = Disorderly(executor, token)
    assert run(plan, executor, given)[0] == {}
    assert not any(isinstance(one, Capture) for one in given.submitted)
    assert all(map(executor.has, plan.comparisons))
    again = Disorderly(executor, token)
    assert run(plan, executor, again)[0] == {}
    assert all(isinstance(one, ModelSpec) for one in again.submitted)


def test_a_claim_that_wants_all_parts_is_captured_for_at_once(family, token, executor):
    pair = replace(compared(family.kin, family.base, "kinship"), extent="parts")
    given = Disorderly(executor, token)
    assert run(Plan.of([pair]), executor, given)[0] == {}
    assert sum(isinstance(one, Capture) for one in given.submitted) == 2
    assert [one for one in given.submitted if isinstance(one, Comparison)] == [pair]


def test_a_text_that_cannot_be_read_fails_its_pairs_alone(family, tmp_path, token, executor):
    absent = replace(INPUTS, text=str(tmp_path / "absent.txt"))
    pairs = [
        compared(family.kin, family.base, "kinship", absent),
        compared(family.kin, family.base, "kinship"),
    ]
    failures, _ = run(Plan.of(pairs), executor, Disorderly(executor, token))
    assert list(failures) == pairs[:1]
    assert "absent.txt" in str(failures[pairs[0]])


def test_files_that_a_node_could_not_read_are_left_to_the_whole(family, token, executor):
    pair = compared(family.kin, family.base, "kinship")

    def fate(task):
        dies = isinstance(task, Comparison) and task.extent == "files"
        return Ended(task, None, DeviceError("it died")) if dies else None

    given = Disorderly(executor, token, 0, fate)
    assert run(Plan.of([pair]), executor, given)[0] == {}
    assert sum(isinstance(one, Capture) for one in given.submitted) == 2
    assert executor.has(pair)


def test_a_node_that_does_not_see_the_store_cannot_be_used(executor):
    settings = tasks.Settings.of(executor, "cluster/missing")
    error = tasks.perform(settings, ModelSpec(path="x"), on_cpu=False)
    assert isinstance(error, tasks.UnlikeError)
    assert f"does not see the store {executor.store.place}: " in str(error)


def test_a_node_with_other_versions_cannot_be_used(executor, token):
    ours = tasks.Settings.of(executor, token)
    other = tuple((name, "0.1" if name == "torch" else found) for name, found in ours.versions)
    error = tasks.perform(replace(ours, versions=other), ModelSpec(path="x"), on_cpu=False)
    assert isinstance(error, tasks.UnlikeError)
    assert "other versions, and would give other evidence: torch " in str(error)
    assert "where this machine has 0.1" in str(error)


def test_a_node_knows_the_recipes_that_this_process_registered(executor, token):
    """Another process, where no conftest.py has registered the zoo."""
    settings = tasks.Settings.of(executor, token, [ModelSpec(recipe="lineage/ties")])
    assert tasks.Settings.of(executor, token, [ModelSpec(path="x")]).recipes == ()
    code = (
        "import pickle, sys; from provenance.cluster import tasks; from provenance.recipes import RECIPES;"
        "known = 'lineage/ties' in RECIPES; tasks._executor(pickle.load(sys.stdin.buffer));"
        "print(known, 'lineage/ties' in RECIPES)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(settings),
        capture_output=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.split() == [b"False", b"True"]


def test_a_task_that_did_not_ask_for_a_gpu_sees_none(executor, token, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    seen = []
    monkeypatch.setattr(
        Executor, "checkpoint", lambda *_: seen.append(tasks.os.environ["CUDA_VISIBLE_DEVICES"])
    )
    for on_cpu in (False, True):
        tasks.perform(tasks.Settings.of(executor, token), ModelSpec(path="x"), on_cpu=on_cpu)
    assert seen == ["0", ""]


def test_a_token_is_gone_when_the_plan_is(tmp_path):
    store = Store(tmp_path / "a")
    with driver._token(store) as token:
        assert store.notes.read(token) == ""
    assert store.notes.names("cluster") == []
    (tmp_path / "b").touch()
    with (
        pytest.raises(StoreError, match="cannot use the store "),
        driver._token(Store(tmp_path / "b")),
    ):
        pass


# what is made of Ray's answers


class Stub:
    """The part of ray that runs tasks: each reference is what getting it gives, or raises."""

    class exceptions:  # noqa: N801 - as ray has it
        RayError = type("RayError", (Exception,), {})
        RayTaskError = type("RayTaskError", (RayError,), {})
        WorkerCrashedError = type("WorkerCrashedError", (RayError,), {})

    def __init__(self, *answers):
        self.answers = dict(enumerate(answers))
        self.asked = []
        self.cancelled = []

    def remote(self, **fixed):
        def options(**more):
            self.asked.append(fixed | more)
            return SimpleNamespace(remote=lambda *_: len(self.asked) - 1)

        return lambda _: SimpleNamespace(options=options)

    def put(self, value):
        return value

    def wait(self, refs, num_returns, timeout=None):
        forced = {ref for ref, force in self.cancelled if force}
        ready = refs if not self.cancelled else [ref for ref in refs if ref in forced or ref == 0]
        return ready, [ref for ref in refs if ref not in ready]

    def get(self, ref):
        if isinstance(self.answers[ref], Exception):
            raise self.answers[ref]
        return self.answers[ref]

    def cancel(self, ref, *, force):
        self.cancelled.append((ref, force))


def test_what_a_task_gives_is_told_from_how_it_died(executor, token):
    lost = Stub.exceptions.WorkerCrashedError("it was killed\nat some length")
    bug = Stub.exceptions.RayTaskError("KeyError: 1")
    ray = Stub((None, "a"), (SourceError("not there"), "b"), lost, bug)
    given = Tasks(ray, tasks.Settings.of(executor, token))
    for index in range(4):
        given.submit(spec(f"m{index}"), Resources(2, index % 2, 5 * GIB))
    found = {one.task.path: one for one in given.ended()}
    assert len(given) == 0
    assert (found["m0"].ok, found["m0"].node) == (True, "a")
    assert str(found["m1"].error) == "not there"
    assert isinstance(found["m2"].error, DeviceError)
    says = "path:m2: its task died on the cluster, 4 times: it was killed"
    assert str(found["m2"].error) == says
    assert (found["m3"].is_bug, found["m3"].ok, found["m3"].error) == (True, False, None)
    assert [one["num_gpus"] for one in ray.asked] == [0, 1, 0, 1]
    assert {(one["num_cpus"], one["memory"], one["max_retries"]) for one in ray.asked} == {
        (2, 5 * GIB, 3)
    }


def test_a_node_that_cannot_be_used_ends_the_plan(executor, token):
    given = Tasks(Stub((tasks.UnlikeError("other versions"), "a")), None)
    given.submit(spec("m0"), Resources(1))
    with pytest.raises(tasks.UnlikeError, match="other versions"):
        list(given.ended())


def test_cancelled_tasks_that_go_on_are_killed_and_those_that_wait_come_first():
    ray = Stub(None, None)
    given = Tasks(ray, None)
    for index in range(2):
        given.submit(spec(f"m{index}"), Resources(1))
    given.cancel()
    assert ray.cancelled == [(1, False), (0, False), (1, True)]
    assert len(given) == 0


# the backend


@pytest.mark.parametrize("backend", ["ray", "head:6379", "ray://10.0.0.1:10001", "[::1]:6379"])
def test_addresses_are_backends(backend, monkeypatch):
    monkeypatch.setattr("provenance.cluster.find_spec", lambda name: name)
    assert check_backend(backend) == backend


@pytest.mark.parametrize("backend", ["", "head", "http://head:1", "a b:1", "head:x"])
def test_anything_else_is_refused(backend):
    with pytest.raises(ProvenanceError, match="is no place to run a plan: write local, ray, "):
        check_backend(backend)


def test_without_ray_a_line_says_what_to_install(monkeypatch, executor):
    monkeypatch.setattr("provenance.cluster.find_spec", lambda _: None)
    with pytest.raises(ProvenanceError, match=r"pip install 'pytest-provenance\[ray\]'$"):
        run_plan(Plan(()), executor, "ray")


# the plugin


COUNTED = ("passed", "failed", "skipped", "errors")
SUITE = """\
version: 1
inputs: {{tokens: 512, sequence_length: 64}}
defaults: {{statistic: match, alpha: 1e-6}}
models:
  base: {{path: {family.base}}}
  kin: {{path: {family.kin}}}
  other: {{path: {family.other}}}
  short: {{path: {family.short}}}
controls: true
pairs:
  - {{candidate: kin, reference: base, expect: finetune}}
  - {{candidate: other, reference: base, expect: independent}}
  - {{candidate: other, reference: kin, expect: independent, tags: [later]}}
  - {{candidate: short, reference: base, expect: pruned, skip: not today}}
"""


@pytest.fixture
def ahead(pytester, family, monkeypatch):
    """Run pytest on a suite whose plan is run by this process, and return what was planned."""
    (pytester.path / "a.suite.yaml").write_text(SUITE.format(family=family))
    (pytester.path / "test_other.py").write_text("def test_it(): pass\n")
    seen = []

    def run_on_ray(plan, executor, address, on_stage):
        seen.append((address, plan))
        failures = run_plan(plan, executor)
        if ahead.fails:
            failures[plan.comparisons[0]] = SourceError("the cluster said so")
        seen.append(Counter((r["kind"], r["digest"]) for r in executor.store.journal()))
        return failures

    monkeypatch.setattr("provenance.cluster.find_spec", lambda name: name)
    monkeypatch.setattr("provenance.cluster.driver.run_on_ray", run_on_ray)

    def ahead(store, *arguments, where="--provenance-executor=head:1"):
        seen.clear()
        given = ["-p", "no:cacheprovider", f"--provenance-store={store}", *arguments]
        result = pytester.runpytest_inprocess(*given, *([where] if where else []))
        computed = Counter((r["kind"], r["digest"]) for r in Store(store).journal())
        return result, list(seen), computed

    ahead.fails = False
    return ahead


@pytest.mark.parametrize(
    ("chosen", "workers"),
    [
        ((), ()),
        (("-m", "not later"), ()),
        (("-m", "not later"), ("-n", "2")),
        (("-k", "null or control"), ()),
    ],
)
@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("warm_python")
def test_what_is_computed_ahead_is_what_the_tests_need(ahead, tmp_path, workers, chosen):
    lazily, seen, needed = ahead(tmp_path / "lazy", *chosen, where=None)
    assert seen == []
    result, ((address, _), before), after = ahead(tmp_path / "ahead", *chosen, *workers)
    assert address == "head:1"
    outcomes, expected = (one.parseoutcomes() for one in (result, lazily))
    assert [outcomes.get(k) for k in COUNTED] == [expected.get(k) for k in COUNTED]
    assert result.ret == lazily.ret == 0
    assert before == after, "a test computed something"
    assert measured(after) == measured(needed)


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("warm_python")
def test_what_the_cluster_could_not_compute_fails_its_claim_in_its_words(ahead, tmp_path, workers):
    ahead.fails = True
    result, _, _ = ahead(tmp_path / "store", "-k", "kin-vs-base", *workers)
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(["E * could not be checked: the cluster said so"])


@pytest.mark.filterwarnings("default")
def test_a_listing_computes_nothing(ahead, tmp_path):
    result, seen, computed = ahead(tmp_path / "store", "--collect-only")
    assert (result.ret, seen, computed) == (0, [], {})


@pytest.mark.filterwarnings("default")
def test_where_no_test_will_run_nothing_is_computed(ahead, tmp_path, pytester):
    (pytester.path / "b.suite.yaml").write_text("version: 2\n")
    result, seen, computed = ahead(tmp_path / "store")
    assert (result.ret, seen, computed) == (pytest.ExitCode.INTERRUPTED, [], {})
    more = ("--continue-on-collection-errors", "-k", "kin-vs-base")
    result, seen, computed = ahead(tmp_path / "store", *more)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert len(seen) == 2
    assert computed


@pytest.mark.filterwarnings("default")
def test_the_executor_may_stand_in_the_ini_file(ahead, tmp_path, pytester):
    (pytester.path / "pytest.ini").write_text("[pytest]\nprovenance_executor = ray\n")
    _, ((address, plan), _), _ = ahead(tmp_path / "store", "-k", "kin-vs-base", where=None)
    assert address is None
    assert len(plan.comparisons) == 1
    _, seen, _ = ahead(tmp_path / "store", where="--provenance-executor=local")
    assert seen == []


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("warm_python")
@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_cluster_that_cannot_be_used_ends_the_run_in_one_line(
    ahead, tmp_path, monkeypatch, workers
):
    def refuse(*_):
        raise DeviceError("no such luck")

    monkeypatch.setattr("provenance.cluster.driver.run_on_ray", refuse)
    result, _, _ = ahead(tmp_path / "store", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: no such luck"])
    assert "passed" not in result.parseoutcomes()


def test_a_mistaken_executor_is_refused_at_the_start(pytester):
    result = pytester.runpytest_inprocess("--provenance-executor=nowhere")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: 'nowhere' is no place to run a plan: *"])
