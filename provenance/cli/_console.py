"""What commands print to people: text as it is, whatever it holds, and tables that cut no number."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from provenance._text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console
    from rich.table import Column, Table

    from provenance.evidence.exhibits import Exhibit

UNBOUND = 10_000
"""Columns of what is no terminal: a program that reads a table wants each row on a line of its own."""
_NUMBER = re.compile(r"\W*\d+(\.\d+)?(e[+-]?\d+)?\W*")


def console(**options: Any) -> Console:
    """A console of rich that obeys nothing in a text: a path may hold ``[red]`` and ``:fire:``.

    It is as wide as the terminal or COLUMNS; where there is neither, no line is folded.
    """
    from rich.console import Console

    made = Console(highlight=False, markup=False, emoji=False, **options)
    if "width" not in options and not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = UNBOUND
    return made


def say(to: Console, line: str, style: str | None = None) -> None:
    """Print a line, with what hides in it made visible."""
    to.print(visible(line, keep="\n\t"), style=style)


def reference_table(title: str, rows: Iterable[tuple[str, ...]]) -> Table:
    """A table of what many references showed, from `provenance.evidence.nearest.cells_of`."""
    from rich.table import Table

    from provenance.evidence.nearest import HEAD

    table = Table(title=title)
    for name in HEAD:
        table.add_column(name, justify="left" if name in {"reference", "finding"} else "right")
    for row in rows:
        table.add_row(*map(visible, row))
    return table


def exhibit_table(exhibits: tuple[Exhibit, ...]) -> Table:
    """A table of exhibits beside what strangers have; why they decide nothing has no room in it."""
    from rich.table import Table

    from provenance.evidence.exhibits import CAPTION, table

    head, rows = table(exhibits)
    shown = Table(*head[:-1], title=CAPTION)
    for row in rows:
        shown.add_row(*map(visible, row[:-1]))
    return shown


def print_table(to: Console, table: Table) -> None:
    """Print a table in which every number stands in full, however narrow the console is.

    Columns fold where the table has no room. Where the numbers themselves have none, each row is a list.
    """
    room = to.width - 3 * len(table.columns) - 1  # a border and two spaces for each column
    cells = [[_text(cell) for cell in column.cells] for column in table.columns]
    natural = [
        max(map(len, [_text(column.header), *texts]))
        for column, texts in zip(table.columns, cells, strict=True)
    ]
    least = [max(map(_longest_number, texts), default=1) for texts in cells]
    if sum(least) > room:
        _print_list(to, table, cells)
        return
    if sum(natural) > room:
        for column, width in zip(table.columns, _shared(room, least, natural), strict=True):
            _fold(column, width)
    to.print(table)


def _text(cell: object) -> str:
    return cell if isinstance(cell, str) else getattr(cell, "plain", str(cell))


def _longest_number(text: str) -> int:
    numbers = (len(word) for word in text.split() if _NUMBER.fullmatch(word))
    return max(numbers, default=1)


def _shared(room: int, least: Sequence[int], natural: Sequence[int]) -> list[int]:
    """Widths of columns, from the least upwards: the narrowest that could be wider grows first."""
    widths = list(least)
    for _ in range(room - sum(least)):
        growing = [i for i, width in enumerate(widths) if width < natural[i]]
        if not growing:
            break
        widths[min(growing, key=widths.__getitem__)] += 1
    return widths


def _fold(column: Column, width: int) -> None:
    column.width, column.overflow = width, "fold"


def _print_list(to: Console, table: Table, cells: Sequence[Sequence[str]]) -> None:
    if table.title is not None:
        say(to, _text(table.title))
    names = [_text(column.header) for column in table.columns]
    for row in zip(*cells, strict=True):
        say(to, "")
        for name, cell in zip(names, row, strict=True):
            say(to, f"{name}: {cell}" if name else cell)
