"""The command line that the benchmarks of docs/kinds.md share, and how they and others keep counts."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks._arguments import at_least

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import DataclassInstance

Counts = TypeVar("Counts", bound="DataclassInstance")


@dataclass(frozen=True)
class Made:
    """By which command counts were made, when, and by what machine and versions."""

    command: str
    date: str
    machine: str
    versions: str

    @property
    def about(self) -> str:
        """The line below a table."""
        return f"`{self.command}`; {self.date}; {self.machine}; {self.versions}"


def parser(name: str, description: str | None, counts: Path, bases: int) -> argparse.ArgumentParser:
    """Return a parser of where models are kept, and where counts and tables go."""
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--folder", type=Path, required=True, help="keeps the models")
    made.add_argument("--output", type=Path, default=Path("docs/kinds.md"))
    made.add_argument("--counts", type=Path, default=counts)
    made.add_argument("--bases", type=at_least(1), default=bases)
    return made


def publish(
    given: argparse.Namespace, made: Counts, with_tables: Callable[[str, Counts], str]
) -> None:
    """Keep counts where the command line says, and make their tables on its page again."""
    keep(given.counts, made)
    given.output.write_text(with_tables(given.output.read_text("utf-8"), made), encoding="utf-8")


def keep(counts: Path, made: DataclassInstance) -> None:
    """Write counts as JSON."""
    counts.parent.mkdir(parents=True, exist_ok=True)
    counts.write_text(json.dumps(asdict(made), indent=1) + "\n", encoding="utf-8")


def read_kept(file: Path, of: type[Counts], **rows: Callable[..., Any]) -> Counts:
    """Read counts that `keep` has written; ``rows`` says what each field of rows is made of."""
    kept = json.loads(file.read_text("utf-8"))
    made = {name: tuple(one(**row) for row in kept.get(name, ())) for name, one in rows.items()}
    return of(**{**kept, **made})
