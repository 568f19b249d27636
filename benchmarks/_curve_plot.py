"""Pictures of fading power, in SVG: strength to the right, evidence upwards, a panel for each statistic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from benchmarks._curve_judge import PARTS, STATISTIC, THRESHOLD
from benchmarks._qq import COLOURS
from provenance.report.charts import Box
from provenance.report.svg import depth, drawing, element, line, number, p_ticks, p_word, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks._curve_judge import Judged

PANEL = Box(width=240, height=250, left=56, right=6, top=30, bottom=44)
LIMIT = math.log10(THRESHOLD)
THRESHOLD_WORD = p_word(round(-LIMIT))
LEGEND = 20
COLUMNS = (58.0, 370.0, 690.0)
STATISTICS = (*PARTS, STATISTIC)
LINES = {
    "middle": "median block, in its band from weakest to strongest",
    "claim": "p of the claim, median of the bases",
    "limit": f"threshold {THRESHOLD_WORD}",
}
_STROKE, _GREY = "M-10 0h20", "#555"
MARKS = {
    "dependent": "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0",
    "inconclusive": "M-4-4h8v8h-8z",
    "independent": "M-4-4l8 8m0-8l-8 8",
    "refused": "M-5 0h10",
}
STYLE = Markup("""
text{font-family:sans-serif;font-size:11px;fill:#222}.title{font-weight:bold}
.axis{stroke:#222}.grid{stroke:#e4e4e4}.limit{stroke:#b00020;stroke-dasharray:5 3}
.band{fill-opacity:.18}.middle{fill:none;stroke-width:1.6}
.claim{fill:none;stroke-width:1.2;stroke-dasharray:4 3}
.dependent{stroke:#fff;stroke-width:.5}.inconclusive{fill:#fff;stroke-width:1.5}
.independent,.refused{fill:none;stroke-width:2.2}
""")


@dataclass(frozen=True)
class Axis:
    """What strengths are, and their order from the weakest change to the strongest."""

    title: str
    strengths: tuple[str, ...]


def picture(key: str, title: str, axis: Axis, rows: Sequence[Judged]) -> str:
    """Return one picture: every series of it, in every panel in which it is defined."""
    series = dict(zip(dict.fromkeys(row.series for row in rows), COLOURS, strict=False))
    deepest = depth(min(_lowest(rows), LIMIT)) * 1.05
    panels = [
        element(
            "g",
            *_panel(statistic, axis, rows, series, deepest),
            transform=f"translate({number(PANEL.width * place)} 0)",
        )
        for place, statistic in enumerate(STATISTICS)
    ]
    width = PANEL.width * len(STATISTICS)
    height = PANEL.height + LEGEND * (max(len(series), len(MARKS)) + 0.5)
    words = title, "Each point has its row in the table below the picture."
    drawn = drawing(
        key,
        (width, height),
        words,
        element("style", STYLE),
        element("rect", width=width, height=height, fill="#fff"),
        *panels,
        *_legend(series, axis),
    )
    return str(drawn).replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1) + "\n"


def _lowest(rows: Sequence[Judged]) -> float:
    found = [numbers for row in rows for numbers in row.found.values()]
    return min(min((numbers.claim or 0.0, *numbers.blocks)) for numbers in found)


def _panel(
    statistic: str,
    axis: Axis,
    rows: Sequence[Judged],
    series: dict[str, str],
    deepest: float,
) -> list[Markup]:
    wide, high = PANEL.inner
    step = wide / len(axis.strengths)
    across = {s: PANEL.left + step * (i + 0.5) for i, s in enumerate(axis.strengths)}

    def down(log10_p: float) -> float:
        return PANEL.base - high * depth(log10_p) / deepest

    marks = []
    for exponent in p_ticks(deepest, high, apart=16):
        y, class_ = down(-exponent), "grid" if exponent else "axis"
        marks.append(line(PANEL.left, y, PANEL.left + wide, y, class_))
        marks.append(text(PANEL.left - 5, y + 4, p_word(exponent), "tick", "end"))
    marks += [text(x, PANEL.base + 15, s, "tick", "middle") for s, x in across.items()]
    limit = down(LIMIT)
    marks.append(line(PANEL.left, limit, PANEL.left + wide, limit, "limit"))
    marks.append(text(PANEL.left + wide / 2, 16, statistic, "title", "middle"))
    for name, colour in series.items():
        shown = [row for row in rows if row.series == name and statistic in row.found]
        marks += _series(shown, statistic, across, down, colour)
    return marks


def _series(
    rows: Sequence[Judged],
    statistic: str,
    across: Mapping[str, float],
    down: Callable[[float], float],
    colour: str,
) -> list[Markup]:
    """Draw the band of blocks, their median, the claim's p-value, and of the whole the verdicts."""
    upper, lower, middle, claims = [], [], [], []
    for strength, x in across.items():
        found = [row.found[statistic] for row in rows if row.strength == strength]
        blocks = [log10_p for numbers in found for log10_p in numbers.blocks]
        if not blocks:
            continue
        upper.append((x, down(min(blocks))))
        lower.append((x, down(max(blocks))))
        middle.append((x, down(float(np.median(blocks)))))
        claims.append((x, down(float(np.median([n.claim for n in found if n.claim is not None])))))
    if not middle:
        return []
    drawn = [
        element("path", d=_path([*upper, *lower[::-1]]) + "z", class_="band", fill=colour),
        element("path", d=_path(middle), class_="middle", stroke=colour),
        element("path", d=_path(claims), class_="claim", stroke=colour),
    ]
    if statistic == STATISTIC:
        drawn += [
            _mark(
                row.verdict, across[row.strength], down(row.found[STATISTIC].claim or 0.0), colour
            )
            for row in rows
        ]
    return drawn


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)


def _mark(verdict: str, x: float, y: float, colour: str) -> Markup:
    filled = colour if verdict == "dependent" else None
    place = f"translate({number(x)} {number(y)})"
    return element(
        "path", d=MARKS[verdict], class_=verdict, stroke=colour, fill=filled, transform=place
    )


def _legend(series: Mapping[str, str], axis: Axis) -> list[Markup]:
    """Say under the panels, in three columns, what colours, lines and marks are."""
    columns = [
        [_sample(_STROKE, name, "middle", colour) for name, colour in series.items()],
        [_sample(_STROKE, says, class_, _GREY) for class_, says in LINES.items()],
        [_sample(MARKS[verdict], f"verdict: {verdict}", verdict, _GREY) for verdict in MARKS],
    ]
    middle = PANEL.width * len(STATISTICS) / 2
    drawn = [text(middle, PANEL.height - 8, axis.title, "title", "middle")]
    for x, column in zip(COLUMNS, columns, strict=True):
        for place, sample in enumerate(column):
            at = f"translate({number(x)} {number(PANEL.height + LEGEND * (place + 0.7))})"
            drawn.append(element("g", sample, transform=at))
    return drawn


def _sample(shape: str, says: str, class_: str, colour: str) -> Markup:
    filled = colour if class_ in {"dependent", "band"} else None
    return element(
        "g",
        element("path", d=shape, class_=class_, stroke=colour, fill=filled),
        text(16, 4, says),
    )
