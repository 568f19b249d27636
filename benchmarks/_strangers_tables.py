"""Tables of the p-values of pretrained strangers' blocks, as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks import _alike_units, _drawn_orders
from benchmarks._null import uniformity
from benchmarks._strangers import (
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
    from benchmarks._drawn_orders import Drawn
    from benchmarks._null import Rate
    from benchmarks._strangers import Found
    from benchmarks._whole_models import Whole

WORST = 5
"""So many of the least p-values of each statistic are named."""

ZONES = {
    ("first", "first"): "both first",
    ("first", "rest"): "first, and in between",
    ("first", "last"): "first, and last",
    ("rest", "rest"): "both in between",
    ("last", "rest"): "last, and in between",
    ("last", "last"): "both last",
}


def measured(kept: Sequence[Table]) -> str:
    """Return how many pairs of blocks were measured, of each question and pair of models."""
    pairs = list(dict.fromkeys((one.candidate, one.reference) for one in kept))
    cells = {(one.question, one.candidate, one.reference): one for one in kept}

    def cell(one: Table | None) -> str:
        if one is None:
            return "none"
        return f"{len(one.cells):,} of {one.possible:,}: {thinned(one)}; {one.seconds():.2g} s"

    rows = [
        [", ".join(pair), *(cell(cells.get((question, *pair))) for question in QUESTIONS)]
        for pair in pairs
    ]
    versions = {
        question: sorted({one.version() for one in kept if one.question == question})
        for question in QUESTIONS
    }
    heads = [
        f"{question} (version {', '.join(map(str, of))})" if of else str(question)
        for question, of in versions.items()
    ]
    return table(["models", *heads], rows)


def thinned(one: Table) -> str:
    """Return which pairs of blocks a table has, in a word or two."""
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


def levels(by_what: Mapping[str, Sequence[Found]]) -> str:
    """Return how often p is at most each level."""
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


def by_pair(by_what: Mapping[str, Sequence[Found]]) -> str:
    """Return the counts by pair of models."""
    groups = {what: grouped(found, _pair) for what, found in by_what.items()}
    return _cross("models", groups, lambda found: f"{_counts(found)}; {_smallest(found)}")


def _pair(one: Found) -> str:
    return ", ".join(one.models)


def _counts(found: Sequence[Found]) -> str:
    rates = [counted(found, level) for level in LEVELS[:2]]
    return ", ".join(_of_due(one) + " ▲" * _is_above(one) for one in rates)


def _smallest(found: Sequence[Found]) -> str:
    return f"{10.0 ** min(one.log10_p for one in found):.2g}"


def by_depth(by_what: Mapping[str, Sequence[Found]]) -> str:
    """Return the counts by where the two blocks lie in their models."""
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


def worst(by_what: Mapping[str, Sequence[Found]]) -> str:
    """Return the least p-values, with the blocks that have them."""
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


def by_set(sets: Mapping[str, Sequence[Set]]) -> str:
    """Return tables of the sets of units, with and without those that are matched alike."""
    found = [f"`{what}`:\n\n{_alike_units.by_share(of)}" for what, of in sets.items()]
    return "\n\n".join(found) or "None was tested."


def by_order(orders: Mapping[str, Sequence[tuple[Found, Drawn]]]) -> str:
    """Return how often p is small over many orders of units: of last blocks, and of all others."""
    found = {}
    for what, of in orders.items():
        numbers = [(int(one[0]), int(one[1])) for one in trials([single for single, _ in of])]
        last = [single.zones == ("last", "last") for single, _ in of]
        pairs = [(number, one) for number, (_, one) in zip(numbers, of, strict=True)]
        found[what] = {
            "both last": [pair for pair, is_last in zip(pairs, last, strict=True) if is_last],
            "all others": [pair for pair, is_last in zip(pairs, last, strict=True) if not is_last],
        }
    return _drawn_orders.shares(found) if found else "None was drawn."


def nearness(found: Sequence[Found]) -> str:
    """Return how near blocks are, by pair of models."""
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


def verdicts(whole: Sequence[Whole]) -> str:
    """Return the verdicts on whole models."""
    return table(
        [
            "models",
            "verdict",
            "strongest block's p",
            "the strongest beyond universal units",
            "nearness",
            "tested of",
            "processor s",
        ],
        [
            [
                f"{one.candidate}, {one.reference}",
                one.verdict,
                one.strongest(),
                one.beyond(),
                one.nearest(),
                one.tested(),
                f"{one.seconds:.0f}",
            ]
            for one in whole
        ],
    )


def agreement(kept: Sequence[Table], whole: Sequence[Whole]) -> str:
    """Return how far the p-values of whole models are from those of the same blocks."""
    differences = [gap for one in whole for gap in one.differences(kept)]
    if not differences:
        return "None of the p-values of these comparisons is in the tables above."
    return (
        f"{len(differences):,} p-values of `match_tokens` and `match` of these comparisons are in the\n"
        f"tables above as well. They differ by {max(differences):.2g} in log10 p at the most."
    )
