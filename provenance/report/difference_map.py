"""The picture of a difference: its matrices against the blocks that were looked at, and the numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from provenance.evidence.difference_rows import HEAD, about, matrix_rows
from provenance.evidence.kinds import found_kind
from provenance.report.heat_map import gaps, runs
from provenance.report.svg import drawing, element, text
from provenance.report.view import Figure, Heat, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from provenance.evidence.difference import DifferenceRecord, MatrixDifference
    from provenance.evidence.difference_rows import MatrixRow

__all__ = ["SIZES", "difference_map"]

STEPS = (0.001, 0.01, 0.1, 0.5)
"""Relative sizes between the shades of the map."""
SIZES = (
    ("d0", "a matrix that is equal, up to rounding"),
    *(
        (f"d{i}", f"a difference below {100 * step:g}% of the matrix")
        for i, step in enumerate(STEPS, 1)
    ),
    (f"d{len(STEPS) + 1}", f"a difference of {100 * STEPS[-1]:g}% or more"),
    ("dx", "a matrix that is not there, or could not be mapped"),
)
"""The shades of the map, and what they mean."""
SIDE, TOP = 20.0, 36.0
LABEL = 34
"""Characters of a name at most; of a longer one its end is written."""
CHARACTER = 6.3
"""Pixels of a character, so many that a wide font is not clipped."""


def difference_map(key: str, record: DifferenceRecord | None) -> Heat | None:
    """Draw how the matrices of two kin differ, darker for more; None where nothing was measured."""
    if record is None or record.reason is not None:
        return None
    rows = matrix_rows(record)
    inside = [row for row in rows if row.is_inside]
    blocks = [one.candidate_block for one in record.blocks]
    if not inside or not blocks:
        return None
    shades = [_shades(row, blocks) for row in inside]
    caption = (
        "How far each matrix is from its counterpart, by block. What stands out of it is to its right. "
        f"{found_kind(record).words()}"
    )
    figure = Figure(
        _drawn(key, inside, blocks, shades), caption, frozenset(s for row in shades for s in row)
    )
    said = "; ".join(about(record))
    table = Table(
        f"Matrices of one name, the middle of their blocks. {said[0].upper()}{said[1:]}",
        HEAD,
        tuple(row.words() for row in rows),
        frozenset({0}),
    )
    return Heat(figure, table)


def size_shade(one: MatrixDifference | None) -> str:
    """The class of a cell: "d0" to "d5", "dx" where there is no matrix."""
    if one is None:
        return "dx"
    if one.is_equal:
        return "d0"
    return f"d{1 + sum(one.relative >= step for step in STEPS)}"


def _shades(row: MatrixRow, blocks: Sequence[int]) -> list[str]:
    by_block = {one.block: one for one in row.matrices}
    return [size_shade(by_block.get(block)) for block in blocks]


def _drawn(
    key: str, rows: Sequence[MatrixRow], blocks: Sequence[int], shades: Sequence[Sequence[str]]
) -> Markup:
    names = [_short(row.name) for row in rows]
    signs = [row.sign() for row in rows]
    left = 12 + CHARACTER * max(map(len, names))
    across, down = SIDE * len(blocks), SIDE * len(rows)
    width = left + across + 16 + CHARACTER * max(map(len, signs))
    paths = runs(shades, lambda j: left + SIDE * j, lambda i: TOP + SIDE * i, SIDE, "d0")
    every = max(1, math.ceil(CHARACTER * len(str(max(blocks))) / (SIDE - 2)))
    middle = SIDE / 2
    marks = [
        element("rect", x=left, y=TOP, width=across - 1, height=down - 1, class_="d0"),
        *(element("path", d="".join(each), class_=name) for name, each in sorted(paths.items())),
        gaps((left, TOP), (len(rows), len(blocks)), SIDE),
        text(left, 12, "block of the candidate", "lab"),
        *(
            text(left + SIDE * j + middle, TOP - 5, str(block), "tick", "middle")
            for j, block in list(enumerate(blocks))[::every]
        ),
    ]
    for i, (name, sign) in enumerate(zip(names, signs, strict=True)):
        y = TOP + SIDE * i + middle + 4
        marks.append(text(left - 6, y, name, "tick", "end"))
        if sign:
            marks.append(text(left + across + 6, y, sign, "tick"))
    words = (
        "How far the matrices of two kin differ",
        f"{len(rows)} matrices of {len(blocks)} blocks. The table below holds the numbers.",
    )
    return drawing(key, (width, TOP + down + 8), words, *marks)


def _short(name: str) -> str:
    return name if len(name) <= LABEL else f"\N{HORIZONTAL ELLIPSIS}{name[1 - LABEL :]}"
