"""A plan in this process, one comparison after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.errors import ProvenanceError, release_frames
from provenance.vocabulary import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from provenance.comparison.executor import Executor
    from provenance.comparison.plan import Comparison, Plan


def run_here(
    plan: Plan, executor: Executor, on_stage: Callable[[Stage], None] | None
) -> dict[Comparison, ProvenanceError]:
    """Compute in the order of the plan; what cannot be computed is returned."""
    failures: dict[Comparison, ProvenanceError] = {}
    total = len(plan.comparisons)
    for done, comparison in enumerate(plan.comparisons):
        if on_stage is not None:
            on_stage(Stage("audit", "the plan", done, total))
        try:
            executor.ensure(comparison)
        except ProvenanceError as error:
            release_frames(error)
            failures[comparison] = error
    return failures
