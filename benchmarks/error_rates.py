"""Write the error sheet: how often each verdict is wrong, on which pairs, counted by which command.

``python -m benchmarks.error_rates --output docs/error-rates.md`` measures nothing. The counts are those
that other commands keep in ``benchmarks/counts``.

``python -m benchmarks.error_rates count RESULTS --name NAME --what "..."`` keeps the verdicts of a run of
suites: RESULTS is a folder that ``pytest --provenance-evidence`` wrote.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import _lead_page
from benchmarks._counts import FOLDER, Counted, Source, save, sources
from benchmarks._kind_page import COUNTS as KINDS
from benchmarks._kind_page import KindCounts, error_table, read_counts
from benchmarks._page import BEGIN, END, about_machine, reading_of
from benchmarks._rates import CONFIDENCE, upper
from benchmarks._suite_counts import counted
from benchmarks._table import table
from provenance.errors import ProvenanceError
from provenance.evidence.read import read_results

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAGE = Path("docs/error-rates.md")
COMMAND = f"python -m benchmarks.error_rates --output {PAGE}"


@dataclass(frozen=True)
class Wrong:
    """A verdict that is wrong of pairs of one kind, and what the heading of its table says."""

    verdict: str
    truth: str
    heading: str
    about: str


WRONG = (
    Wrong(
        "dependent",
        "strangers",
        "`dependent`, of strangers",
        "A false accusation. The threshold bounds its rate by construction; the table counts it.",
    ),
    Wrong(
        "independent",
        "kin",
        "`independent`, of kin",
        "A relation that was missed, and called absent. No threshold bounds its rate, which depends on "
        "what was done to the copy.",
    ),
    Wrong(
        "inconclusive",
        "kin",
        "`inconclusive`, of kin",
        "A relation that was missed, and not called absent. A claim fails by it, or warns.",
    ),
    Wrong(
        "inconclusive",
        "strangers",
        "`inconclusive`, of strangers",
        "Strangers that are not cleared. A claim of independence fails by it, or warns.",
    ),
)


def page(
    kept: Sequence[Source], reading: str, kinds: KindCounts | None = None, nearer: str = ""
) -> str:
    """Return docs/error-rates.md.

    Parameters
    ----------
    kept
        The counts of all commands.
    reading
        What a person has written of them.
    kinds
        What was read of kinds of descent.
    nearer
        How often the outcome of a lead was wrong, in sentences.
    """
    numbered = [(i, source) for i, source in enumerate(kept, 1)]
    tables = "\n\n".join(
        f"## {wrong.heading}\n\n{wrong.about}\n\n{_table(numbered, wrong)}" for wrong in WRONG
    )
    return f"""# Error rates

