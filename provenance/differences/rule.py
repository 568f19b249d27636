"""The rule that makes each number of a merge of some of the parents' changes, and its fit to one matrix.

A merge that leaves changes out number by number, such as TIES [1]_ or DARE [2]_, leaves traces: with the
base known, each number's difference from it is 0, or exactly what the changes that were kept make together.
The same few factors then fit every number of a matrix, up to what storing it rounds away.

References
----------
.. [1] Yadav et al.: TIES-Merging. NeurIPS 2023, arXiv 2306.01708.
.. [2] Yu et al.: Language Models are Super Mario. ICML 2024, arXiv 2311.03099.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import TYPE_CHECKING

import torch

from provenance.differences.atoms import atom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.evidence.sparse_merge import Mixed

__all__ = ["Candidates", "Numbers", "Rule", "rules"]

STEPS = 4
"""Roundings of a change on its way into the merge: its difference, its weight, their sum and a factor."""
ARITHMETIC = 2.0**-22
"""What float32 rounds away of a number in all these steps, relative to it, however it is stored."""
GAP = 8.0
"""What lies between any two candidates of a number that tells, in tolerances: so bands of one tolerance
about all of them cover less than half of what lies between."""
CLEAR = 8.0
"""Size of a change, in tolerances, from which its ratio to the merge's is looked at."""
FEWEST = 20
"""Numbers that must agree on a factor at least."""
ROUNDS = 2
"""Of least squares with the numbers given to their candidates anew."""


