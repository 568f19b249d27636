"""`match`: the unconstrained test of two gated MLPs (paper, section 2.3.1, phi_MATCH).

Match the gate activations of two models, match their up activations, independently of each other. If
the models share no ancestor, the one matching says nothing of the other; if they do, both find the
same partner for a unit, wherever it has been moved. The one-sided Spearman correlation between the
two matchings gives the p-value.

Departures from the paper's text and from its public code:

* similarity is the correlation over the tokens. The text has the cosine (`match_cosine`), the code a
  squared Euclidean distance. A unit's mean is common to all inputs and tells units apart badly, yet it is
  a fifth of the unit's squared norm on text and half of it on random ids. Without it the false positives
  stay where they are, and p-values of changed descendants are far smaller (docs/calibration.md);
* both are matched by the absolute value. ``up -> c up, down -> down / c`` with c < 0 leaves the function as
  it is. So does a negated gate, where other units make up for it: ``silu(z) - silu(-z) = z``. Units of
  parallel and opposed gates are merged (`provenance.statistics._merging`);
* units that are dead (constant on these inputs) in gate or up are dropped: matched to each other they
  would agree by construction;
* both sides' units are ranked in a random order, and the solver sees them in two others, one for the gates
  and one for the ups: where similarities are equal, nothing that it prefers can look like kinship;
* where the gates and the ups of one model say the same, strangers would agree: the test is refused;
* with unequal widths every unit of the narrower side is matched, and gate and up are joined on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from provenance.assignment.solve import assign_all
from provenance.errors import DegenerateError
from provenance.statistics._alike import tested_apart
from provenance.statistics._directions import (
    Directions,
    directions,
    glimpse,
    products,
    size,
    unit_columns,
)
from provenance.statistics.pvalues import LEAST_UNITS, bonferroni, spearman
from provenance.statistics.universal import LEAST_PART
from provenance.vocabulary import ROLES

__all__ = ["MatchResult", "cosine", "glimpse", "match", "prepare", "size"]

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from provenance.architecture.units import MLPUnits
    from provenance.vocabulary import Role

SHARES = (1.0, 0.9, 0.5)
"""Where the widths differ: all units, and the strongest that do this share of what the MLP does."""

PLAIN = -20.0
"""log10 p below which fewer units need not be asked: the correction is for all the same."""


@dataclass(frozen=True)
class MatchResult:
    """Evidence of kinship between two gated MLPs.

    Attributes
    ----------
    statistic : str
        "match".
    log10_p : float
        log10 of the one-sided p-value, at least ``-log10(n!)`` with n = ``min(live)``.
    correlation : float
        Spearman correlation between the two matchings.
    units, live : tuple of int
        Hidden units of the candidate and of the reference; those of them that took part.
    gate_matching, up_matching : ndarray
        (k, 2) int64: the pairs (candidate unit, reference unit) that each projection's optimal
        assignment makes, k = ``min(live)``, in the models' own numbering and in one row order.
    nearness : float or None
        Of `match_tokens`, see `provenance.statistics._nearness`; None where all units are matched alike.
    """

    statistic: str
    log10_p: float
    correlation: float
    units: tuple[int, int]
    live: tuple[int, int]
    gate_matching: NDArray[np.int64] = field(repr=False)
    up_matching: NDArray[np.int64] = field(repr=False)
    nearness: float | None = None

    def agreeing(self) -> int:
        """Units that gate and up match to the same partner."""
        return len(self.survivors())

    def survivors(self) -> NDArray[np.int64]:
        """Units of the one block that are units of the other, by gate and up alike.

        Returns
        -------
        ndarray
            (k, 2) int64: pairs (candidate unit, reference unit), in the candidate's order, so that
            the second column says which units of a wider reference were kept and in which order.
        """
        same = (self.gate_matching == self.up_matching).all(axis=1)
        alike: NDArray[np.int64] = self.gate_matching[same]
        return alike[np.argsort(alike[:, 0])]

    def matchings(self, most: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What gate and up pair some units of the narrower side with, on the wider one.

        Parameters
        ----------
        most : int
            How many units at most; they are evenly spaced.

        Returns
        -------
        tuple of tuple of int
            By gate and by up, in the order of the narrower side's units (the candidate's, of equals).
        """
        narrow = int(self.live[0] > self.live[1])
        order = np.argsort(self.gate_matching[:, narrow])
        places = np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(np.int64)
        kept = order[places]
        gate, up = (m[kept, 1 - narrow].tolist() for m in (self.gate_matching, self.up_matching))
        return tuple(gate), tuple(up)

    def imitation_fits(self) -> None:
        """None: the MLPs themselves are matched."""


def prepare(side: MLPUnits, role: Role, seed: int) -> Directions:
    """Prepare one side of `match`, for a side that meets several others."""
    return directions(side, role, seed, centred=True)