How often is each verdict wrong? This page counts it, for a reader who must rely on a verdict.
`{COMMAND}` makes it of the counts that [other commands](#the-commands) keep.

* A *pair* is two models. A pair is *kin* where one descends from the other, or both from one model. A pair
  is *strangers* where each began with random weights of its own. How a population was made settles which.
* `dependent` says kin. `independent` says that no sign of kinship was found. `inconclusive` decides
  nothing. [How to read a verdict](verdicts.md) has what the three words do not say.
* *At most* is the exact upper bound of the rate (Clopper and Pearson, one-sided, {CONFIDENCE:.0%}). The
  bound supposes independent pairs, which pairs that share a model are not. *Disjoint* is the bound that
  supposes the worst: as many independent pairs as a population has pairs that share no model.
* *Threshold* is the p-value below which a pair was called dependent.

{BEGIN}
{reading}
{END}

{tables}

## Refused

A pair that was refused has no verdict, and says why. The rates above are of all pairs, the refused ones
among them.

{_refused(numbered)}

{_kinds(kinds)}{_nearer(nearer)}## The commands

{_commands(numbered)}
"""


def _kinds(kinds: KindCounts | None) -> str:
    """The section on kinds of descent, with an empty line after it; empty where none were counted."""
    if kinds is None:
        return ""
    return f"""## The kind of kinship

A claim of a kind, such as `adapter`, is held against what is [read off the weights](kinds.md). The table
counts claims of each kind on {kinds.pairs} pairs of kin that were made in known ways: those that hold of a
pair that was made otherwise, and those that fail of a pair that was made so. The changes go down to where a
kind is no longer seen, so that the second rate is of these strengths. Bounds suppose independent pairs; all
are of {kinds.bases} base models.

{error_table(kinds, upper)}

`{kinds.command}`; {kinds.date}; {kinds.machine}; {kinds.versions}

"""


def _nearer(said: str) -> str:
    """The section on leads, with an empty line after it; empty where none were counted."""
    if not said:
        return ""
    return f"""## Nearer than siblings

Of the nearest kin and the next it is said [how much nearer](identify.md#how-much-nearer) the first
is, and whether siblings of both may lie so. It was counted on models whose parents are known.

{said}

"""


def _table(numbered: Sequence[tuple[int, Source]], wrong: Wrong) -> str:
    head = ["pairs", "number", wrong.verdict, "at most", "disjoint", "threshold", "command"]
    rows = [
        [
            row.population,
            f"{row.pairs:,}",
            f"{row.verdicts.get(wrong.verdict, 0):,}",
            *bounds(row, wrong.verdict),
            f"{row.threshold:.2g}",
            f"[{i}](#the-commands)",
        ]
        for i, row in _rows(numbered)
        if row.truth == wrong.truth
    ]
    return table(head, rows) if rows else "Nothing was counted."


def bounds(row: Counted, verdict: str) -> Iterator[str]:
    """Yield the upper bound of a verdict's rate in all pairs, and in disjoint ones with the same share."""
    count = row.verdicts.get(verdict, 0)
    yield f"{upper(count, row.pairs):.2%}"
    share = -(-count * row.disjoint // row.pairs)  # rounded up
    yield f"{upper(share, row.disjoint):.1%}"


def _refused(numbered: Sequence[tuple[int, Source]]) -> str:
    rows = [
        [row.population, row.truth, f"{row.pairs:,}", f"{refused:,}", f"[{i}](#the-commands)"]
        for i, row in _rows(numbered)
        if (refused := row.verdicts.get("refused", 0))
    ]
    head = ["pairs", "which are", "number", "refused", "command"]
    return table(head, rows) if rows else "No pair was refused."


def _rows(numbered: Sequence[tuple[int, Source]]) -> Iterator[tuple[int, Counted]]:
    return ((i, row) for i, source in numbered for row in source.counted)


def _commands(numbered: Sequence[tuple[int, Source]]) -> str:
    return "\n".join(
        f"{i}. `{source.command}`; {source.date}; {source.machine}; {source.versions}"
        for i, source in numbered
    )


def count(results: Path, name: str, what: str, command: str, folder: Path = FOLDER) -> None:
    """Keep the verdicts on the whole models of a run of suites.

    Raises
    ------
    ValueError
        If no claim of the run is of kin or of strangers.
    """
    rows = counted(read_results([results]), what)
    if not rows:
        raise ValueError(f"{results}: no claim is of kin or of strangers")
    about = about_machine()
    save(Source(command, about["date"], about["machine"], about["versions"], rows), name, folder)


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.error_rates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=PAGE)
    parser.add_argument("--counts", type=Path, default=FOLDER, help=argparse.SUPPRESS)
    parser.add_argument("--kinds", type=Path, default=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--leads", type=Path, default=_lead_page.COUNTS, help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command")
    one = commands.add_parser("count", help="keep the verdicts of a run of suites")
    one.add_argument("results", type=Path)
    one.add_argument("--name", required=True, help="of the file of counts")
    one.add_argument("--what", required=True, help="what the pairs are, in a few words")
    one.add_argument("--made-by", required=True, help="the command that made the results")
    given = parser.parse_args(arguments)
    if given.command == "count":
        try:
            count(given.results, given.name, given.what, given.made_by, given.counts)
        except (ProvenanceError, ValueError) as error:
            parser.error(str(error))
        return
    kinds = read_counts(given.kinds) if given.kinds.exists() else None
    text = page(sources(given.counts), reading_of(given.output), kinds, nearer_of(given.leads))
    given.output.write_text(text, "utf-8")


def nearer_of(leads: Path) -> str:
    """What counts of leads say, if there are any."""
    return _lead_page.errors(_lead_page.read_counts(leads)) if leads.exists() else ""


if __name__ == "__main__":
    main()
