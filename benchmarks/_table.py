"""The measurements as Markdown tables."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from benchmarks._null import LEVELS, dependence, rate, uniformity
from benchmarks._power import STATISTICS
from benchmarks._tokens import DEFAULT, label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from benchmarks._null import Trial
    from benchmarks._power import Row
    from benchmarks._zoo import Member


def equal(statistic: str) -> str:
    """Name the tests of a statistic on blocks of equal width."""
    return f"{statistic}, equal widths"


EQUAL = equal(label(DEFAULT))
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
"""Statistics whose p-values may be uniform, by their curves in the Q-Q plot."""


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
    trials: Mapping[str, list[Trial]],
    zoo: Sequence[Member],
    chosen: Sequence[str] = (label(DEFAULT),),
) -> dict[str, list[Trial]]:
    """Return the trials, with those of some statistics on blocks of equal width as well."""
    found: dict[str, list[Trial]] = {}
    for name, kept in trials.items():
        found[name] = kept
        if name in chosen:
            found[equal(name)] = [t for t in kept if zoo[t[0]].units == zoo[t[1]].units]
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


def by_pair(trials: Mapping[str, Sequence[Trial]], names: Sequence[str] = PLOTTED) -> str:
    """Return how the false positives spread over pairs of models."""
    head = ["statistic", "pairs of models", "mean share", "expected spread", "spread", "largest"]
    rows = []
    for name in names:
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


def between_blocks(
    trials: Mapping[str, Sequence[Trial]],
    names: Sequence[str] = ("match", "match_cosine", EQUAL, "match_weights", "csu", "csh"),
) -> str:
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
    for name in names:
        d = dependence(trials[name])
        numbers = [f"{d.correlation:+.3f}", f"{d.p:.2g}", f"{d.variance:.2f}"]
        rows.append([name, str(d.pairs), str(d.blocks), *numbers])
    return table(head, rows)


def power(rows: Sequence[Row]) -> str:
    """Return the median log10 p over blocks, and the weakest and strongest where they differ."""
    head = ["change", "strength", *STATISTICS]
    return table(
        head,
        ([row.kind, row.strength, *(spread(row.log10_ps[s]) for s in STATISTICS)] for row in rows),
    )


def spread(log10_ps: Sequence[float]) -> str:
    """Write the median, and the weakest and the strongest where they differ; a dash where there is none."""
    found = sorted(log10_ps, reverse=True)
    if not found:
        return "–"
    weakest, median, strongest = map(number, (found[0], float(np.median(found)), found[-1]))
    return median if weakest == strongest else f"{median} ({weakest} … {strongest})"


def number(log10_p: float) -> str:
    """Write a log10 p-value: with a decimal above -10."""
    return (
        f"{log10_p:.1f}".replace("-", "\N{MINUS SIGN}")
        if log10_p > -10
        else f"\N{MINUS SIGN}{-log10_p:.0f}"
    )


def tokens(found: Mapping[str, Mapping[int, Sequence[float]]]) -> str:
    """Return the median log10 p by number of tokens."""
    counts = list(next(iter(found.values())))
    rows = [
        [name, *(f"{number(float(np.median(row[c])))} ({number(max(row[c]))})" for c in counts)]
        for name, row in found.items()
    ]
    return table(["change: statistic", *(f"{count:,}" for count in counts)], rows)
