"""What a library of the zoo and of pretrained models says of many models, counted, and as tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._kinds_command import Made, read_kept
from benchmarks._rates import upper
from benchmarks._table import table
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

COUNTS = Path(__file__).with_name("counts") / "libraries" / "zoo.json"
BEGIN, END = "<!-- counted by benchmarks.library -->", "<!-- end of the library of the zoo -->"
NONE = "none"


@dataclass(frozen=True)
class Asked:
    """One question to the library: who is asked about, who should be nearest, and what came.

    ``log10_p`` is that of the reference with the smallest p-value, corrected over all; ``others`` counts
    the findings of all references but the one that should be nearest.
    """

    what: str
    expected: str
    nearest: str
    log10_p: float | None
    others: Mapping[str, int]

    @property
    def right(self) -> bool:
        """Whether the nearest is who it should be."""
        return self.nearest == self.expected


@dataclass(frozen=True)
class AskedCounts(Made):
    """The answers of one library, with what and where; ``zoo`` and ``pretrained`` count its models."""

    zoo: int
    pretrained: int
    asked: tuple[Asked, ...]

    @property
    def kin(self) -> tuple[Asked, ...]:
        """Questions whose answer is a model of the library."""
        return tuple(one for one in self.asked if one.expected != NONE)

    @property
    def strangers(self) -> tuple[Asked, ...]:
        """Questions to a library that holds no kin of the model."""
        return tuple(one for one in self.asked if one.expected == NONE)


def read_counts(file: Path = COUNTS) -> AskedCounts:
    """Read the counts that are kept."""
    return read_kept(file, AskedCounts, asked=Asked)


def tables(counts: AskedCounts) -> str:
    """Return what kin and strangers were answered, and the totals with their bounds."""
    kin, strangers = counts.kin, counts.strangers
    head = (
        "asked about",
        "models",
        "nearest is its base",
        "largest p over all",
        "others called kin",
    )
    rows = [_kin_row(what, found) for what, found in _by_what(kin)]
    away = ("asked of a library without its base", "models", "nearest is none", "least p over all")
    empty = [_stranger_row(what, found) for what, found in _by_what(strangers)]
    made = (
        f"{counts.date}, {counts.machine}; {counts.versions}. The library holds {counts.zoo} small models "
        f"and {counts.pretrained} pretrained ones."
    )
    parts = (made, table(head, rows), table(away, empty), _totals(kin, strangers))
    return "\n\n".join(parts)


def _by_what(asked: Iterable[Asked]) -> Iterable[tuple[str, Sequence[Asked]]]:
    rows: dict[str, list[Asked]] = {}
    for one in asked:
        rows.setdefault(one.what, []).append(one)
    return rows.items()


def _kin_row(what: str, found: Sequence[Asked]) -> tuple[str, ...]:
    known = [one.log10_p for one in found if one.log10_p is not None]
    others = sum((Counter(one.others) for one in found), Counter[str]())
    wrong = f"{others['kin']} of {others.total()}"
    return what, str(len(found)), str(sum(one.right for one in found)), format_p(max(known)), wrong


def _stranger_row(what: str, found: Sequence[Asked]) -> tuple[str, ...]:
    known = [one.log10_p for one in found if one.log10_p is not None]
    return what, str(len(found)), str(sum(one.right for one in found)), format_p(min(known))


def _totals(kin: Sequence[Asked], strangers: Sequence[Asked]) -> str:
    missed = sum(not one.right for one in kin)
    called = sum(not one.right for one in strangers)
    others = sum((Counter(one.others) for one in (*kin, *strangers)), Counter[str]())
    wrong, single = others["kin"], others.total()
    return (
        f"Missed or mistaken: {missed} of {len(kin)} kin ({_at_most(missed, len(kin))}). Of models without "
        f"kin in the library, {called} of {len(strangers)} were called somebody's "
        f"({_at_most(called, len(strangers))}). Of single references that are no kin, {wrong} of "
        f"{single:,} were called kin ({_at_most(wrong, single)}), {others['in doubt']} were in doubt, and "
        f"{others['not checked']} not checked."
    )


def _at_most(count: int, trials: int) -> str:
    return f"at most {upper(count, trials):.2%}"
