"""The drawing of blocks against blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.report.svg import dots, drawing, element, joined, number, text, upright

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from markupsafe import Markup

BINS = (1, 3, 6, 30, 300)
"""Exponents of p between the shades of a heat map."""


@dataclass(frozen=True)
class Cells:
    """A table of blocks against blocks.

    ``log10_p[i][j]`` is of ``rows[i]`` against ``columns[j]``; ``below`` holds the places of cells beyond
    the threshold, ``aligned`` those of the best map of blocks.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    log10_p: tuple[tuple[float | None, ...], ...]
    below: frozenset[tuple[int, int]]
    aligned: frozenset[tuple[int, int]]


def shade(log10_p: float | None) -> str:
    """The class of a cell: "h0" to "h8", "hx" where there was no test."""
    return "hx" if log10_p is None else f"h{sum(-log10_p >= exponent for exponent in BINS)}"


def heat_map(key: str, cells: Cells) -> Markup:
    """Draw a table of p-values: darker is smaller, a dot is beyond the threshold, a frame the map."""
    side = max(6.0, min(34.0, 340.0 / max(len(cells.columns), 1)))
    left, top = 48.0, 36.0
    width = left + side * len(cells.columns) + 8
    height = top + side * len(cells.rows) + 8
    shades = [[shade(log10_p) for log10_p in row] for row in cells.log10_p]
    paths = runs(shades, lambda j: left + side * j, lambda i: top + side * i, side, "h0")
    across, down = side * len(cells.columns), side * len(cells.rows)
    every = max(1, math.ceil(16 / side))
    words = (
        "Every block against every block",
        (
            f"{len(cells.below)} of {sum(map(len, cells.log10_p))} cells lie beyond the threshold. "
            "The table below holds the numbers."
        ),
    )
    centre = side / 2 - 0.5
    frames = [
        f"M{number(left + side * j - 0.5)} {number(top + side * i - 0.5)}"
        f"h{number(side)}v{number(side)}h-{number(side)}z"
        for i, j in sorted(cells.aligned)
    ]
    below = [(left + side * j + centre, top + side * i + centre) for i, j in sorted(cells.below)]
    size = 2 * max(1.2, side / 9)
    marks = joined(
        [element("rect", x=left, y=top, width=across - 1, height=down - 1, class_="h0")],
        [element("path", d="".join(each), class_=name) for name, each in sorted(paths.items())],
        [gaps((left, top), (len(cells.rows), len(cells.columns)), side)],
        [element("path", d="".join(frames), class_="aligned")] if frames else [],
        [dots(below, "rim", size + 1.6), dots(below, "below", size)] if below else [],
        [
            text(left - 5, top + side * i + centre + 4, str(block), "tick", "end")
            for i, block in list(enumerate(cells.rows))[::every]
        ],
        [
            text(left + side * j + centre, top - 5, str(block), "tick", "middle")
            for j, block in list(enumerate(cells.columns))[::every]
        ],
    )
    labels = [
        text(left, 12, "block of the reference", "lab"),
        upright(12, max(top + side * len(cells.rows) / 2, 70.0), "of the candidate"),
    ]
    return drawing(key, (max(width, 190.0), max(height, 140.0)), words, *marks, *labels)


def runs(
    shades: Sequence[Sequence[str]],
    x: Callable[[int], float],
    y: Callable[[int], float],
    side: float,
    ground: str,
) -> dict[str, list[str]]:
    """Paths by shade: neighbours of a row that have one shade are one rectangle.

    The shade ``ground`` is left out: it is that of the whole map, since most cells have it.
    """
    found: dict[str, list[str]] = {}
    size = number(side - 1)
    for i, row in enumerate(shades):
        j = 0
        while j < len(row):
            name, start = row[j], j
            while j < len(row) and row[j] == name:
                j += 1
            if name != ground:
                wide = number(side * (j - start) - 1)
                place = f"M{number(x(start))} {number(y(i))}"
                found.setdefault(name, []).append(f"{place}h{wide}v{size}h-{wide}z")
    return found


def gaps(place: tuple[float, float], count: tuple[int, int], side: float) -> Markup:
    """The lines between the cells of a map of so many rows and columns, whose corner is at a place."""
    left, top = place
    rows, columns = count
    lines = [
        f"M{number(left + side * j - 0.5)} {number(top)}v{number(side * rows)}"
        for j in range(1, columns)
    ] + [
        f"M{number(left)} {number(top + side * i - 0.5)}h{number(side * columns)}"
        for i in range(1, rows)
    ]
    return element("path", d="".join(lines) or "M0 0", class_="gaps")
