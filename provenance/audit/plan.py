"""What an audit must measure: which pairs are screened, and what the history knows of them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from provenance.audit.changes import unsettled
from provenance.audit.screen import screen_of, strangers
from provenance.cluster import run_plan
from provenance.comparison.plan import Comparison, Plan
from provenance.comparison.records import versions
from provenance.errors import ProvenanceError
from provenance.evidence.records import Evidence
from provenance.store.store import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provenance.audit.history import History
    from provenance.audit.records import AuditedModel, Snapshot
    from provenance.audit.registry import Registry
    from provenance.comparison.executor import Executor


def comparison_of(registry: Registry, candidate: str, reference: str) -> Comparison:
    """The comparison of all blocks of two models of a registry, by their names."""
    models = registry.models[candidate], registry.models[reference]
    statistic = registry.statistic_of(candidate, reference)
    return Comparison.of(
        *models,
        registry.inputs,
        statistic,
        control=registry.control,
        difference=registry.distances,
    )


@functools.cache  # they are read from the disk, and do not change while this runs
def _versions() -> str:
    return digest_of(versions())


def keys_of(executor: Executor, comparison: Comparison) -> tuple[str, str]:
    """The history's keys of evidence, and of a lasting failure, which another library may mend."""
    depends = executor.dependencies(comparison)
    return digest_of(depends), digest_of({"failure": depends, "versions": _versions()})


class Screens:
    """Which pairs are screened, and what is known of them without a measurement."""

    def __init__(
        self,
        registry: Registry,
        executor: Executor,
        history: History,
        models: tuple[AuditedModel, ...],
        before: Snapshot | None,
    ) -> None:
        self.errors = {model.name: model.error for model in models}
        self._registry = registry
        self._executor = executor
        self._history = history
        self._names = set() if before is None else unsettled(before, models)
        self._digests = history.unsettled()

    def of(self, comparison: Comparison, names: frozenset[str]) -> Comparison | None:
        """The screen of a pair; None where all of its blocks are compared at once.

        A pair that was not called independent before, whether by its names or by its weights, has none: no
        kinship is lost, and no suspicion settled, because of a screen. Equal weights need none.
        """
        models = [
            self._executor.checkpoint(m) for m in (comparison.candidate, comparison.reference)
        ]
        digests = frozenset(model.digest for model in models)
        if self._registry.exhaustive or len(digests) == 1:
            return None
        if names in self._names or digests in self._digests:
            return None
        return screen_of(comparison, models[0].blocks)

    def first_measurements(self) -> dict[tuple[str, str], Comparison | None]:
        """`first_measurement` of every pair whose models can be read."""
        return {
            pair: self.first_measurement(*pair)
            for pair in self._registry.pairs()
            if all(self.errors[name] is None for name in pair)
        }

    def first_measurement(self, candidate: str, reference: str) -> Comparison | None:
        """What of a pair is measured first: all blocks, a screen (with a ``sample``), or nothing."""
        comparison = comparison_of(self._registry, candidate, reference)
        if any(self._history.known(key) is not None for key in keys_of(self._executor, comparison)):
            return None
        screen = self.of(comparison, frozenset((candidate, reference)))
        if screen is None:
            return comparison
        evidence = self._history.known(keys_of(self._executor, screen)[0])
        if not isinstance(evidence, Evidence):
            return screen
        return None if strangers(evidence, self._registry.threshold) else comparison


def precompute(registry: Registry, executor: Executor, screens: Screens, backend: str) -> None:
    """Compute on a cluster what the history does not know: screens first, then what they let through.

    Raises
    ------
    ProvenanceError
        If the backend cannot be used. The executor remembers what is wrong with a pair.
    """
    first = {
        pair: comparison
        for pair, comparison in screens.first_measurements().items()
        if comparison is not None
    }
    _run(first.values(), executor, backend)
    let_through = [
        comparison_of(registry, *pair)
        for pair, comparison in first.items()
        if comparison.sample is not None and not _shows_nothing(comparison, registry, executor)
    ]
    _run(let_through, executor, backend)


def _run(comparisons: Iterable[Comparison], executor: Executor, backend: str) -> None:
    failures = run_plan(Plan.of(comparisons), executor, backend, executor.on_stage)
    for comparison, error in failures.items():
        executor.remember(comparison, error)


def _shows_nothing(screen: Comparison, registry: Registry, executor: Executor) -> bool:
    """Whether a measured screen shows nothing; a screen that failed may have missed something."""
    try:
        return strangers(executor.evidence(screen), registry.threshold)
    except ProvenanceError:
        return False
