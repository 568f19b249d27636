"""What takes long, told on stderr: a spinner on a terminal, a line a stage in a log."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.status import Status

    from provenance import Stage


class progress:  # noqa: N801 - used as a context manager only
    """A function that takes each `Stage` of an executor; one that does nothing where ``quiet``.

    On a terminal one line is redrawn. Where stderr is not one, a CI system's log has a line a stage;
    a pipe or a file of anyone else's has nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._logs = bool(os.environ.get("CI")) and not sys.stderr.isatty()
        self._status: Status | None = None
        self._told: tuple[str, str] | None = None

    def __enter__(self) -> Callable[[Stage], None]:
        console = Console(stderr=True)
        if console.is_terminal and not self._quiet:
            self._status = console.status("")
            self._status.start()
        return self._tell

    def __exit__(self, *_error: object) -> None:
        if self._status is not None:
            self._status.stop()

    def _tell(self, stage: Stage) -> None:
        if self._status is not None:
            count = f" {stage.done}/{stage.total}" if stage.total else ""
            self._status.update(f"{stage.action} {stage.subject}{count}")
        elif self._logs and not self._quiet and self._told != (stage.action, stage.subject):
            self._told = (stage.action, stage.subject)
            click.echo(f"provenance: {stage.action} {stage.subject}", err=True)
