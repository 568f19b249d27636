"""The figures: pure functions from numbers to SVG markup, coloured by the page's style alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from provenance.report.svg import (
    depth,
    dots,
    drawing,
    element,
    joined,
    line,
    number,
    p_ticks,
    p_word,
    text,
    unit_ticks,
)
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from markupsafe import Markup

BINS = (1, 3, 6, 10, 30, 100, 300, 1000)
"""Exponents of p between the shades of a heat map."""

PointKind = Literal["kin", "free", "none"]


@dataclass(frozen=True)
class Box:
    """A plot's size and the margins around its inside, in pixels."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float

    @property
    def inner(self) -> tuple[float, float]:
        """Width and height of the inside."""
        return self.width - self.left - self.right, self.height - self.top - self.bottom

    @property
    def base(self) -> float:
        """Where the inside ends below."""
        return self.height - self.bottom


@dataclass(frozen=True)
class Point:
    """A block in the plot of p-values; ``log10_p`` is None where there was no test."""

    block: int
    log10_p: float | None
    kind: PointKind


P_BOX = Box(width=440, height=232, left=58, right=14, top=24, bottom=38)
QQ_BOX = Box(width=320, height=300, left=56, right=14, top=14, bottom=44)
SQUARE = Box(width=290, height=290, left=48, right=12, top=12, bottom=44)


def p_values(key: str, points: Sequence[Point], threshold: float) -> Markup:
    """Plot p-values block by block against the threshold, stronger evidence higher up.

    Parameters
    ----------
    threshold : float
        log10 of the p-value below which a block shows kinship.
    """
    box = P_BOX
    wide, high = box.inner
    strongest = min((p.log10_p for p in points if p.log10_p is not None), default=0.0)
    deepest = depth(min(strongest, threshold)) * 1.06
    at = {p.block: box.left + wide * (i + 0.5) / len(points) for i, p in enumerate(points)}

    def y(log10_p: float) -> float:
        return box.base - high * depth(log10_p) / deepest

    every = max(1, math.ceil(len(points) * 18 / wide))
    limit = y(threshold)
    kin = sum(p.kind == "kin" for p in points)
    words = (
        "p-value of each block",
        (
            f"{kin} of {len(points)} blocks lie beyond the threshold {format_p(threshold)}. "
            "The table of blocks holds the numbers."
        ),
    )
    return drawing(
        key,
        (box.width, box.height),
        words,
        element(
            "rect",
            x=box.left,
            y=box.top,
            width=wide,
            height=max(0.0, limit - box.top),
            class_="zone",
        ),
        *_p_axis(box, deepest),
        *(_mark(p, at[p.block], y, high / len(points)) for p in points),
        line(box.left, limit, box.width - box.right, limit, "limit"),
        text(
            box.width - box.right - 3, limit - 5, f"threshold {format_p(threshold)}", "halo", "end"
        ),
        *(
            text(at[p.block], box.base + 15, str(p.block), "tick", "middle")
            for p in points[::every]
        ),
        text(box.left + wide / 2, box.height - 5, "block of the candidate", "lab", "middle"),
        text(6, 13, "p, smaller upwards", "lab"),
    )


def _p_axis(box: Box, deepest: float) -> list[Markup]:
    wide, high = box.inner
    marks = []
    for exponent in p_ticks(deepest, high, apart=15):
        y = box.base - high * depth(-exponent) / deepest
        marks.append(line(box.left, y, box.left + wide, y, "grid" if exponent else "axis"))
        marks.append(text(box.left - 6, y + 4, p_word(exponent), "tick", "end"))
    return marks


def _mark(point: Point, x: float, y: Callable[[float], float], room: float) -> Markup:
    size = max(2.2, min(4.5, room * 1.2))
    if point.log10_p is None:
        label, at = f"block {point.block}: no test", y(0.0) - size - 2
        arm = number(2 * size)
        start = f"M{number(x - size)} {number(at - size)}"
        shape = f"{start}l{arm} {arm}m0 -{arm}l-{arm} {arm}"
        return element("g", element("title", label), element("path", d=shape, class_="none"))
    at = y(point.log10_p)
    label = f"block {point.block}: p = {format_p(point.log10_p)}"
    stem = line(x, y(0.0), x, at, f"stem {point.kind}")
    if point.kind == "free":
        shape = element("circle", cx=x, cy=at, r=size * 0.9, class_="free")
    else:
        wide = number(size * 1.25)
        shape = element(
            "path",
            d=f"M{number(x)} {number(at - size * 1.25)}l{wide} {wide}l-{wide} {wide}l-{wide} -{wide}z",
            class_="kin",
        )
    return element("g", element("title", label), stem, shape)


