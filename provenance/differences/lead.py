"""How much nearer a model is to one of two kin than to the other, once both are mapped onto it.

Models that learned the same text moved in the same strong directions, whoever they are, and so seem nearer
to each other. As in `provenance.differences.given`, these directions are taken out as well.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import torch

from provenance.differences.given import LOW, in_weak_directions
from provenance.differences.merge import settle
from provenance.differences.together import Together
from provenance.errors import DegenerateError
from provenance.evidence.leads import Lead
from provenance.vocabulary import BLOCKS_OF_DIFFERENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from provenance.differences.side import Side

__all__ = ["lead_of"]


def lead_of(
    model: Side,
    first: tuple[Side, Mapping[int, int]],
    second: tuple[Side, Mapping[int, int]],
    *,
    most: int | None = BLOCKS_OF_DIFFERENCE,
    seed: int = 0,
    on_block: Callable[[int, int], None] | None = None,
) -> Lead:
    """Measure the lead of one of two kin of a model over the other.

    Parameters
    ----------
    model : Side
        The model.
    first, second : (Side, mapping of int to int)
        Two kin, each with its block that each block of the model is kin to.
    most, seed, on_block
        As for `provenance.differences.measure.measure`.

    Raises
    ------
    DegenerateError
        If nothing can be mapped, or the two differ in nothing that was looked at.
    """
    together = Together(model, [second, first], most=most, seed=seed)
    generator = torch.Generator().manual_seed(seed % 2**63)
    settle(together)
    far: dict[int, list[tuple[float, float, float]]] = defaultdict(list)
    leads: list[float] = []
    weak: list[float] = []
    for done, block in enumerate(together.blocks):
        if on_block is not None:
            on_block(done, len(together.blocks))
        for one in together.matrices(block):
            its, nearer = (other.double() for other in one.others)
            own, between = one.ours.double() - its, nearer - its
            sizes = _squares(nearer), _squares(its)
            away = _squares(own - between), _squares(own), _squares(between)
            if min(sizes) > 0:
                over = (sizes[0], sizes[1], sizes[0])
                far[block].append(_relative(away, over))
            if away[2] == 0:
                continue
            leads.append((away[1] - away[0]) / away[2])
            found = in_weak_directions(own, between, generator) if away[1] > 0 else None
            if found is not None:
                weak.append(2 * found[1] - 1)
    if not leads:
        raise DegenerateError("the two differ in nothing that was looked at")
    return _lead(far, leads, weak)


def _squares(tensor: torch.Tensor) -> float:
    return float(tensor.double().square().sum())


def _relative(away: Sequence[float], over: Sequence[float]) -> tuple[float, float, float]:
    first, second, between = ((a / b) ** 0.5 for a, b in zip(away, over, strict=True))
    return first, second, between


def _lead(
    far: Mapping[int, Sequence[tuple[float, float, float]]],
    leads: Sequence[float],
    weak: Sequence[float],
) -> Lead:
    middles = {
        block: [median(column) for column in zip(*rows, strict=True)] for block, rows in far.items()
    }
    quantiles: list[float] | list[None] = [None] * 3
    if weak:
        quantiles = np.quantile(weak, [LOW, 0.5, 1 - LOW]).tolist()
    return Lead(
        blocks=tuple((block, row[0], row[1]) for block, row in middles.items()),
        between=median(row[2] for row in middles.values()),
        lead=median(leads),
        weak=quantiles[1],
        low=quantiles[0],
        high=quantiles[2],
        matrices=len(leads),
    )
