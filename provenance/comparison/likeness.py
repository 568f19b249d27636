"""Chooses the blocks that are worth an exact test, where testing all pairs of them would take hours.

The reported p-value is corrected for all pairs, tested or not. The least of those tested is no smaller than
the least of all, so the choice costs no validity. A wrong choice costs power.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from provenance._threads import spread
from provenance.comparison.limits import SAMPLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.statistics import Glimpse


@dataclass(frozen=True)
class _Seen:
    """The units of a block, and some of them, each as (units, tokens): gate, up."""

    all: tuple[torch.Tensor, torch.Tensor]
    some: tuple[torch.Tensor, torch.Tensor]

    @classmethod
    def of(cls, mlps: Sequence[Glimpse]) -> _Seen | None:
        mlps = [mlp for mlp in mlps if len(mlp.gate)]  # none of whose units is live
        if not mlps:
            return None
        gate, up = torch.cat([mlp.gate for mlp in mlps]), torch.cat([mlp.up for mlp in mlps])
        places = torch.linspace(0, len(gate) - 1, min(SAMPLE, len(gate))).long().to(gate.device)
        return cls((gate, up), (gate[places], up[places]))


def likeliest(
    candidate: Sequence[Sequence[Glimpse]],
    reference: Sequence[Sequence[Glimpse]],
    threads: int | None = None,
) -> list[list[int]]:
    """Rank the blocks of the reference by how like each block of the candidate they are.

    Parameters
    ----------
    candidate, reference : sequence of sequence of Glimpse
        Those of the MLPs of each block; none where a block has no MLP that can be tested.
    threads : int, optional
        As `provenance._threads.spread` takes it.

    Returns
    -------
    list of list of int
        For each block of the candidate, places in ``reference``, the likeliest first.
    """
    ours, theirs = ([_Seen.of(mlps) for mlps in side] for side in (candidate, reference))
    table = likeness(ours, theirs, threads)
    order: list[list[int]] = table.argsort(dim=1, descending=True, stable=True).tolist()
    return order


def likeness(
    candidate: Sequence[_Seen | None],
    reference: Sequence[_Seen | None],
    threads: int | None = None,
) -> torch.Tensor:
    """How like blocks are, less what all have in common with a row and with a column.

    A unit's nearest counterpart is the one that its gate *and* its up point at. So idle units, which
    an adversary may add at will, raise a likeness only where they make the exact test dependent too; and
    they cannot lower it, since the other model's units look for theirs among all.

    Returns
    -------
    Tensor
        (blocks of the candidate, blocks of the reference) float32.
    """

    def like(a: _Seen | None) -> list[float]:
        return [
            0.0 if a is None or b is None else _nearest(a.some, b.all) + _nearest(b.some, a.all)
            for b in reference
        ]

    table = torch.tensor(list(spread(like, candidate, threads))).reshape(-1, len(reference))
    return table - table.mean(dim=0) - table.mean(dim=1, keepdim=True)


def _nearest(
    some: tuple[torch.Tensor, torch.Tensor], others: tuple[torch.Tensor, torch.Tensor]
) -> float:
    """The mean of what the nearest of the others has in common with each unit."""
    gate = (some[0] @ others[0].T).abs_()  # (some, others)
    up = (some[1] @ others[1].T).abs_()
    return float(gate.mul_(up).amax(dim=1).mean())
