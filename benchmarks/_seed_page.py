"""The page of models that differ in their first weights alone: docs/calibration-seeds.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import _seed_tables, _table
from benchmarks._page import BEGIN, END
from benchmarks._seed_counts import DEFAULT
from provenance.evidence.doubts import MOST_NEARNESS

if TYPE_CHECKING:
    from benchmarks._seed_runs import Found
    from benchmarks._zoo import Scale

PADDED = ("match_tokens", "match")
"""Where widths differ, these try three sets of units, and their p-values are corrected for it."""

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

This page counts how often a verdict calls the hardest strangers kin, and how often a copy independent.

The hardest strangers are models that have everything in common but the seed of their first weights: the
architecture, the tokenizer, the text, the order of its batches. This command trains small Llamas and
counts both:

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

{_seed_tables.shapes(found)}

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

{_seed_tables.strangers(found)}

### Why strangers are inconclusive

The table has the reasons at {DEFAULT:g}. A pair may have several. The last column is how many of a reason's
pairs have one model in common.

{_seed_tables.doubts(found)}

### Nearness

The nearness of a pair is that of its nearest block. Above {MOST_NEARNESS:g} a pair is inconclusive.

{_seed_tables.nearness(found)}

## The p-value of whole models

The p-value that the threshold is compared with is twice the smaller of two: Fisher's p over the blocks,
and the strongest block's (Bonferroni). The columns are those of
[the calibration](calibration.md#false-positives).

{_table.false_positives(_seed_tables.whole(found))}

## Pairs of blocks

{_blocks(found)}

## Verdicts on kin

Each model was copied in several ways, and each copy was compared with its model. The threshold is
{DEFAULT:g}. *At most* and *disjoint* bound the rate of `independent`.

{_seed_tables.kin(found)}
"""


def _blocks(found: Found) -> str:
    if not found.blocks:
        return _seed_tables.NOTHING
    blocks = _table.with_equal_widths(found.blocks, found.zoo, PADDED)
    uniform = [name for name in blocks if name not in {"kinship", *PADDED}]
    kinship = blocks["kinship"]
    return f"""Every block of one model met every block of the other: {len(kinship):,} pairs of blocks of
{len({(a, b) for a, b, *_ in kinship}):,} pairs of models. `match_weights` needs equal hidden sizes, and
`csu` equal shapes. `kinship` is Bonferroni of its three parts, each measured. Where widths differ,
`match_tokens` and `match` try [three sets of units](statistics.md#padded-models) and pay for them: their
p-values then pile up at 1, as those of `kinship` do.

{_table.false_positives(_seed_tables.apart(blocks, found))}

### By pair of models

The table has the share of p ≤ 0.05 in each pair's blocks, and its spread over pairs. The expected spread
is that of independent blocks.

{_table.by_pair(blocks, uniform)}

### Dependence between blocks

Fisher's method assumes that the blocks of a pair are independent. The columns are those of
[the calibration](calibration.md#dependence-between-blocks).

{_table.between_blocks(blocks, uniform)}"""
