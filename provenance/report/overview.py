"""The overview: models against models, the verdict of each pair, families framed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.report.view import Cell, Line, Overview

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provenance.evidence.families import Lineage
    from provenance.report.cast import Cast
    from provenance.report.view import Row

MOST = 64
"""Models that a side has room for."""
KIN, FREE, BAD, OPEN, IDLE = "kin", "free", "bad", "open", "idle"
MARKS = (
    (KIN, "kin, as claimed or found"),
    (FREE, "independent, as claimed or found"),
    (BAD, "false"),
    (OPEN, "not decided, warned of or a known failure"),
    (IDLE, "not run"),
)
"""The marks of a cell, as `Cell.mark`, and what they mean."""


def overview_of(rows: Sequence[Row], cast: Cast, lineage: Lineage) -> Overview | None:
    """Lay out a matrix of all models; None where fewer than three take part.

    Parameters
    ----------
    rows : sequence of Row
        The claims, the most urgent first: of several on one pair, the first is shown.
    """
    chosen = _chosen(rows, cast, lineage)
    if len(cast.labels) < 3 or len(chosen) < 2:
        return None
    family = {model: i for i, group in enumerate(lineage.families) for model in group}
    order = [model for group in lineage.families for model in group if model in chosen]
    order += sorted(chosen - set(order))
    first, second = _sides(rows, order)
    cells: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        cells.setdefault(_at(row, order, square=first == second), []).append(row)
    tops, lefts = (first[1:], second[:-1]) if first == second else (first, second)
    lines = tuple(
        Line(
            cast.labels[top],
            tuple(_cell(cells.get((top, left), ()), cast) for left in lefts),
        )
        for top in tops
    )
    frames = [[_together(family, lineage, top, left) for left in lefts] for top in tops]
    lines = tuple(
        Line(line.label, tuple(_framed(cell, frames, i, j) for j, cell in enumerate(line.cells)))
        for i, line in enumerate(lines)
    )
    kinds = {cell.mark for line in lines for cell in line.cells}
    return Overview(
        columns=tuple(cast.labels[left] for left in lefts),
        lines=lines,
        left_out=len(cast.labels) - len(chosen),
        legend=tuple(entry for entry in MARKS if entry[0] in kinds),
    )


def mark_of(row: Row) -> str:
    """Which mark says what became of a claim."""
    tone = row.outcome.tone
    if row.outcome.key in {"skipped", "not-run"}:
        return IDLE
    if tone == "bad":
        return BAD
    if tone == "doubt" or row.verdict not in {"dependent", "independent"}:
        return OPEN
    return KIN if row.verdict == "dependent" else FREE


def _chosen(rows: Sequence[Row], cast: Cast, lineage: Lineage) -> set[int]:
    """All models, or where there is no room, those with kin and of claims that need a person."""
    if len(cast.labels) <= MOST:
        return set(range(len(cast.labels)))
    kept = {model for group in lineage.families if len(group) > 1 for model in group}
    kept |= {model for row in rows if row.urgent for model in row.models}
    return kept if len(kept) <= MOST else set()


def _sides(rows: Sequence[Row], order: Sequence[int]) -> tuple[list[int], list[int]]:
    """The models down and across: all on both sides, unless no candidate is a reference too."""
    candidates, references = ({row.models[i] for row in rows} for i in (0, 1))
    if candidates & references:
        return [*order], [*order]
    return [m for m in order if m in candidates], [m for m in order if m in references]


def _at(row: Row, order: Sequence[int], *, square: bool) -> tuple[int, int]:
    """Where a claim stands; in a square below the diagonal, since kinship is mutual."""
    candidate, reference = row.models
    if square and {candidate, reference} <= set(order):
        later = order.index(candidate) > order.index(reference)
        return (candidate, reference) if later else (reference, candidate)
    return candidate, reference


def _cell(rows: Sequence[Row], cast: Cast) -> Cell:
    if not rows:
        return Cell()
    row = rows[0]
    names = " and ".join(cast.labels[model] for model in row.models)
    more = f"; {len(rows) - 1} more of this pair" if len(rows) > 1 else ""
    p = "" if row.p == "–" else f", p = {row.p}"
    return Cell(mark_of(row), row.anchor, f"{names}: {row.verdict}{p}; {row.outcome.word}{more}")


def _together(family: Mapping[int, int], lineage: Lineage, one: int, other: int) -> int | None:
    """The family that two models are both of."""
    ours, theirs = family.get(one), family.get(other)
    if ours is None or ours != theirs or len(lineage.families[ours]) < 2:
        return None
    return ours


def _framed(cell: Cell, frames: Sequence[Sequence[int | None]], i: int, j: int) -> Cell:
    """Give a cell the sides of its family's frame that it lies at."""
    own = frames[i][j]
    if own is None:
        return cell
    near = {"t": (i - 1, j), "b": (i + 1, j), "l": (i, j - 1), "r": (i, j + 1)}
    sides = "".join(side for side, at in near.items() if _frame_at(frames, *at) != own)
    return Cell(cell.mark, cell.anchor, cell.words, f"f {' '.join(f'f{side}' for side in sides)}")


def _frame_at(frames: Sequence[Sequence[int | None]], i: int, j: int) -> int | None:
    inside = 0 <= i < len(frames) and 0 <= j < len(frames[i])
    return frames[i][j] if inside else None
