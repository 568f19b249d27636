"""Shows on pytest's terminal what takes long: models that are made, loaded, run, matched.

A terminal has one line that is redrawn; a log has one line for each stage. ``-q`` shows nothing.
xdist's workers have no terminal: they note their stages for `provenance.plugin.relay`.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance._pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pytest
    from _pytest.capture import CaptureManager
    from _pytest.terminal import TerminalReporter

    from provenance.vocabulary import Stage

REDRAW_SECONDS = 0.1
STAGES = "provenance_stages"
"""Name of the worker input that holds the folder where workers note their stages."""
VERBS = {
    "audit": "computing ahead:",
    "identify": "comparing with",
    "make": "making",
    "convert": "converting",
    "download": "downloading",
    "load": "loading",
    "capture": "running",
    "distil": "imitating the MLPs of",
    "sketch": "sketching the MLPs of",
    "map": "mapping",
    "exhibit": "measuring the exhibits of",
    "match": "matching",
    "measure": "measuring",
    "wait": "waiting for another process:",
}


class Progress:
    """Callable that takes each `Stage` of an `Executor`.

    ``nodeids`` are of all tests of the run: a terminal says at which of them it is, by claims.
    """

    def __init__(self, config: pytest.Config, nodeids: Iterable[str] = ()) -> None:
        plugins = config.pluginmanager
        self._terminal: TerminalReporter | None = plugins.getplugin("terminalreporter")
        self._capture: CaptureManager | None = plugins.getplugin("capturemanager")
        if config.get_verbosity() < 0:
            self._terminal = None
        self._notes = _notes_of(config)
        self._pace = Pace()
        self._claims = {
            claim: i for i, claim in enumerate(dict.fromkeys(map(_claim_of, nodeids)), 1)
        }
        self._drawn = 0.0

    def __call__(self, stage: Stage) -> None:
        """Show the stage where there is a terminal to show it on."""
        if self._terminal is None and self._notes is None:
            return
        self._find_place()
        begins = self._pace.see(stage)
        now = time.monotonic()
        if self._notes is not None:
            if begins or now - self._drawn > REDRAW_SECONDS:
                self._drawn = now
                self._note(self._notes, stage, begins=begins)
        elif self._terminal is not None and (
            begins or (self._terminal.isatty and now - self._drawn > REDRAW_SECONDS)
        ):
            self._drawn = now
            self._write(self._terminal, stage)

    def clear(self) -> None:
        """Erase the redrawn line, so that pytest's own output continues in its place."""
        terminal = self._terminal
        self._pace.forget()
        if self._notes is not None and self._drawn:
            self._drawn = 0.0
            self._append(self._notes, {"action": "", "begins": False})
        if terminal is not None and self._drawn and terminal.isatty:
            self._drawn = 0.0
            self._uncaptured(lambda: terminal.rewrite("", erase=True))

    def _find_place(self) -> None:
        """Say which claim pytest is at."""
        claim = self._claims.get(_claim_of(os.environ.get("PYTEST_CURRENT_TEST", "")))
        if claim is not None:
            self._pace.place = (claim, len(self._claims))

    def _note(self, notes: Path, stage: Stage, *, begins: bool) -> None:
        what = {"action": stage.action, "subject": stage.subject}
        self._append(notes, {**what, "pace": self._pace.text(), "begins": begins})

    def _append(self, notes: Path, note: Mapping[str, str | bool]) -> None:
        with suppress(OSError), notes.open("a", encoding="utf-8") as file:  # a full disk: no news
            file.write(json.dumps(note) + "\n")

    def _write(self, terminal: TerminalReporter, stage: Stage) -> None:
        number = f" ({self._pace.number})" if self._pace.number else ""
        line = f"  provenance: {spoken(vars(stage))}{number}"
        if terminal.isatty:
            # a narrow terminal has no room for long names, and it is the numbers that change
            line = f"  provenance: {self._pace.text()}: {spoken(vars(stage))}"

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


def spoken(stage: Mapping[str, Any]) -> str:
    """Say in words what a stage does to what."""
    return f"{VERBS[stage['action']]} {stage['subject']}"


def _notes_of(config: pytest.Config) -> Path | None:
    """The file that a worker of xdist notes its stages in; None elsewhere, and on another machine."""
    given = getattr(config, "workerinput", {})
    folder = Path(given.get(STAGES, ""))
    return folder / f"{given['workerid']}.jsonl" if STAGES in given and folder.is_dir() else None


def _claim_of(nodeid: str) -> str:
    """The claim that a test is a part of; pytest names the current one with its phase behind it."""
    return nodeid.partition(" (")[0].partition("[")[0]
