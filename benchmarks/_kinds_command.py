"""The command line that the benchmarks of docs/kinds.md share, and how they and others keep counts."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from benchmarks._arguments import at_least
from benchmarks._page import about_machine
from provenance.recipes.train import one_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from _typeshed import DataclassInstance

    from benchmarks._zoo import Scale

PAGE = Path("docs/kinds.md")

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


@dataclass(frozen=True)
class Counting(Generic[Counts]):
    """A command that counts on small base models, and puts tables of the counts on a page.

    Attributes
    ----------
    name, description : str
        The benchmark's module, and its docstring.
    count : callable
        Yields rows, given the folder of models, their scale, and of how many base models.
    made : callable
        Makes counts of the fields of `Made` and of the rows.
    with_tables : callable
        The text of the page with the tables made anew.
    kept : Path
        Where counts are kept.
    bases : int
        Base models, unless the command line says another number.
    page : Path
        What has the tables.
    """

    name: str
    description: str | None
    count: Callable[[Path, Scale, int], Iterable[Any]]
    made: Callable[..., Counts]
    with_tables: Callable[[str, Counts], str]
    kept: Path
    bases: int
    page: Path = PAGE

    @property
    def command(self) -> str:
        """What makes the committed counts and tables again."""
        return f"python -m benchmarks.{self.name} --folder models --output {self.page}"

    def run(self, scale: Scale, arguments: Sequence[str] | None) -> None:
        """Run from the command line, on base models of a scale."""
        options = parser(self.name, self.description, self.kept, self.bases, self.page)
        given = options.parse_args(arguments)
        with one_thread():
            rows = tuple(self.count(given.folder, scale, given.bases))
        some = "" if given.bases == self.bases else f" --bases {given.bases}"
        made = self.made(command=self.command + some, **about_machine(), counted=rows)
        publish(given, made, self.with_tables)


def parser(
    name: str, description: str | None, counts: Path, bases: int, page: Path = PAGE
) -> argparse.ArgumentParser:
    """Return a parser of where models are kept, and where counts and tables go."""
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--folder", type=Path, required=True, help="keeps the models")
    made.add_argument("--output", type=Path, default=page)
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
