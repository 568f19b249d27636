"""The tables of docs/kinds.md on the shares of merges' parents: found and made with, and claims of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._kind_page import between
from benchmarks._kinds_command import Made, read_kept
from benchmarks._rates import upper
from benchmarks._table import table
from provenance.evidence.decomposition import Decomposition, MergeRecord, ParentKinship
from provenance.evidence.merge_claims import MergeClaim, read_merge
from provenance.evidence.sparse_merge import SparseMerge
from provenance.vocabulary import DEFAULT_ALPHA, SHARE_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COUNTS = Path(__file__).with_name("counts") / "kinds" / "merges.json"
BEGIN, END = "<!-- counted by benchmarks.merges -->", "<!-- end of the merges -->"


@dataclass(frozen=True)
class MergeCount:
    """One merge: shares of (base, first, second, ...) that it was made with (None: none), and found.

    ``method`` is what a merge in parts is called (None: it is none), ``named`` what it was called, with the
    ``densities`` that were found and the share of the numbers that fit.
    """

    what: str
    made: Sequence[float] | None
    found: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    left_over: float
    method: str | None = None
    named: str | None = None
    densities: Sequence[float | None] | None = None
    fits: float | None = None

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
        made = tuple(self.made or (0.0, 0.7, 0.3))
        base, first, second, *others = (*made, 0.0)[: max(3, len(made))]
        wrong = {
            EXCHANGED: (base, second, first, *others),
            ELSEWHERE: (base, first - 0.1, second + 0.1, *others),
        }
        if self.made is None:
            return wrong
        return {TRUE: made, **{how: claimed for how, claimed in wrong.items() if claimed != made}}

    def sparse(self) -> SparseMerge:
        """What was read number by number, as far as a claim looks at it."""
        assert self.fits is not None
        assert self.densities is not None
        found, low, high = (tuple(row) for row in (self.found, self.low, self.high))
        dense = tuple(self.densities)
        return SparseMerge(
            base=dense.index(None),
            mixed="sum",
            kept="otherwise",
            elected=None,
            shares=found,
            low=low,
            high=high,
            densities=dense,
            fits=self.fits,
            telling=0,
            looked=0,
            left_over=self.left_over,
            blocks=(),
        )

    def says(self, claimed: Sequence[float]) -> str:
        """What becomes of a claim of these shares: "holds", "other" or "unsure"."""
        names = ("base", "first", "second", "third")[: len(claimed)]
        kin = tuple(ParentKinship(name, name, CLEARLY) for name in names)
        found, low, high = (tuple(row) for row in (self.found, self.low, self.high))
        fitted = Decomposition(names, found, low, high, self.left_over, (), 0)
        if self.named is not None:
            fitted = replace(fitted, sparse=self.sparse())
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
class MergeCounts(Made):
    """What `benchmarks.merges` found, with what and where."""

    counted: tuple[MergeCount, ...]


def read_counts(file: Path = COUNTS) -> MergeCounts:
    """Read the counts that are kept."""
    return read_kept(file, MergeCounts, counted=MergeCount)


def with_tables(page: str, counts: MergeCounts) -> str:
    """Return the page with its table of merges made again; raises as `benchmarks._kind_page.between`."""
    tables = [_named(counts), _table(counts), _claims(counts), counts.about]
    return between(page, BEGIN, END, "\n\n".join(tables))


def _named(counts: MergeCounts) -> str:
    """What merges are called, by what they are."""
    columns = ("TIES", "DARE", "DARE-TIES", "sparse", None)
    rows = []
    for method in columns:
        those = Counter(row.named for row in counts.counted if row.method == method)
        if those:
            cells = [str(those[one]) if those[one] else "-" for one in columns]
            cells = [
                f"**{cell}**" if one == method else cell
                for one, cell in zip(columns, cells, strict=True)
            ]
            rows.append([NAMES[method], str(those.total()), *cells])
    head = ["made as", "number", *(f"called {one}" if one else "not named" for one in columns)]
    others = [row for row in counts.counted if row.method is None]
    wrong = sum(row.named is not None for row in others)
    bound = f"at most {upper(wrong, len(others)):.1%} (95%), were they independent"
    return f"{table(head, rows)}\n\nOthers that are named: {wrong} of {len(others)}, {bound}."


NAMES = {
    "TIES": "TIES",
    "DARE": "DARE",
    "DARE-TIES": "DARE-TIES",
    "sparse": "DELLA or breadcrumbs",
    None: "none of these",
}


def _table(counts: MergeCounts) -> str:
    rows = []
    for what in dict.fromkeys(row.what for row in counts.counted):
        those = [row for row in counts.counted if row.what == what]
        errors = [row.error for row in those if row.error is not None]
        inside = [row.inside for row in those if row.inside is not None]
        left = [row.left_over for row in those]
        named = Counter(row.named for row in those)
        rows.append(
            [
                what,
                str(len(those)),
                f"{max(errors):.1e}" if errors else "-",
                f"{sum(inside)} of {sum(len(row.found) for row in those)}" if inside else "-",
                f"{min(left):.1%} to {max(left):.1%}",
                ", ".join(
                    f"{number} {NOT if name is None else name}" for name, number in named.items()
                ),
                _range([one for row in those for one in row.densities or () if one]),
            ]
        )
    head = ["merge", "number", "largest error", "within their interval", "left over"]
    return table([*head, "called", "densities"], rows)


NOT = "not named"


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}" if values else "-"


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
