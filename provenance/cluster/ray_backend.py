"""A connection to Ray, and tasks on it: submitted, waited for, cancelled."""

from __future__ import annotations

import logging
import os
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provenance._quiet import quiet
from provenance.cluster.tasks import Settings, Task, UnlikeError, perform
from provenance.comparison.plan import Capture
from provenance.errors import DeviceError, ProvenanceError
from provenance.vocabulary import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.cluster.resources import Resources

RETRIES = 3
"""How often a task whose node or process died is begun again."""

WINDOW = 5000
"""Most tasks that Ray is given at once: a plan may have a million."""

CONNECT_SECONDS = 10.0

GRACE_SECONDS = 10.0
"""How long cancelled tasks have to clear up what they were writing."""


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The module ray, connected; a connection that was there before is used, and left.

    Raises
    ------
    ProvenanceError
        If there is no ray, or nothing answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        with quiet():
            import ray
    except ImportError:
        raise ProvenanceError(
            "Ray is not installed: pip install 'pytest-provenance[ray]'"
        ) from None
    if ray.is_initialized():
        yield ray
        return
    try:
        if address is not None:
            _require_answer(address)
        with quiet():
            ray.init(
                address,
                include_dashboard=False,
                configure_logging=False,
                logging_level=logging.CRITICAL,
                log_to_driver=False,
            )
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        reason = _first_line(error) or type(error).__name__
        raise ProvenanceError(f"no Ray at {address or 'this machine'}: {reason}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Raise OSError where nothing answers: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


@dataclass(frozen=True)
class Ended:
    """A task that has ended on a node; ``is_bug`` says that it raised what no user can mend."""

    task: Task
    node: str | None
    error: ProvenanceError | None = None
    is_bug: bool = False

    @property
    def ok(self) -> bool:
        """Whether its result is in the store."""
        return self.error is None and not self.is_bug


class Tasks:
    """The tasks of one plan on a cluster."""

    def __init__(self, ray: Any, settings: Settings) -> None:
        self._ray = ray
        self._settings = ray.put(settings)
        self._running: dict[Any, Task] = {}
        options = {"max_retries": RETRIES, "retry_exceptions": False}
        # a process that held a GPU ends with its task, and gives all of it back
        self._on_gpu = ray.remote(num_gpus=1, max_calls=1, **options)(_on_gpu)
        self._on_cpu = ray.remote(num_gpus=0, **options)(_on_cpu)

    def __len__(self) -> int:
        return len(self._running)

    def submit(self, task: Task, resources: Resources, near: str | None = None) -> None:
        """Hand a task to Ray, for the node ``near``, or another where that one is busy or gone."""
        options: dict[str, Any] = {
            "num_cpus": resources.cpus,
            "memory": resources.memory or None,
            "name": f"provenance {_verb(task)}",
        }
        if near is not None:
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            # a soft affinity alone waits for a busy node, and all pairs of one model are near one node
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(
                near, soft=True, _spill_on_unavailable=True
            )
        function = self._on_gpu if resources.gpus else self._on_cpu
        self._running[function.options(**options).remote(self._settings, task)] = task

    def ended(self) -> Iterator[Ended]:
        """The tasks that have ended since the last call; waits for the first.

        Raises
        ------
        UnlikeError
            If a node cannot be used, for no fault of a task's.
        """
        running = list(self._running)
        self._ray.wait(running, num_returns=1)
        done, _ = self._ray.wait(running, num_returns=len(running), timeout=0)
        for ref in done:
            yield self._result(ref, self._running.pop(ref))

    def _result(self, ref: Any, task: Task) -> Ended:
        errors = self._ray.exceptions
        try:
            error, node = self._ray.get(ref)
        except errors.RayTaskError:
            return Ended(task, None, is_bug=True)
        except errors.RayError as lost:
            message = (
                f"{_subject(task)}: its task died on the cluster, {RETRIES + 1} times: "
                f"{_first_line(lost)}"
            )
            return Ended(task, None, DeviceError(message))
        if isinstance(error, UnlikeError):
            raise error
        return Ended(task, node, error)

    def cancel(self) -> None:
        """End all tasks: interrupt those that run, then kill those that go on.

        Waiting tasks are cancelled before running ones. A process that an interrupt sets free takes the
        next task, and Ray 2.60 aborts the whole program where it cancels a task at the moment of hand-over.
        """
        left = list(reversed(self._running))
        for force in (False, True):
            for ref in left:
                self._ray.cancel(ref, force=force)
            if left:
                _, left = self._ray.wait(left, num_returns=len(left), timeout=GRACE_SECONDS)
        self._running.clear()


def _on_cpu(settings: Settings, task: Task) -> tuple[ProvenanceError | None, str]:
    return perform(settings, task, on_cpu=True), _node()


def _on_gpu(settings: Settings, task: Task) -> tuple[ProvenanceError | None, str]:
    return perform(settings, task, on_cpu=False), _node()


def _node() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _verb(task: Task) -> str:
    if isinstance(task, ModelSpec):
        return "open"
    return "capture" if isinstance(task, Capture) else "match"


def _subject(task: Task) -> str:
    if isinstance(task, ModelSpec):
        return task.source
    if isinstance(task, Capture):
        return task.model.source
    return f"{task.candidate.source} against {task.reference.source}"
