"""`provenance suite check` and `provenance schema`: suites without running them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

import provenance
from provenance.cli._files import write
from provenance.cli._options import JSON, OUTPUT


@click.group()
def suite() -> None:
    """Check suite files; print their schema."""


@suite.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@JSON
def check(files: tuple[Path, ...], as_json: bool) -> None:  # noqa: FBT001
    """Check suite FILES without loading any model; exits 2 if one has a mistake.

    A model that no claim is about and a path at which nothing is are noted, and are no mistakes.
    """
    checked = [_checked(path) for path in files]
    if as_json:
        click.echo(json.dumps({"suites": checked}))
    else:
        for file in checked:
            for problem in file["problems"]:
                click.echo("{path}:{line}:{column}: {message}".format(**file, **problem), err=True)
            for note in file["notes"]:
                click.echo(
                    "{path}:{line}:{column}: note: {message}".format(**file, **note), err=True
                )
            if not file["problems"]:
                claims, models = _count(file["claims"], "claim"), _count(file["models"], "model")
                click.echo(f"{file['path']}: {claims} on {models}")
    if any(file["problems"] for file in checked):
        sys.exit(2)


def _checked(path: Path) -> dict[str, Any]:
    from provenance.suite.oversights import oversights

    claims, models, problems, notes = 0, 0, [], []
    try:
        loaded = provenance.load_suite(path)
        claims, models = len(loaded.claims), len(loaded.models)
        notes = [asdict(note) for note in oversights(loaded)]
    except provenance.SuiteError as error:
        problems = [asdict(problem) for problem in error.problems]
    counts = {"claims": claims, "models": models}
    return {"path": str(path), **counts, "problems": problems, "notes": notes}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


@click.command()
@OUTPUT
def schema(output: Path) -> None:
    """Print the JSON Schema of suites, for editors."""
    from provenance.suite.schema import json_schema

    write(output, json.dumps(json_schema(), indent=2) + "\n")


suite.add_command(schema)
