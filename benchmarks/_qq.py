"""p-values against the uniform law: a Q-Q plot in SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COLOURS = ("#0072b2", "#d55e00", "#999999", "#56b4e9", "#009e73", "#cc79a7", "#e69f00")

SIDE, MARGIN = 360, 48
FONT = 'font-family="sans-serif" font-size="12"'


def qq_plot(log10_ps: Mapping[str, Sequence[float]], title: str) -> str:
    """Return a Q-Q plot of p-values by what gave them, as SVG; at most as many curves as `COLOURS`."""
    longest = max(map(len, log10_ps.values()))
    decades = float(np.ceil(np.log10(longest))) + 1
    width, height = SIDE + 2 * MARGIN + 150, SIDE + 2 * MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {FONT}>',
        f"<title>{title}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<path d="{_band(longest, decades)}" fill="#dddddd"/>',
        _line(np.array([0, decades]), np.array([0, decades]), decades, "#000000", "4 3"),
        *_axes(decades),
    ]
    if len(log10_ps) > len(COLOURS):
        raise ValueError(f"{len(log10_ps)} curves, and {len(COLOURS)} colours to tell them apart")
    for index, (name, found) in enumerate(log10_ps.items()):
        colour = COLOURS[index]
        observed = -np.sort(found)
        expected = -np.log10((np.arange(len(observed)) + 0.5) / len(observed))
        shown = np.unique(np.geomspace(1, len(observed), 300).astype(int)) - 1
        points = expected[shown], observed[shown].clip(0, decades)
        lines.append(_line(*points, decades, colour))
        y = MARGIN + 16 + 20 * index
        x = SIDE + MARGIN + 14
        lines.append(f'<path d="M{x} {y}h20" stroke="{colour}" stroke-width="2"/>')
        lines.append(f'<text x="{x + 26}" y="{y + 4}">{name}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _band(count: int, decades: float) -> str:
    """Return the outline of the 95 % interval of each order statistic of uniform p-values."""
    ranks = np.unique(np.geomspace(1, count, 60).astype(int))
    expected = -np.log10((ranks - 0.5) / count)
    edges = [
        (-np.log10(stats.beta.ppf(q, ranks, count - ranks + 1))).clip(0, decades)
        for q in (0.025, 0.975)
    ]
    upper = _points(expected, edges[0], decades)
    lower = _points(expected[::-1], edges[1][::-1], decades)
    return f"M{upper} L{lower} Z"


def _points(x: np.ndarray, y: np.ndarray, decades: float) -> str:
    across = MARGIN + SIDE * np.clip(x, 0, decades) / decades
    down = MARGIN + SIDE * (1 - y / decades)
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, down, strict=True))


def _line(x: np.ndarray, y: np.ndarray, decades: float, colour: str, dashes: str = "") -> str:
    points = _points(x, y, decades)
    return (
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5" '
        f'stroke-dasharray="{dashes or "none"}"/>'
    )


def _axes(decades: float) -> list[str]:
    bottom = MARGIN + SIDE
    lines = [f'<path d="M{MARGIN} {MARGIN}V{bottom}H{MARGIN + SIDE}" fill="none" stroke="#000"/>']
    for tick in range(int(decades) + 1):
        at = SIDE * tick / decades
        x, y = f"{MARGIN + at:.1f}", f"{bottom - at:.1f}"
        lines.append(f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{tick}</text>')
        lines.append(f'<text x="{MARGIN - 8}" y="{y}" text-anchor="end">{tick}</text>')
    middle = MARGIN + SIDE / 2
    lines.append(
        f'<text x="{middle}" y="{bottom + 38}" text-anchor="middle">expected \N{MINUS SIGN}log10 p</text>'
    )
    lines.append(
        f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">'
        "observed \N{MINUS SIGN}log10 p</text>"
    )
    return lines
