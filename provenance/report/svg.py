"""The little of SVG that the figures need: elements, escaped, and the scale of p-values.

A scale by powers alone would show 1e-3000 and leave everything else on the axis. The scale here is
the logarithm of the exponent: 0.5, 1e-6 and 1e-3000 are all told apart.
"""

from __future__ import annotations

import math
from itertools import chain
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from provenance._text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

EXPONENTS = (0, 1, 2, 3, 6, 10, 20, 50, 100, 300, 1000, 3000, 10_000, 30_000, 100_000, 1_000_000)


def element(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """Write one element; text and attributes are escaped, and what is hidden in them made visible.

    A trailing underscore of an attribute's name is dropped (``class_``), others become hyphens; an
    attribute that is None is left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(
        child if isinstance(child, Markup) else escape(visible(child)) for child in children
    )
    return Markup(f"<{name}{written}>{inside}</{name}>")  # noqa: S704 - all parts are escaped


def _attribute(value: str | float) -> Markup:
    return escape(visible(value) if isinstance(value, str) else number(value))


def number(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def drawing(key: str, size: tuple[float, float], words: tuple[str, str], *children: str) -> Markup:
    """An SVG picture with a name and a description.

    Parameters
    ----------
    key : str
        Unique in the page; ids are made of it.
    size : tuple of float
        Width and height, pixels.
    words : tuple of str
        Title and description, for those who do not see it.
    """
    width, height = size
    return element(
        "svg",
        element("title", words[0], id=f"{key}-t"),
        element("desc", words[1], id=f"{key}-d"),
        *children,
        role="img",
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=width,
        height=height,
        aria_labelledby=f"{key}-t",
        aria_describedby=f"{key}-d",
    )


def text(x: float, y: float, what: str, class_: str = "lab", anchor: str | None = None) -> Markup:
    """A piece of text; ``anchor`` is "start", "middle" or "end"."""
    return element("text", what, x=x, y=y, class_=class_, text_anchor=anchor)


def upright(x: float, y: float, what: str) -> Markup:
    """A piece of text that reads upwards, about its middle."""
    return element(
        "text",
        what,
        class_="lab",
        text_anchor="middle",
        transform=f"translate({number(x)} {number(y)}) rotate(-90)",
    )


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def dots(points: Sequence[tuple[float, float]], class_: str, wide: float | None = None) -> Markup:
    """Many points in one path, each a stroke of no length with a round end, ``wide`` pixels across."""
    path = "".join(f"M{number(x)} {number(y)}h0" for x, y in points)
    return element("path", d=path or "M0 0", class_=class_, stroke_width=wide)


def depth(log10_p: float) -> float:
    """Where a p-value stands on an axis: 0 at p = 1, 0.85 at 1e-6, 3.48 at 1e-3000."""
    return math.log10(1.0 - log10_p)


def p_ticks(deepest: float, pixels: float, apart: float) -> list[int]:
    """Exponents to write on an axis of so many pixels that ends at depth ``deepest``."""
    chosen: list[int] = []
    for exponent in EXPONENTS:
        at = depth(-exponent) / deepest * pixels
        if at > pixels + 1e-9:
            break
        if not chosen or at - depth(-chosen[-1]) / deepest * pixels >= apart:
            chosen.append(exponent)
    return chosen


def p_word(exponent: int) -> str:
    """A power of ten as a p-value."""
    return "1" if exponent == 0 else f"1e-{exponent}" if exponent > 3 else f"{10.0**-exponent:g}"


def unit_ticks(largest: int) -> list[int]:
    """Some round numbers from 0 to the largest."""
    raw = max(largest, 1) / 5
    power = 10 ** math.floor(math.log10(raw)) if raw >= 1 else 1
    step = next(s for s in (1, 2, 5, 10) if s * power >= raw) * power
    return list(range(0, largest + 1, max(1, int(step))))


def joined(*parts: Sequence[Markup]) -> list[Markup]:
    """Several lists of elements, one after the other."""
    return list(chain(*parts))
