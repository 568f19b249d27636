"""The table of pairs at the end of a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from _pytest._io.wcwidth import wcswidth

from provenance._text import visible
from provenance.evidence.outcomes import (
    headline,
    left_out,
    outcome_of,
    p_value,
    urgent_last,
    verdict_of,
)
from provenance.evidence.strip import BLOCK_MARKS, PLAIN_MARKS, strip
from provenance.evidence.tested_with import tested_with
from provenance.evidence.wording import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest
    from _pytest.terminal import TerminalReporter

    from provenance.evidence.outcomes import Outcome
    from provenance.evidence.results import ClaimResult, Results
    from provenance.evidence.strip import Marks

HEADER = ("claim", "verdict", "p (all blocks)", "Holm", "kin blocks", "")
P, HOLM = 2, 3
IDLE = frozenset({"not-run", "skipped"})
"""Outcomes of claims that have no line, where nothing of them was judged."""


def write(terminal: TerminalReporter, results: Results, config: pytest.Config) -> None:
    """Print one line for each claim that was checked, or could not be.

    What needs a person stands last, where the eye is when a run ends.
    """
    marks = BLOCK_MARKS if _has_squares(terminal) else PLAIN_MARKS
    rows = [
        (_cells(result, config, marks), outcome_of(result), tested_with(results, result))
        for result in urgent_last(results)
        if result.judgement is not None or outcome_of(result).key not in IDLE
    ]
    left = left_out(results)
    if not rows:
        if left is not None:
            terminal.write_line(f"provenance: {left}")
        return
    terminal.write_sep("=", "lineage")
    kept = _kept([cells for cells, _, _ in rows])
    table = [[cells[i] for i in kept] for cells in (HEADER, *(cells for cells, _, _ in rows))]
    every = {one for one in rows[0][2] if len(rows) > 1 and all(one in how for _, _, how in rows)}
    widths = [max(map(wcswidth, column)) for column in zip(*table, strict=True)]
    terminal.write_line(_line(table[0], widths), bold=True)
    for cells, (_, outcome, how) in zip(table[1:], rows, strict=True):
        _write_row(terminal, _line(cells, widths), cells[-1], outcome)
        _tell(terminal, "  tested: ", [one for one in how if one not in every])
    _tell(terminal, "every claim tested: ", [one for one in rows[0][2] if one in every])
    if left is not None:
        terminal.write_line(left, yellow=True)
    state = {"pass": "green", "warn": "yellow", "fail": "red"}[results.state]
    terminal.write_line(headline(results), bold=True, **{state: True})


def _has_squares(terminal: TerminalReporter) -> bool:
    """Whether what is written can be read where it goes: some terminals have no such characters."""
    encoding = getattr(terminal._tw._file, "encoding", None) or "ascii"  # noqa: SLF001
    marks = f"{BLOCK_MARKS.kin}{BLOCK_MARKS.some}{BLOCK_MARKS.free}{BLOCK_MARKS.none}"
    try:
        marks.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _kept(rows: Sequence[tuple[str, ...]]) -> list[int]:
    """The columns that say something: not those that are empty, nor an adjustment that changes nothing."""
    empty = {i for i in range(len(HEADER) - 1) if all(cells[i] == "-" for cells in rows)}
    if all(cells[HOLM] in {"-", cells[P]} for cells in rows):
        empty.add(HOLM)
    return [i for i in range(len(HEADER)) if i not in empty]


def _write_row(terminal: TerminalReporter, line: str, word: str, outcome: Outcome) -> None:
    """Write a line, all of it in colour where it needs a person, else its outcome alone."""
    if outcome.tone in {"bad", "doubt"}:
        terminal.write_line(line, red=outcome.tone == "bad", yellow=outcome.tone == "doubt")
        return
    terminal.write(line.removesuffix(word))
    terminal.write_line(word, green=outcome.tone == "good")


def _tell(terminal: TerminalReporter, head: str, how: Sequence[str]) -> None:
    if how:
        terminal.write_line(f"{head}{visible('; '.join(how))}")


def _line(cells: Sequence[str], widths: list[int]) -> str:
    padded = (
        f"{cell}{' ' * (width - wcswidth(cell))}" for cell, width in zip(cells, widths, strict=True)
    )
    return "  ".join(padded).rstrip()


def _cells(result: ClaimResult, config: pytest.Config, marks: Marks) -> tuple[str, ...]:
    file = os.path.relpath(config.rootpath / result.suite, config.invocation_params.dir)
    outcome = outcome_of(result)
    word = outcome.word.upper() if outcome.key == "false" else outcome.word
    told = outcome.fails or outcome.key == "warned"
    kin = f"{strip(result, marks)} {result.kin} of {len(result.blocks)}"
    return (
        describe(result.claim),
        verdict_of(result),
        p_value(result.log10_p),
        p_value(result.holm),
        kin if result.blocks else "-",
        f"{word}  {file}:{result.claim.mark.line}" if told else word,
    )
