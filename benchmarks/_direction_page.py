"""The tables of docs/kinds.md on which of two kin came first: as it was made, and as it was told."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from scipy import stats

from benchmarks._kind_page import between
from benchmarks._kinds_command import Made, read_kept
from benchmarks._rates import upper
from benchmarks._table import table
from provenance.evidence.direction import Sign

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNTS = Path(__file__).with_name("counts") / "kinds" / "direction.json"
LARGE = COUNTS.with_name("direction-large.json")
LARGE_BEGIN = "<!-- counted by benchmarks.direction --large -->"
LARGE_END = "<!-- end of the large directions -->"
BEGIN, END = "<!-- counted by benchmarks.direction -->", "<!-- end of the directions -->"
TRAINED = ("trained on", "at 0.0001)", "at 0.001)")
"""How the descriptions of pairs end whose later one was only trained on, but for a plain fine-tune's."""


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
class Between:
    """Three models: whether the one in the middle is a merge of the others, and whether it lies between.

    It does where it is nearer to both than they are to each other.
    """

    what: str
    is_merge: bool
    lies: bool


@dataclass(frozen=True)
class DirectionCounts(Made):
    """What `benchmarks.direction` found, with what and where; ``bases`` is the number of base models."""

    bases: int
    told: tuple[Told, ...]
    between: tuple[Between, ...] = ()

    def of_sign(self, sign: str) -> tuple[int, int]:
        """How often a sign was wrong, of how often it was told, on pairs that were not made to fool it."""
        said = [one for one in self.told if one.said == sign and not one.fools]
        return sum(one.is_wrong for one in said), len(said)


def read_counts(file: Path = COUNTS) -> DirectionCounts:
    """Read the counts that are kept."""
    return read_kept(file, DirectionCounts, told=Told, between=Between)


def with_tables(page: str, counts: DirectionCounts) -> str:
    """Return the page with its tables of directions made again; raises as `_kind_page.between`."""
    parts = (_signs(counts), _table(counts), _norms(counts), _between(counts), counts.about)
    return between(page, BEGIN, END, "\n\n".join(parts))


def with_large(page: str, counts: DirectionCounts) -> str:
    """Return the page with its table of a pretrained model; raises as `_kind_page.between`."""
    return between(page, LARGE_BEGIN, LARGE_END, f"{_table(counts)}\n\n{counts.about}")


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


def _norms(counts: DirectionCounts) -> str:
    """How often the later of two has the larger norm, in words and a table."""
    pairs = [one for one in counts.told if one.candidate == "later" and not one.fools]
    groups = {
        "trained, and nothing else": [one for one in pairs if _is_trained(one)],
        "all others": [one for one in pairs if not _is_trained(one)],
    }
    rows = []
    for group, those in groups.items():
        if not those:
            continue
        right = sum(one.growth > 1 for one in those)
        rows.append([group, str(len(those)), str(right), _interval(right, len(those))])
    return table(["the later one was", "pairs", "its norm is larger", "rate (95%)"], rows)


def _is_trained(one: Told) -> bool:
    return one.what == "a fine-tune" or one.what.endswith(TRAINED)


def _between(counts: DirectionCounts) -> str:
    """How often the middle of three lies between, in a table."""
    rows = []
    for what in dict.fromkeys(one.what for one in counts.between):
        those = [one for one in counts.between if one.what == what]
        lies = sum(one.lies for one in those)
        is_merge = "yes" if those[0].is_merge else "no"
        rows.append([what, is_merge, f"{lies} of {len(those)}", _interval(lies, len(those))])
    return table(["the middle one", "made of both", "lies between", "rate (95%)"], rows)


def _interval(right: int, of: int) -> str:
    """The interval of a rate by Clopper and Pearson."""
    low, high = stats.binomtest(right, of).proportion_ci(method="exact")
    return f"{low:.0%} to {high:.0%}"


def _said(those: Sequence[Told]) -> str:
    signs = Counter(one.said for one in those if one.said is not None)
    said = ", ".join(f"{number} by its {sign}" for sign, number in sorted(signs.items()))
    return f"{said} of {len(those)}" if said else f"0 of {len(those)}"