@dataclass(frozen=True)
class Numbers:
    """Some numbers of one matrix, all float64.

    Attributes
    ----------
    base : Tensor
        (n,), the base's.
    away : Tensor
        (n,), the merge's less the base's.
    changes : Tensor
        (parents, n), each parent's less the base's.
    rounding : float
        What storing a number of the merge changes it by at most, relative to it.
    least : float
        And at least, however small it is: half of the finest step of its type.
    """

    base: torch.Tensor
    away: torch.Tensor
    changes: torch.Tensor
    rounding: float
    least: float = 0.0

    @property
    def tolerance(self) -> torch.Tensor:
        """How far each number of the merge may be from what the rule makes it, (n,)."""
        return self.rounded(self.base + self.away, self.away.abs())

    def rounded(self, values: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        """How far numbers of the merge may be from values that were made by adding so large changes."""
        stored = (self.rounding + ARITHMETIC) * values.abs() + ARITHMETIC * self.base.abs()
        return stored + STEPS * self.rounding * moved + STEPS * self.least


@dataclass(frozen=True)
class Rule:
    """What is made of the changes that are kept: ``sum(factor * change)``, or their weighted mean.

    Attributes
    ----------
    mixed : str
        See `provenance.evidence.sparse_merge.Mixed`. A mean is over changes of one sign.
    factors : tuple of float
        What each parent's change is multiplied by, where it is kept alone; 0: it never is.
    weights : tuple of float
        Of the mean, summing to 1; all 1 of a sum.
    """

    mixed: Mixed
    factors: tuple[float, ...]
    weights: tuple[float, ...]

    @property
    def used(self) -> tuple[int, ...]:
        """The places of the parents that are used."""
        return tuple(place for place, factor in enumerate(self.factors) if factor)

    def without(self, place: int) -> Rule:
        """The same with a parent that is not used."""
        return replace(
            self,
            factors=tuple(0.0 if i == place else one for i, one in enumerate(self.factors)),
        )

    def shares(self) -> tuple[float, ...]:
        """The factor of each change in a number for which all used parents' are kept."""
        if self.mixed == "sum":
            return self.factors
        whole = sum(self.weights[place] for place in self.used) or 1.0
        return tuple(
            factor * weight / whole
            for factor, weight in zip(self.factors, self.weights, strict=True)
        )

    def candidates(self, numbers: Numbers) -> Candidates:
        """Every value that a number may have, by which changes are kept."""
        places = len(self.factors)
        every = list(product((False, True), repeat=places))
        chosen = [one for one in every if all(self.factors[i] or not one[i] for i in range(places))]
        kept = torch.tensor(chosen)
        factors = torch.tensor(self.factors, dtype=torch.float64)
        parts = kept.double()
        if self.mixed == "mean":
            weighted = parts * torch.tensor(self.weights, dtype=torch.float64)
            parts = weighted / weighted.sum(dim=1, keepdim=True).clamp_min(1e-300)
        parts = parts * factors
        values = parts @ numbers.changes
        moved = parts.abs() @ numbers.changes.abs()
        tolerance = numbers.rounded(numbers.base + values, moved)
        if self.mixed == "mean":
            signs = (numbers.changes * factors[:, None]).sign()
            together = (kept.double() @ signs).abs()
            possible = together == kept.sum(dim=1, keepdim=True)
            values = torch.where(possible, values, torch.inf)
        left = (numbers.away - values).abs()
        best = _least(left / tolerance.clamp_min(1e-300))
        nearest = left.gather(0, best[None])[0]
        ordered = values.sort(dim=0).values
        gaps = (ordered[1:] - ordered[:-1]).nan_to_num(torch.inf, torch.inf)
        widest = torch.where(values.isfinite(), tolerance, 0.0).amax(dim=0)
        return Candidates(
            kept=kept[best].T,
            left=nearest,
            fits=nearest <= tolerance.gather(0, best[None])[0],
            tells=(gaps.amin(dim=0) >= GAP * widest) & (widest > 0),
        )


@dataclass(frozen=True)
class Candidates:
    """Which candidate each number is nearest to.

    Attributes
    ----------
    kept : Tensor
        (parents, n) bool: whose changes it keeps.
    left : Tensor
        (n,) float64: how far it is from it.
    fits : Tensor
        (n,) bool: whether that is within its tolerance.
    tells : Tensor
        (n,) bool: whether its candidates lie so far apart that they are told apart. That depends on the
        parents and the factors alone, so that it picks no number for what the merge did to it.
    """

    kept: torch.Tensor
    left: torch.Tensor
    fits: torch.Tensor
    tells: torch.Tensor


def _least(rows: torch.Tensor) -> torch.Tensor:
    """The row of the least number of each column; row by row, since torch is slow at it for few rows."""
    best = torch.zeros(rows.shape[1], dtype=torch.int64)
    least = rows[0]
    for place, row in enumerate(rows[1:], 1):
        best = torch.where(row < least, place, best)
        least = torch.minimum(row, least)
    return best


def rules(numbers: Numbers, weights: tuple[float, ...] | None = None) -> Iterator[Rule]:
    """Yield the rules that the numbers of a matrix suggest: a sum, and of several parents a mean.

    Parameters
    ----------
    numbers : Numbers
        Of the matrix.
    weights : tuple of float, optional
        Of the mean, where too few of these numbers tell them: those of another matrix.
    """
    found = _sum(numbers)
    if found is not None:
        yield found
    if len(numbers.changes) > 1:
        found = _mean(numbers, weights)
        if found is not None:
            yield found


def _factor(numbers: Numbers, place: int, taken: list[torch.Tensor]) -> tuple[float, int]:
    """What a parent's change is multiplied by, once each of some sums was taken off; how many agree."""
    change, tolerance = numbers.changes[place], numbers.tolerance
    values, errors = [], []
    for off in taken:
        rest = numbers.away - off
        # what is 0 says that the change was left out
        looked = (change.abs() > CLEAR * tolerance) & (rest.abs() > 2 * tolerance)
        values.append((rest / change)[looked])
        errors.append((tolerance / change.abs())[looked])
    ratios, off_by = torch.cat(values), torch.cat(errors)
    return atom(ratios, off_by) if len(ratios) else (0.0, 0)


def _sum(numbers: Numbers) -> Rule | None:
    """The factors that most numbers agree on, one parent after the other, and by least squares then."""
    places = len(numbers.changes)
    factors = [0.0] * places
    taken = [torch.zeros_like(numbers.away)]
    for _ in range(places):
        found = {i: _factor(numbers, i, taken) for i in range(places) if not factors[i]}
        place = max(found, key=lambda one: found[one][1])
        value, agreed = found[place]
        if agreed < FEWEST or not value:
            break
        factors[place] = value
        taken += [off + value * numbers.changes[place] for off in taken]
    rule = Rule("sum", tuple(factors), (1.0,) * places)
    for _ in range(ROUNDS if rule.used else 0):
        rule = _refined(rule, numbers)
    return rule if rule.used else None


def _refined(rule: Rule, numbers: Numbers) -> Rule:
    """The factors of a sum by least squares, over the numbers that fit."""
    nearest = rule.candidates(numbers)
    fits = nearest.fits & nearest.kept.any(dim=0)
    used = list(rule.used)
    if int(fits.sum()) < FEWEST:
        return rule
    rows = (nearest.kept * numbers.changes)[used][:, fits] / numbers.tolerance[fits]
    gram = rows @ rows.T
    sizes = gram.diagonal().sqrt()
    if not bool((sizes > 0).all()):
        return rule
    scaled = gram / torch.outer(sizes, sizes)
    target = rows @ (numbers.away[fits] / numbers.tolerance[fits]) / sizes
    solved = torch.linalg.lstsq(scaled, target[:, None]).solution[:, 0] / sizes
    factors = list(rule.factors)
    for place, factor in zip(used, solved.tolist(), strict=True):
        factors[place] = factor
    return replace(rule, factors=tuple(factors))


def _mean(numbers: Numbers, known: tuple[float, ...] | None) -> Rule | None:
    """The factors of changes that are kept alone, and the weights of those that are kept together."""
    zero = [torch.zeros_like(numbers.away)]
    found = [_factor(numbers, place, zero) for place in range(len(numbers.changes))]
    factors = [value if agreed >= FEWEST else 0.0 for value, agreed in found]
    alone = Rule("mean", tuple(factors), (1.0 / len(factors),) * len(factors))
    if not alone.used:
        return None
    alone = replace(alone, factors=_of_singles(alone, numbers))
    weights = _weights(alone, numbers) or known
    return None if weights is None else replace(alone, weights=weights)


def _of_singles(rule: Rule, numbers: Numbers) -> tuple[float, ...]:
    """The factors by least squares over the numbers that keep one parent's change alone."""
    factors = list(rule.factors)
    for place in rule.used:
        change = numbers.changes[place]
        fits = (numbers.away - factors[place] * change).abs() <= numbers.tolerance
        fits &= change.abs() > CLEAR * numbers.tolerance
        ours, theirs = (one[fits] / numbers.tolerance[fits] for one in (numbers.away, change))
        factors[place] = float((ours * theirs).sum() / theirs.square().sum())
    return tuple(factors)


def _weights(rule: Rule, numbers: Numbers) -> tuple[float, ...] | None:
    """The weights of the mean, summing to 1; None where too few numbers tell those of two parents."""
    used = rule.used
    rows, logs = [], []
    single = torch.zeros_like(numbers.away, dtype=torch.bool)
    scaled = numbers.changes * torch.tensor(rule.factors, dtype=torch.float64)[:, None]
    for place in used:
        single |= (numbers.away - scaled[place]).abs() <= numbers.tolerance
    for one, other in combinations(range(len(used)), 2):
        first, second = scaled[used[one]], scaled[used[other]]
        apart, tolerance = first - second, numbers.tolerance
        looked = ~single & (first * second > 0) & (apart.abs() > CLEAR * tolerance)
        shares = ((numbers.away - second) / apart)[looked]
        errors = (tolerance / apart.abs())[looked]
        inside = (shares > errors) & (shares < 1 - errors)
        if int(inside.sum()) < FEWEST:
            continue
        share, agreed = atom(shares[inside], errors[inside])
        if agreed < FEWEST:
            continue
        row = [0.0] * len(used)
        row[one], row[other] = 1.0, -1.0
        rows.append(row)
        logs.append(share / (1 - share))
    if len(used) > 1 and (
        not rows or int(torch.linalg.matrix_rank(torch.tensor(rows))) < len(used) - 1
    ):
        return None
    weights = [0.0] * len(rule.factors)
    if len(used) == 1:
        weights[used[0]] = 1.0
        return tuple(weights)
    ratios = torch.tensor(logs, dtype=torch.float64).log()
    solved = (
        torch.linalg.lstsq(
            torch.tensor([*rows, [1.0] * len(used)], dtype=torch.float64),
            torch.cat([ratios, ratios.new_zeros(1)])[:, None],
        )
        .solution[:, 0]
        .exp()
    )
    for place, weight in zip(used, (solved / solved.sum()).tolist(), strict=True):
        weights[place] = weight
    return tuple(weights)
