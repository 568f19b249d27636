"""`provenance doctor`: whether everything is here that the rest needs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.text import Text

import provenance
from provenance.cli._console import console
from provenance.cli._options import DEVICE, JSON, STORE

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from provenance.doctor import Check

STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@click.command()
@DEVICE
@STORE
@JSON
def doctor(device: str, store: Path | str | None, as_json: bool) -> int:  # noqa: FBT001
    """Look at what is installed, the device and the store's disk; exits 1 on a problem."""
    from provenance.doctor import diagnose

    checks = diagnose(provenance.Store(store), device=device)
    states = {check.state for check in checks}
    if as_json:
        worst = next(state for state in ("problem", "warning", "ok") if state in states)
        click.echo(json.dumps({"state": worst, "checks": [asdict(check) for check in checks]}))
    else:
        to = console()
        for check in checks:
            _print(to, check)
    return int("problem" in states)


def _print(to: Console, check: Check) -> None:
    line = Text.assemble(
        (f"{check.state:8}", STYLES[check.state]), f" {check.name:12} {check.detail}"
    )
    to.print(line, soft_wrap=True)
    if check.remedy is not None:
        to.print(Text(f"{'':22}{check.remedy}"), soft_wrap=True)
