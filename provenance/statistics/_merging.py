"""Units that are one in function: what an MLP can be padded with at no cost to what it computes.

``silu(g.x) (u.x) d`` is linear in ``d u^T``. So units with one gate row may share their work in any way. A
unit can be split in two, with up rows ``u/2 + r`` and ``u/2 - r`` for an r of any size: the MLP computes
the same, and neither half looks like the unit. `merge_units` sums ``d u^T`` over the units of one gate and
takes the sum apart again. A unit that was split is whole again, and a pair that cancels out is gone.

Units that add nothing, having no way out, are found by what they put into the residual stream: their
activity, times the length of their down column. Both are functions of one model, and follow a
renumbering of its units, so that they leave the null hypothesis as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from provenance.architecture.units import LinearMap
from provenance.statistics._moments import moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from provenance.architecture.units import MLPFactors

NEAR = 0.3
"""Two gates are one if their answers differ by less than this share of the smaller answer's deviation,
and their means by less than this share of the smaller root mean square. A correlation of 0.955 or more:
gates of trained models that were not copied from each other have never been seen there."""

FAINT = 0.05
"""Of the parts that a sum of units has, those below this share of the greatest are rounding, or what is
left of gates that were not quite one."""

_LOOKED_AT = 0.85
"""Cosine of two sketches above which the gates are compared: those of one gate have 0.955, less chance."""

_CHUNK = 1 << 24
_ROWS = 256


class Merged(NamedTuple):
    """An MLP with units of one gate merged.

    ``units`` has for each unit, (k,) int64, the first of those that it was made from; ``ways_out`` the
    length of each one's down column, (k,) float32.
    """

    side: MLPFactors
    units: torch.Tensor
    ways_out: torch.Tensor


def merge_units(side: MLPFactors) -> Merged | None:
    """Merge the units of one gate.

    Parameters
    ----------
    side : MLPFactors
        With a gate, and `down`.

    Returns
    -------
    Merged or None
        None where no two gates are one, which costs little to see: `down` is not read then.
    """
    if side.gate is None or side.down is None:
        return None
    labels = _groups(side.inputs, side.gate)
    if labels is None:
        return None
    down = side.down().float()  # (units, hidden)
    counts = np.bincount(labels)
    alone = torch.from_numpy((counts[labels] == 1).nonzero()[0]).to(down.device)
    parts = [_UnitGroup(side, down, alone)]
    for group in (counts > 1).nonzero()[0]:
        members = torch.from_numpy((labels == group).nonzero()[0]).to(down.device)
        parts.append(_UnitGroup.summed(side, down, members))
    gate, up = (
        LinearMap(
            torch.cat([getattr(part, name).weight for part in parts]),
            _joined([getattr(part, name).bias for part in parts]),
        )
        for name in ("gate", "up")
    )
    units = torch.cat([part.units for part in parts])
    lengths = torch.cat([part.lengths for part in parts])
    return Merged(replace(side, gate=gate, up=up, down=None), units, lengths)


class _UnitGroup:
    """Some units of an MLP with their maps, and the lengths of their down columns."""

    def __init__(self, side: MLPFactors, down: torch.Tensor, units: torch.Tensor) -> None:
        assert side.gate is not None
        self.units = units
        self.gate, self.up = (
            LinearMap(x.weight[units].float(), None if x.bias is None else x.bias[units].float())
            for x in (side.gate, side.up)
        )
        self.lengths = down[units].norm(dim=1)

    @classmethod
    def summed(cls, side: MLPFactors, down: torch.Tensor, members: torch.Tensor) -> _UnitGroup:
        """The units that the sum of ``d u^T`` over some units is made of."""
        part = cls(side, down, members)
        ups = part.up.weight
        if part.up.bias is not None:
            ups = torch.cat([ups, part.up.bias[:, None]], dim=1)
        # what is greatest of d u^T (rank <= the number of members), in float64: much of it cancels out
        left, right = (torch.linalg.qr(x.double()) for x in (down[members].T, ups.T))
        _, sizes, rows = torch.linalg.svd(left.R @ right.R.T)
        # what cancels out altogether leaves rounding of each member's own size, and no unit
        whole = float((part.lengths.double() * ups.double().norm(dim=1)).max())
        kept = sizes > max(FAINT * float(sizes[0]), 1e-5 * whole)
        wide = (rows[kept] @ right.Q.T * sizes[kept, None]).float()  # (kept, hidden [+ 1])
        gate = part.gate.weight.mean(dim=0, keepdim=True).expand(len(wide), -1)
        part.units = members[:1].expand(len(wide))
        if part.up.bias is not None:
            part.up = LinearMap(wide[:, :-1], wide[:, -1])
        else:
            part.up = LinearMap(wide)
        bias = part.gate.bias
        part.gate = LinearMap(gate, None if bias is None else bias.mean().expand(len(wide)))
        part.lengths = torch.ones(len(wide), device=down.device)
        return part


def _groups(inputs: torch.Tensor, gate: LinearMap) -> NDArray[np.int64] | None:
    """A label for each unit, the same for units of one gate; None where all differ."""
    known = moments(inputs)
    weight = gate.weight.float()
    # Gates with near answers have near answers to random mixtures of the inputs: a few suffice to tell
    # almost all others apart, and those that are left are compared on the inputs themselves.
    sketches = torch.nn.functional.normalize(weight @ known.mixtures.T, dim=1)  # (units, mixtures)
    pairs = _nearest(sketches)
    if not len(pairs):
        return None
    pairs = pairs[_near(known.sampled(), weight, pairs, _centres(gate, known.mean))]
    if not len(pairs):
        return None
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, second = pairs.T.cpu().numpy()
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(weight), len(weight)))
    labels: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def _centres(gate: LinearMap, mean: torch.Tensor) -> torch.Tensor:
    """The mean answer of each unit, (units,)."""
    centres: torch.Tensor = gate.weight.float() @ mean
    return centres if gate.bias is None else centres + gate.bias.float()


def _nearest(sketches: torch.Tensor) -> torch.Tensor:
    """Each unit with the nearest of those before it, where that is near enough to be looked at.

    Not all near pairs: of n units of one gate there are n^2, and n - 1 connect them.

    Returns
    -------
    Tensor
        (pairs, 2) int64.
    """
    pairs = [torch.zeros(0, 2, dtype=torch.int64, device=sketches.device)]
    for start in range(0, len(sketches), _ROWS):
        rows = sketches[start : start + _ROWS]
        cosines = rows @ sketches[: start + len(rows)].T
        cosines[:, start:].tril_(-1)  # its own and those after it are 0
        near = (cosines.amax(dim=1) > _LOOKED_AT).nonzero().squeeze(1)
        if len(near):
            pairs.append(torch.stack([near + start, cosines[near].argmax(dim=1)], dim=1))
    return torch.cat(pairs)


def _near(
    basis: torch.Tensor, weight: torch.Tensor, pairs: torch.Tensor, centres: torch.Tensor
) -> torch.Tensor:
    """Which of the pairs of units answer alike, bool (pairs,)."""
    alike = []
    for i, j in (chunk.T for chunk in torch.split(pairs, max(1, _CHUNK // len(basis)))):
        first, second = (basis @ weight[k].T for k in (i, j))  # (tokens, pairs)
        apart = (first - second).norm(dim=0)
        spread = torch.minimum(first.norm(dim=0), second.norm(dim=0))
        sizes = [
            (answers.square().mean(dim=0) + centres[k].square()).sqrt()
            for answers, k in ((first, i), (second, j))
        ]
        shift = (centres[i] - centres[j]).abs()
        alike.append((apart < NEAR * spread) & (shift < NEAR * torch.minimum(*sizes)))
    return torch.cat(alike)


def _joined(biases: list[torch.Tensor | None]) -> torch.Tensor | None:
    kept = [bias for bias in biases if bias is not None]
    return torch.cat(kept) if kept else None
