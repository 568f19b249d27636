"""Shows what xdist's workers are at: each notes its stages in a file, and the one with the terminal reads.

xdist passes on what ends, test by test, and nothing while a test goes on.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

import pytest

from provenance.plugin.progress import STAGES, spoken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.terminal import TerminalReporter

EVERY = 0.5
"""Seconds between two looks at the files."""


class Relay:
    """A plugin object of the process that has the terminal; its thread looks while tests go on."""

    def __init__(self, terminal: TerminalReporter) -> None:
        self._terminal = terminal
        self._folder = tempfile.TemporaryDirectory(prefix="provenance-")
        self._read: dict[Path, int] = {}
        self._last: dict[str, dict[str, Any]] = {}
        self._drawn = False
        self._lock, self._over = Lock(), Event()
        self._thread = Thread(target=self._look, name="provenance-relay", daemon=True)
        self._thread.start()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker where to note its stages."""
        node.workerinput[STAGES] = self._folder.name

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self) -> Iterator[None]:
        """Let pytest tell of a test on a line of its own."""
        with self._aside():
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logfinish(self) -> Iterator[None]:
        """Likewise."""
        with self._aside():
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Tell what is left to tell, and stop."""
        self._over.set()
        self._thread.join()
        with self._aside():
            self._show()
        self._erase()

    def pytest_unconfigure(self) -> None:
        """Remove the files."""
        self._over.set()
        self._folder.cleanup()

    def _look(self) -> None:
        while not self._over.wait(EVERY):
            with self._lock:
                self._show()

    @contextmanager
    def _aside(self) -> Iterator[None]:
        with self._lock:
            self._erase()
            yield

    def _show(self) -> None:
        for worker, note in self._news():
            self._last[worker] = note
            if note["begins"] and not self._terminal.isatty:
                self._fresh_line()
                self._terminal.write_line(f"  provenance: [{worker}] {spoken(note)}")
        busy = [
            f"{worker} {n['pace']}: {spoken(n)}" for worker, n in self._last.items() if n["action"]
        ]
        if self._terminal.isatty and busy:
            self._fresh_line()
            line = f"  provenance: {'; '.join(busy)}"
            self._terminal.rewrite(line[: self._terminal._tw.fullwidth - 1], erase=True)  # noqa: SLF001
            self._terminal.flush()
            self._drawn = True

    def _news(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What workers have noted since the last look; of a line that is being written, nothing."""
        for file in sorted(Path(self._folder.name).glob("*.jsonl")):
            with file.open("rb") as opened:
                opened.seek(self._read.get(file, 0))
                whole = opened.read().rpartition(b"\n")[0]
            self._read[file] = self._read.get(file, 0) + len(whole) + bool(whole)
            for line in whole.splitlines():
                yield file.stem, json.loads(line)

    def _fresh_line(self) -> None:
        # pytest's own ensure_newline knows of no dots of workers
        if not self._drawn and self._terminal._tw.width_of_current_line:  # noqa: SLF001
            self._terminal.line("")

    def _erase(self) -> None:
        if self._drawn:
            self._terminal.rewrite("", erase=True)
            self._drawn = False
