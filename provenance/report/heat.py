"""Blocks against blocks: from evidence to the heat map and its numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from provenance.evidence.null_control import crossed_blocks
from provenance.evidence.outcomes import p_value
from provenance.report.heat_map import BINS, Cells, heat_map, shade
from provenance.report.svg import p_word
from provenance.report.view import Figure, Heat, Table
from provenance.statistics.pvalues import bonferroni, format_p

if TYPE_CHECKING:
    from provenance.evidence.records import Evidence

WHOLE = 300
"""A table of more cells is cut to its smallest p-values: the evidence has them all."""

SMALLEST = 40

SHADES = (
    ("h0", f"p > {p_word(BINS[0])}"),
    *((f"h{i}", f"p ≤ {p_word(exponent)}") for i, exponent in enumerate(BINS, 1)),
    ("hx", "not tested"),
    ("below", "beyond the threshold divided by the number of cells"),
    ("aligned", "best map of blocks"),
)
"""The marks of a map, and what they mean."""


def heat_of(key: str, evidence: Evidence, threshold: float) -> Heat | None:
    """Draw the table of blocks of some evidence; None where it has none that is whole."""
    blocks = crossed_blocks(evidence)
    if blocks is None:
        return None
    rows, columns = blocks
    cells = Cells(
        rows=rows,
        columns=columns,
        log10_p=evidence.cross,
        below=_below(evidence, threshold),
        aligned=frozenset(
            (rows.index(pair.candidate_block), columns.index(pair.reference_block))
            for pair in evidence.alignment
            if pair.candidate_block in rows and pair.reference_block in columns
        ),
    )
    marks = {shade(p) for x in evidence.cross for p in x}
    marks |= {name for name in ("below", "aligned") if getattr(cells, name)}
    caption = "p-value of every block of the candidate against every block of the reference."
    return Heat(Figure(heat_map(key, cells), caption, frozenset(marks)), _table(cells))


def _below(evidence: Evidence, threshold: float) -> frozenset[tuple[int, int]]:
    """Cells beyond the threshold, corrected for their number."""
    count = sum(map(len, evidence.cross))
    limit = math.log10(threshold)
    return frozenset(
        (i, j)
        for i, row in enumerate(evidence.cross)
        for j, p in enumerate(row)
        if p is not None and bonferroni(p, count) < limit
    )


def _table(cells: Cells) -> Table:
    """All numbers, or of a large table the smallest p-values and the map."""
    every = [
        (p, i, j) for i, row in enumerate(cells.log10_p) for j, p in enumerate(row) if p is not None
    ]
    if len(every) <= WHOLE:
        head = ("candidate \\ reference", *(str(block) for block in cells.columns))
        rows = tuple(
            (str(block), *(_cell(cells, i, j) for j in range(len(cells.columns))))
            for i, block in enumerate(cells.rows)
        )
        return Table(
            "p-values of blocks against blocks; * on the best map", head, rows, frozenset()
        )
    chosen = {(i, j) for _, i, j in sorted(every)[:SMALLEST]} | cells.aligned
    listed = sorted((p, i, j) for p, i, j in every if (i, j) in chosen)
    rows = tuple(
        (
            str(cells.rows[i]),
            str(cells.columns[j]),
            format_p(p),
            "yes" if (i, j) in cells.aligned else "no",
        )
        for p, i, j in listed
    )
    caption = f"The smallest of {len(every)} p-values, and the best map; the evidence has all"
    return Table(caption, ("block", "of the reference", "p", "on the map"), rows, frozenset({3}))


def _cell(cells: Cells, i: int, j: int) -> str:
    return p_value(cells.log10_p[i][j], "–") + ("*" if (i, j) in cells.aligned else "")
