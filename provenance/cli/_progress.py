"""Progress of long work on stderr: a bar on a terminal, a line for each stage in a log."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from provenance.vocabulary import Stage


class progress:  # noqa: N801 - used as a context manager only
    """A function that takes each `Stage` of an executor; it does nothing where ``quiet``.

    On a terminal it redraws one line, with a bar where the total is known. In the log of a CI system it
    writes a line for each stage, and elsewhere nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
        )

        console = Console(stderr=True)
        self._shows = console.is_terminal and not quiet
        self._logs = bool(os.environ.get("CI")) and not console.is_terminal and not quiet
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", visible=False)
        self._current: tuple[str, str] | None = None

    def __enter__(self) -> Callable[[Stage], None]:
        if self._shows:
            self._bar.start()
        return self._tell

    def __exit__(self, *_error: object) -> None:
        if self._shows:
            self._bar.stop()

    def _tell(self, stage: Stage) -> None:
        begins = self._current != (stage.action, stage.subject)
        self._current = (stage.action, stage.subject)
        line = f"{stage.action} {stage.subject}"
        if self._shows:
            total = stage.total or None  # None: a bar that only moves
            self._bar.update(
                self._task, description=line, completed=stage.done, total=total, visible=True
            )
        elif self._logs and begins:
            click.echo(f"provenance: {line}", err=True)
