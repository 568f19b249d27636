"""Has what an audit must measure computed on a cluster, before its pairs are judged one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.audit.needs import comparison_of
from provenance.audit.screen import strangers
from provenance.cluster import open_models, run_plan
from provenance.comparison.plan import Comparison, Plan
from provenance.errors import ProvenanceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provenance.audit.needs import Screens
    from provenance.audit.registry import Registry
    from provenance.comparison.executor import Executor


def open_ahead(registry: Registry, executor: Executor, backend: str) -> None:
    """Have all models found and digested; what is wrong with one shows when it is opened here."""
    open_models(tuple(registry.models.values()), executor, backend, executor.on_stage)


def measure_ahead(registry: Registry, executor: Executor, screens: Screens, backend: str) -> None:
    """Have evidence in the store on whatever the history does not know: screens first, then the rest.

    Raises
    ------
    ProvenanceError
        If the backend cannot be used. What is wrong with a pair is told to the executor.
    """
    first = {pair: needed for pair, needed in screens.needs().items() if needed is not None}
    _run(first.values(), executor, backend)
    let_through = [
        comparison_of(registry, *pair)
        for pair, needed in first.items()
        if needed.sample is not None and not _strangers(needed, registry, executor)
    ]
    _run(let_through, executor, backend)


def _run(comparisons: Iterable[Comparison], executor: Executor, backend: str) -> None:
    failures = run_plan(Plan.of(comparisons), executor, backend, executor.on_stage)
    for comparison, error in failures.items():
        executor.remember(comparison, error)


def _strangers(screen: Comparison, registry: Registry, executor: Executor) -> bool:
    """Whether a screen, which has been measured, shows nothing; of one that failed nothing is known."""
    try:
        return strangers(executor.evidence(screen), registry.threshold)
    except ProvenanceError:
        return False
