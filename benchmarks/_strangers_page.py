"""docs/calibration-real.md: what the p-values of pretrained strangers' blocks say, as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks import _alike_units, _strangers
from benchmarks._null import uniformity
from benchmarks._page import BEGIN, END
from benchmarks._strangers import (
    ENDS,
    ENDS_ALONE,
    LEVELS,
    PLAN,
    QUESTIONS,
    Stage,
    counted,
    grouped,
    trials,
    wanted,
)
from benchmarks._table import table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks._alike_units import Set
    from benchmarks._block_pairs import Table
    from benchmarks._null import Rate
    from benchmarks._strangers import Found
    from benchmarks._whole_models import Whole

WORST = 5
"""So many of the least p-values of each statistic are named."""

NAMES = {
    "smollm2": "SmolLM2-135M-Instruct",
    "gemma": "Gemma 3 270M",
    "qwen05": "Qwen2.5-Coder-0.5B-Instruct",
    "qwen15": "Qwen2.5-Coder-1.5B-Instruct",
}

ZONES = {
    ("first", "first"): "both first",
    ("first", "rest"): "first, and in between",
    ("first", "last"): "first, and last",
    ("rest", "rest"): "both in between",
    ("last", "rest"): "last, and in between",
    ("last", "last"): "both last",
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
    whole: Sequence[Whole],
    models: Sequence[Sequence[str]],
    about: Mapping[str, str],
    reading: str,
) -> str:
    """Return the page; ``models`` are rows of a table, and ``about`` has the command too."""
    found = _strangers.found_in(kept)
    by_what = grouped(found, lambda one: one.what)
    return f"""# Calibration on real models

Are the p-values of real strangers what they should be? [Calibration](calibration.md) asks that of small
models made for it. Here it is asked of pretrained models that anybody can have:

<!-- not run: it takes two hours and models of 2 GB; tests/benchmarks/test_strangers.py runs it small -->
```console
python -m benchmarks.real models real --all
{about["command"]}
```

* {about["date"]}
* {about["machine"]}
* {about["versions"]}

The command keeps every p-value in its folder. Whoever stops it loses one, and the same command goes on.

{BEGIN}
{reading}
{END}

## Models

{table(MODELS, models)}

A block has one gated MLP. Each model has its own tokenizer, but the two Qwen models share one. All pairs of
models are strangers: no weights of one were made from the other's, as far as their makers say.

## What was measured

A cell is how many pairs of blocks were measured, of all that there are, and the mean processor time of one.

{_measured(kept)}

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

{_levels(by_what)}

