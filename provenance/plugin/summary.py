"""The table of pairs at the end of a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from provenance.evidence.wording import describe
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    import pytest
    from _pytest.terminal import TerminalReporter

    from provenance.evidence.results import ClaimResult, Results

HEADER = ("claim", "verdict", "p (all blocks)", "Holm", "kin blocks", "")


def write(terminal: TerminalReporter, results: Results, config: pytest.Config) -> None:
    """Print one line for each claim that was checked, or could not be."""
    rows = [
        (_cells(result, config), _failed(result), _warned(result))
        for result in results.claims
        if result.judgement is not None or result.error is not None
    ]
    if not rows:
        return
    terminal.write_sep("=", "lineage")
    table = [HEADER, *(cells for cells, _, _ in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    terminal.write_line(_line(HEADER, widths), bold=True)
    for cells, failed, warned in rows:
        terminal.write_line(_line(cells, widths), red=failed, yellow=warned and not failed)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _failed(result: ClaimResult) -> bool:
    """Whether a test of the claim itself failed: not that of the control which its reference shares."""
    return any(
        part.outcome == "failed" and not part.nodeid.endswith("[positive]") for part in result.parts
    )


def _warned(result: ClaimResult) -> bool:
    return result.judgement is not None and result.judgement.state == "warns"


def _cells(result: ClaimResult, config: pytest.Config) -> tuple[str, ...]:
    return (
        describe(result.claim),
        "not checked" if result.judgement is None else result.judgement.verdict,
        _p(result.log10_p),
        _p(result.holm),
        f"{result.kin} of {len(result.blocks)}" if result.blocks else "-",
        _outcome(result, config),
    )


def _p(log10_p: float | None) -> str:
    return "-" if log10_p is None else format_p(log10_p)


def _outcome(result: ClaimResult, config: pytest.Config) -> str:
    file = os.path.relpath(config.rootpath / result.suite, config.invocation_params.dir)
    where = f"{file}:{result.claim.mark.line}"
    if _failed(result):
        return f"FALSE  {where}"
    return f"WARN   {where}" if _warned(result) else "ok"
