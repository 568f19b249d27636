"""Judging what the parts of a sharded plan have computed, without computing anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.cluster.shards import plan_key
from provenance.cluster.states import failures_of, key_of, latest
from provenance.comparison.executor import Executor
from provenance.errors import ProvenanceError, StoreError, let_go
from provenance.store.store import Store
from provenance.vocabulary import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from provenance.cluster.states import State
    from provenance.comparison.plan import Comparison, Plan
    from provenance.store.store import JSON, Entry, Kind


class AbsentError(StoreError):
    """The store lacks what cannot be computed here."""


class StoredOnly(Store):
    """A store that others fill; digests of this machine's files are still kept, and downloads."""

    def get_or_create(
        self,
        kind: Kind,
        fields: Mapping[str, JSON],
        build: Callable[[Path], None],
        on_wait: Callable[[], None] | None = None,
        *,
        here: bool = False,
    ) -> Entry:
        """Return the entry of a key, as `Store.get_or_create`; what is not there is not computed.

        Raises
        ------
        AbsentError
            If it is not there.
        """
        if here or kind == "hashes":
            return super().get_or_create(kind, fields, build, on_wait, here=here)
        entry = self.get(kind, fields)
        if entry is None:
            raise AbsentError(f"the store {self.root} lacks {kind} that this needs")
        return entry


def look_up(
    plan: Plan, executor: Executor, on_stage: Callable[[Stage], None] | None
) -> dict[Comparison, ProvenanceError]:
    """Why the store lacks evidence on some comparisons; see `provenance.cluster.run_plan`.

    Evidence that is there counts, whatever part or run it came from: it is found by the digests of the
    models. A reason that a part has noted counts where there is none.
    """
    reader = Executor(
        StoredOnly(executor.store.place),
        executor.device,
        None,
        executor.distillation,
        executor.memory,
    )
    count, states = latest(reader.store, plan_key(plan))
    noted, lacking = failures_of(states), StoreError(_lacking(count, states))
    failures: dict[Comparison, ProvenanceError] = {}
    total = len(plan.comparisons)
    for done, comparison in enumerate(plan.comparisons):
        if on_stage is not None:
            on_stage(Stage("audit", "what the store holds", done, total))
        error = _error_of(comparison, reader)
        if isinstance(error, AbsentError):
            failure = noted.get(key_of(comparison))
            error = lacking if failure is None else failure.error()
        if error is not None:
            failures[comparison] = error
    return failures


def _error_of(comparison: Comparison, reader: Executor) -> ProvenanceError | None:
    """Why there is no evidence to judge."""
    try:
        if reader.has(comparison):
            return None
        return AbsentError("the store lacks the evidence")
    except ProvenanceError as error:
        if isinstance(error, StoreError) and not isinstance(error, AbsentError):
            raise
        let_go(error)
        return error


def _lacking(count: int, states: Mapping[int, State]) -> str:
    """Why a pair has no evidence, and what to do."""
    if not states:
        return (
            "no part has been run of what these tests need, into this store: run pytest with the same "
            "arguments and --provenance-shard 1/1, or in more parts"
        )
    ended = {part for part, state in states.items() if state.reached("ended")}
    missing = [f"{part}/{count}" for part in range(1, count + 1) if part not in ended]
    if missing:
        return f"no part has compared this pair: run --provenance-shard {', '.join(missing)} again"
    return (
        f"all {count} parts have ended, but there is no evidence on this pair: a model has changed, or the "
        "store was made smaller since; run the parts again"
    )
