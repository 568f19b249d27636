"""`provenance decompose`: what share each of several parents has in a merge."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from provenance._text import per_cent, visible
from provenance.cli._completion import complete_model
from provenance.cli._console import console, print_table, say
from provenance.cli._diff import HOW_MANY, STATISTIC
from provenance.cli._executor import with_executor
from provenance.cli._inputs import SEED
from provenance.cli._options import JSON

if TYPE_CHECKING:
    from rich.table import Table

    from provenance.cli._executor import OpenExecutor
    from provenance.evidence.decomposition import Decomposition
    from provenance.evidence.sparse_merge import SparseMerge
    from provenance.vocabulary import StatisticName


@click.command()
@click.argument("model", shell_complete=complete_model)
@click.argument("parents", nargs=-1, required=True, shell_complete=complete_model)
@STATISTIC
@HOW_MANY
@SEED
@with_executor
@JSON
def decompose(
    model: str,
    parents: tuple[str, ...],
    statistic: StatisticName | None,
    blocks: int,
    seed: int,
    open_executor: OpenExecutor,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Find the share that each of PARENTS has in MODEL, block by block.

    Every parent is mapped onto the model first. The shares sum to 1: for task arithmetic, name the base
    too. The exit code is 0 whatever is found, and 2 where a parent is not found kin.
    """
    from provenance.comparison.decompose import decompose as decomposed

    with open_executor() as executor:
        found = decomposed(
            model,
            parents,
            statistic=statistic,
            blocks=blocks or None,
            seed=seed,
            executor=executor,
        )
    if as_json:
        method = None if found.sparse is None else found.sparse.method
        told = {"explained": found.is_explained, "method": method, **asdict(found)}
        click.echo(json.dumps(told, allow_nan=False))
        return
    to = console()
    print_table(to, _table(found, visible(model)))
    if found.sparse is not None:
        print_table(to, _parts(found, found.sparse))
    say(to, found.words())


def _parts(found: Decomposition, sparse: SparseMerge) -> Table:
    """A row for each block, and one for all, of a merge that left changes out."""
    from rich.table import Table

    table = Table(title=f"{sparse.method}, number by number: share (density)")
    table.add_column("block")
    for parent in found.parents:
        table.add_column(visible(parent), justify="right")
    table.add_column("fits", justify="right")
    for block in sparse.blocks:
        cells = map(_part, block.shares, block.densities)
        table.add_row(str(block.block), *cells, f"{block.fits:.2%}")
    table.add_row("all", *map(_part, sparse.shares, sparse.densities), f"{sparse.fits:.2%}")
    return table


def _part(share: float, density: float | None) -> str:
    return f"{_share(share)} ({'base' if density is None else f'{density:.4f}'})"


def _share(share: float) -> str:
    return f"{round(share, 4) + 0.0:.4f}"


def _table(found: Decomposition, title: str) -> Table:
    """A row for each block, and one for all."""
    from rich.table import Table

    table = Table(title=title)
    table.add_column("block")
    for parent in found.parents:
        table.add_column(visible(parent), justify="right")
    table.add_column("left over", justify="right")
    for block in found.blocks:
        shares = map(_share, block.shares)
        table.add_row(str(block.block), *shares, per_cent(block.left_over))
    whole = (
        f"{_share(share)} ({_share(low)} to {_share(high)})"
        for share, low, high in zip(found.shares, found.low, found.high, strict=True)
    )
    table.add_row("all", *whole, per_cent(found.left_over))
    return table
