"""One part of a sharded plan: runs its models, then compares what it owns and what others left to it.

Parts share a store and nothing else, and none waits for another: a batch system may run them at once, one
after the other, or in any order. A pair is compared by its owner if both of its models are captured by
then, else by the part of its other model, which is captured later. The notes make sure that one of the two
sees it: each part first writes how it stands, and then reads how the others do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from provenance.cluster.shards import divide, models_key, plan_key
from provenance.cluster.states import Failure, State, States, failures_of, key_of
from provenance.errors import DeviceError, ProvenanceError, StoreError, let_go
from provenance.vocabulary import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from provenance.cluster.shards import Models, Shard
    from provenance.cluster.states import Stand
    from provenance.comparison.executor import Executor
    from provenance.comparison.plan import Capture, Comparison, Plan
    from provenance.vocabulary import ModelSpec

    Pending = dict[Comparison, tuple[Capture, ...]]

Task = TypeVar("Task")


@dataclass(frozen=True)
class Done:
    """What a part has done: captures made, pairs compared, and those it left to parts that run later.

    ``failures`` are the pairs that it found cannot be compared, and why.
    """

    captured: int
    compared: int
    left: int
    failures: dict[Comparison, ProvenanceError]


def run_shard(
    plan: Plan,
    executor: Executor,
    shard: Shard,
    on_stage: Callable[[Stage], None] | None = None,
) -> Done:
    """Compute one part of a plan into a store that all parts share.

    Parameters
    ----------
    plan : Plan
        The whole plan, the same for each part.
    executor : Executor
        Its store, which all parts must share, its device, and its settings.
    shard : Shard
        Which part.
    on_stage : callable, optional
        Told of the progress of this part.

    Raises
    ------
    ProvenanceError
        If the store, or the device, cannot be used. What is wrong with a model or a pair is no error
        of this part: it is kept for whoever judges.
    """
    return _Run(plan, executor, shard, on_stage or (lambda _: None)).run()


class _Run:
    """The state of one part."""

    def __init__(
        self, plan: Plan, executor: Executor, shard: Shard, tell: Callable[[Stage], None]
    ) -> None:
        self._plan, self._executor, self._shard, self._tell = plan, executor, shard, tell
        self._noted: dict[str, Failure] = {}
        self._failures: dict[Comparison, ProvenanceError] = {}
        self._compared = 0

    def run(self) -> Done:
        """Do all that can be done now."""
        wrong = self._open()
        self._note("begun")
        pending = self._pending(wrong)
        captured = self._capture(pending)
        self._note("captured")
        pending = self._compare(pending, closed=False)
        self._note("closed")
        left = self._compare(pending, closed=True)
        self._note("ended")
        return Done(captured, self._compared, len(left), self._failures)

    def _open(self) -> dict[ModelSpec, ProvenanceError]:
        """Open all models; each part begins at another, so that they make different ones."""
        models = self._plan.models()
        first = (self._shard.index - 1) * len(models) // self._shard.count
        self._say("opening the models", 0, 0)
        found, wrong = _opened(self._plan, self._executor, first)
        self._division = divide(self._plan, found, self._shard.count)
        keys = plan_key(self._plan), models_key(self._plan, found)
        self._states = States(self._executor.store, *keys, self._shard.count)
        return wrong

    def _pending(self, wrong: dict[ModelSpec, ProvenanceError]) -> Pending:
        """Comparisons that concern this part and have no evidence yet, with what must be captured."""
        pending: Pending = {}
        for comparison in self._plan.comparisons:
            specs = (comparison.candidate, comparison.reference)
            faults = [(rank, wrong[spec]) for rank, spec in enumerate(specs) if spec in wrong]
            try:
                # all parts ask this of all comparisons, in one order: so they name captures alike
                captures = () if faults else self._executor.captures(comparison)
                known = bool(faults) or not self._concerns(comparison)
                if not known and not self._executor.has(comparison):
                    pending[comparison] = captures
            except StoreError:
                raise
            except ProvenanceError as error:
                let_go(error)
                faults = [(2, error)]
            if faults and self._owns(comparison):
                self._fail(comparison, *faults[0])
        return pending

    def _capture(self, pending: Pending) -> int:
        """Run this part's models; pairs of those that cannot be run are no longer pending."""
        serves: dict[Capture, list[Comparison]] = {}
        for comparison, captures in pending.items():
            for capture in captures:
                if self._division.models[capture.model] == self._shard.index:
                    serves.setdefault(capture, []).append(comparison)
        for done, (capture, served) in enumerate(serves.items()):
            self._say("running models", done, len(serves))
            error = self._error_of(self._executor.capture, capture)
            if error is None:
                continue
            for comparison in served:
                rank = 0 if comparison.candidate == capture.model else 1
                self._fail(comparison, rank, error)
                pending.pop(comparison, None)
        return len(serves)

    def _compare(self, pending: Pending, *, closed: bool) -> Pending:
        """Compare what can be, again and again while more becomes so; returns what is left to others.

        Until this part is ``closed`` it compares what it owns, then also what owners have left to it.
        """
        total = len(pending)
        while True:
            ready = self._ready(pending, closed=closed)
            if not ready:
                return pending
            for comparison in ready:
                self._say("comparing pairs", total - len(pending), total)
                if closed and not self._owns(comparison) and self._executor.has(comparison):
                    error = None
                else:
                    error = self._error_of(self._executor.ensure, comparison)
                    self._compared += error is None
                if error is not None:
                    self._fail(comparison, 2, error)
                pending.pop(comparison)

    def _ready(self, pending: Pending, *, closed: bool) -> list[Comparison]:
        """Those that this part is to compare now; what another found to fail is settled."""
        states = self._states.read()
        failed = failures_of(states)
        for comparison in [one for one in pending if failed and key_of(one) in failed]:
            pending.pop(comparison)

        def is_ready(comparison: Comparison) -> bool:
            parts = self._division.parts(comparison)
            if not all(part in states and states[part].reached("captured") for part in parts):
                return False
            owner = self._division.owners[comparison]
            return owner == self._shard.index or (closed and states[owner].reached("closed"))

        return [comparison for comparison in pending if is_ready(comparison)]

    def _concerns(self, comparison: Comparison) -> bool:
        return self._shard.index in self._division.parts(comparison)

    def _owns(self, comparison: Comparison) -> bool:
        return self._division.owners[comparison] == self._shard.index

    def _error_of(self, compute: Callable[[Task], None], task: Task) -> ProvenanceError | None:
        """What is wrong with a model or a pair; what is wrong with this machine is raised."""
        try:
            compute(task)
        except StoreError:
            raise
        except ProvenanceError as error:
            let_go(error)
            if isinstance(error, DeviceError):
                from provenance.loading.devices import devices_for

                devices_for(self._executor.device)
            return error
        return None

    def _fail(self, comparison: Comparison, rank: int, error: ProvenanceError) -> None:
        if self._noted.setdefault(key_of(comparison), Failure.of(rank, error)).rank >= rank:
            self._noted[key_of(comparison)] = Failure.of(rank, error)
            self._failures[comparison] = error

    def _note(self, stand: Stand) -> None:
        self._states.write(self._shard.index, State(stand, self._noted))

    def _say(self, what: str, done: int, total: int) -> None:
        self._tell(Stage("audit", f"{self._shard}: {what}", done, total))


def _opened(
    plan: Plan, executor: Executor, first: int
) -> tuple[Models, dict[ModelSpec, ProvenanceError]]:
    """Open the models of a plan, from the ``first`` of them on: what `divide` needs, and what is wrong."""
    models: dict[ModelSpec, tuple[str | None, int]] = {}
    wrong: dict[ModelSpec, ProvenanceError] = {}
    specs = plan.models()
    for spec in (*specs[first:], *specs[:first]):
        try:
            found = executor.checkpoint(spec)
        except StoreError:
            raise
        except ProvenanceError as error:
            let_go(error)
            models[spec], wrong[spec] = (None, 0), error
        else:
            models[spec] = (found.digest, found.parameters)
    return models, wrong
