"""Tables of fading power: every strength, where each statistic stops finding it, and what was missed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks._counts import VERDICTS
from benchmarks._curve_judge import PARTS, STATISTIC
from benchmarks._curve_plot import LIMIT, STATISTICS
from benchmarks._table import number, spread, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks._curve_judge import Judged
    from benchmarks._curve_plot import Axis

NONE = "–"


def strengths_table(rows: Sequence[Judged], axis: Axis, losses: Sequence[str]) -> str:
    """Return one line for each series and strength, over all bases.

    Parameters
    ----------
    losses
        Names of the texts whose losses are shown.
    """
    head = [
        "series",
        axis.title,
        "bases",
        *(f"loss on {name}" for name in losses),
        "likeness",
        *PARTS,
        f"{STATISTIC}, blocks",
        f"{STATISTIC}, claim",
        "nearness",
        "verdict",
    ]
    lines = []
    for series in dict.fromkeys(row.series for row in rows):
        for strength in axis.strengths:
            found = [row for row in rows if (row.series, row.strength) == (series, strength)]
            if found:
                lines.append([series, strength, str(len(found)), *_cells(found, losses)])
    return table(head, lines)


def _cells(found: Sequence[Judged], losses: Sequence[str]) -> list[str]:
    blocks = {
        name: [p for row in found if name in row.found for p in row.found[name].blocks]
        for name in STATISTICS
    }
    claims = [row.found[STATISTIC].claim for row in found]
    near = [row.nearness for row in found if row.nearness is not None]
    return [
        *(_median([row.losses[name] for row in found if name in row.losses]) for name in losses),
        _median([row.likeness for row in found if row.likeness is not None]),
        *(spread(blocks[name]) for name in STATISTICS),
        spread([claim for claim in claims if claim is not None]),
        f"{max(near):.2f}" if near else NONE,
        verdicts(found),
    ]


def _median(found: Sequence[float]) -> str:
    return f"{np.median(found):.2f}" if found else NONE


def verdicts(rows: Sequence[Judged]) -> str:
    """Count the verdicts, in words; what is not dependent stands out, and says why."""
    said = []
    for verdict in VERDICTS:
        chosen = [row for row in rows if row.verdict == verdict]
        if chosen:
            why = ", ".join(dict.fromkeys(reason for row in chosen for reason in row.why))
            word = verdict if verdict == "dependent" else f"**{verdict}**"
            said.append(f"{len(chosen)} {word}" + (f" ({why})" if why else ""))
    return ", ".join(said)


def fading_table(rows: Sequence[Judged], axes: dict[str, Axis]) -> str:
    """Return, for each series, up to where each part and the whole find every base's descendant."""
    head = ["change", "series", *PARTS, STATISTIC, "what the whole says then"]
    lines = []
    for picture, axis in axes.items():
        drawn = [row for row in rows if row.picture == picture]
        for series in dict.fromkeys(row.series for row in drawn):
            chosen = [row for row in drawn if row.series == series]
            ends = (_end(chosen, axis, name) for name in STATISTICS)
            lines.append([picture, series, *ends, _then(chosen)])
    return table(head, lines)


def _end(rows: Sequence[Judged], axis: Axis, statistic: str) -> str:
    """Say which is the strongest change still found on all bases, and what is missed next."""
    last = "none"
    known = [row for row in rows if row.kin and statistic in row.found]
    if not known:
        return NONE
    for strength in axis.strengths:
        found = [row.found[statistic].claim for row in known if row.strength == strength]
        if not found:
            continue
        missed = sum(claim is None or claim >= LIMIT for claim in found)
        if missed:
            return f"{last}; {strength}: {missed} of {len(found)} missed"
        last = strength
    return f"{last}, all"


def _then(rows: Sequence[Judged]) -> str:
    missed = [row for row in rows if row.kin and row.verdict != "dependent"]
    return verdicts(missed) if missed else NONE


def missed_table(rows: Iterable[Judged], axes: Mapping[str, Axis]) -> str:
    """Return one line for each descendant that was called independent."""
    head = ["series", "change", "strength", "base", "least loss", *STATISTICS, "nearness"]
    lines = [
        [
            row.series,
            axes[row.picture].title,
            row.strength,
            row.base.partition("-")[0],
            _median([min(row.losses.values())]),
            *(_claim(row, name) for name in STATISTICS),
            NONE if row.nearness is None else f"{row.nearness:.3f}",
        ]
        for row in rows
        if row.kin and row.verdict == "independent"
    ]
    return table(head, lines) if lines else "None."


def _claim(row: Judged, statistic: str) -> str:
    claim = row.found[statistic].claim if statistic in row.found else None
    return NONE if claim is None else number(claim)


def moved_table(
    rows: Sequence[Judged], axis: Axis, bases: Mapping[str, Mapping[str, float]], chance: float
) -> str:
    """Return how far training moved the losses, as shares of the fall that the bases' training had brought.

    Parameters
    ----------
    bases
        Losses of the bases, nats a token, by base and by text; the first text is the one they know.
    chance
        The loss of guessing, nats a token.
    """
    texts = list(next(iter(bases.values())))
    head = ["series", axis.title, *(f"loss on {text}" for text in texts)]
    lines = []
    for series in dict.fromkeys(row.series for row in rows):
        for strength in axis.strengths:
            found = [row for row in rows if (row.series, row.strength) == (series, strength)]
            shares = [
                [_moved(row, bases[row.base], chance, text) for row in found] for text in texts
            ]
            if found:
                lines.append([series, strength, *(f"{np.median(of):+.0%}" for of in shares)])
    return table(head, lines)


def _moved(row: Judged, base: Mapping[str, float], chance: float, text: str) -> float:
    known = next(iter(base.values()))
    return (row.losses[text] - base[text]) / (chance - known)
