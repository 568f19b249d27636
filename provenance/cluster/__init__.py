"""A plan to evidence in the store, before anything is judged: in this process, or on a Ray cluster.

* In: a `comparison.plan.Plan`, an executor, and where to run: `local`, `ray`, or an address.
* Out: evidence in the executor's store, and the comparisons that failed with their errors.
* Open `driver` first, then `ray_backend`, then `tasks`.

There is no scheduler here: Ray's tasks are opened models, captures, and comparisons, and Ray decides where
and when they run. Nothing here imports ray or torch before there is work for it.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import TYPE_CHECKING

from provenance.errors import ProvenanceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from provenance.comparison.executor import Executor
    from provenance.comparison.plan import Comparison, Plan
    from provenance.vocabulary import ModelSpec, Stage

__all__ = ["LOCAL", "RAY", "check_backend", "open_models", "run_plan"]

LOCAL, RAY = "local", "ray"
_ADDRESS = re.compile(r"(ray://)?(\[[0-9a-fA-F:.]+\]|[^\s/:\[\]]+):\d+")


def check_backend(backend: str) -> str:
    """Return a backend that is one, and whose libraries are installed.

    Raises
    ------
    ProvenanceError
        If it is neither `local`, nor `ray`, nor an address, or if there is no ray.
    """
    if backend == LOCAL:
        return backend
    if backend != RAY and not _ADDRESS.fullmatch(backend):
        raise ProvenanceError(
            f"{backend!r} is no place to run a plan: write local, ray, host:port or ray://host:port"
        )
    if find_spec("ray") is None:
        raise ProvenanceError("Ray is not installed: pip install 'pytest-provenance[ray]'")
    return backend


def run_plan(
    plan: Plan,
    executor: Executor,
    backend: str = LOCAL,
    on_stage: Callable[[Stage], None] | None = None,
) -> dict[Comparison, ProvenanceError]:
    """Compute the evidence on every comparison of a plan into the executor's store.

    Parameters
    ----------
    plan : Plan
        What is to be computed.
    executor : Executor
        Its store, which all nodes of a cluster must share, its device, and its settings.
    backend : str
        ``local`` computes in this process, in order. ``ray`` uses the Ray of this machine (that of
        ``RAY_ADDRESS``, else one that runs, else one that is started), ``host:port`` and
        ``ray://host:port`` another.
    on_stage : callable, optional
        Told of the progress of the whole plan.

    Returns
    -------
    dict of Comparison to ProvenanceError
        What could not be computed, and why.

    Raises
    ------
    ProvenanceError
        If the backend, or a node of it, cannot be used.
    """
    check_backend(backend)
    if backend == LOCAL:
        from provenance.cluster.local import run_here

        return run_here(plan, executor, on_stage)
    from provenance.cluster.driver import run_on_ray

    return run_on_ray(plan, executor, None if backend == RAY else backend, on_stage)


def open_models(
    models: tuple[ModelSpec, ...],
    executor: Executor,
    backend: str,
    on_stage: Callable[[Stage], None] | None = None,
) -> None:
    """Find, make and digest models on a Ray cluster, so that opening them here reads no weights.

    Does nothing where the backend is local. What is wrong with a model shows when it is opened here.

    Raises
    ------
    ProvenanceError
        If the backend, or a node of it, cannot be used.
    """
    if check_backend(backend) == LOCAL:
        return
    from provenance.cluster.driver import open_on_ray

    open_on_ray(models, executor, None if backend == RAY else backend, on_stage)
