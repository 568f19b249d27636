"""The tables of docs/calibration-seeds.md."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import _seed_counts
from benchmarks._counts import VERDICTS
from benchmarks._judged import THRESHOLDS
from benchmarks._null import jackknife
from benchmarks._seed_counts import GROUPS
from benchmarks._table import table
from benchmarks.error_rates import bounds
from provenance.evidence.doubts import MOST_NEARNESS
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks._counts import Counted
    from benchmarks._null import Trial
    from benchmarks._seed_runs import Found

NOTHING = "Nothing was measured yet."


def shapes(found: Found) -> str:
    """Return a table of the shapes and of the losses of their models."""
    shapes = list(dict.fromkeys(member.shape for member in found.zoo))
    rows = []
    for shape in shapes:
        trained = [
            found.trained[member.name]
            for member in found.zoo
            if member.shape == shape and member.name in found.trained
        ]
        losses = ([one.before for one in trained], [one.after for one in trained])
        rows.append([*map(str, shape), str(len(trained)), *map(_spread, losses)])
    head = ["hidden", "units", "blocks", "models", "loss before training", "after"]
    return table(head, rows)


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "–"
    return f"{np.mean(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def strangers(found: Found) -> str:
    """Return a table of the verdicts on strangers, by group and threshold."""
    head = ["pairs", "number", "threshold", "dependent", "at most", "disjoint", "SE", *VERDICTS[1:]]
    rows = []
    for group in GROUPS:
        chosen = _seed_counts.pairs_of(found, group)
        for threshold in THRESHOLDS if chosen else ():
            row = _seed_counts.strangers(found, group, threshold)
            hits = np.array([one.at(threshold) == "dependent" for one in chosen.values()])
            rows.append(
                [
                    group,
                    f"{row.pairs:,}",
                    f"{threshold:g}",
                    _number(row, "dependent"),
                    *bounds(row, "dependent"),
                    f"{jackknife(list(chosen), hits):.2%}" if hits.any() else "–",
                    *(_number(row, verdict) for verdict in VERDICTS[1:]),
                ]
            )
    return table(head, rows)


def _number(row: Counted, verdict: str) -> str:
    count = row.verdicts.get(verdict, 0)
    return f"{count:,} ({count / row.pairs:.1%})" if count else "0"


def doubts(found: Found) -> str:
    """Return a table of what made strangers inconclusive, and of how it gathers in models."""
    pairs = list(found.strangers)
    named = Counter(doubt for one in found.strangers.values() for doubt in one.doubts)
    rows = []
    for name, count in named.most_common():
        hits = np.array([name in one.doubts for one in found.strangers.values()])
        places = Counter(
            place for pair, hit in zip(pairs, hits, strict=True) if hit for place in pair
        )
        most = max(places.values())
        rows.append([name, f"{count:,}", f"{jackknife(pairs, hits):.1%}", str(most)])
    head = ["reason", "pairs", "SE of the share", "most of one model"]
    return table(head, rows) if rows else "No pair was inconclusive."


def nearness(found: Found) -> str:
    """Return a table of the nearness of strangers."""
    head = ["pairs", "number", "median", "99 %", "99.9 %", "greatest", f"above {MOST_NEARNESS:g}"]
    rows = []
    for group in GROUPS:
        chosen = _seed_counts.pairs_of(found, group).values()
        near = np.array([one.nearness for one in chosen if one.nearness is not None])
        if near.size:
            shown = [*np.quantile(near, (0.5, 0.99, 0.999)), near.max()]
            above = int((near > MOST_NEARNESS).sum())
            rows.append([group, f"{near.size:,}", *(f"{x:.3f}" for x in shown), f"{above:,}"])
    return table(head, rows)


def whole(found: Found) -> dict[str, list[Trial]]:
    """Return the p-values of whole models as trials, by group."""
    return {
        f"claim, {group}": [
            (a, b, -1, -1, one.log10_p)
            for (a, b), one in _seed_counts.pairs_of(found, group).items()
            if one.log10_p is not None
        ]
        for group in GROUPS
        if _seed_counts.pairs_of(found, group)
    }


def apart(blocks: dict[str, list[Trial]], found: Found) -> dict[str, list[Trial]]:
    """Return the tests by statistic, and those of `kinship` by whether the models have one shape."""
    rows = dict(blocks)
    for group, alike in (("one shape", True), ("two shapes", False)):
        chosen = [t for t in blocks["kinship"] if found.alike(t[0], t[1]) == alike]
        if chosen:
            rows[f"kinship, {group}"] = chosen
    return rows


def kin(found: Found) -> str:
    """Return a table of the verdicts on copies, by kind."""
    head = ["copy", "pairs", *VERDICTS, "at most", "disjoint", "weakest p"]
    rows = []
    for kind, judged in found.kin.items():
        row = _seed_counts.kin(found, kind)
        weakest = max(
            (one.log10_p for one in judged.values() if one.log10_p is not None), default=0
        )
        rows.append(
            [
                kind,
                str(row.pairs),
                *(_number(row, verdict) for verdict in VERDICTS),
                *bounds(row, "independent"),
                format_p(weakest),
            ]
        )
    return table(head, rows) if rows else NOTHING
