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
    line,
    number,
    p_ticks,
    p_word,
    text,
    unit_ticks,
    upright,
)
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from markupsafe import Markup

PointKind = Literal["kin", "free", "none"]
POINTS = (
    ("kin", "a block that shows kinship"),
    ("free", "a block that shows none"),
    ("none", "a block without a test"),
)
"""The marks of a plot of p-values, and what they mean."""


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


BARS_BOX = Box(width=300, height=56, left=2, right=2, top=4, bottom=2)
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


def bars(key: str, points: Sequence[Point], threshold: float) -> Markup:
    """Draw the same in little: a bar a block, and the threshold.

    Parameters
    ----------
    threshold : float
        log10 of the p-value below which a block shows kinship.
    """
    box = BARS_BOX
    wide, high = box.inner
    deepest = (
        max(depth(min((p.log10_p or 0.0 for p in points), default=0.0)), depth(threshold)) * 1.1
    )
    apart = max(1, min(12, int(wide / max(len(points), 1))))
    paths: dict[str, str] = {}
    ends: dict[str, int] = {}
    for i, point in enumerate(points):
        up = 2 if point.log10_p is None else max(1, round(high * depth(point.log10_p) / deepest))
        at = round(box.left) + apart * i + apart // 2
        start = f"m{at - ends[point.kind]} 0" if point.kind in ends else f"M{at} {number(box.base)}"
        paths[point.kind] = paths.get(point.kind, "") + f"{start}v-{up}v{up}"
        ends[point.kind] = at
    limit = number(box.base - high * depth(threshold) / deepest)
    kin = sum(point.kind == "kin" for point in points)
    return element(
        "svg",
        *(
            element("path", d=path, class_=f"bar {kind}", stroke_width=max(1, apart - 1))
            for kind, path in sorted(paths.items())
        ),
        element(
            "path", d=f"M{number(box.left)} {limit}h{number(apart * len(points))}", class_="limit"
        ),
        id=key,
        role="img",
        viewBox=f"0 0 {number(box.width)} {number(box.height)}",
        width=box.width,
        height=box.height,
        aria_label=f"p-values: {kin} of {len(points)} blocks lie beyond the threshold",
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
        upright(13, box.top + high / 2, f"partner by {names[1]}"),
    )


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
        upright(11, box.top + high / 2, "p observed"),
    )
