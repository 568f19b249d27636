"""Progress of long work on stderr: a bar on a terminal, a line for each stage in a log."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from provenance._pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import ProgressColumn, Task, TaskID

    from provenance.vocabulary import Stage


class progress:  # noqa: N801 - used as a context manager only
    """A function that takes each `Stage` of an executor; it does nothing where ``quiet``.

    On a terminal it redraws one line: the stage, a bar, and the time. In the log of a CI system it
    writes a line for each stage, and elsewhere nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn

        console = Console(stderr=True)
        self._shows = console.is_terminal and not quiet
        self._logs = bool(os.environ.get("CI")) and not console.is_terminal and not quiet
        self._pace = Pace()
        self._bar = Progress(
            SpinnerColumn(),
            _name_column(),
            BarColumn(bar_width=24),
            _pace_column(self._pace),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Callable[[Stage], None]:
        if self._shows:
            self._bar.start()
        return self._tell

    def __exit__(self, *_error: object) -> None:
        if self._shows:
            self._bar.stop()

    def _tell(self, stage: Stage) -> None:
        begins = self._pace.see(stage)
        line = f"{stage.action} {stage.subject}"
        if self._logs and begins:
            number = f" ({self._pace.number})" if self._pace.number else ""
            click.echo(f"provenance: {line}{number}", err=True)
        if not self._shows:
            return
        total = stage.total or None  # None: a bar that only moves
        if begins and self._task is not None:
            self._bar.remove_task(self._task)
        if begins or self._task is None:  # a task whose total is known never forgets it
            self._task = self._bar.add_task(line, total=total)
        self._bar.update(self._task, completed=stage.done, total=total)


def _name_column() -> ProgressColumn:
    """The column that names the stage: of a long name the beginning, so that the pace has room."""
    from rich.progress import ProgressColumn
    from rich.text import Text

    class NameColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(task.description, no_wrap=True, overflow="ellipsis")

    return NameColumn()


def _pace_column(pace: Pace) -> ProgressColumn:
    """The column that says how far the work is, and for how long it takes, as it is drawn."""
    from rich.progress import ProgressColumn
    from rich.table import Column
    from rich.text import Text

    class PaceColumn(ProgressColumn):
        def render(self, task: Task) -> Text:  # noqa: ARG002 - the pace knows more than the task
            return Text(pace.text())

    return PaceColumn(Column(no_wrap=True))
