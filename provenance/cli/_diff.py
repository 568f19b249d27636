"""`provenance diff`: what became of the weights of two kin, once one is mapped onto the other."""

from __future__ import annotations

import json
from dataclasses import asdict
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from provenance._text import visible
from provenance.cli._base import BASE, on_base
from provenance.cli._completion import complete_model
from provenance.cli._console import console, print_table, say
from provenance.cli._executor import with_executor
from provenance.cli._inputs import SEED
from provenance.cli._options import JSON
from provenance.statistics import PAIR_STATISTICS, REGISTRY
from provenance.vocabulary import BLOCKS_OF_DIFFERENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from provenance.cli._executor import OpenExecutor
    from provenance.evidence.difference import DifferenceRecord, MatrixDifference


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
@BASE
@SEED
@with_executor
@JSON
def diff(
    candidate: str,
    reference: str,
    statistic: Any,
    blocks: int,
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
    from provenance.evidence.kinds import found_kind

    ours, theirs = on_base((candidate, reference), base)
    with open_executor() as executor:
        record = difference(
            ours, theirs, statistic=statistic, blocks=blocks or None, seed=seed, executor=executor
        )
    found = found_kind(record)
    if as_json:
        fields = {"kind": found.kind, "why": found.why, **asdict(record), "moved": record.moved}
        click.echo(json.dumps(fields, allow_nan=False))
        return
    to = console()
    print_table(to, _table(record, visible(f"{ours.source} against {theirs.source}")))
    for line in _about(record):
        say(to, line)
    say(to, found.words())


def _table(record: DifferenceRecord, title: str) -> Table:
    """A row for the matrices of one name, over all blocks that were looked at."""
    from rich.table import Table

    table = Table(title=title)
    for name in ("matrix", "blocks", "relative size", "unchanged", "rank", "new zeros", "grid"):
        table.add_column(name, justify="left" if name == "matrix" else "right")
    rows: dict[str, list[MatrixDifference]] = {}
    for one in record.matrices:
        rows.setdefault(_without_block(one), []).append(one)
    for name, those in rows.items():
        table.add_row(
            visible(name),
            "-" if those[0].block is None else str(len(those)),
            f"{median(one.relative for one in those):.2e}",
            _per_cent(one.unchanged for one in those),
            _ranks(those),
            _per_cent(one.new_zeros for one in those),
            _grids(those),
        )
    return table


def _without_block(one: MatrixDifference) -> str:
    _, _, inside = one.name.partition(f".{one.block}.")
    return (one.name if one.block is None else inside or one.name).removesuffix(".weight")


def _per_cent(shares: Any) -> str:
    return f"{100 * median(shares):.4g}%"


def _ranks(those: Sequence[MatrixDifference]) -> str:
    """Ranks of the differences, from the least to the greatest, of how many."""
    ranks = [one.rank for one in those if one.rank is not None]
    if not ranks:
        return "-"
    least, greatest = min(ranks), max(ranks)
    span = str(least) if least == greatest else f"{least} to {greatest}"
    return f"{span} of {max(one.ranks for one in those)}"


def _grids(those: Sequence[MatrixDifference]) -> str:
    grids = [one.grid for one in those if one.grid is not None]
    if not grids:
        return "-"
    group = f" in groups of {grids[0].group}" if grids[0].group else " a row"
    within = [grid.within for grid in grids if grid.within is not None]
    share = f", {100 * min(within):.4g}% within a step" if within else ""
    some = "" if len(grids) == len(those) else f"{len(grids)} of {len(those)}: "
    return f"{some}{max(grid.bits for grid in grids)} bits{group}{share}"


def _about(record: DifferenceRecord) -> list[str]:
    """What was looked at, and how it was mapped."""
    blocks = ", ".join(
        str(one.candidate_block)
        if one.candidate_block == one.reference_block
        else f"{one.candidate_block} (on {one.reference_block})"
        for one in record.blocks
    )
    found, units = (sum(one.units[i] for one in record.blocks) for i in (0, 1))
    lines = [
        f"blocks looked at: {blocks}; of {record.of_blocks[0]} and {record.of_blocks[1]}",
        f"units mapped: {found} of {units}",
        f"undone: {', '.join(record.moved) or 'nothing'}",
    ]
    if record.left_out:
        some = ", ".join(record.left_out[:3])
        more = f" and {len(record.left_out) - 3} more" if len(record.left_out) > 3 else ""
        lines.append(f"could not be mapped: {some}{more}")
    return lines
