"""What an audit must measure: which pairs are screened, and what the history knows of them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from provenance.audit.changes import unsettled
from provenance.audit.screen import screen_of, strangers
from provenance.comparison.plan import Comparison
from provenance.comparison.records import versions
from provenance.evidence.records import Evidence
from provenance.statistics import default_statistic
from provenance.store.store import digest_of
from provenance.vocabulary import DEFAULT_STATISTIC

if TYPE_CHECKING:
    from provenance.audit.history import History
    from provenance.audit.records import AuditedModel, Snapshot
    from provenance.audit.registry import Registry
    from provenance.comparison.executor import Executor


def comparison_of(registry: Registry, candidate: str, reference: str) -> Comparison:
    """The comparison of all blocks of two models of a registry, by their names."""
    models = registry.models[candidate], registry.models[reference]
    statistic = registry.statistic
    if statistic == DEFAULT_STATISTIC:
        statistic = default_statistic(*models)
    return Comparison.of(*models, registry.inputs, statistic)


@functools.cache  # they are read from the disk, and do not change while this runs
def _versions() -> str:
    return digest_of(versions())


def keys_of(executor: Executor, comparison: Comparison) -> tuple[str, str]:
    """What evidence is kept under, and a reason that there is none: another library may mend that."""
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
        self.broken = {model.name: model.error for model in models}
        self._registry = registry
        self._executor = executor
        self._history = history
        self._names = set() if before is None else unsettled(before, models)
        self._digests = history.unsettled()

    def of(self, comparison: Comparison, names: frozenset[str]) -> Comparison | None:
        """The screen of a pair, None where all of its blocks are compared at once.

        So they are of what was not called independent before, whether by its names or by its weights:
        no kinship is lost, and no suspicion settled, because of a screen. Equal weights need none.
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

    def needs(self) -> dict[tuple[str, str], Comparison | None]:
        """What would be measured first of every pair whose models can be read; see `foreseen`."""
        return {
            pair: self.foreseen(*pair)
            for pair in self._registry.pairs()
            if all(self.broken[name] is None for name in pair)
        }

    def foreseen(self, candidate: str, reference: str) -> Comparison | None:
        """What of a pair would be measured first: all blocks, a screen (with a ``sample``), or nothing."""
        comparison = comparison_of(self._registry, candidate, reference)
        keys = keys_of(self._executor, comparison)
        if any(self._history.known(key) is not None for key in keys):
            return None
        screen = self.of(comparison, frozenset((candidate, reference)))
        if screen is None:
            return comparison
        found = self._history.known(keys_of(self._executor, screen)[0])
        if not isinstance(found, Evidence):
            return screen
        return None if strangers(found, self._registry.threshold) else comparison