def scatter(
    key: str, gate: Sequence[int], up: Sequence[int], names: tuple[str, str] = ("gate", "up")
) -> Markup:
    """Plot what the one matching pairs units with against what the other does.

    Parameters
    ----------
    gate, up : sequence of int
        The partners of the same units; a line is kinship, a cloud independence.
    names : tuple of str
        What the two are matchings of.
    """
    box = SQUARE
    wide, high = box.inner
    largest = max(*gate, *up, 1)
    alike = sum(a == b for a, b in zip(gate, up, strict=True))
    points = [
        (box.left + wide * a / largest, box.base - high * b / largest)
        for a, b in zip(gate, up, strict=True)
    ]
    ticks = unit_ticks(largest)
    words = (
        f"Matching by {names[0]} against matching by {names[1]}",
        f"{alike} of {len(gate)} units drawn have the same partner by both and lie on the diagonal.",
    )
    return drawing(
        key,
        (box.width, box.height),
        words,
        element("rect", x=box.left, y=box.top, width=wide, height=high, class_="frame"),
        line(box.left, box.base, box.left + wide, box.top, "diagonal"),
        *(
            text(box.left + wide * t / largest, box.base + 15, str(t), "tick", "middle")
            for t in ticks
        ),
        *(
            text(box.left - 6, box.base - high * t / largest + 4, str(t), "tick", "end")
            for t in ticks
        ),
        dots(points, "dots"),
        text(box.left + wide / 2, box.height - 6, f"partner by {names[0]}", "lab", "middle"),
        _upright(13, box.top + high / 2, f"partner by {names[1]}"),
    )


def _upright(x: float, y: float, what: str) -> Markup:
    return element(
        "text",
        what,
        class_="lab",
        text_anchor="middle",
        transform=f"translate({number(x)} {number(y)}) rotate(-90)",
    )


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
    shades: dict[str, list[str]] = {}
    for i, row in enumerate(cells.log10_p):
        for j, value in enumerate(row):
            place = f"M{number(left + side * j)} {number(top + side * i)}"
            size = number(side - 1)
            shades.setdefault(shade(value), []).append(f"{place}h{size}v{size}h-{size}z")
    every = max(1, math.ceil(16 / side))
    words = (
        "Every block against every block",
        (
            f"{len(cells.below)} of {sum(map(len, cells.log10_p))} cells lie beyond the threshold. "
            "The table below holds the numbers."
        ),
    )
    centre = side / 2 - 0.5
    marks = joined(
        [element("path", d="".join(paths), class_=name) for name, paths in sorted(shades.items())],
        [
            element(
                "rect",
                x=left + side * j - 0.5,
                y=top + side * i - 0.5,
                width=side,
                height=side,
                class_="aligned",
            )
            for i, j in sorted(cells.aligned)
        ],
        [
            element(
                "circle",
                cx=left + side * j + centre,
                cy=top + side * i + centre,
                r=max(1.2, side / 9),
                class_="below",
            )
            for i, j in sorted(cells.below)
        ],
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
        _upright(12, max(top + side * len(cells.rows) / 2, 70.0), "of the candidate"),
    ]
    return drawing(key, (max(width, 190.0), max(height, 140.0)), words, *marks, *labels)


@dataclass(frozen=True)
class Quantiles:
    """p-values against those of a uniform law: log10 expected, observed, and a band around them."""

    expected: tuple[float, ...]
    observed: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    count: int
    outside: int


def qq_plot(key: str, points: Quantiles, what: str) -> Markup:
    """Plot quantiles on the scale of `depth`, both axes alike; uniform p-values lie on the diagonal."""
    box = QQ_BOX
    wide, high = box.inner
    deepest = depth(min(*points.observed, *points.expected, *points.low)) * 1.05

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            box.left + wide * depth(x) / deepest,
            box.base - high * depth(y) / deepest,
        )

    band = [at(x, y) for x, y in zip(points.expected, points.low, strict=True)]
    band += [at(x, y) for x, y in zip(points.expected, points.high, strict=True)][::-1]
    outline = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in band) + "z"
    words = (
        f"Quantiles of {what}",
        (
            f"{points.count} p-values against uniform ones; {points.outside} of the points drawn lie "
            "outside the pointwise 95% band."
        ),
    )
    return drawing(
        key,
        (box.width, box.height),
        words,
        *_p_axis(box, deepest),
        element("path", d=outline, class_="band"),
        line(box.left, box.base, box.left + wide, box.top, "diagonal"),
        dots([at(x, y) for x, y in zip(points.expected, points.observed, strict=True)], "dots"),
        *(
            text(at(-t, 0.0)[0], box.base + 15, p_word(t), "tick", "middle")
            for t in p_ticks(deepest, wide, apart=34)
        ),
        text(box.left + wide / 2, box.height - 6, "p expected of a uniform law", "lab", "middle"),
        _upright(11, box.top + high / 2, "p observed"),
    )
