"""`provenance explain`: one test of a suite, in words."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

import provenance
from provenance import ProvenanceError
from provenance.cli._console import console, exhibit_table, print_table, reference_table, say
from provenance.cli._files import RESULTS
from provenance.cli._options import JSON

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from provenance import Results
    from provenance.evidence.exhibits import Exhibit
    from provenance.evidence.results import SuiteRecord
    from provenance.gate.explain import Explanation
    from provenance.gate.pytest_root import PytestRoot

LAST_RUN = Path("d/provenance/results.json")
"""Where pytest's cache has what the plugin keeps."""


@click.command()
@click.argument("node_id")
@click.option(
    "--results",
    "file",
    type=RESULTS,
    help="Results of a run [default: those of pytest's last run on NODE_ID's file, in its cache].",
)
@JSON
def explain(node_id: str, file: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Say what the test NODE_ID claims, what was measured, what that means and what to do.

    NODE_ID is as pytest prints it, such as "suites/my.suite.yaml::chat-vs-base[block2]"; without the
    part in brackets the whole claim is explained. Nothing is run.
    """
    typed, separator, test = node_id.partition("::")
    root, name = _root(typed)
    path = file or root.cache / LAST_RUN
    results = provenance.read_results([path]) if file or path.is_file() else None
    name = _known(results, (name, typed)) if separator else typed
    suite = _suite(root.folder / name, name)
    explanation = provenance.explain(f"{name}{separator}{test}", results, *suite)
    if as_json:
        click.echo(json.dumps(explanation.as_fields(), allow_nan=False))
    else:
        _print(console(soft_wrap=True), explanation)


def _root(name: str) -> tuple[PytestRoot, str]:
    """Pytest's root for a suite, and the suite's path there.

    A path is sought from here upwards, since pytest prints paths that are relative to its root.
    """
    from provenance.gate.pytest_root import pytest_root

    here = Path.cwd()
    folders = (folder for folder in (here, *here.parents) if (folder / name).is_file())
    folder = next(folders, here)
    file = Path(os.path.abspath(folder / name))  # noqa: PTH100 - pytest follows no links
    root = pytest_root(folder, file if file.parent.is_dir() else None, os.environ)
    return root, Path(os.path.relpath(file, root.folder)).as_posix()


def _known(results: Results | None, names: Sequence[str]) -> str:
    """The first of the names that the results know, else the first."""
    known = {suite.path for suite in results.suites} if results else set()
    return next((name for name in names if name in known), names[0])


def _suite(path: Path, name: str) -> tuple[SuiteRecord | None, str]:
    """The suite as it is now, and its text; None where it is not there or has mistakes."""
    from provenance.evidence.results import SuiteRecord

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
    if explanation.references:
        print_table(to, reference_table("", explanation.references))
    _print_exhibits(to, explanation.exhibits)
    for line in explanation.plan:
        say(to, f"would run  {line}")
    for line in explanation.next_steps:
        say(to, f"next       {line}")
    for line in explanation.notes:
        say(to, f"note       {line}")


def _print_exhibits(to: Console, exhibits: tuple[Exhibit, ...]) -> None:
    from provenance.evidence.exhibits import KINDS

    if exhibits:
        print_table(to, exhibit_table(exhibits))
    for kind in (KINDS[one.name] for one in exhibits):
        say(to, f"exhibit    {kind.title}: {kind.decides_nothing}")


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
