"""Shows on pytest's terminal what takes long: models that are made, loaded, run, matched.

A terminal has one line that is redrawn; a log has one line for each stage. ``-q`` shows nothing, and
neither do xdist's workers, which have no terminal.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from _pytest.capture import CaptureManager
    from _pytest.terminal import TerminalReporter

    from provenance.vocabulary import Stage

REDRAW_SECONDS = 0.1
VERBS = {
    "audit": "computing ahead:",
    "make": "training",
    "download": "downloading",
    "load": "loading",
    "capture": "running",
    "distil": "imitating the MLPs of",
    "sketch": "sketching the MLPs of",
    "match": "matching",
    "wait": "waiting for another process:",
}


class Progress:
    """Callable that takes each `Stage` of an `Executor`."""

    def __init__(self, config: pytest.Config) -> None:
        plugins = config.pluginmanager
        self._terminal: TerminalReporter | None = plugins.getplugin("terminalreporter")
        self._capture: CaptureManager | None = plugins.getplugin("capturemanager")
        if config.get_verbosity() < 0:
            self._terminal = None
        self._current: tuple[str, str] | None = None
        self._drawn = 0.0

    def __call__(self, stage: Stage) -> None:
        """Show the stage where there is a terminal to show it on."""
        if self._terminal is None:
            return
        begins = (stage.action, stage.subject) != self._current
        self._current = (stage.action, stage.subject)
        now = time.monotonic()
        if begins or (self._terminal.isatty and now - self._drawn > REDRAW_SECONDS):
            self._drawn = now
            self._write(self._terminal, stage)

    def clear(self) -> None:
        """Erase the redrawn line, so that pytest's own output continues in its place."""
        terminal, self._current = self._terminal, None
        if terminal is not None and self._drawn and terminal.isatty:
            self._drawn = 0.0
            self._uncaptured(lambda: terminal.rewrite("", erase=True))

    def _write(self, terminal: TerminalReporter, stage: Stage) -> None:
        count = f" {stage.done}/{stage.total}" if stage.total and terminal.isatty else ""
        line = f"  provenance: {VERBS[stage.action]} {stage.subject}{count}"

        def write() -> None:
            terminal.ensure_newline()
            if terminal.isatty:
                terminal.rewrite(line[: terminal._tw.fullwidth - 1], erase=True)  # noqa: SLF001
            else:
                terminal.write_line(line)

        self._uncaptured(write)

    def _uncaptured(self, write: Callable[[], None]) -> None:
        if self._capture is None:
            write()
            return
        with self._capture.global_and_fixture_disabled():
            write()
            assert self._terminal is not None
            self._terminal.flush()
