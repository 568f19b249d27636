"""A plan on Ray: models are opened, then captured, and compared as soon as both of a pair are."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from provenance.cluster.needs import Capacity, Needs, Rules
from provenance.cluster.raying import WINDOW, Tasks, connected
from provenance.cluster.tasks import Settings
from provenance.comparison.plan import Capture, Comparison, Plan
from provenance.errors import ProvenanceError, let_go
from provenance.statistics import REGISTRY
from provenance.vocabulary import ModelSpec, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from provenance.cluster.raying import Ended
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
    if not plan.comparisons:
        return {}
    with _cluster(executor, address, plan.models()) as (tasks, rules, where):
        run = _Run(plan, executor, tasks, rules)
        return run.failures_of(where, on_stage or (lambda _: None))


def open_on_ray(
    models: tuple[ModelSpec, ...],
    executor: Executor,
    address: str | None,
    on_stage: OnStage | None,
) -> None:
    """Open models on the cluster at an address; see `provenance.cluster.open_models`."""
    with _cluster(executor, address, models) as (tasks, rules, where):
        run = _Run(Plan(()), executor, tasks, rules)
        run.open(models, where, on_stage or (lambda _: None))


@contextmanager
def _cluster(
    executor: Executor, address: str | None, models: tuple[ModelSpec, ...]
) -> Iterator[tuple[Tasks, Rules, str]]:
    """Tasks on a cluster, what they ask for, and what it is called; an error cancels all of them."""
    with connected(address) as ray, _token(executor.store) as token:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        rules = Rules(Capacity.of(nodes), executor.device, executor.memory)
        tasks = Tasks(ray, Settings.of(executor, token, models))
        try:
            yield tasks, rules, f"on a cluster of {len(nodes)} node" + "s" * (len(nodes) != 1)
        except BaseException:
            tasks.cancel()
            raise


@contextmanager
def _token(store: Store) -> Iterator[str]:
    """A note in the store by which a node knows that it sees the same one."""
    token = f"cluster/{uuid4().hex}"
    store.notes.write(token, "")
    try:
        yield token
    finally:
        store.notes.remove(token)


class _Run:
    """The state of one plan: what is known of its models, and what each comparison still waits for."""

    def __init__(self, plan: Plan, executor: Executor, tasks: Tasks, rules: Rules) -> None:
        self._plan = plan
        self._executor = executor
        self._tasks = tasks
        self._rules = rules
        self._failures: dict[Comparison, ProvenanceError] = {}
        self._opened: dict[ModelSpec, Ended] = {}
        self._captured: dict[Capture, Ended] = {}
        self._needs: dict[Comparison, tuple[Capture, ...]] = {}
        self._serves: dict[Capture, list[Comparison]] = {}
        self._ready: deque[ModelSpec | Capture | Comparison] = deque()

    def failures_of(self, where: str, tell: OnStage) -> dict[Comparison, ProvenanceError]:
        """Run all; return why some could not be computed."""
        self.open(self._plan.models(), where, tell)
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

    def _drain(self, tell: Callable[[int, int], None], waiting: int = 0) -> None:
        """Run what is ready, and what becomes so by it; `waiting` says how much that will be."""
        done, total = 0, len(self._ready) + waiting
        tell(done, total)
        while self._ready or len(self._tasks):
            while self._ready and len(self._tasks) < WINDOW:
                self._submit(self._ready.popleft())
            for ended in self._tasks.ended():
                done += 1 + self._take(ended)
                tell(done, total)

    def _prepare(self, comparison: Comparison) -> None:
        """Find what a comparison waits for, unless it can never be made, or has been."""
        opened = [self._opened[spec] for spec in (comparison.candidate, comparison.reference)]
        if self._settled(comparison, opened):
            return
        try:
            if self._executor.has(comparison):
                return
            self._needs[comparison] = self._executor.captures(comparison)
        except ProvenanceError as error:
            let_go(error)
            self._failures[comparison] = error
            return
        for capture in self._needs[comparison]:
            self._serves.setdefault(capture, []).append(comparison)
        if not self._needs[comparison]:
            self._ready.append(comparison)

    def _submit(self, task: ModelSpec | Capture | Comparison) -> None:
        if isinstance(task, ModelSpec):
            self._tasks.submit(task, self._rules.opening())
        elif isinstance(task, Capture):
            model = self._executor.checkpoint(task.model)
            self._tasks.submit(task, self._rules.running([model]))
        else:
            self._tasks.submit(task, self._matching(task), self._near(task))

    def _matching(self, comparison: Comparison) -> Needs:
        if REGISTRY[comparison.statistic].basis != "models":
            return self._rules.matching()
        specs = (comparison.candidate, comparison.reference)
        return self._rules.running([self._executor.checkpoint(spec) for spec in specs])

    def _near(self, comparison: Comparison) -> str | None:
        """The node that read the candidate's files last, which may have them in memory still."""
        needs = self._needs[comparison]
        ended = self._captured[needs[0]] if needs else self._opened[comparison.candidate]
        return ended.node

    def _take(self, ended: Ended) -> int:
        """Note what has ended; returns how many comparisons will not be made for it."""
        if isinstance(ended.task, ModelSpec):
            self._opened[ended.task] = ended
            return 0
        if isinstance(ended.task, Comparison):
            if ended.error is not None:
                self._failures[ended.task] = ended.error
            return 0
        self._captured[ended.task] = ended
        settled = 0
        for comparison in self._serves[ended.task]:
            captured = [self._captured.get(capture) for capture in self._needs[comparison]]
            known = [one for one in captured if one is not None]
            if len(known) < len(captured):
                continue
            if self._settled(comparison, known):
                settled += 1
            else:
                self._ready.append(comparison)
        return settled

    def _settled(self, comparison: Comparison, ended: list[Ended]) -> bool:
        """Whether something went wrong with what a comparison needs: of two things the first counts.

        Mistakes of our own are nobody's result: whoever judges meets them again, with a traceback.
        """
        wrong = next((one for one in ended if not one.ok), None)
        if wrong is not None and wrong.error is not None:
            self._failures[comparison] = wrong.error
        return wrong is not None
