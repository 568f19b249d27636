"""A plan on Ray: models are opened, then captured, and compared as soon as both of a pair are."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from provenance.cluster.ray_backend import WINDOW, Tasks, connected
from provenance.cluster.resources import Capacity, Requests, Resources
from provenance.cluster.tasks import Settings
from provenance.comparison.plan import Capture, Comparison, Plan
from provenance.errors import ProvenanceError, release_frames
from provenance.statistics import REGISTRY
from provenance.vocabulary import ModelSpec, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from provenance.cluster.ray_backend import Ended
    from provenance.cluster.tasks import Task
    from provenance.comparison.executor import Executor
    from provenance.store.store import Store

    OnStage = Callable[[Stage], None]


def run_on_ray(
    plan: Plan,
    executor: Executor,
    address: str | None,
    on_stage: OnStage | None,
) -> dict[Comparison, ProvenanceError]:
    """Run a plan on the cluster at an address; see `provenance.cluster.run_plan`."""
    plan = plan.of_whole_models()
    if not plan.comparisons:
        return {}
    with _cluster(executor, address, plan.models()) as (tasks, requests, where):
        run = _Run(plan, executor, tasks, requests)
        return run.failures_of(where, on_stage or (lambda _: None))


def open_on_ray(
    models: tuple[ModelSpec, ...],
    executor: Executor,
    address: str | None,
    on_stage: OnStage | None,
) -> None:
    """Open models on the cluster at an address; see `provenance.cluster.open_models`."""
    with _cluster(executor, address, models) as (tasks, requests, where):
        run = _Run(Plan(()), executor, tasks, requests)
        run.open(models, where, on_stage or (lambda _: None))


@contextmanager
def _cluster(
    executor: Executor, address: str | None, models: tuple[ModelSpec, ...]
) -> Iterator[tuple[Tasks, Requests, str]]:
    """Tasks on a cluster, what they ask for, and what it is called; an error cancels all of them."""
    with connected(address) as ray, _token(executor.store) as token:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        requests = Requests(Capacity.of(nodes), executor.device, executor.memory)
        tasks = Tasks(ray, Settings.of(executor, token, models))
        try:
            yield tasks, requests, f"on a cluster of {len(nodes)} node" + "s" * (len(nodes) != 1)
        except BaseException:
            tasks.cancel()
            raise


@contextmanager
def _token(store: Store) -> Iterator[str]:
    """A note in the store by which a node knows that it has the same store."""
    token = f"cluster/{uuid4().hex}"
    store.notes.write(token, "")
    try:
        yield token
    finally:
        store.notes.remove(token)


class _Run:
    """One plan as it runs: the tasks that have ended, and those that each comparison waits for."""

    def __init__(self, plan: Plan, executor: Executor, tasks: Tasks, requests: Requests) -> None:
        self._plan = plan
        self._executor = executor
        self._tasks = tasks
        self._requests = requests
        self._failures: dict[Comparison, ProvenanceError] = {}
        self._opened: dict[ModelSpec, Ended] = {}
        self._captured: dict[Capture, Ended] = {}
        self._needs: dict[Comparison, tuple[Capture, ...]] = {}
        self._serves: dict[Capture, list[Comparison]] = {}
        self._ready: deque[Task] = deque()

    def failures_of(self, where: str, tell: OnStage) -> dict[Comparison, ProvenanceError]:
        """Run all; return why some could not be computed."""
        self.open(self._plan.models(), where, tell)
        self._read_files(where, tell)
        for comparison in self._plan.comparisons:
            self._prepare(comparison)
        # captures come first, so that no comparison waits behind others for its own
        self._ready.extendleft(reversed(self._serves))
        waiting = sum(map(bool, self._needs.values()))
        self._drain(
            lambda done, total: tell(Stage("audit", f"the plan {where}", done, total)), waiting
        )
        return self._failures

    def open(self, models: tuple[ModelSpec, ...], where: str, tell: OnStage) -> None:
        """Have models found and digested."""
        self._ready.extend(models)
        self._drain(
            lambda done, total: tell(Stage("audit", f"opening models {where}", done, total))
        )

    def _read_files(self, where: str, tell: OnStage) -> None:
        """Measure first what weight files say: where that decides a pair, no model of it is captured.

        What goes wrong here goes wrong again where the whole is measured, and counts there.
        """
        for comparison in self._plan.comparisons:
            files = comparison.of_files()
            if files is not None and self._unread(comparison, files):
                self._needs[files] = ()
                self._ready.append(files)
        self._drain(lambda done, total: tell(Stage("audit", f"weight files {where}", done, total)))
        self._needs.clear()
        self._failures.clear()

    def _unread(self, comparison: Comparison, files: Comparison) -> bool:
        """Whether both models are there, and the store has no evidence on them yet."""
        opened = [self._opened[spec] for spec in (comparison.candidate, comparison.reference)]
        if not all(one.ok for one in opened):
            return False
        try:
            return not (self._executor.has(comparison) or self._executor.has(files))
        except ProvenanceError as error:  # `_prepare` meets it again
            release_frames(error)
            return False

    def _drain(self, tell: Callable[[int, int], None], waiting: int = 0) -> None:
        """Run the ready tasks, and the ``waiting`` ones that become ready by these."""
        done, total = 0, len(self._ready) + waiting
        tell(done, total)
        while self._ready or len(self._tasks):
            while self._ready and len(self._tasks) < WINDOW:
                self._submit(self._ready.popleft())
            for ended in self._tasks.ended():
                done += 1 + self._take(ended)
                tell(done, total)

    def _prepare(self, comparison: Comparison) -> None:
        """Find what a comparison waits for, unless the store has it or it has failed already."""
        opened = [self._opened[spec] for spec in (comparison.candidate, comparison.reference)]
        if self._has_failed(comparison, opened):
            return
        try:
            if self._executor.has(comparison):
                return
            self._needs[comparison] = self._executor.captures(comparison)
        except ProvenanceError as error:
            release_frames(error)
            self._failures[comparison] = error
            return
        for capture in self._needs[comparison]:
            self._serves.setdefault(capture, []).append(comparison)
        if not self._needs[comparison]:
            self._ready.append(comparison)

    def _submit(self, task: Task) -> None:
        if isinstance(task, ModelSpec):
            self._tasks.submit(task, self._requests.opening())
        elif isinstance(task, Capture):
            model = self._executor.checkpoint(task.model)
            self._tasks.submit(task, self._requests.running([model]))
        else:
            self._tasks.submit(task, self._matching(task), self._near(task))

    def _matching(self, comparison: Comparison) -> Resources:
        if REGISTRY[comparison.statistic].basis != "models":
            return self._requests.matching()
        specs = (comparison.candidate, comparison.reference)
        return self._requests.running([self._executor.checkpoint(spec) for spec in specs])

    def _near(self, comparison: Comparison) -> str | None:
        """The node that read the candidate's files last, which may have them in memory still."""
        needs = self._needs[comparison]
        ended = self._captured[needs[0]] if needs else self._opened[comparison.candidate]
        return ended.node

    def _take(self, ended: Ended) -> int:
        """Note that a task has ended; return how many comparisons have failed with it."""
        if isinstance(ended.task, ModelSpec):
            self._opened[ended.task] = ended
            return 0
        if isinstance(ended.task, Comparison):
            if ended.error is not None:
                self._failures[ended.task] = ended.error
            return 0
        self._captured[ended.task] = ended
        failed = 0
        for comparison in self._serves[ended.task]:
            needs = self._needs[comparison]
            if not all(capture in self._captured for capture in needs):
                continue
            if self._has_failed(comparison, [self._captured[capture] for capture in needs]):
                failed += 1
            else:
                self._ready.append(comparison)
        return failed

    def _has_failed(self, comparison: Comparison, tasks: list[Ended]) -> bool:
        """Whether a task that a comparison needs has failed; the first error counts.

        A bug is no comparison's failure: the process that judges meets it again, with a traceback.
        """
        failed = next((one for one in tasks if not one.ok), None)
        if failed is not None and failed.error is not None:
            self._failures[comparison] = failed.error
        return failed is not None
