"""The tables of docs/kinds.md and of the error sheet: kinds as they were made, and as they were read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._kinds_command import Made, read_kept
from benchmarks._table import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

COUNTS = Path(__file__).with_name("counts") / "kinds" / "small.json"
BEGIN, END = "<!-- counted by benchmarks.kinds -->", "<!-- end of what was counted -->"
LARGE = COUNTS.with_name("large.json")
LARGE_BEGIN, LARGE_END = "<!-- counted by benchmarks.kinds --large -->", "<!-- end of the large -->"
MADE = ("permuted", "pruned", "quantized", "adapter", "finetune", "")
READ = ("same", "permuted", "pruned", "quantized", "adapter", "finetune", "unsure", "not mapped")
WORDS = {"finetune": "fine-tune", "": "something else"}


@dataclass(frozen=True)
class KindCount:
    """How often each kind was read off one change at one strength, over all bases; "" is no kind's word."""

    made: str
    what: str
    strength: str
    read: Mapping[str, int]

    @property
    def pairs(self) -> int:
        """Pairs in all."""
        return sum(self.read.values())


@dataclass(frozen=True)
class KindCounts(Made):
    """What `benchmarks.kinds` counted, with what and where; ``bases`` is the number of base models."""

    bases: int
    counted: tuple[KindCount, ...]

    @property
    def pairs(self) -> int:
        """Pairs in all."""
        return sum(row.pairs for row in self.counted)

    def of(self, kind: str) -> Counter[str]:
        """What was read off all pairs that were made as one kind."""
        return sum((Counter(row.read) for row in self.counted if row.made == kind), Counter())


def read_counts(file: Path = COUNTS) -> KindCounts:
    """Read the counts that are kept."""
    return read_kept(file, KindCounts, counted=KindCount)


def with_tables(page: str, counts: KindCounts) -> str:
    """Return the page with its tables of kinds made again; raises as `between`."""
    return between(page, BEGIN, END, _tables(counts))


def with_large(page: str, counts: KindCounts) -> str:
    """Return the page with its table of a pretrained model made again; raises as `between`."""
    return between(page, LARGE_BEGIN, LARGE_END, f"{_details(counts)}\n\n{counts.about}")


def between(page: str, begin: str, end: str, text: str) -> str:
    """Return a page with another text between two lines.

    Raises
    ------
    ValueError
        If the page has no such lines.
    """
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"the page has no {begin} and {end}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def _tables(counts: KindCounts) -> str:
    return f"""{counts.pairs} pairs: {len(counts.counted)} changes of each of {counts.bases} trained Llamas.

{_matrix(counts)}

Every change and strength:

{_details(counts)}

{counts.about}"""


def _matrix(counts: KindCounts) -> str:
    read = [kind for kind in READ if any(row.read.get(kind) for row in counts.counted)]
    head = ["made as", "pairs", *(f"read as {_word(kind)}" for kind in read)]
    rows = []
    for kind in MADE:
        found = counts.of(kind)
        cells = [_shown(found[one], bold=one == kind) for one in read]
        rows.append([_word(kind), str(found.total()), *cells])
    return table(head, rows)


def _details(counts: KindCounts) -> str:
    rows = [
        [_word(row.made), row.what, row.strength, ", ".join(_parts(row))] for row in counts.counted
    ]
    return table(["made as", "what was done", "strength", f"read as, of {counts.bases}"], rows)


def _parts(row: KindCount) -> Iterator[str]:
    for kind in READ:
        if row.read.get(kind):
            text = f"{row.read[kind]} {_word(kind)}"
            yield f"**{text}**" if kind == row.made else text


def _shown(number: int, *, bold: bool) -> str:
    return "-" if not number else f"**{number}**" if bold else str(number)


def _word(kind: str) -> str:
    return WORDS.get(kind, kind)


def error_table(counts: KindCounts, upper: Callable[[int, int], float]) -> str:
    """The table of the error sheet: claims of each kind that hold and should not, and the reverse.

    Parameters
    ----------
    upper
        The upper bound of a rate, of a count among trials.
    """
    rows = []
    for kind in MADE[:-1]:
        own = counts.of(kind)
        others: Sequence[Counter[str]] = [counts.of(other) for other in MADE if other != kind]
        # a fine-tune is what moved and shows no sharper kind, so that what is unsure may hold as one
        holding = (kind, "unsure") if kind == "finetune" else (kind,)
        false = sum(one[read] for one in others for read in holding)
        trials = sum(one.total() for one in others)
        open_ = sum(own[read] for read in ("unsure", "same", "not mapped") if read not in holding)
        missed = own.total() - sum(own[read] for read in holding) - open_
        rows.append(
            [
                _word(kind),
                f"{false} of {trials}",
                f"{upper(false, trials):.1%}",
                f"{missed} of {own.total()}",
                f"{upper(missed, own.total()):.1%}",
                str(open_),
            ]
        )
    head = [
        "claim",
        "holds, made otherwise",
        "at most",
        "fails, made so",
        "at most",
        "inconclusive",
    ]
    return table(head, rows)
