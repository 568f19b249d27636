"""The power control: whether a copy of either model would have been found, on the very inputs of the pair.

Blocks of a model are tested against copies of themselves in a disguise: units and coordinates of the
residual stream permuted, ups rescaled and some negated, all weights moved a little. Where a test does not
find such a copy, it would not find a descendant either. That it found nothing then says nothing.

No model is made, loaded or run for it: a few of the blocks that were tested are tested once more.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import torch

from provenance._threads import spread
from provenance.architecture.units import LinearMap, MLPActivations, MLPFactors
from provenance.errors import DegenerateError
from provenance.evidence.models import PowerRecord
from provenance.loading.devices import is_out_of_memory
from provenance.statistics._sketch import Sketch
from provenance.statistics.pvalues import bonferroni, fisher
from provenance.vocabulary import ROLES, SAMPLED_UNITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provenance.comparison.sides import Place, Sides
    from provenance.vocabulary import Role

NOISE = 0.1
"""How far weights are moved, in standard deviations of all a unit has: a fine-tune moves them by 0.01."""


Tried: TypeAlias = MLPActivations | MLPFactors | Sketch
"""What a test is given of an MLP that can be disguised: imitations cannot."""


def disguised(mlp: Tried, seed: int) -> Tried:
    """Return a copy of an MLP that computes nearly the same, in another order of units and coordinates.

    Parameters
    ----------
    mlp : MLPActivations or MLPFactors or Sketch
        As a capture, weight files or a fingerprint have it.
    seed : int
        Of all that is drawn.

    Returns
    -------
    MLPActivations or MLPFactors or Sketch
        Of the same shapes and dtypes. Gates are not rescaled: most activations keep no function by that.
    """
    draw = torch.Generator().manual_seed(seed)
    if isinstance(mlp, Sketch):
        return _of_sketch(mlp, draw)
    if isinstance(mlp, MLPActivations):
        return _of_answers(mlp, draw)
    order, scales = _changes(mlp.up.weight, draw, free=mlp.gate is not None)
    coordinates = torch.randperm(mlp.inputs.shape[1], generator=draw).to(mlp.inputs.device)

    def copied(linear: LinearMap, by: torch.Tensor) -> LinearMap:
        weight = _moved(linear.weight, draw)[order][:, coordinates]
        bias = None if linear.bias is None else linear.bias[order] * by[:, 0]
        return LinearMap(weight * by, bias)

    down = mlp.down
    return replace(
        mlp,
        inputs=mlp.inputs[:, coordinates],
        gate=None if mlp.gate is None else copied(mlp.gate, torch.ones_like(scales)),
        up=copied(mlp.up, scales),
        down=None if down is None else lambda: (down()[order] / scales)[:, coordinates],
    )


def _of_answers(mlp: MLPActivations, draw: torch.Generator) -> MLPActivations:
    order, scales = _changes(mlp.up.T, draw, free=mlp.gate is not None)
    gate = None if mlp.gate is None else _moved(mlp.gate.T, draw)[order].T
    down = mlp.down
    way_out = None if down is None else lambda: down()[order] / scales
    return replace(mlp, gate=gate, up=(_moved(mlp.up.T, draw)[order] * scales).T, down=way_out)


def _of_sketch(mlp: Sketch, draw: torch.Generator) -> Sketch:
    """Rows keep length 1, so that their ups change their signs alone."""
    order, scales = _changes(mlp.up, draw, free=True)
    gate, up = (
        torch.nn.functional.normalize(_moved(rows, draw)[order], dim=1)
        for rows in (mlp.gate, mlp.up)
    )
    return replace(mlp, gate=gate, up=up * scales.sign(), share=mlp.share[order])


def _changes(
    rows: torch.Tensor, draw: torch.Generator, *, free: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """An order of units, (units,), and what their ups are multiplied by, (units, 1): 1 unless ``free``."""
    order = torch.randperm(len(rows), generator=draw)
    drawn = torch.randn(len(rows), 1, generator=draw)
    scales = (drawn.sign() * (1 + drawn.abs())).to(rows) if free else rows.new_ones(len(rows), 1)
    return order.to(rows.device), scales


def _moved(rows: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """Rows of units, each moved by noise of its own size."""
    noise = torch.randn(rows.shape, generator=draw).to(rows.device)
    exact = rows.float()
    spread_of_row = exact.std(dim=1, keepdim=True, correction=0)
    return (exact + noise * spread_of_row * NOISE).to(rows.dtype)


def power_of(
    sides: Sides, role: Role, prices: Mapping[int, int], threads: int | None = None
) -> PowerRecord | None:
    """Test blocks of one side against their copies.

    Parameters
    ----------
    sides : Sides
        What the pair was tested on.
    role : str
        The side.
    prices : mapping of int to int
        The side's blocks that are tried, with the number of tests that their p-values are corrected for:
        as many as those of the pair.
    threads : int, optional
        As `provenance._threads.spread` takes it.

    Returns
    -------
    PowerRecord or None
        None where the test is of imitations, which are not disguised.
    """
    blocks = sorted(prices)
    find = partial(_find_copy, sides, role)
    found = list(spread(find, blocks, threads, too_much=is_out_of_memory))
    if any(result is None for result in found):
        return None
    reasons = [result for result in found if isinstance(result, str)]
    ps = [result if isinstance(result, float) else 0.0 for result in found]
    log10_p = fisher([bonferroni(p, prices[i]) for i, p in zip(blocks, ps, strict=True)])
    return PowerRecord(
        sides.component.statistic,
        tuple(blocks),
        log10_p,
        reasons[0] if len(reasons) == len(found) else None,
    )


def _find_copy(sides: Sides, role: Role, index: int) -> float | str | None:
    """log10 p of a block against its copy; why there is none; None where it cannot be disguised."""
    component = sides.component
    try:
        place = _place(sides, role, index)
        original = sides.read(role, place)
        if not isinstance(original, Tried):
            return None
        copied = original if component.pairs is None else _some_units(original)
        copy = disguised(copied, sides.seed + index)
        if component.prepare is not None:
            other = next(one for one in ROLES if one != role)
            copy = component.prepare(copy, other, sides.seed)
        pair = {role: sides.get(role, place), "copy": copy}
        ours, theirs = ("copy", role) if role == "reference" else (role, "copy")
        return float(component.test(pair[ours], pair[theirs], seed=sides.seed).log10_p)
    except DegenerateError as error:
        return str(error)


def _some_units(mlp: Tried) -> Tried:
    """As many units of an MLP as a sample has, evenly spaced."""
    if isinstance(mlp, Sketch) or mlp.gate is None:
        return mlp
    rows = mlp.up.weight if isinstance(mlp, MLPFactors) else mlp.up.T
    units = torch.linspace(0, len(rows) - 1, min(SAMPLED_UNITS, len(rows))).long().to(rows.device)
    if isinstance(mlp, MLPActivations):
        return replace(mlp, gate=mlp.gate[:, units], up=mlp.up[:, units], down=None)
    gate, up = (
        LinearMap(x.weight[units], None if x.bias is None else x.bias[units])
        for x in (mlp.gate, mlp.up)
    )
    return replace(mlp, gate=gate, up=up, down=None)


def _place(sides: Sides, role: Role, index: int) -> Place:
    """The MLP that stands for its block: those that are tested as one, else the widest."""
    mlps = getattr(sides.component, role).shape.mlps[index]
    if sides.together(role, index):
        return index, len(mlps)
    read = range(len(mlps)) if sides.component.pairs is None else _read_of(sides, role, index)
    return index, max(read, key=lambda at: mlps[at].units)


def _read_of(sides: Sides, role: Role, index: int) -> list[int]:
    """The places of the MLPs of a block of which a sample was read."""
    which = ROLES.index(role)
    return [
        place[which]
        for blocks, places in (sides.component.pairs or {}).items()
        if blocks[which] == index
        for place in places
    ]
