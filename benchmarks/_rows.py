"""Files of rows that grow as they are measured: a head that says of what they are, and a row a line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Found(NamedTuple):
    """What a file holds: plain JSON values."""

    head: dict[str, Any]
    rows: list[list[Any]]


class Rows:
    """A file of JSON texts, one a line: a head, and rows.

    A row is written as soon as it is measured, so that whoever is stopped loses one.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> Found | None:
        """Return what is there so far; None where nothing was begun."""
        if not self.file.exists():
            return None
        # what stands behind the last end of a line was cut off in writing
        first, *lines = self.file.read_text(encoding="utf-8").split("\n")[:-1] or [""]
        return Found(json.loads(first), [json.loads(line) for line in lines]) if first else None

    def write(self, head: dict[str, Any], rows: Iterable[list[Any]]) -> None:
        """Write a head and rows, and nothing else."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        half = self.file.with_suffix(".half")
        half.write_text("".join(map(_line, (head, *rows))), encoding="utf-8")
        half.replace(self.file)

    def add(self, *rows: list[Any]) -> None:
        """Write some more rows at once."""
        with self.file.open("a", encoding="utf-8") as file:
            file.write("".join(map(_line, rows)))


def _line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")) + "\n"
