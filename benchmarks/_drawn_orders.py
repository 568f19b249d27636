"""How often strangers' matchings give a small p-value, over many random orders of their units.

A p-value depends on the matchings and on the order in which units are ranked, which is drawn once
for two models. Here the matchings stay as they are and the order is drawn anew. What is left of a count of
small p-values is then of the matchings, and not of one draw.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import stats

from benchmarks._null import jackknife
from benchmarks._rows import Rows
from benchmarks._table import table
from provenance.errors import DegenerateError
from provenance.statistics.match import SHARES, best_match, sets_of_strongest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks._block_pairs import Blocks, Place
    from provenance.statistics._directions import Directions

LEVELS = (0.05, 0.01, 0.001)
DRAWS = 500


@dataclass(frozen=True)
class Drawn:
    """What two blocks show over many orders of their units.

    Attributes
    ----------
    candidate, reference
        Block indices.
    units, alike
        Units of the smaller side, and those that gate and up match to one partner.
    strongest, alike_strongest
        The same of the smallest set of units that was tried.
    below
        The share of orders with p at most each of `LEVELS`, of the best set of units at the price of all.
    """

    candidate: int
    reference: int
    units: int
    alike: int
    strongest: int
    alike_strongest: int
    below: tuple[float, ...]

    @property
    def place(self) -> Place:
        """The two blocks."""
        return self.candidate, self.reference

    def row(self) -> list[float]:
        """As it is kept in a file."""
        units = (self.units, self.alike, self.strongest, self.alike_strongest)
        return [*self.place, *units, *self.below]

    @classmethod
    def of_row(cls, row: Sequence[float]) -> Drawn:
        """As it was kept."""
        whole = map(int, row[:6])
        return cls(*whole, tuple(row[6:]))


def rows_of(blocks: Blocks, place: Place) -> list[list[float]]:
    """Draw the orders of a pair of blocks; a row, or none where their MLPs are refused."""
    try:
        return [drawn(*blocks.prepared(place), place, blocks.seed).row()]
    except DegenerateError:
        return []


def drawn(a: Directions, b: Directions, place: Place, seed: int) -> Drawn:
    """Draw the order of the units of two prepared blocks `DRAWS` times.

    Raises
    ------
    DegenerateError
        As `provenance.statistics.match.match`.
    """
    # by their places, as several rows may stand for one unit that was merged of others
    a, b = (replace(side, live=torch.arange(len(side.live))) for side in (a, b))
    rng = np.random.default_rng([seed, *place])
    labels = [rng.permuted(np.tile(np.arange(len(x.live)), (DRAWS, 1)), axis=1) for x in (a, b)]
    least = np.ones(DRAWS)
    sizes: list[tuple[int, int]] = []
    sets = [(1.0, (a, b))] if len(a.live) == len(b.live) else sets_of_strongest(a, b)
    for _, (x, y) in sets:
        found = best_match(*(replace(side, core=None) for side in (x, y)), seed=seed)
        wide = int(len(x.live) <= len(y.live))
        gate, up = found.gate_matching[:, wide], found.up_matching[:, wide]
        least = np.minimum(least, p_values(labels[wide][:, gate], labels[wide][:, up]))
        sizes.append((len(gate), int((gate == up).sum())))
    price = 1 if len(a.live) == len(b.live) else len(SHARES)
    shares = tuple(round(float((price * least <= level).mean()), 4) for level in LEVELS)
    return Drawn(*place, *sizes[0], *sizes[-1], shares)


def p_values(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
    """P-values of the rank correlations of the rows of two (draws, units) arrays, by the t law."""
    units = first.shape[1]
    ranks = [x.argsort(axis=1).argsort(axis=1).astype(np.float64) for x in (first, second)]
    distances = np.square(ranks[0] - ranks[1]).sum(axis=1)
    correlations = 1 - 6 * distances / (units * (units**2 - 1))
    # two orders that are equal have no t
    t = correlations * np.sqrt((units - 2) / np.maximum(1 - correlations**2, 1e-300))
    return np.asarray(stats.t.sf(t, units - 2))


def read(file: Path) -> list[Drawn]:
    """Return what a file holds; nothing where there is none."""
    found = Rows(file).read()
    return [] if found is None else [Drawn.of_row(row) for row in found.rows]


def shares(found: Mapping[str, Mapping[str, Sequence[tuple[tuple[int, int], Drawn]]]]) -> str:
    """Return a table of the mean shares, by statistic and by where the blocks lie.

    Beside what was found stand the numbers of the two blocks, each of a model's blocks having its own.
    """
    head = [
        "statistic",
        "blocks",
        "pairs",
        *(f"share of orders with p ≤ {level:g}" for level in LEVELS),
        "matched alike of all units, mean",
        "of the smallest set, mean",
    ]
    rows = [
        [what, where, f"{len(of):,}", *(_mean(of, k) for k in range(len(LEVELS))), *_alike(of)]
        for what, by_zone in found.items()
        for where, of in by_zone.items()
        if of
    ]
    return table(head, rows)


def _mean(of: Sequence[tuple[tuple[int, int], Drawn]], level: int) -> str:
    values = np.array([one.below[level] for _, one in of])
    error = jackknife([numbers for numbers, _ in of], values)
    return f"{values.mean():.2g} ± {error:.1g}"


def _alike(of: Iterable[tuple[tuple[int, int], Drawn]]) -> list[str]:
    alone = [one for _, one in of]
    pairs = (
        [(one.alike, one.units) for one in alone],
        [(one.alike_strongest, one.strongest) for one in alone],
    )
    return [
        f"{np.mean([k for k, _ in of_set]):.1f} of {np.mean([n for _, n in of_set]):.0f}, "
        f"shift {np.mean([k / n**0.5 for k, n in of_set]):.2f}"
        for of_set in pairs
    ]
