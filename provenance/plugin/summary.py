"""The table of pairs at the end of a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from provenance._text import visible
from provenance.evidence.outcomes import headline, left_out, outcome_of, p_value, verdict_of
from provenance.evidence.tested_with import tested_with
from provenance.evidence.wording import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest
    from _pytest.terminal import TerminalReporter

    from provenance.evidence.results import ClaimResult, Results

HEADER = ("claim", "verdict", "p (all blocks)", "Holm", "kin blocks", "")
IDLE = frozenset({"not-run", "skipped"})
"""Outcomes of claims that have no line, where nothing of them was judged."""


def write(terminal: TerminalReporter, results: Results, config: pytest.Config) -> None:
    """Print one line for each claim that was checked, or could not be."""
    rows = [
        (_cells(result, config), outcome_of(result), tested_with(results, result))
        for result in results.claims
        if result.judgement is not None or outcome_of(result).key not in IDLE
    ]
    left = left_out(results)
    if not rows:
        if left is not None:
            terminal.write_line(f"provenance: {left}")
        return
    terminal.write_sep("=", "lineage")
    table = [HEADER, *(cells for cells, _, _ in rows)]
    every = {one for one in rows[0][2] if len(rows) > 1 and all(one in how for _, _, how in rows)}
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    terminal.write_line(_line(HEADER, widths), bold=True)
    for cells, outcome, how in rows:
        colours = {"red": outcome.tone == "bad", "yellow": outcome.tone == "doubt"}
        terminal.write_line(_line(cells, widths), **colours)
        _tell(terminal, "  tested: ", [one for one in how if one not in every])
    _tell(terminal, "every claim tested: ", [one for one in rows[0][2] if one in every])
    if left is not None:
        terminal.write_line(left, yellow=True)
    terminal.write_line(headline(results), bold=True)


def _tell(terminal: TerminalReporter, head: str, how: Sequence[str]) -> None:
    if how:
        terminal.write_line(f"{head}{visible('; '.join(how))}")


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _cells(result: ClaimResult, config: pytest.Config) -> tuple[str, ...]:
    file = os.path.relpath(config.rootpath / result.suite, config.invocation_params.dir)
    outcome = outcome_of(result)
    word = outcome.word.upper() if outcome.key == "false" else outcome.word
    told = outcome.fails or outcome.key == "warned"
    return (
        describe(result.claim),
        verdict_of(result),
        p_value(result.log10_p),
        p_value(result.holm),
        f"{result.kin} of {len(result.blocks)}" if result.blocks else "-",
        f"{word}  {file}:{result.claim.mark.line}" if told else word,
    )
