"""The page of models that differ in their first weights alone: docs/calibration-seeds.md."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import _seed_counts, _table
from benchmarks._judged import THRESHOLDS
from benchmarks._null import jackknife
from benchmarks._page import BEGIN, END
from benchmarks._seed_counts import DEFAULT, Group
from benchmarks._table import table
from benchmarks.error_rates import bounds
from provenance.evidence.doubts import MOST_NEARNESS
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks._counts import Counted
    from benchmarks._judged import Judged
    from benchmarks._null import Trial
    from benchmarks._seed_runs import Found
    from benchmarks._zoo import Scale

NOTHING = "Nothing was measured yet."
GROUPS: tuple[Group, ...] = ("one shape", "two shapes", "all")
SAID = ("dependent", "independent", "inconclusive", "refused")


AT_MOST = (
    "the exact upper bound of the rate of `dependent` (Clopper and Pearson, one-sided, 95 %), as if pairs "
    "that share a model were independent"
)
DISJOINT = (
    "the bound that supposes the worst, that all pairs of a model say the same: the share is taken of as "
    "many pairs as share no model"
)
ERROR = (
    "the standard error of the rate, by leaving out one model at a time, which counts sharing; – where no "
    "pair was `dependent`, of which it says nothing"
)


def page(found: Found, scale: Scale, command: str, reading: str) -> str:
    """Return the page; of a run that is not finished it says how much there is."""
    about = found.about
    judged = [*found.strangers.values(), *(one for of in found.kin.values() for one in of.values())]
    took = (
        f"training {sum(one.seconds for one in found.trained.values()):,.0f} s, verdicts "
        f"{sum(one.seconds for one in judged):,.0f} s, pairs of blocks {found.seconds:,.0f} s "
        "of processor time"
    )
    return f"""# Calibration on other seeds

The hardest strangers are models that have everything in common but the seed of their first weights: the
architecture, the tokenizer, the text, the order of its batches. How often does a verdict call two of them
kin? How often does it call a copy independent? This command trains small Llamas and counts both:

<!-- not run: it takes an hour; tests/benchmarks/test_seeds.py runs it small -->
```console
{command}
```

* {about["date"]}; {took}
* {about["machine"]}
* {about["versions"]}

{BEGIN}
{reading}
{END}

## Models

There are {len(found.zoo)} models of three shapes. Each was trained for {scale.steps} steps of
{scale.batch} × {scale.length} tokens (AdamW at 3e-3), in one order, on one text of {scale.characters:,}
characters of code. The vocabulary has {scale.vocabulary} tokens. Losses are on {scale.tokens:,} tokens of
code that no model was trained on, in nats a token: the mean, the least and the greatest.

{_shapes(found)}

## Verdicts on strangers

{len(found.strangers):,} of {found.pairs:,} pairs were judged. Each was compared as `provenance.compare`
does by default: `kinship` on {scale.tokens:,} tokens of text, here held-out code, with the power control
and the nearness of units.

| column | meaning |
| --- | --- |
| threshold | the p-value below which a pair is `dependent`; {DEFAULT:g} is the default |
| at most | {AT_MOST} |
| disjoint | {DISJOINT} |
| SE | {ERROR} |

{_strangers(found)}

### Why strangers are inconclusive

The table has the reasons at {DEFAULT:g}. A pair may have several.

{_doubts(found.strangers.values())}

### Nearness

The nearness of a pair is that of its nearest block. Above {MOST_NEARNESS:g} a pair is inconclusive.

{_nearness(found)}

## The p-value of whole models

The p-value that the threshold is compared with is twice the smaller of two: Fisher's p over the blocks,
and the strongest block's (Bonferroni). The columns are those of
[the calibration](calibration.md#false-positives).

{_table.false_positives(_whole(found))}

## Pairs of blocks

{_blocks(found)}

## Verdicts on kin

Each model was copied in several ways, and each copy was compared with its model. The threshold is
{DEFAULT:g}. *At most* and *disjoint* bound the rate of `independent`.

{_kin(found)}
"""


def _shapes(found: Found) -> str:
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


def _strangers(found: Found) -> str:
    head = ["pairs", "number", "threshold", "dependent", "at most", "disjoint", "SE", *SAID[1:]]
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
                    *(_number(row, verdict) for verdict in SAID[1:]),
                ]
            )
    return table(head, rows)


def _number(row: Counted, verdict: str) -> str:
    count = row.verdicts.get(verdict, 0)
    return f"{count:,} ({count / row.pairs:.1%})" if count else "0"


def _doubts(judged: Iterable[Judged]) -> str:
    named = Counter(doubt for one in judged for doubt in one.doubts)
    if not named:
        return "No pair was inconclusive."
    return table(["reason", "pairs"], ([name, f"{n:,}"] for name, n in named.most_common()))


def _nearness(found: Found) -> str:
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


def _whole(found: Found) -> dict[str, list[Trial]]:
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


def _blocks(found: Found) -> str:
    if not found.blocks:
        return NOTHING
    blocks = _table.with_equal_widths(found.blocks, found.zoo)
    kinship = blocks["kinship"]
    return f"""Every block of one model met every block of the other: {len(kinship):,} pairs of blocks of
{len({(a, b) for a, b, *_ in kinship}):,} pairs of models. `match_weights` needs equal hidden sizes, and
`csu` equal shapes. `kinship` is Bonferroni of its three parts, each measured.

{_table.false_positives(_apart(blocks, found))}

### By pair of models

The table has the share of p ≤ 0.05 in each pair's blocks, and its spread over pairs. The expected spread
is that of independent blocks.

{_table.by_pair(blocks)}

### Dependence between blocks

Fisher's method assumes that the blocks of a pair are independent. The columns are those of
[the calibration](calibration.md#dependence-between-blocks).

{_table.between_blocks(blocks)}"""


def _apart(blocks: dict[str, list[Trial]], found: Found) -> dict[str, list[Trial]]:
    """Return the tests by statistic, and those of `kinship` by whether the models have one shape."""
    rows = dict(blocks)
    for group, alike in (("one shape", True), ("two shapes", False)):
        chosen = [t for t in blocks["kinship"] if found.alike(t[0], t[1]) == alike]
        if chosen:
            rows[f"kinship, {group}"] = chosen
    return rows


def _kin(found: Found) -> str:
    head = ["copy", "pairs", *SAID, "at most", "disjoint", "weakest p"]
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
                *(_number(row, verdict) for verdict in SAID),
                *bounds(row, "independent"),
                format_p(weakest),
            ]
        )
    return table(head, rows) if rows else NOTHING
