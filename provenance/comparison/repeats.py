"""Finds blocks of one model that are kin to each other: their p-values are no independent evidence.

A model may be grown by stacking, be a looped one that was saved untied, or be merged with itself. Equal
blocks agree with a block of a stranger by one and the same chance, and Fisher's method would take it for
many. Given one of the two models, p-values of its blocks depend on each other only where the partners are
one block of the other, or kin. So blocks with one partner count once, and so do those whose own blocks, or
whose partners, are kin.

A likeness suffices. Two blocks that it cannot tell to be kin have so few units in common that their
p-values are as good as independent (docs/statistics.md).
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import torch

from provenance._threads import spread
from provenance.architecture.units import MLPActivations, MLPFactors
from provenance.statistics.generalized import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from provenance.statistics import Glimpse, Glimpsing
    from provenance.vocabulary import Role

    Node = tuple[Role, int]
    """A block of one of the two models."""

EXCESS = 0.08
"""Units of kin blocks have this much more in common with their nearest ones than chance would give.

Of blocks within one of three real pretrained models they have at most 0.025 more, and 0.8 to 0.9 if a block
is repeated (docs/calibration.md)."""

SAMPLE = 64
"""Units of a block whose nearest counterparts are looked for in another."""

INPUTS = 64
"""Inputs that units are seen along, where the test has no glimpse of its own."""

MOST = 1 << 14
"""Of a block with more units so many are kept, evenly spaced: experts repeat in their order."""


class Seen(NamedTuple):
    """Units of a block along few inputs, (units, inputs) float16 each of length 1."""

    gate: torch.Tensor
    up: torch.Tensor


def seen(side: object, glimpse: Glimpsing | None, mlps: int = 1) -> Seen | None:
    """What of an MLP tells whether another is kin to it; None where it has no unit, or is not finite.

    Of a test that matches no gates, the two halves of the inputs stand for gate and up. ``mlps`` is how
    many the block has.
    """
    rows: Sequence[torch.Tensor]
    if glimpse is not None:
        found: Glimpse = glimpse(side)
        rows = [found.gate, found.up]
    else:
        rows = _halves(side)
    if not rows or not len(rows[0]) or not all(bool(torch.isfinite(x).all()) for x in rows):
        return None
    gate, up = (_thinned(x, MOST // mlps).half().cpu() for x in rows)
    return Seen(gate, up)


def kin_blocks(
    blocks: Mapping[int, Sequence[Seen]], threads: int | None = None
) -> set[tuple[int, int]]:
    """Pairs of a model's blocks that are kin to each other.

    Parameters
    ----------
    blocks : mapping of int to sequence of Seen
        Those of the MLPs of each block.
    threads : int, optional
        As `provenance._threads.spread` takes it.
    """
    known = {i: _joined(mlps) for i, mlps in blocks.items() if mlps}
    pairs = list(combinations(sorted(known), 2))

    def is_kin(pair: tuple[int, int]) -> bool:
        return excess(known[pair[0]], known[pair[1]]) > EXCESS

    return {pair for pair, kin in zip(pairs, spread(is_kin, pairs, threads), strict=True) if kin}


def excess(a: Seen, b: Seen) -> float:
    """How much more units have in common with the nearest of another block than if its ups were mixed."""
    places = torch.linspace(0, len(a.gate) - 1, min(SAMPLE, len(a.gate))).long()
    gate = (a.gate[places].float() @ b.gate.float().T).clamp_min_(0)  # (some, units of b)
    up = (a.up[places].float() @ b.up.float().T).abs_()
    mixed = torch.randperm(len(b.up), generator=torch.Generator().manual_seed(0))
    by_chance = (gate * up[:, mixed]).amax(dim=1).mean()
    return float(gate.mul_(up).amax(dim=1).mean() - by_chance)


def counted_together(
    met: Mapping[int, int], kin: Mapping[Role, Iterable[tuple[int, int]]]
) -> dict[int, int]:
    """The blocks of the candidate whose p-values count once.

    Parameters
    ----------
    met : mapping of int to int
        The partner of each tested block of the candidate.
    kin : mapping of str to iterable of (int, int)
        Blocks of either model that are kin to each other.

    Returns
    -------
    dict of int to int
        The first block of its group, for each block but the first of a group of several.
    """
    links: list[tuple[Node, Node]] = [(("candidate", i), ("reference", j)) for i, j in met.items()]
    links += [((role, i), (role, j)) for role, pairs in kin.items() for i, j in pairs]
    roots: dict[Node, Node] = {}

    def root(node: Node) -> Node:
        while (above := roots.get(node, node)) != node:
            node = above
        return node

    for one, other in links:
        first, second = root(one), root(other)
        if first != second:
            roots[second] = first
    firsts: dict[Node, int] = {}
    together = {}
    for i in sorted(met):
        first_of = firsts.setdefault(root(("candidate", i)), i)
        if first_of != i:
            together[i] = first_of
    return together


def _joined(mlps: Sequence[Seen]) -> Seen:
    width = min(mlp.gate.shape[1] for mlp in mlps)
    gate, up = (
        torch.cat([getattr(mlp, name)[:, :width] for mlp in mlps]) for name in ("gate", "up")
    )
    return Seen(gate, up)


def _thinned(rows: torch.Tensor, most: int) -> torch.Tensor:
    if len(rows) <= most:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, max(1, most)).long().to(rows.device)]


def _halves(side: object) -> Sequence[torch.Tensor]:
    """Ways in and ways out of an imitation; else two halves of what a test is given of the ups."""
    if isinstance(side, MLPActivations | MLPFactors):
        ups = side.dense().up.T.float()  # (units, inputs)
        rows = [ups[:, ::2], ups[:, 1::2]]
    elif isinstance(side, Proxy):
        rows = [side.gate, side.down.T]
    else:
        return ()
    few = [
        x[:, torch.linspace(0, x.shape[1] - 1, min(INPUTS, x.shape[1])).long().to(x.device)]
        for x in rows
    ]
    live = (few[0].norm(dim=1) > 0) & (few[1].norm(dim=1) > 0)
    return [torch.nn.functional.normalize(x[live], dim=1) for x in few]
