"""`provenance plan`: what suites will cost, before anything is loaded, downloaded or run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

import provenance
from provenance.cli._options import DEVICE, JSON, MEMORY, QUIET, RESIDENT, STORE
from provenance.cli._progress import progress
from provenance.vocabulary import Memory

if TYPE_CHECKING:
    from provenance.estimate import Outlook
    from provenance.estimate.suites import Wanted
    from provenance.suite.claims import Suite


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@DEVICE
@MEMORY
@RESIDENT
@STORE
@QUIET
@JSON
def plan(
    files: tuple[Path, ...],
    device: str,
    memory: int,
    resident: int | None,
    store: Path | str | None,
    quiet: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Say what the claims of suite FILES will cost; exits 2 if one has a mistake.

    Models and where they are, bytes to move, forward passes, matchings, time and memory. Nothing is
    loaded, downloaded, made or run. The first plan on a machine measures it, for ten seconds.
    """
    suites = {str(path): _read(path) for path in files}
    if None in suites.values():
        sys.exit(2)
    from provenance.estimate import foresee
    from provenance.estimate.constants import constants_of
    from provenance.estimate.suites import together, wanted_of
    from provenance.estimate.words import lines

    wanted = {path: wanted_of(suite) for path, suite in suites.items() if suite is not None}
    limits, kept = Memory(memory, resident), provenance.Store(store)
    with progress(quiet=quiet) as tell:
        costs = constants_of(kept, tell)

    def foreseen(one: Wanted) -> Outlook:
        return foresee(one.comparisons.items(), kept, device, limits, costs, one.notes)

    outlooks = {path: foreseen(one) for path, one in wanted.items()}
    if len(outlooks) == 1:
        (total,) = outlooks.values()
    else:
        total = foreseen(together(wanted.values()))
    if as_json:
        each = [{"path": path, **outlook.to_dict()} for path, outlook in outlooks.items()]
        click.echo(json.dumps({"suites": each, "total": total.to_dict()}))
        return
    if len(outlooks) > 1:
        outlooks["all together"] = total
    for path, outlook in outlooks.items():
        for line in lines(path, outlook):
            click.echo(line)


def _read(path: Path) -> Suite | None:
    """The suite of a file; its mistakes are printed as `provenance suite check` prints them."""
    try:
        return provenance.load_suite(path)
    except provenance.SuiteError as error:
        click.echo(str(error), err=True)
        return None
