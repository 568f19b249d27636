"""What many pairs have in common, said once; and what each has to itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.report.view import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provenance.report.cast import Cast

ALL_WORDS = frozenset({0, 1, 2})
Sheet = tuple[str, tuple[tuple[str, str], ...]]
"""A caption, and what is said under it: a thing and its value."""


def shared(sheets: Sequence[Sequence[Sheet]]) -> tuple[Sheet, ...]:
    """What is the same in every claim that says anything under a caption, where two or more do."""
    by_caption: dict[str, list[dict[str, str]]] = {}
    for each in sheets:
        for caption, rows in each:
            by_caption.setdefault(caption, []).append(dict(rows))
    found = []
    for caption, all_rows in by_caption.items():
        first = all_rows[0]
        rows = tuple(
            (what, value)
            for what, value in first.items()
            if len(all_rows) > 1 and all(rows.get(what) == value for rows in all_rows)
        )
        if rows:
            found.append((caption, rows))
    return tuple(found)


def own(sheets: Sequence[Sheet], common: Sequence[Sheet]) -> tuple[Table, ...]:
    """Tables of what a claim has to itself."""
    known = {caption: set(rows) for caption, rows in common}
    left = (
        (caption, tuple(row for row in rows if row not in known.get(caption, ())))
        for caption, rows in sheets
    )
    return tuple(table_of(caption, rows) for caption, rows in left if rows)


def table_of(caption: str, rows: tuple[tuple[str, str], ...]) -> Table:
    """A sheet as a table."""
    return Table(caption, ("what", "value"), rows, ALL_WORDS)


def models_of(cast: Cast, described: Sequence[Mapping[str, str] | None]) -> tuple[Table, ...]:
    """Every model that was measured with what sets it apart, and what all have in common.

    Parameters
    ----------
    described : sequence of mapping or None
        What is said of each model of the cast, under the same words.
    """
    known = [(i, fields) for i, fields in enumerate(described) if fields is not None]
    if not known:
        return ()
    words = list(known[0][1])
    alike = [word for word in words if len({fields[word] for _, fields in known}) == 1]
    apart = [word for word in words if word not in alike]
    if len(known) == 1:
        alike, apart = [], words
    rows = tuple((cast.labels[i], *(fields[word] for word in apart)) for i, fields in known)
    head = ("model", *apart)
    tables = [Table("Models", head, rows, frozenset(range(len(head))))]
    if alike:
        tables.append(table_of("Of every model", tuple((w, known[0][1][w]) for w in alike)))
    return tuple(tables)
