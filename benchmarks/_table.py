"""The measurements as Markdown tables and as a Q-Q plot in SVG."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from benchmarks._null import LEVELS, dependence, rate, uniformity
from benchmarks._power import STATISTICS
from benchmarks._tokens import DEFAULT, label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from benchmarks._null import Null, Trial
    from benchmarks._power import Row
    from benchmarks._zoo import Member

EQUAL = "match_tokens, equal widths"
"""Where widths differ, the library tries three sets of units, and its p-values are corrected for that."""

PLOTTED = (
    "match",
    "match_cosine",
    "match, Euclidean",
    EQUAL,
    "match_weights",
    "csu",
    "csh",
)
COLOURS = ("#0072b2", "#d55e00", "#999999", "#56b4e9", "#009e73", "#cc79a7", "#e69f00")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Return a Markdown table, its first ``left`` columns to the left and the others to the right."""
    rule = [*["---"] * left, *["---:"] * (len(head) - left)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def zoo_table(zoo: Sequence[Member]) -> str:
    """Return a table of how the independent models differ."""
    rows = [
        (m.name, m.text, str(m.order), str(m.seed), str(m.hidden), str(m.units), str(m.blocks))
        for m in zoo
    ]
    head = ("model", "text", "order of batches", "initial weights", "hidden", "units", "blocks")
    return table(head, rows)


def with_equal_widths(
    trials: Mapping[str, list[Trial]], zoo: Sequence[Member]
) -> dict[str, list[Trial]]:
    """Return the trials, with those of `match_tokens` on blocks of equal width as well."""
    chosen = label(DEFAULT)
    found: dict[str, list[Trial]] = {}
    for name, kept in trials.items():
        found[name] = kept
        if name == chosen:
            found[EQUAL] = [t for t in kept if zoo[t[0]].units == zoo[t[1]].units]
    return found


def false_positives(trials: Mapping[str, Sequence[Trial]]) -> str:
    """Return how often each statistic's p is at most each level, and whether p is uniform."""
    head = ["statistic", "tests", *(f"p ≤ {level:g}" for level in LEVELS), "SE at 0.05", "KS p"]
    rows = []
    for name, found in trials.items():
        rates = [rate(found, level) for level in LEVELS]
        cells = [f"{r.share:.4f} ({r.low:.4f}–{r.high:.4f}){' ▲' * r.above}" for r in rates]
        rows.append(
            [
                name,
                f"{len(found):,}",
                *cells,
                f"{rates[0].error:.4f}",
                f"{uniformity(found)[1]:.2g}",
            ]
        )
    return table(head, rows)


def by_group(trials: Mapping[str, Sequence[Trial]], zoo: Sequence[Member]) -> str:
    """Return the false positives at 0.05 by what the two models have in common."""
    names = (
        "match",
        "match_cosine",
        "match, Euclidean",
        "match_tokens",
        "match_weights",
        "kinship",
    )
    groups: dict[str, Callable[[Member, Member, int, int], bool]] = {
        "same text and order of batches": lambda a, b, _i, _j: (
            (a.text, a.order) == (b.text, b.order)
        ),
        "same text, other order": lambda a, b, _i, _j: a.text == b.text and a.order != b.order,
        "other text": lambda a, b, _i, _j: a.text != b.text,
        "equal width": lambda a, b, _i, _j: a.units == b.units,
        "other width": lambda a, b, _i, _j: a.units != b.units,
        "block of the same index": lambda _a, _b, i, j: i == j,
        "both the first block": lambda _a, _b, i, j: i == j == 0,
        "block of another index": lambda _a, _b, i, j: i != j,
    }
    rows = []
    for what, belongs in groups.items():
        cells = []
        for name in names:
            chosen = [t for t in trials[name] if belongs(zoo[t[0]], zoo[t[1]], t[2], t[3])]
            cells.append(_share(chosen))
        rows.append([what, *cells])
    return table(["pairs of blocks", *names], rows)


def _share(trials: Sequence[Trial]) -> str:
    if not trials:
        return "–"
    found = rate(trials, 0.05)
    return f"{found.count}/{found.trials} = {found.share:.3f}"


def by_pair(trials: Mapping[str, Sequence[Trial]]) -> str:
    """Return how the false positives spread over pairs of models."""
    head = ["statistic", "pairs of models", "mean share", "expected spread", "spread", "largest"]
    rows = []
    for name in PLOTTED:
        shares, expected = _shares(trials[name])
        numbers = [shares.mean(), expected, shares.std(ddof=1), shares.max()]
        rows.append([name, str(len(shares)), *(f"{number:.3f}" for number in numbers)])
    return table(head, rows)


def _shares(trials: Sequence[Trial]) -> tuple[np.ndarray, float]:
    """Return each pair's share of p <= 0.05, and the spread that independent blocks would have."""
    pairs: dict[tuple[int, int], list[bool]] = defaultdict(list)
    for a, b, _, _, log10_p in trials:
        pairs[a, b].append(10.0**log10_p <= 0.05)
    variances = [0.05 * 0.95 / len(found) for found in pairs.values()]
    return np.array([np.mean(found) for found in pairs.values()]), float(np.mean(variances)) ** 0.5


def between_blocks(trials: Mapping[str, Sequence[Trial]]) -> str:
    """Return whether the blocks of a pair of models are independent."""
    head = [
        "statistic",
        "pairs of models",
        "blocks",
        "mean correlation",
        "p",
        "variance of the sum",
    ]
    rows = []
    for name in ("match", "match_cosine", EQUAL, "match_weights", "csu", "csh"):
        d = dependence(trials[name])
        numbers = [f"{d.correlation:+.3f}", f"{d.p:.2g}", f"{d.variance:.2f}"]
        rows.append([name, str(d.pairs), str(d.blocks), *numbers])
    return table(head, rows)


def power(rows: Sequence[Row]) -> str:
    """Return the median log10 p over blocks, and the weakest and strongest where they differ."""
    head = ["change", "strength", *STATISTICS]
    return table(
        head, ([row.kind, row.strength, *(_cell(row, s) for s in STATISTICS)] for row in rows)
    )


def _cell(row: Row, statistic: str) -> str:
    found = sorted(row.log10_ps[statistic], reverse=True)
    if not found:
        return "–"
    weakest, median, strongest = map(_number, (found[0], float(np.median(found)), found[-1]))
    return median if weakest == strongest else f"{median} ({weakest} … {strongest})"


def _number(log10_p: float) -> str:
    return (
        f"{log10_p:.1f}".replace("-", "\N{MINUS SIGN}")
        if log10_p > -10
        else f"\N{MINUS SIGN}{-log10_p:.0f}"
    )


def tokens(found: Mapping[str, Mapping[int, Sequence[float]]]) -> str:
    """Return the median log10 p by number of tokens."""
    counts = list(next(iter(found.values())))
    rows = [
        [name, *(f"{_number(float(np.median(row[c])))} ({_number(max(row[c]))})" for c in counts)]
        for name, row in found.items()
    ]
    return table(["change: statistic", *(f"{count:,}" for count in counts)], rows)


SIDE, MARGIN = 360, 48
FONT = 'font-family="sans-serif" font-size="12"'


def qq_plot(null: Null) -> str:
    """Return a Q-Q plot of the p-values of independent models, as SVG."""
    longest = max(len(null.blocks[name]) for name in PLOTTED)
    decades = float(np.ceil(np.log10(longest))) + 1
    width, height = SIDE + 2 * MARGIN + 150, SIDE + 2 * MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {FONT}>',
        "<title>p-values of independent models against the uniform law</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<path d="{_band(longest, decades)}" fill="#dddddd"/>',
        _line(np.array([0, decades]), np.array([0, decades]), decades, "#000000", "4 3"),
        *_axes(decades),
    ]
    for index, (name, colour) in enumerate(zip(PLOTTED, COLOURS, strict=True)):
        observed = np.sort([-trial[-1] for trial in null.blocks[name]])[::-1]
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
