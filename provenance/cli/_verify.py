"""`provenance verify`: stored evidence, checked again without the models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table

import provenance
from provenance._text import visible
from provenance.cli._console import console, print_table, say
from provenance.cli._options import ALPHA, DEVICE, JSON, QUIET, STORE
from provenance.cli._progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from provenance.gate.verify import Checked, Stored


@click.command()
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="FILES...",
)
@click.option(
    "--suite",
    "suite_file",
    type=click.Path(path_type=Path),
    help="Judge the evidence by this suite as it is today.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME=MODEL",
    help="Digest a model and compare; NAME is its name in the suite, its source, candidate or "
    "reference. Repeatable.",
)
@ALPHA
@DEVICE
@STORE
@QUIET
@JSON
def verify(
    files: tuple[Path, ...],
    suite_file: Path | None,
    models: tuple[str, ...],
    alpha: float,
    device: str,
    store: Path | str | None,
    quiet: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Check stored evidence again, without the models.

    FILES are evidence, results.json, or folders of them. Every claim is judged again, and compared
    with what was recorded. Exits 0 where both agree and every claim holds, 1 where one does not or
    nothing was judged, 2 where a file cannot be read. It cannot show that the numbers were measured.
    """
    from provenance.comparison.executor import as_spec
    from provenance.gate.verify import read_stored, verify_by_suite, verify_model

    stored = [file for path in files for file in read_stored(path)]
    wanted = [_named(text, stored) for text in models]
    checked = [check for file in stored for check in provenance.verify(file, alpha)]
    if suite_file is not None:
        suite = provenance.load_suite(suite_file)
        follow = [check for check in checked if check.complaints]
        checked = [*verify_by_suite(stored, suite), *follow]
    if wanted:
        with progress(quiet=quiet) as tell:
            executor = provenance.Executor(provenance.Store(store), device, tell)
            for name, model in wanted:
                digest = executor.checkpoint(as_spec(model)).digest
                checked += verify_model(stored, name, digest)
    if as_json:
        rows = [check.as_fields() for check in checked]
        click.echo(json.dumps({"checked": rows, "stands": _all_stand(checked)}, allow_nan=False))
    else:
        _print(console(soft_wrap=True), checked)
    if not _all_stand(checked):
        sys.exit(1)


def _all_stand(checked: Sequence[Checked]) -> bool:
    return not _nothing(checked) and all(check.stands for check in checked)


def _nothing(checked: Sequence[Checked]) -> bool:
    """Whether there is nothing that was judged: what confirms nothing must not pass."""
    return all(check.state in {"skip", "not run"} for check in checked)


def _named(text: str, stored: Sequence[Stored]) -> tuple[str, str]:
    from provenance.gate.verify import verify_model

    name, equals, model = text.partition("=")
    if not (name and equals and model):
        raise click.BadParameter(f"{text!r} is not NAME=MODEL", param_hint="'--model'")
    if not verify_model(stored, name, ""):
        raise click.BadParameter(f"no evidence names a model {name!r}", param_hint="'--model'")
    return name, model


def _print(to: Console, checked: Sequence[Checked]) -> None:
    from provenance.evidence.outcomes import p_value
    from provenance.gate.verify import CANNOT_SHOW

    table = Table(box=SIMPLE_HEAD)
    for name in ("what was checked", "verdict", "p", "", "where"):
        # a path is worth nothing without its end
        table.add_column(name, justify="right" if name == "p" else "left", overflow="fold")
    for check in checked:
        state = "does not follow" if check.complaints else check.outcome or check.state
        cells = (check.says, check.verdict, p_value(check.log10_p), state, check.where)
        table.add_row(*map(visible, cells), style=None if check.stands else "red")
    print_table(to, table)
    for check in checked:
        for line in check.complaints:
            say(to, f"{check.where}: {line}")
    if _nothing(checked):
        to.print(
            "nothing was checked: no claim was run, and there is no evidence", style="bold red"
        )
    say(to, CANNOT_SHOW)
