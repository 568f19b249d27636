"""`provenance lock check`: a lock file and its suites, without running them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import provenance
from provenance import ProvenanceError
from provenance.cli._options import JSON

if TYPE_CHECKING:
    from provenance.gate.lock import Lock


@click.group()
def lock() -> None:
    """Check lock files, which `pytest --provenance-lock FILE --update-lock` writes."""


@lock.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@JSON
def check(files: tuple[Path, ...], as_json: bool) -> None:  # noqa: FBT001
    """Check lock FILES against their suites as they are now, without any model.

    Exits 1 where a suite says something else than is pinned, and 2 where a file cannot be read. Whether
    models and p-values are as they were only a run can tell.
    """
    checked = [_checked(path) for path in files]
    if as_json:
        click.echo(json.dumps({"locks": checked}))
    else:
        for file in checked:
            for problem in (*file["problems"], *file["drift"]):
                click.echo(problem, err=True)
            if not file["problems"] and not file["drift"]:
                claims = f"{file['claims']} claim" + "s" * (file["claims"] != 1)
                click.echo(f"{file['path']}: {claims}, as the suites have them")
    if any(file["problems"] for file in checked):
        sys.exit(2)
    if any(file["drift"] for file in checked):
        sys.exit(1)


def _checked(path: Path) -> dict[str, Any]:
    from provenance.gate.lock import LockError, read_lock

    found: dict[str, Any] = {"path": str(path), "claims": 0, "problems": [], "drift": []}
    try:
        pinned = read_lock(path)
        if pinned is None:
            raise LockError(
                f"provenance lock {path}: there is no such file; pytest --provenance-lock {path} "
                "--update-lock makes it"
            )
        found["claims"] = len(pinned.claims)
        found["drift"] = _drift(path, pinned)
    except ProvenanceError as error:
        found["problems"] = str(error).splitlines()
    return found


def _drift(path: Path, pinned: Lock) -> list[str]:
    """What differs; suites are sought in the root that pytest has for a file beside the lock file."""
    from provenance.evidence.results import SuiteRecord
    from provenance.gate.drift import declared_drift
    from provenance.gate.pytest_root import pytest_root

    file = Path(os.path.abspath(path))  # noqa: PTH100 - pytest follows no links
    root = pytest_root(Path.cwd(), file, os.environ).folder
    names = sorted({claim.suite for claim in pinned.claims})
    gone = [name for name in names if not (root / name).is_file()]
    if names and gone == names:
        raise ProvenanceError(
            f"provenance lock {path}: none of the suites that it pins is in {root}"
        )
    records = [
        SuiteRecord.of(name, provenance.load_suite(root / name))
        for name in names
        if name not in gone
    ]
    return [one.line(str(path)) for one in declared_drift(pinned, records, gone)]
