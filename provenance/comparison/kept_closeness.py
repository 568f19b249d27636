"""How close a model is to one of its kin, from the store or measured now: a second run imports no torch."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from provenance.evidence.relatives import Closeness

if TYPE_CHECKING:
    from pathlib import Path

    from provenance.comparison.executor import Executor
    from provenance.comparison.plan import Comparison
    from provenance.store.store import JSON

CLOSENESS_VERSION = 1
"""Raised whenever the same two models would be told to be closer, or less close."""

FILE = "closeness.json"


def kept_closeness(executor: Executor, comparison: Comparison) -> Closeness | None:
    """How close a candidate is to a reference; see `provenance.comparison.closeness.closeness`.

    Raises
    ------
    ProvenanceError
        If a model cannot be had, or read.
    """

    def measure(folder: Path) -> None:
        from provenance.comparison.closeness import closeness

        found = closeness(executor, comparison)
        (folder / FILE).write_text(json.dumps(None if found is None else asdict(found)))

    fields: dict[str, JSON] = {
        **executor.dependencies(comparison),
        "closeness": CLOSENESS_VERSION,
        "of": executor.checkpoint(comparison.candidate).digest,
    }
    entry = executor.store.get_or_create("evidence", fields, measure)
    said = json.loads(entry.read_text(FILE))
    if said is None:
        return None
    return Closeness(tuple((index, value) for index, value in said["blocks"]), said["measured_on"])
