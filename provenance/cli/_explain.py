"""`provenance explain`: one test of a suite, in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

import provenance
from provenance import ProvenanceError
from provenance.cli._console import console, print_table, say
from provenance.cli._options import JSON

if TYPE_CHECKING:
    from rich.console import Console

    from provenance import Results
    from provenance.evidence.results import SuiteRecord
    from provenance.gate.explain import Explanation

LAST_RUN = Path(".pytest_cache/d/provenance/results.json")


@click.command()
@click.argument("node_id")
@click.option(
    "--results",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Results of a run [default: those of pytest's last run, in its cache].",
)
@JSON
def explain(node_id: str, file: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Say what the test NODE_ID claims, what was measured, what that means and what to do.

    NODE_ID is as pytest prints it, such as "suites/my.suite.yaml::chat-vs-base[block2]"; without the
    part in brackets the whole claim is explained. Nothing is run.
    """
    root = _root()
    results = _results(file, root)
    explanation = provenance.explain(node_id, results, *_suite(node_id, root))
    if as_json:
        click.echo(json.dumps(explanation.as_fields(), allow_nan=False))
    else:
        _print(console(soft_wrap=True), explanation)


def _root() -> Path:
    """The nearest folder upwards that pytest has run in, else this one: ids are relative to it."""
    here = Path.cwd()
    return next((path for path in (here, *here.parents) if (path / LAST_RUN).is_file()), here)


def _results(file: Path | None, root: Path) -> Results | None:
    path = file or root / LAST_RUN
    return provenance.read_results([path]) if path.is_file() else None


def _suite(node_id: str, root: Path) -> tuple[SuiteRecord | None, str]:
    """The suite as it is now, and its text; None where it is not there or has mistakes."""
    from provenance.evidence.results import SuiteRecord

    name = node_id.partition("::")[0]
    path = root / name
    if not path.is_file():
        return None, ""
    try:
        suite = provenance.load_suite(path)
    except ProvenanceError as error:
        click.echo(f"provenance: {error}", err=True)
        return None, ""
    return SuiteRecord.of(name, suite), path.read_text("utf-8-sig")


def _print(to: Console, explanation: Explanation) -> None:
    say(to, f"{explanation.nodeid}: {explanation.state}", style="bold")
    say(to, f"\nclaimed    {explanation.claims} ({explanation.where})")
    for number, line in explanation.excerpt:
        mark = ">" if number == explanation.line else " "
        say(to, f"         {mark} {number:4} | {line}")
    say(to, f"tests      {explanation.tests}")
    for line in explanation.measured:
        say(to, f"measured   {line}")
    if explanation.meaning:
        say(to, f"meaning    {explanation.meaning}")
    if explanation.outcome:
        say(to, f"outcome    {explanation.outcome}")
    say(to, f"threshold  {explanation.threshold}")
    if explanation.blocks:
        print_table(to, _blocks(explanation))
    for line in explanation.plan:
        say(to, f"would run  {line}")
    for line in explanation.next_steps:
        say(to, f"next       {line}")
    for line in explanation.notes:
        say(to, f"note       {line}")


def _blocks(explanation: Explanation) -> Table:
    from provenance.statistics.pvalues import format_p

    table = Table()
    for name in ("block", "of reference", "correlation", "p", ""):
        table.add_column(name, justify="right" if name else "left")
    for row in explanation.blocks:
        sides = (str(row.block), str(row.reference_block))
        if row.log10_p is None or row.correlation is None:
            table.add_row(*sides, "-", "-", row.reason or "not tested")
            continue
        p = format_p(row.log10_p)
        table.add_row(*sides, f"{row.correlation:+.3f}", p, "shows kinship" if row.kin else "")
    return table
