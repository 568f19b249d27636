"""docs/calibration-real.md: what the p-values of pretrained strangers' blocks say, as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import _strangers, _strangers_tables
from benchmarks._drawn_orders import DRAWS
from benchmarks._page import BEGIN, END
from benchmarks._strangers import ENDS, grouped
from benchmarks._table import table
from provenance.evidence.doubts import MOST_NEARNESS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks._alike_units import Set
    from benchmarks._block_pairs import Table
    from benchmarks._drawn_orders import Drawn
    from benchmarks._strangers import Found
    from benchmarks._whole_models import Whole

MODELS = ("name", "model", "blocks", "hidden", "units", "token embeddings")

NAMES = {
    "smollm2": "SmolLM2-135M-Instruct",
    "gemma": "Gemma 3 270M",
    "qwen05": "Qwen2.5-Coder-0.5B-Instruct",
    "qwen15": "Qwen2.5-Coder-1.5B-Instruct",
}

UNDEFINED = (
    (
        "`match_weights`, `csu`, `generalized`",
        "not defined between hidden sizes that differ, as all do",
    ),
    ("`csh`", "not defined between MLPs of other widths"),
    ("`l2`, `csu_all`, `mode_connectivity`", "compare parameters of one shape"),
    ("`jsd`", "has no p-value"),
    ("`kinship`", "here as its two parts that are defined, at the price of all three"),
)

COLUMNS = (
    ("p ≤ level", "p-values at most at the level, those due, and the share's exact 95 % interval"),
    ("SE at 0.05", "standard error of the share, by leaving out one block at a time"),
    ("KS p", "Kolmogorov and Smirnov's test against the uniform law, as if all were independent"),
    ("least p", "the least of all, and in brackets that times their number (Bonferroni)"),
)


def page(
    kept: Sequence[Table],
    sets: Mapping[str, Sequence[Set]],
    orders: Mapping[str, Sequence[tuple[Found, Drawn]]],
    whole: Sequence[Whole],
    models: Sequence[Sequence[str]],
    about: Mapping[str, str],
    reading: str,
) -> str:
    """Return the page; ``models`` are rows of a table, and ``about`` has the command too."""
    found = _strangers.found_in(kept)
    by_what = grouped(found, lambda one: one.what)
    return f"""# Calibration on real models

This page counts whether the p-values of real strangers are what they should be.

[Calibration](calibration.md) asks that of small models made for it. Here it is asked of pretrained models
that anybody can have:

<!-- not run: it takes hours and models of 2 GB; tests/benchmarks/test_strangers.py runs it small -->
```console
python -m benchmarks.real models real --all
{about["command"]}
```

* {about["date"]}
* {about["machine"]}
* {about["versions"]}

The command keeps every p-value as it is measured, in `benchmarks/pvalues/strangers` of the repository.
Whoever stops it loses one, and the same command goes on, on any machine. What another version of a
statistic measured is measured again. Without `real` the command counts what is kept, and needs no models.

A line of such a file is a pair of blocks: the block of the one and of the other, log10 p, nearness, units
that gate and up match alike, and the processor seconds. The first line names the models by their SHA-256.

{BEGIN}
{reading}
{END}

## Models

{table(MODELS, models)}

A block has one gated MLP. Each model has its own tokenizer, but the two Qwen models share one. All pairs of
models are strangers: no weights of one were made from the other's, as far as their makers say.

## What was measured

A cell is how many pairs of blocks were measured, of all that there are, and the mean processor time of one.

{_strangers_tables.measured(kept)}

Where not all were measured, they are whole diagonals of the table of blocks: 1/6 is every sixth one. The
pairs of the first {ENDS} and last {ENDS} blocks are always among them. "More", and "some", are of a pass
that was not finished.

{_columns(("statistic", "why it has no column"), UNDEFINED)}

`match` and `match_cosine` are of 4,096 tokens. The text is the standard library's sources, which each model
reads in its own tokens. Random ids are below both vocabularies. `match_tokens` is of 256 tokens.

## False positives

{_columns(("column", "meaning"), COLUMNS)}

▲ marks a share whose interval lies above its level. The interval is Clopper and Pearson's. It is somewhat
too narrow, since pairs that share a block are not independent.

{_strangers_tables.levels(by_what)}

The widths of every two models differ. So the best of three sets of units counts, times 3
([padded models](statistics.md#padded-models)), and p-values pile up at 1. `kinship` is the better of two
parts, times 3 again. Neither can be uniform, and counts below what is due are expected.

![Q-Q plot of the p-values]({about["plot"]})

Grey shows where 95 % of independent uniform p-values of that rank would lie.

### By pair of models

A cell has the counts at 0.05 and at 0.01, with what is due of them, and the least p.

{_strangers_tables.by_pair(by_what)}

### By depth

Units that detect one token live in the first and in the last blocks. So the first {ENDS} and the last
{ENDS} blocks of either model are counted by themselves. A cell has the counts at 0.05 and at 0.01, with
what is due, and the interval of the share at 0.05.

{_strangers_tables.by_depth(by_what)}

### The least p-values

{_strangers_tables.worst(by_what)}

### Units matched alike

Strangers share a few units by what they do, such as those that detect one token. Gate and up match each of
them to one partner. Units are ranked in an order that is drawn at random. So k such units of n raise the
rank correlation by k / n, which is k / √n of its standard deviations: the *shift*. One of them is due by
chance. No other unit raises it.
A z is a p-value as a standard normal value: 0 on the average where p-values are uniform, and larger for
smaller ones. Its ± is the standard error, as if all were independent.

Here each of the three sets of units is taken by itself, on pairs of first and last blocks. A set that has
the units of the one before it is left out. Nothing is corrected: each p-value would be uniform if there
were no shift.

{_strangers_tables.by_set(sets)}

### With the order drawn anew

The order of the units is drawn once for two models, so that a count depends on the luck of that draw. Here
the matchings of a pair of blocks stay as they are, and the order is drawn {DRAWS} times. A cell is the mean
share of these orders with so small a p-value. Its ± is the standard error by leaving out one block at a
time: far less than that of a count, since each pair of blocks gives a share and not one draw.

{_strangers_tables.by_order(orders)}

## Nearness

`match_tokens` also says how [near](statistics.md#decoys-and-nearness) the units of two blocks are.
Above {MOST_NEARNESS:g} no independence is believed. "Matched alike" are units that gate and up match to one
partner.

{_strangers_tables.nearness(by_what.get(str(_strangers.TOKENS), []))}

## Whole models

`provenance compare A B`, with `kinship` on a text at 1e-6. Each block meets its three likeliest partners,
at the price of all.

{_strangers_tables.verdicts(whole)}

{_strangers_tables.agreement(kept, whole)}
"""


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of words, all to the left."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))