def match(
    candidate: MLPUnits | Directions,
    reference: MLPUnits | Directions,
    *,
    seed: int = 0,
    centred: bool = True,
) -> MatchResult:
    """Test whether two gated MLPs are independent.

    Parameters
    ----------
    candidate, reference : MLPUnits or Directions
        What the units answer to the same tokens, or a side that `prepare` has prepared; the widths
        may differ.
    seed : int
        Of the random orders of the units.
    centred : bool
        Whether similarity is the correlation; else the paper's cosine. Of sides that are not prepared.

    Raises
    ------
    DegenerateError
        If activations are not finite, if fewer than `LEAST_UNITS` units are live on a side, or if gate and
        up of too many units of a side say the same and the other units decide nothing.

    Notes
    -----
    Null hypothesis: the two models were trained from independent random initialisations. Under it the
    p-value is uniform if the matchings of gate and of up are independent, which is the paper's
    conjecture for this statistic and not a theorem; docs/statistics.md says how it was measured.
    """
    sides = (candidate, reference)
    a, b = (
        side
        if isinstance(side, Directions)
        else directions(side, role, seed, centred=centred, signed=not centred)
        for role, side in zip(ROLES, sides, strict=True)
    )
    _validate(a, b)
    return tested_apart(a, b, partial(best_match, seed=seed))


def best_match(a: Directions, b: Directions, *, seed: int) -> MatchResult:
    """`match` of two prepared sides, also where gates and ups of one of them say the same."""
    if a.core is None or b.core is None or len(a.live) == len(b.live):
        return _match(a, b, seed)
    return _match_of_strongest(a, b, seed)


def _match_of_strongest(a: Directions, b: Directions, seed: int) -> MatchResult:
    """The best over several shares of what the units do, corrected for their number (Bonferroni)."""
    results = []
    for _, sides in sets_of_strongest(a, b):
        results.append(_match(*sides, seed))
        if results[-1].log10_p < PLAIN:
            break
    best = min(results, key=lambda result: (result.log10_p, -result.correlation))
    return replace(best, log10_p=bonferroni(best.log10_p, len(SHARES)))


def sets_of_strongest(
    a: Directions, b: Directions
) -> Iterator[tuple[float, tuple[Directions, Directions]]]:
    """The sets of units that are tried where the widths differ, each with the one of `SHARES` it is of.

    They come one at a time, since what units do is computed where it is asked for. A set that has the same
    units as the one before it is left out; its price is not.
    """
    narrower = min(len(side.live) for side in (a, b))
    least = max(LEAST_UNITS, math.ceil(LEAST_PART * narrower))
    tried = None
    for share in SHARES:
        sides = a.strongest(share, least), b.strongest(share, least)
        # of one side's sets the smaller lie in the larger, so that equal numbers are equal sets
        sizes = tuple(len(side.live) for side in sides)
        if sizes != tried:
            yield share, sides
        tried = sizes


def _match(a: Directions, b: Directions, seed: int) -> MatchResult:
    gate, up = _matchings(a, b, seed)
    wide = int(len(a.live) <= len(b.live))
    result = spearman(gate[:, wide], up[:, wide])
    units = [side.live.cpu().numpy() for side in (a, b)]
    gate_pairs, up_pairs = (
        np.stack([units[0][x[:, 0]], units[1][x[:, 1]]], axis=1) for x in (gate, up)
    )
    return MatchResult(
        statistic="match",
        log10_p=result.log10_p,
        correlation=result.correlation,
        units=(a.units, b.units),
        live=(len(a.live), len(b.live)),
        gate_matching=gate_pairs,
        up_matching=up_pairs,
    )


def _matchings(a: Directions, b: Directions, seed: int) -> list[NDArray[np.int64]]:
    """The optimal matchings of gate and of up, (k, 2) int64 each, in the order of the narrower side.

    Each is solved in an order of the units of its own. In one order, equal similarities would be told apart
    by the same numbers in both: strangers whose units stand several times had 1e-49.
    """
    similarities = products(a, b)
    draws = (np.random.default_rng([seed, len(ROLES) + k]) for k in range(len(similarities)))
    orders = [
        [torch.from_numpy(rng.permutation(size)) for size in x.shape]
        for rng, x in zip(draws, similarities, strict=True)
    ]
    found = assign_all([x.reordered(*order) for x, order in zip(similarities, orders, strict=True)])
    matchings = []
    for matching, (rows, columns) in zip(found, orders, strict=True):
        pairs = np.stack([rows.numpy()[matching.rows], columns.numpy()[matching.columns]], axis=1)
        matchings.append(pairs[pairs[:, int(len(a.live) > len(b.live))].argsort()])
    return matchings


def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Cosines between the columns of two matrices, in float32.

    Parameters
    ----------
    a, b : Tensor
        (tokens, m) and (tokens, n), no zero column.

    Returns
    -------
    Tensor
        (m, n) float32.
    """
    return unit_columns(a, centred=False).T @ unit_columns(b, centred=False)


def _validate(a: Directions, b: Directions) -> None:
    if a.tokens != b.tokens:
        tokens = sorted({a.tokens, b.tokens})
        raise ValueError(f"activations must be on the same tokens, but have {tokens} rows")
    live = (len(a.live), len(b.live))
    if min(live) < LEAST_UNITS:
        role, side = ("candidate", a) if live[0] < LEAST_UNITS else ("reference", b)
        raise DegenerateError(
            f"{min(live)} of the {role}'s {side.units} units vary over the inputs; "
            f"a test needs {LEAST_UNITS}",
            live,
        )