The widths of every two models differ. So the best of three sets of units counts, times 3
([padded models](statistics.md#padded-models)), and p-values pile up at 1. `kinship` is the better of two
parts, times 3 again. Neither can be uniform, and counts below what is due are expected.

![Q-Q plot of the p-values]({about["plot"]})

Grey shows where 95 % of independent uniform p-values of that rank would lie.

### By pair of models

A cell has the counts at 0.05 and at 0.01, with what is due of them, and the least p.

{_by_pair(by_what)}

### By depth

Units that detect one token live in the first and in the last blocks. So the first {ENDS} and the last
{ENDS} blocks of either model are counted by themselves. A cell has the counts at 0.05 and at 0.01, with
what is due, and the interval of the share at 0.05.

{_by_depth(by_what)}

### The least p-values

{_worst(by_what)}

### Units matched alike

Strangers share a few units by what they do, such as those that detect one token. Gate and up match each of
them to one partner. Units are ranked in an order that is drawn at random. So k such units of n raise the
rank correlation by k / n, which is k / √n of its standard deviations: the *shift*. No other unit raises it.
A z is a p-value as a standard normal value: 0 on the average where p-values are uniform, and larger for
smaller ones. Its ± is the standard error, as if all were independent.

Here each of the three sets of units is taken by itself, on all pairs of first and last blocks. Nothing is
corrected: each p-value would be uniform if there were no shift.

{_sets(sets)}

## Nearness

`match_tokens` also says how [near](statistics.md#decoys-and-nearness) the units of two blocks are. Above
0.05 no independence is believed. "Matched alike" are units that gate and up match to one partner.

{_nearness(by_what.get(str(_strangers.TOKENS), []))}

## Whole models

`provenance compare A B`, with `kinship` on a text at 1e-6. Each block meets its three likeliest partners,
at the price of all.

{_verdicts(whole)}

{_agreement(kept, whole)}
"""


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of words, all to the left."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


MODELS = ("name", "model", "blocks", "hidden", "units", "token embeddings")


def _measured(kept: Sequence[Table]) -> str:
    pairs = list(dict.fromkeys((one.candidate, one.reference) for one in kept))
    cells = {(one.question, one.candidate, one.reference): one for one in kept}

    def cell(one: Table | None) -> str:
        if one is None:
            return "none"
        return f"{len(one.cells):,} of {one.possible:,}: {_thinned(one)}; {one.seconds():.2g} s"

    rows = [
        [", ".join(pair), *(cell(cells.get((question, *pair))) for question in QUESTIONS)]
        for pair in pairs
    ]
    return table(["models", *map(str, QUESTIONS)], rows)


def _thinned(one: Table) -> str:
    """Say which pairs of blocks a table has."""
    have = {cell.place for cell in one.cells}
    steps = sorted({stage.every for stage in PLAN})
    step = next((step for step in steps if wanted(Stage(None, step), one.depths) <= have), None)
    if step == 1:
        return "all"
    if step is None:
        return "some"
    more = len(have - wanted(Stage(None, step), one.depths))
    named = "ends" if step == ENDS_ALONE else f"1/{step}"
    return named + f" and {more} more" * bool(more)


def _levels(by_what: Mapping[str, Sequence[Found]]) -> str:
    head = ["statistic", "pairs of blocks", *(f"p ≤ {level:g}" for level in LEVELS)]
    rows = []
    for what, found in by_what.items():
        rates = [counted(found, level) for level in LEVELS]
        rows.append(
            [
                what,
                f"{len(found):,}",
                *map(_share, rates),
                f"{rates[0].error:.4f}",
                f"{uniformity(trials(found))[1]:.2g}",
                _least(found),
            ]
        )
    return table([*head, "SE at 0.05", "KS p", "least p"], rows)


def _share(found: Rate) -> str:
    interval = f"({found.low:.2g}–{found.high:.2g})"
    return f"{_of_due(found)} {interval}{' ▲' * _is_above(found)}"


def _of_due(found: Rate) -> str:
    due = found.level * found.trials
    return f"{found.count} of {due:.1f}" if due >= 1 else f"{found.count} of {due:.1g}"


def _is_above(found: Rate) -> bool:
    return found.low > found.level


def _least(found: Sequence[Found]) -> str:
    log10_p = min(one.log10_p for one in found)
    chance = min(1.0, len(found) * 10.0**log10_p)
    return f"{10.0**log10_p:.2g} ({chance:.2g})"


def _by_pair(by_what: Mapping[str, Sequence[Found]]) -> str:
    groups = {what: grouped(found, _pair) for what, found in by_what.items()}
    return _cross("models", groups, lambda found: f"{_counts(found)}; {_smallest(found)}")


def _pair(one: Found) -> str:
    return ", ".join(one.models)


def _counts(found: Sequence[Found]) -> str:
    rates = [counted(found, level) for level in LEVELS[:2]]
    return ", ".join(_of_due(one) + " ▲" * _is_above(one) for one in rates)


def _smallest(found: Sequence[Found]) -> str:
    return f"{10.0 ** min(one.log10_p for one in found):.2g}"


def _by_depth(by_what: Mapping[str, Sequence[Found]]) -> str:
    groups = {
        what: {
            **{name: [one for one in found if one.zones == zones] for zones, name in ZONES.items()},
            "a first block on either side": [one for one in found if "first" in one.zones],
            "a last block on either side": [one for one in found if "last" in one.zones],
        }
        for what, found in by_what.items()
    }

    def cell(found: Sequence[Found]) -> str:
        rate = counted(found, LEVELS[0])
        return f"{_counts(found)} ({rate.low:.2g}–{rate.high:.2g})"

    return _cross("blocks", groups, cell)


def _cross(
    head: str,
    groups: Mapping[str, Mapping[str, Sequence[Found]]],
    cell: Callable[[Sequence[Found]], str],
) -> str:
    """A table with a row for each group, and a column for each statistic."""
    names = dict.fromkeys(name for of in groups.values() for name in of)
    rows = [
        [name, *(cell(of[name]) if of.get(name) else "–" for of in groups.values())]
        for name in names
    ]
    return table([head, *groups], rows)


def _worst(by_what: Mapping[str, Sequence[Found]]) -> str:
    rows = [
        [
            what,
            str(one),
            f"{10.0**one.log10_p:.2g}",
            f"{min(1.0, len(found) * 10.0**one.log10_p):.2g}",
            str(one.agreeing),
        ]
        for what, found in by_what.items()
        for one in sorted(found, key=lambda one: one.log10_p)[:WORST]
    ]
    head = ["statistic", "block of each", "p", "times the pairs measured", "units matched alike"]
    return table(head, rows)


def _sets(sets: Mapping[str, Sequence[Set]]) -> str:
    found = [f"`{what}`:\n\n{_alike_units.by_share(of)}" for what, of in sets.items()]
    return "\n\n".join(found) or "None was tested."


def _nearness(found: Sequence[Found]) -> str:
    rows = []
    for name, of in grouped(found, _pair).items():
        near = [one for one in of if one.nearness is not None]
        if not near:
            continue
        most = max(near, key=lambda one: one.nearness or 0.0)
        alike = max(of, key=lambda one: one.agreeing)
        quantile = np.quantile([one.nearness or 0.0 for one in near], 0.99)
        rows.append(
            [
                name,
                f"{len(near):,}",
                f"{quantile:.3f}",
                f"{most.nearness:.3f}",
                str(most),
                f"{alike.agreeing} ({alike})",
            ]
        )
    head = ["models", "pairs of blocks", "99 % below", "greatest", "where", "most matched alike"]
    return table(head, rows)


def _verdicts(whole: Sequence[Whole]) -> str:
    return table(
        ["models", "verdict", "strongest block's p", "nearness", "tested of", "processor s"],
        [
            [
                f"{one.candidate}, {one.reference}",
                one.verdict,
                one.strongest(),
                one.nearest(),
                one.tested(),
                f"{one.seconds:.0f}",
            ]
            for one in whole
        ],
    )


def _agreement(kept: Sequence[Table], whole: Sequence[Whole]) -> str:
    differences = [gap for one in whole for gap in one.differences(kept)]
    if not differences:
        return "None of the p-values of these comparisons is in the tables above."
    return (
        f"{len(differences):,} p-values of `match_tokens` and `match` of these comparisons are in the\n"
        f"tables above as well. They differ by {max(differences):.2g} in log10 p at the most."
    )
