"""The tables of docs/kinds.md on which of two kin came first: as it was made, and as it was told."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from benchmarks._kind_page import between
from benchmarks._table import table
from benchmarks.error_rates import upper
from provenance.evidence.direction import Sign

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNTS = Path(__file__).with_name("counts") / "kinds" / "direction.json"
BEGIN, END = "<!-- counted by benchmarks.direction -->", "<!-- end of the directions -->"


@dataclass(frozen=True)
class Told:
    """What was told of one pair: which of the two was the candidate, and by which sign the other was first.

    ``growth`` is the size of the later one's matrices over that of the earlier one's.
    """

    what: str
    candidate: Literal["later", "earlier"]
    said: str | None
    growth: float
    fools: bool

    @property
    def is_wrong(self) -> bool:
        """Whether the later one was said to have come first."""
        return self.said is not None and self.candidate == "earlier"


@dataclass(frozen=True)
class DirectionCounts:
    """What `benchmarks.direction` found, with what and where; ``bases`` is the number of base models."""

    command: str
    date: str
    machine: str
    versions: str
    bases: int
    told: tuple[Told, ...]

    def of_sign(self, sign: str) -> tuple[int, int]:
        """How often a sign was wrong, of how often it was told, on pairs that were not made to fool it."""
        said = [one for one in self.told if one.said == sign and not one.fools]
        return sum(one.is_wrong for one in said), len(said)


def read_counts(file: Path = COUNTS) -> DirectionCounts:
    """Read the counts that are kept."""
    kept = json.loads(file.read_text("utf-8"))
    rows = tuple(Told(**row) for row in kept.pop("told"))
    return DirectionCounts(**kept, told=rows)


def with_tables(page: str, counts: DirectionCounts) -> str:
    """Return the page with its tables of directions made again; raises as `_kind_page.between`."""
    about = f"`{counts.command}`; {counts.date}; {counts.machine}; {counts.versions}"
    parts = (_signs(counts), _table(counts), about)
    return between(page, BEGIN, END, "\n\n".join(parts))


def _signs(counts: DirectionCounts) -> str:
    rows = []
    for sign in get_args(Sign):
        wrong, of = counts.of_sign(sign)
        bound = f"{upper(wrong, of):.1%}" if of else "-"
        rows.append([sign, str(of), str(wrong), bound])
    return table(["sign", "told", "wrong", "at most (95%)"], rows)


def _table(counts: DirectionCounts) -> str:
    rows = []
    for what in dict.fromkeys(one.what for one in counts.told):
        those = [one for one in counts.told if one.what == what]
        growths = [one.growth for one in those]
        right, wrong = (
            _said([one for one in those if one.candidate == order])
            for order in ("later", "earlier")
        )
        fools = " (made to fool)" if those[0].fools else ""
        grown = f"{min(growths):.4f} to {max(growths):.4f}"
        rows.append([f"{what}{fools}", right, wrong, grown])
    head = ["the earlier and the later", "told rightly", "told wrongly", "growth of the norm"]
    return table(head, rows)


def _said(those: Sequence[Told]) -> str:
    signs = Counter(one.said for one in those if one.said is not None)
    said = ", ".join(f"{number} by its {sign}" for sign, number in sorted(signs.items()))
    return f"{said} of {len(those)}" if said else f"0 of {len(those)}"
