"""The table of pairs at the end of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.pvalues import format_p

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _pytest.terminal import TerminalReporter

    from provenance.plugin.records import PairRecord

HEADER = ("claim", "verdict", "p (all blocks)", "kin blocks", "")


def write(terminal: TerminalReporter, rows: Sequence[tuple[PairRecord, bool]]) -> None:
    """Print one line a pair; ``rows`` are (record, whether any of its tests failed)."""
    terminal.write_sep("=", "lineage")
    table = [HEADER, *(_cells(record, failed=failed) for record, failed in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADER))]
    for index, row in enumerate(table):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        failed = index > 0 and rows[index - 1][1]
        terminal.write_line(line.rstrip(), bold=index == 0, red=failed)


def _cells(record: PairRecord, *, failed: bool) -> tuple[str, ...]:
    return (
        record.claim,
        record.verdict or "not checked",
        "-" if record.log10_p is None else format_p(record.log10_p),
        f"{record.kin} of {record.blocks}",
        f"FALSE  {record.where}" if failed else "ok",
    )
