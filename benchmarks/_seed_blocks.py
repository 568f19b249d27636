"""Every block of one model against every block of another, by each part of `kinship` and by `csu`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from provenance import compare
from provenance.errors import DegenerateError
from provenance.statistics import REGISTRY
from provenance.statistics.pvalues import bonferroni

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks._null import Trial
    from provenance import Executor, InputsSpec
    from provenance.vocabulary import StatisticName

PARTS = REGISTRY["kinship"].parts
IN_ORDER: StatisticName = "csu"
"""Defined for models of one shape alone."""

Table = list[list[float | None]]
"""log10 p, (candidate blocks, reference blocks); None where the test is not defined."""


def tables(
    candidate: Path, reference: Path, inputs: InputsSpec, executor: Executor
) -> dict[str, Any]:
    """Return a table for each statistic that is defined, and the processor seconds that they took."""
    begun = time.process_time()
    found: dict[str, Table] = {}
    for statistic in (*PARTS, IN_ORDER):
        try:
            evidence = compare(
                candidate,
                reference,
                inputs=inputs,
                statistic=statistic,
                cross=True,
                exhaustive=True,
                control=False,
                executor=executor,
            )
        except DegenerateError:
            continue  # shapes differ: the pages' numbers of tests say how often
        found[statistic] = [list(row) for row in evidence.cross]
    return {"tables": found, "seconds": time.process_time() - begun}


def trials(a: int, b: int, found: Mapping[str, Table]) -> dict[str, list[Trial]]:
    """Return the p-values of the tables and of `kinship`, by statistic, each with its models and blocks."""
    kept = {name: _cells(a, b, table) for name, table in found.items()}
    least: dict[tuple[int, int, int, int], float] = {}
    for *where, log10_p in (trial for part in PARTS for trial in kept.get(part, ())):
        place = (where[0], where[1], where[2], where[3])
        least[place] = min(log10_p, least.get(place, 0.0))
    # a part that is not defined is paid for all the same
    kinship = [(*place, bonferroni(log10_p, len(PARTS))) for place, log10_p in least.items()]
    return {"kinship": kinship, **kept}


def _cells(a: int, b: int, table: Table) -> list[Trial]:
    return [
        (a, b, i, j, log10_p)
        for i, row in enumerate(table)
        for j, log10_p in enumerate(row)
        if log10_p is not None
    ]
