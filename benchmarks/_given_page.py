"""The table of docs/kinds.md on what siblings and descendants share beyond their base."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._kind_page import between
from benchmarks._kinds_command import Made, read_kept
from benchmarks._rates import upper
from benchmarks._table import table
from provenance.evidence.given import GivenDifference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COUNTS = Path(__file__).with_name("counts") / "kinds" / "given.json"
BEGIN, END = "<!-- counted by benchmarks.given -->", "<!-- end of the given -->"
SIBLINGS = "siblings, "
FOOLS = "(made to fool)"
FOUND = ("more", "not known", "as siblings")


@dataclass(frozen=True)
class GivenCount:
    """One pair: the population that it belongs to, how its siblings were trained, and what was measured."""

    group: str
    what: str
    measured: Mapping[str, Any]

    @property
    def difference(self) -> GivenDifference:
        """What was measured."""
        sizes = tuple(self.measured["sizes"])
        return GivenDifference(**{**self.measured, "sizes": sizes})


@dataclass(frozen=True)
class GivenCounts(Made):
    """What `benchmarks.given` found, with what and where."""

    counted: tuple[GivenCount, ...]


def read_counts(file: Path = COUNTS) -> GivenCounts:
    """Read the counts that are kept."""
    return read_kept(file, GivenCounts, counted=GivenCount)


def with_tables(page: str, counts: GivenCounts) -> str:
    """Return the page with its table made again; raises as `benchmarks._kind_page.between`."""
    return between(page, BEGIN, END, f"{_table(counts)}\n\n{_errors(counts)}\n\n{counts.about}")


def _table(counts: GivenCounts) -> str:
    rows = []
    for group in dict.fromkeys(row.group for row in counts.counted):
        those = [row.difference for row in counts.counted if row.group == group]
        found = [sum(one.found == what for one in those) for what in FOUND]
        spans = [
            _span([getattr(one, name) for one in those])
            for name in ("cosine", "weak", "low", "kept")
        ]
        rows.append([group, str(len(those)), *spans, *(str(n) if n else "-" for n in found)])
    head = ["the two", "pairs", "cosine", "without the strong", "in a tenth", "share"]
    return table([*head, *FOUND], rows)


def _span(numbers: Sequence[float]) -> str:
    return f"{min(numbers):.2f} to {max(numbers):.2f}"


def _errors(counts: GivenCounts) -> str:
    honest = [row for row in counts.counted if not row.group.endswith(FOOLS)]
    siblings = [row for row in honest if row.group.startswith(SIBLINGS)]
    kin = [row for row in honest if not row.group.startswith(SIBLINGS)]
    more = sum(row.difference.found == "more" for row in siblings)
    missed = sum(row.difference.found == "as siblings" for row in kin)
    seen = sum(row.difference.found == "more" for row in kin)
    bounds = [f"{upper(wrong, len(of)):.1%}" for wrong, of in ((more, siblings), (missed, kin))]
    return (
        f"Siblings that were said to share more: {more} of {len(siblings)}, at most {bounds[0]} (95%), "
        f"were they independent. Descendants that were said to share no more than siblings: {missed} of "
        f"{len(kin)}, at most {bounds[1]}. Descendants that were found: {seen} of {len(kin)}."
    )
