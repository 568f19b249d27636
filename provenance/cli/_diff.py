"""`provenance diff`: what became of the weights of two kin, once one is mapped onto the other."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from provenance._text import visible
from provenance.cli._base import BASE, on_base
from provenance.cli._completion import complete_model
from provenance.cli._console import console, print_table, say
from provenance.cli._executor import with_executor
from provenance.cli._inputs import SEED
from provenance.cli._options import JSON
from provenance.evidence.given import SAID
from provenance.statistics import PAIR_STATISTICS, REGISTRY
from provenance.vocabulary import BLOCKS_OF_DIFFERENCE

if TYPE_CHECKING:
    from rich.table import Table

    from provenance.cli._executor import OpenExecutor
    from provenance.evidence.difference import DifferenceRecord


STATISTIC = click.option(
    "--statistic",
    type=click.Choice(sorted(REGISTRY.keys() - PAIR_STATISTICS)),
    help="What finds the blocks that are kin; generalized for plain MLPs [default: kinship].",
)
HOW_MANY = click.option(
    "--blocks",
    default=BLOCKS_OF_DIFFERENCE,
    type=click.IntRange(0),
    show_default=True,
    help="Number of blocks to look at, evenly spread; 0 for all.",
)


@click.command()
@click.argument("candidate", shell_complete=complete_model)
@click.argument("reference", shell_complete=complete_model)
@STATISTIC
@HOW_MANY
@click.option(
    "--given",
    metavar="MODEL",
    shell_complete=complete_model,
    help="A base of both: show what they share beyond it, and nothing else.",
)
@BASE
@SEED
@with_executor
@JSON
def diff(
    candidate: str,
    reference: str,
    statistic: Any,
    blocks: int,
    given: str | None,
    base: str | None,
    seed: int,
    open_executor: OpenExecutor,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Show how the weights of CANDIDATE differ from those of REFERENCE, which it is kin to.

    Units, heads, coordinates, blocks and tokens of one are mapped onto the other first. The exit code is 0
    whatever is found, and 2 where the two are not found kin.
    """
    from provenance.comparison.difference import difference
    from provenance.evidence.difference_rows import about
    from provenance.evidence.direction import direction_of
    from provenance.evidence.kinds import found_kind

    ours, theirs = on_base((candidate, reference), base)
    if given is not None:
        from provenance.comparison.beyond import beyond
        from provenance.comparison.executor import as_spec

        with open_executor() as executor:
            shared = beyond(
                ours,
                theirs,
                as_spec(given),
                statistic=statistic,
                blocks=blocks or None,
                seed=seed,
                executor=executor,
            )
        if as_json:
            fields = {"given": given, "found": shared.found, **asdict(shared)}
            click.echo(json.dumps(fields, allow_nan=False))
            return
        say(console(), visible(f"Given {given}, {shared.words()}: {SAID[shared.found]}."))
        return
    with open_executor() as executor:
        record = difference(
            ours, theirs, statistic=statistic, blocks=blocks or None, seed=seed, executor=executor
        )
    found, first = found_kind(record), direction_of(record)
    if as_json:
        fields = {
            "kind": found.kind,
            "why": found.why,
            **asdict(record),
            "moved": record.moved,
            "direction": None if first is None else {"first": "reference", **asdict(first)},
        }
        click.echo(json.dumps(fields, allow_nan=False))
        return
    to = console()
    print_table(to, _table(record, visible(f"{ours.source} against {theirs.source}")))
    for line in about(record):
        say(to, line)
    say(to, found.words())
    if first is not None:
        say(to, first.words())


def _table(record: DifferenceRecord, title: str) -> Table:
    """A row for the matrices of one name, over all blocks that were looked at."""
    from rich.table import Table

    from provenance.evidence.difference_rows import HEAD, matrix_rows

    table = Table(title=title)
    for name in HEAD:
        table.add_column(name, justify="left" if name == "matrix" else "right")
    for row in matrix_rows(record):
        table.add_row(*map(visible, row.words()))
    return table
