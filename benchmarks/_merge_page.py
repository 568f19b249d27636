"""The tables of docs/kinds.md on the shares of merges' parents: found and made with, and claims of them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._kind_page import between
from benchmarks._rates import upper
from benchmarks._table import table
from provenance.evidence.decomposition import Decomposition, MergeRecord, ParentKinship
from provenance.evidence.merge_claims import MergeClaim, read_merge
from provenance.vocabulary import DEFAULT_ALPHA, SHARE_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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

    def claims(self) -> Mapping[str, Sequence[float]]:
        """Shares of (base, first, second) that a suite could claim of it, by how they are wrong."""
        base, first, second = self.made or (0.0, 0.7, 0.3)
        wrong = {
            EXCHANGED: (base, second, first),
            ELSEWHERE: (base, first - 0.1, second + 0.1),
        }
        if self.made is None:
            return wrong
        made = (base, first, second)
        return {TRUE: made, **{how: claimed for how, claimed in wrong.items() if claimed != made}}

    def says(self, claimed: Sequence[float]) -> str:
        """What becomes of a claim of these shares: "holds", "other" or "unsure"."""
        names = ("base", "first", "second")
        kin = tuple(ParentKinship(name, name, CLEARLY) for name in names)
        found, low, high = (tuple(row) for row in (self.found, self.low, self.high))
        fitted = Decomposition(names, found, low, high, self.left_over, (), 0)
        parents = tuple(zip(names, claimed, strict=True))
        claim = MergeClaim("merged", parents, SHARE_TOLERANCE, DEFAULT_ALPHA)
        return read_merge(claim, MergeRecord(kin, fitted)).says


TRUE, EXCHANGED, ELSEWHERE = (
    "as made",
    "first and second exchanged",
    "0.1 of the first to the second",
)
CLEARLY = -50.0
"""A log10 p-value of kin: the parents of all merges are."""


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
    return between(page, BEGIN, END, f"{_table(counts)}\n\n{_claims(counts)}\n\n{about}")


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


def _claims(counts: MergeCounts) -> str:
    """What becomes of claims of shares, true and false."""
    total: Counter[tuple[bool, str]] = Counter()
    rows = []
    for what in dict.fromkeys(row.what for row in counts.counted):
        cells = []
        for how in (TRUE, EXCHANGED, ELSEWHERE):
            said = Counter(
                row.says(row.claims()[how])
                for row in counts.counted
                if row.what == what and how in row.claims()
            )
            total.update({(how == TRUE, says): number for says, number in said.items()})
            cells.append(", ".join(f"{said[says]} {word}" for says, word in SAID if said[says]))
        rows.append([what, *(cell or "-" for cell in cells)])
    head = ["merge", *(f"claimed {how}" for how in (TRUE, EXCHANGED, ELSEWHERE))]
    wrong, of = total[False, "holds"], sum(n for (true, _), n in total.items() if not true)
    bound = f"at most {upper(wrong, of):.1%} (95%), were they independent"
    return f"{table(head, rows)}\n\nFalse claims that hold: {wrong} of {of}, {bound}."


SAID = (("holds", "hold"), ("other", "fail"), ("unsure", "inconclusive"))
