"""`provenance suite check` and `provenance schema`: suites without running them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

import provenance
from provenance.cli._options import JSON


@click.group()
def suite() -> None:
    """Check suite files; print their schema."""


@suite.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@JSON
def check(files: tuple[Path, ...], as_json: bool) -> None:  # noqa: FBT001
    """Check suite FILES without loading any model; exits 2 if one has a mistake."""
    checked = [_checked(path) for path in files]
    if as_json:
        click.echo(json.dumps({"suites": checked}))
    else:
        for found in checked:
            for problem in found["problems"]:
                click.echo("{path}:{line}:{column}: {message}".format(**found, **problem), err=True)
            if not found["problems"]:
                claims, models = _count(found["claims"], "claim"), _count(found["models"], "model")
                click.echo(f"{found['path']}: {claims} on {models}")
    if any(found["problems"] for found in checked):
        sys.exit(2)


def _checked(path: Path) -> dict[str, Any]:
    try:
        found = provenance.load_suite(path)
    except provenance.SuiteError as error:
        problems = [
            {"line": problem.line, "column": problem.column, "message": problem.message}
            for problem in error.problems
        ]
        return {"path": str(path), "claims": 0, "models": 0, "problems": problems}
    return {
        "path": str(path),
        "claims": len(found.claims),
        "models": len(found.models),
        "problems": [],
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


@click.command()
def schema() -> None:
    """Print the JSON Schema of suites, for editors."""
    from provenance.suite.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


suite.add_command(schema)
