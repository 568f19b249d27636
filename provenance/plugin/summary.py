"""The table of pairs at the end of a run."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from provenance.statistics.pvalues import format_p, holm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _pytest.terminal import TerminalReporter

    from provenance.plugin.records import PairRecord

HEADER = ("claim", "verdict", "p (all blocks)", "Holm", "kin blocks", "")


def write(terminal: TerminalReporter, rows: Sequence[tuple[PairRecord, bool]]) -> None:
    """Print one line a pair; ``rows`` are (record, whether any of its tests failed)."""
    terminal.write_sep("=", "lineage")
    adjusted = holm_by_file([record for record, _ in rows])
    table = [
        HEADER,
        *(_cells(record, p, failed=bad) for (record, bad), p in zip(rows, adjusted, strict=True)),
    ]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADER))]
    for index, row in enumerate(table):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        failed = index > 0 and rows[index - 1][1]
        warned = index > 0 and not failed and rows[index - 1][0].state == "warns"
        terminal.write_line(line.rstrip(), bold=index == 0, red=failed, yellow=warned)


def holm_by_file(records: Sequence[PairRecord]) -> list[float | None]:
    """Holm-adjusted log10 p-values over each file's claims, in the order of the records.

    A claim that was not run counts as p = 1, so that selecting tests never makes a p-value smaller.
    """
    files: dict[str, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        if record.log10_p is not None:
            files[record.where.rpartition(":")[0]].append(index)
    adjusted: list[float | None] = [None] * len(records)
    for indices in files.values():
        found = [records[index].log10_p or 0.0 for index in indices]
        values = holm(found, records[indices[0]].claims)
        for index, value in zip(indices, values, strict=True):
            adjusted[index] = value
    return adjusted


def _cells(record: PairRecord, adjusted: float | None, *, failed: bool) -> tuple[str, ...]:
    return (
        record.claim,
        record.verdict or "not checked",
        "-" if record.log10_p is None else format_p(record.log10_p),
        "-" if adjusted is None else format_p(adjusted),
        f"{record.kin} of {record.blocks}" if record.blocks else "-",
        _outcome(record, failed=failed),
    )


def _outcome(record: PairRecord, *, failed: bool) -> str:
    if failed:
        return f"FALSE  {record.where}"
    return f"WARN   {record.where}" if record.state == "warns" else "ok"
