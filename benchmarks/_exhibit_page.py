"""The page of exhibits: docs/exhibits.md."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks._exhibit_pairs import BLOCKS
from benchmarks._page import BEGIN, END
from benchmarks._table import table
from provenance.evidence.exhibits import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provenance.evidence.exhibits import ExhibitName
    from provenance.evidence.strangers import StrangerGroup


def page(groups: Sequence[StrangerGroup], reading: str) -> str:
    """Return the page of what is kept."""
    counted = "\n\n".join(_section(group) for group in groups)
    return f"""# Exhibits

This page is for whoever meets a claim about two models that rests on one striking number. It shows five
such numbers with the values that strangers have, and how to have them measured. None of them decides.

{_kinds()}

## Measure them

They are off by default. No verdict, no exit code and no adjusted p-value looks at them.

| where | how | what is shown |
| --- | --- | --- |
| the command line | `provenance compare A B --exhibits` | a table; with `--json` the field `exhibits` |
| a suite | `exhibits: true` at the top | in the [report](report.md), folded under each claim |
| Python | `provenance.compare(a, b, exhibits=True)` | `Evidence.exhibits` |

`provenance explain` shows those of a suite's claim too, and says of each why it decides nothing.
[Samples](samples.md) have none. [Fingerprints](fingerprint.md) have no weights, and each exhibit says so.
What strangers have comes from a file of the package, `provenance/evidence/strangers.json`. The tables below
are made from the same file.

## How each is computed

Blocks of equal relative depth meet, and nothing is mapped: who argues with these numbers maps nothing
either.

{_numbers()}

## What strangers have

{BEGIN}
{reading}
{END}

{counted}
"""


NUMBERS: Mapping[ExhibitName, str] = {
    "norms": "The mean cosine of the norm weights that both models name alike. A weight counts with the "
    "offset that its norm adds. Where widths differ, the first coordinates of the wider count.",
    "deviations": "The standard deviation of each matrix outside of the MLPs, such as those of attention, "
    "is a curve along the depth. The exhibit is Pearson's correlation of two such curves, as a mean over "
    "the names of matrices. [HonestAGI](https://arxiv.org/abs/2507.03014) argued with such curves.",
    "tokenizer": "Tokens that both have, by the bytes they stand for, as a share of the tokens of either.",
    "configuration": "Settings that say how a model computes and are equal, as a share of the settings of "
    "either.",
    "units": "The most units of one pair of blocks that gate and up pair alike, by "
    "[`match_tokens`](statistics.md#match_tokens). Random matchings would agree on one. Of the strangers "
    f"below at most {BLOCKS} blocks of the candidate were looked at, beside their likeliest partners.",
}


def _numbers() -> str:
    rows = [(kind.title, NUMBERS[name]) for name, kind in KINDS.items()]
    return table(("exhibit", "number"), rows, left=2)


def _kinds() -> str:
    rows = [(kind.title, kind.decides_nothing) for kind in KINDS.values()]
    return table(("exhibit", "why it decides nothing"), rows, left=2)


def _section(group: StrangerGroup) -> str:
    return f"""### {group.heading[0].upper()}{group.heading[1:]}

* `{group.command}`
* {group.date}, {group.machine}
* {group.versions}
* Models: {group.models}

{_values(group)}"""


def _values(group: StrangerGroup) -> str:
    rows = [_row(name, group.values(name)) for name in KINDS]
    return table(("exhibit", "pairs that have it", "least", "median", "most"), rows)


def _row(name: ExhibitName, values: Sequence[float]) -> tuple[str, ...]:
    kind = KINDS[name]
    if not values:
        return kind.title, "0", "–", "–", "–"
    spread = (min(values), statistics.median(values), max(values))
    return kind.title, str(len(values)), *map(kind.text, spread)
