"""Results that a long run keeps as it goes, one JSON line each, so that a run that was stopped goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

SETTINGS: tuple[str, ...] = ("settings",)


class Kept:
    """Values by key, in a file of JSON lines that only grows. A key is a row of names.

    Raises
    ------
    ValueError
        If the file has results of other settings.
    """

    def __init__(self, file: Path, settings: str) -> None:
        self._file = file
        kept = file.read_bytes() if file.exists() else b""
        # behind the last whole line is what a run was writing when it was stopped, or is writing now
        self._end = kept.rfind(b"\n") + 1
        rows = (json.loads(line) for line in kept[: self._end].splitlines())
        self._values: dict[tuple[str, ...], Any] = {tuple(key): value for key, value in rows}
        if self.get(SETTINGS, lambda: settings) != settings:
            raise ValueError(
                f"{file} has results of other settings ({self.find(SETTINGS)}): give another "
                "folder, or remove the file"
            )

    def find(self, key: Sequence[str]) -> Any:
        """Return the value of a key, or None where nothing is kept."""
        return self._values.get(tuple(key))

    def get(self, key: Sequence[str], measure: Callable[[], Any]) -> Any:
        """Return the value of a key, plain JSON and not None; measure and keep it where there is none."""
        if tuple(key) not in self._values:
            value = measure()
            line = json.dumps([list(key), value], allow_nan=False) + "\n"
            with self._file.open("r+b" if self._file.exists() else "w+b") as lines:
                lines.truncate(self._end)
                lines.seek(self._end)
                self._end += lines.write(line.encode())
            self._values[tuple(key)] = value
        return self._values[tuple(key)]
