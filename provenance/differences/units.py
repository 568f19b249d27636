"""Maps the units of one MLP onto those of another by their weights, and undoes what rescaled them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from provenance.assignment.solve import assign

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.evidence.difference import Moved

__all__ = ["MLPWeights", "UnitMap", "unit_map"]

OWN = 0.5
"""Mean cosine of gate and up above which two units are one: of strangers it is near 0."""
MOST, LEAST = 0.99, 0.5
"""Share of the units that must lie on their own number for no search; and that a map must find."""
RESCALED = 0.05
"""Factors whose median is further from 1 than this were put there: training moves them by less."""
TINY = 1e-6
"""A smaller factor is none: the row is gone."""


@dataclass(frozen=True)
class MLPWeights:
    """Weights of an MLP, float32, one row a unit, (units, hidden); a plain one has no gate."""

    gate: torch.Tensor | None
    up: torch.Tensor
    down: torch.Tensor


@dataclass(frozen=True)
class UnitMap:
    """From the reference's units to the candidate's.

    Attributes
    ----------
    order : Tensor or None
        (candidate's units,) int64: the reference's unit that each of the candidate's is; None: the same.
    factors : Tensor or None
        (candidate's units,) float32: what up was multiplied by, and down divided by; None: nothing.
    found : int
        Units that are surely the candidate's own.
    """

    order: torch.Tensor | None
    factors: torch.Tensor | None
    found: int

    @property
    def moved(self) -> tuple[Moved, ...]:
        """What the map undoes."""
        whats: dict[Moved, bool] = {
            "units": self.order is not None,
            "scales": self.factors is not None,
        }
        return tuple(what for what, is_moved in whats.items() if is_moved)

    def rows(self, weight: torch.Tensor, power: int) -> torch.Tensor:
        """Map weights of the reference, one row a unit; ``power`` is 1 of up, -1 of down, 0 of gate."""
        weight = weight if self.order is None else weight.index_select(0, self.order)
        if self.factors is None or not power:
            return weight
        shape = [-1] + [1] * (weight.dim() - 1)
        return weight * (self.factors**power).view(shape)


def unit_map(candidate: MLPWeights, reference: MLPWeights) -> UnitMap | None:
    """Find the map; None where the candidate has more units, or no map finds half of them.

    Both sides read the same residual coordinates.
    """
    if len(candidate.up) > len(reference.up):
        return None
    if len(candidate.up) == len(reference.up):
        straight = _straight(candidate, reference)
        if float((straight > OWN).double().mean()) > MOST:
            return _with_factors(candidate, reference, None, straight)
    likeness = _likeness(candidate, reference)  # (candidate's units, reference's)
    made = assign(likeness)
    order = torch.from_numpy(made.columns.copy())[torch.from_numpy(made.rows.copy()).argsort()]
    own = likeness.gather(1, order[:, None]).squeeze(1)
    if float((own > OWN).double().mean()) < LEAST:
        return None
    is_plain = likeness.shape[0] == likeness.shape[1] and bool(
        (order == torch.arange(len(order)))[own > OWN].all()
    )
    return _with_factors(candidate, reference, None if is_plain else order, own)


def _with_factors(
    candidate: MLPWeights,
    reference: MLPWeights,
    order: torch.Tensor | None,
    own: torch.Tensor,
) -> UnitMap:
    found = int((own > OWN).sum())
    plain = UnitMap(order, None, found)
    if candidate.gate is None:  # without a gate no factor leaves the function alone, save 1
        return plain
    factors = _factors(candidate.up, plain.rows(reference.up, 0))
    back = _factors(candidate.down, plain.rows(reference.down, 0))
    sure = (own > OWN) & (torch.minimum(factors.abs(), back.abs()) > TINY)
    if not bool(sure.any()):
        return plain
    far = factors[sure].abs().log().abs().median()
    # what was put there is taken back in down; what pruning or training shrinks is not
    undone = (factors[sure] * back[sure]).abs().log().abs().median()
    negative = bool(((factors[sure] < 0) & (back[sure] < 0)).any())
    if not negative and (float(far) <= RESCALED or float(undone) > float(far) / 2):
        return plain
    return UnitMap(order, torch.where(sure, factors, torch.ones_like(factors)), found)


def _factors(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """By what each row is multiplied, at best, to be the other's."""
    return (ours * theirs).sum(dim=1) / theirs.square().sum(dim=1).clamp_min(TINY**4)


def _likeness(candidate: MLPWeights, reference: MLPWeights) -> torch.Tensor:
    """The mean cosine of two units' rows: of gate, and of up without its sign."""
    ups = _cosines(candidate.up, reference.up)
    if candidate.gate is None or reference.gate is None:
        return (ups + _cosines(candidate.down, reference.down)) / 2
    return (ups.abs() + _cosines(candidate.gate, reference.gate)) / 2


def _straight(candidate: MLPWeights, reference: MLPWeights) -> torch.Tensor:
    """The likeness of units of one number, (units,)."""
    ups = torch.nn.functional.cosine_similarity(candidate.up, reference.up, dim=1)
    if candidate.gate is None or reference.gate is None:
        downs = torch.nn.functional.cosine_similarity(candidate.down, reference.down, dim=1)
        return (ups + downs) / 2
    gates = torch.nn.functional.cosine_similarity(candidate.gate, reference.gate, dim=1)
    return (ups.abs() + gates) / 2


def _cosines(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    normal: Sequence[torch.Tensor] = [
        torch.nn.functional.normalize(side, dim=1) for side in (ours, theirs)
    ]
    return normal[0] @ normal[1].T
