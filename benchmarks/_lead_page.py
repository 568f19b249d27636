"""The table of docs/identify.md on how much nearer models are to one of two kin than to the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._kind_page import COUNTS as KINDS
from benchmarks._kind_page import between
from benchmarks._kinds_command import Made, read_kept
from benchmarks._rates import upper
from benchmarks._table import table
from provenance.evidence.leads import Lead

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COUNTS = KINDS.with_name("leads.json")
PAGE = Path("docs/identify.md")
BEGIN, END = "<!-- counted by benchmarks.leads -->", "<!-- end of the leads -->"
SIBLINGS = "sibling of both"
FOUND = ("nearer", "not told", "farther")


@dataclass(frozen=True)
class LeadCount:
    """One model and two of its kin: the population, how they were trained, and what was measured."""

    group: str
    what: str
    measured: Mapping[str, Any]

    @property
    def lead(self) -> Lead:
        """What was measured."""
        blocks = tuple((index, *both) for index, *both in self.measured["blocks"])
        return Lead(**{**self.measured, "blocks": blocks})

    @property
    def has_none(self) -> bool:
        """Whether the model descends from neither of the two, nor they from it."""
        return self.group.startswith(SIBLINGS)


@dataclass(frozen=True)
class LeadCounts(Made):
    """What `benchmarks.leads` found, with what and where."""

    counted: tuple[LeadCount, ...]


def read_counts(file: Path = COUNTS) -> LeadCounts:
    """Read the counts that are kept."""
    return read_kept(file, LeadCounts, counted=LeadCount)


def with_tables(page: str, counts: LeadCounts) -> str:
    """Return the page with its table made again; raises as `benchmarks._kind_page.between`."""
    return between(page, BEGIN, END, f"{_table(counts)}\n\n{errors(counts)}\n\n{counts.about}")


def _table(counts: LeadCounts) -> str:
    rows = []
    for group in sorted({row.group: None for row in counts.counted}, key=_order):
        those = [row.lead for row in counts.counted if row.group == group]
        ratios = [one.ratio for one in those if one.ratio is not None]
        spans = [
            _span(ratios),
            *(_span([one.lead for one in those]),),
            _span([one.weak for one in those if one.weak is not None]),
            _span([one.low for one in those if one.low is not None]),
        ]
        numbers = [
            sum(ratio > 1 for ratio in ratios),
            *(sum(one.found == found for one in those) for found in FOUND),
        ]
        rows.append([group, str(len(those)), *spans, *(str(n) if n else "-" for n in numbers)])
    head = ["the model; the first and the second", "number", "ratio", "lead"]
    head += ["without the strong", "in a tenth", "first nearer"]
    return table([*head, *FOUND], rows)


def _order(group: str) -> tuple[bool, str]:
    return group.startswith(SIBLINGS), group


def _span(numbers: Sequence[float]) -> str:
    return f"{min(numbers):.2f} to {max(numbers):.2f}" if numbers else "-"


def errors(counts: LeadCounts) -> str:
    """How often what is said was wrong, in sentences."""
    none = [row.lead for row in counts.counted if row.has_none]
    kin = [row.lead for row in counts.counted if not row.has_none]
    named = sum(one.found != "not told" for one in none)
    wrong = sum(one.found == "farther" for one in kin)
    seen = sum(one.found == "nearer" for one in kin)
    highest = {
        schedule: max(
            max(row.lead.low or 0, -(row.lead.high or 0))
            for row in counts.counted
            if row.has_none and row.what.startswith(schedule)
        )
        for schedule in dict.fromkeys(
            row.what.partition(";")[0] for row in counts.counted if row.has_none
        )
    }
    tops = ", ".join(f"{top:.2f} of {schedule}" for schedule, top in highest.items())
    by_size = sum((one.ratio or 0) <= 1 for one in kin)
    bounds = [f"{upper(number, len(of)):.1%}" for number, of in ((named, none), (wrong, kin))]
    return (
        f"Siblings of both of which it was said that they are nearer to one: {named} of {len(none)}, "
        f"at most {bounds[0]} (95%), were they independent. Of the others, said to be nearer to the "
        f"wrong one: {wrong} of {len(kin)}, at most {bounds[1]}; to the right one: {seen} of {len(kin)}. "
        f"By the distances alone {by_size} of {len(kin)} are nearer to the wrong one. The highest lead of "
        f"siblings in a tenth, either way: {tops}."
    )
