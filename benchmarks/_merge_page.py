"""The table of docs/kinds.md with the shares of merges' parents: found, and made with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._kind_page import between
from benchmarks._table import table

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNTS = Path(__file__).with_name("counts") / "kinds" / "merges.json"
BEGIN, END = "<!-- counted by benchmarks.merges -->", "<!-- end of the merges -->"


@dataclass(frozen=True)
class MergeCount:
    """One merge: shares of (base, first, second) that it was made with (None: of no such), and found."""

    what: str
    made: Sequence[float] | None
    found: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    left_over: float

    @property
    def error(self) -> float | None:
        """The largest error of a share."""
        if self.made is None:
            return None
        return max(abs(a - b) for a, b in zip(self.made, self.found, strict=True))

    @property
    def inside(self) -> int | None:
        """Shares whose interval, widened by a thousandth for rounding, holds what was made."""
        if self.made is None:
            return None
        ends = zip(self.low, self.made, self.high, strict=True)
        return sum(low - 1e-3 <= share <= high + 1e-3 for low, share, high in ends)


@dataclass(frozen=True)
class MergeCounts:
    """What `benchmarks.merges` found, with what and where."""

    command: str
    date: str
    machine: str
    versions: str
    counted: tuple[MergeCount, ...]


def read_counts(file: Path = COUNTS) -> MergeCounts:
    """Read the counts that are kept."""
    kept = json.loads(file.read_text("utf-8"))
    rows = tuple(MergeCount(**row) for row in kept.pop("counted"))
    return MergeCounts(**kept, counted=rows)


def with_tables(page: str, counts: MergeCounts) -> str:
    """Return the page with its table of merges made again; raises as `benchmarks._kind_page.between`."""
    about = f"`{counts.command}`; {counts.date}; {counts.machine}; {counts.versions}"
    return between(page, BEGIN, END, f"{_table(counts)}\n\n{about}")


def _table(counts: MergeCounts) -> str:
    rows = []
    for what in dict.fromkeys(row.what for row in counts.counted):
        those = [row for row in counts.counted if row.what == what]
        errors = [row.error for row in those if row.error is not None]
        inside = [row.inside for row in those if row.inside is not None]
        left = [row.left_over for row in those]
        rows.append(
            [
                what,
                str(len(those)),
                f"{max(errors):.1e}" if errors else "-",
                f"{sum(inside)} of {3 * len(inside)}" if inside else "-",
                f"{min(left):.1%} to {max(left):.1%}",
            ]
        )
    return table(["merge", "number", "largest error", "within their interval", "left over"], rows)
