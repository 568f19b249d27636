"""How much of a p-value the units make that gate and up match alike: strangers share a few detectors.

A p-value of the package is the best of several sets of units. Here each set is taken by itself, as it is
and without the units that are matched alike.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import stats

from benchmarks._real_null import counted
from benchmarks._rows import Rows
from benchmarks._table import table
from provenance.errors import DegenerateError
from provenance.statistics.match import best_match, sets_of_strongest
from provenance.statistics.pvalues import spearman

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks._block_pairs import Blocks, Place
    from provenance.statistics._directions import Directions


@dataclass(frozen=True)
class Set:
    """What the strongest units of two blocks show.

    Attributes
    ----------
    candidate, reference
        Block indices.
    share
        Of what either MLP does; these are the units that do it.
    units, alike
        Units of the smaller side, and how many of them gate and up match to one partner.
    log10_p, without
        Of all these units, and of those that are not matched alike.
    """

    candidate: int
    reference: int
    share: float
    units: int
    alike: int
    log10_p: float
    without: float

    @property
    def place(self) -> Place:
        """The two blocks."""
        return self.candidate, self.reference

    @property
    def shift(self) -> float:
        """By how many standard deviations the units matched alike are expected to raise the correlation.

        The rank correlation of two orders of n that agree in k places, and else are independent, is k / n
        on the average; its standard deviation is 1 / sqrt(n).
        """
        return self.alike / self.units**0.5


def sets_of(blocks: Blocks, place: Place) -> list[list[Any]]:
    """Test every set of units of a pair of blocks; a row each, and none where their MLPs are refused."""
    try:
        sides = blocks.prepared(place)
        sets = [_set(of, place, share, blocks.seed) for share, of in sets_of_strongest(*sides)]
    except DegenerateError:
        return []
    return [list(astuple(one)) for one in sets]


def _set(sides: tuple[Directions, Directions], place: Place, share: float, seed: int) -> Set:
    a, b = map(_renumbered, sides)
    found = best_match(a, b, seed=seed)
    wide = int(len(a.live) <= len(b.live))
    other = (found.gate_matching != found.up_matching).any(axis=1)
    gate, up = (m[other, wide] for m in (found.gate_matching, found.up_matching))
    without = spearman(gate, up).log10_p
    units = len(other)
    log10_ps = round(found.log10_p, 6), round(without, 6)
    return Set(*place, share, units, units - int(other.sum()), *log10_ps)


def _renumbered(side: Directions) -> Directions:
    """The same units by their places: several rows may stand for one unit that was merged of others.

    Without what each unit does, `best_match` takes them all.
    """
    return replace(side, core=None, live=torch.arange(len(side.live)))


def read(file: Path) -> list[Set]:
    """Return what a file holds; nothing where there is none."""
    found = Rows(file).read()
    return [] if found is None else [Set(*row) for row in found.rows]


def by_share(sets: Sequence[Set]) -> str:
    """Return a table of how sets of units deviate from chance, with and without units matched alike."""
    head = [
        "units that do",
        "pairs of blocks",
        "units, median",
        "matched alike, median and most",
        "shift, mean and most",
        "mean z",
        "mean z without these units",
        "p ≤ 0.05",
        "p ≤ 0.05 without them",
    ]
    rows = []
    for share in sorted({one.share for one in sets}, reverse=True):
        of = [one for one in sets if one.share == share]
        alike, shifts = [one.alike for one in of], [one.shift for one in of]
        rows.append(
            [
                f"{share:.0%}",
                str(len(of)),
                f"{np.median([one.units for one in of]):.0f}",
                f"{np.median(alike):.0f}, {max(alike)}",
                f"{np.mean(shifts):.2f}, {max(shifts):.2f}",
                *(_mean_z(log10_ps) for log10_ps in _both(of)),
                *(counted(log10_ps, 0.05) for log10_ps in _both(of)),
            ]
        )
    return table(head, rows)


def _both(sets: Sequence[Set]) -> tuple[list[float], list[float]]:
    return [one.log10_p for one in sets], [one.without for one in sets]


def _mean_z(log10_ps: Sequence[float]) -> str:
    """The mean of p-values as standard normal values, and its standard error: 0 where they are uniform."""
    # a p-value of 1 would be minus infinity
    z = stats.norm.isf(np.clip(10.0 ** np.array(log10_ps), 1e-300, 1 - 1e-6))
    return f"{z.mean():+.2f} ± {z.std(ddof=1) / len(z) ** 0.5:.2f}" if len(z) > 1 else "–"
