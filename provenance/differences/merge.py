"""A model as a combination of parents, fitted by least squares once each of them is mapped onto it.

The shares sum to 1, as those of a linear merge do, and those of task arithmetic where the base is one of
the parents: then ``c - p0 = s1 (p1 - p0) + s2 (p2 - p0) + ...``, in which what all have in common is gone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from provenance.differences.interval import half_interval
from provenance.differences.sparse import Traces
from provenance.differences.together import Together
from provenance.errors import DegenerateError
from provenance.evidence.decomposition import BlockShares, Decomposition
from provenance.vocabulary import BLOCKS_OF_DIFFERENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from provenance.differences.side import Side

__all__ = ["Fit", "decompose_into", "settle"]

APART = 1e-6
"""Least eigenvalue of the correlations of the parents' differences: below it two of them are one model."""


@dataclass
class Fit:
    """The sums of a least-squares fit, of float64 numbers that are added as they come.

    ``gram`` is (parents - 1, parents - 1), ``target`` (parents - 1,): of differences from the first parent.
    ``away`` is (parents, parents): of the model's differences from each.
    """

    gram: NDArray[np.float64]
    target: NDArray[np.float64]
    away: NDArray[np.float64]

    @classmethod
    def of(cls, model: torch.Tensor, parents: Sequence[torch.Tensor]) -> Fit:
        """The sums of one matrix."""
        first = parents[0].double()
        others = torch.stack([(one.double() - first).reshape(-1) for one in parents[1:]])
        away = torch.stack([(model.double() - one.double()).reshape(-1) for one in parents])
        return cls((others @ others.T).numpy(), (others @ away[0]).numpy(), (away @ away.T).numpy())

    def __add__(self, other: Fit) -> Fit:
        return Fit(self.gram + other.gram, self.target + other.target, self.away + other.away)

    def shares(self) -> NDArray[np.float64] | None:
        """The shares of all parents; None where their differences tell them not apart."""
        sizes = np.sqrt(np.diag(self.gram))
        if not (sizes > 0).all():
            return None
        correlations = self.gram / np.outer(sizes, sizes)
        if float(np.linalg.eigvalsh(correlations)[0]) < APART:
            return None
        others = np.linalg.solve(correlations, self.target / sizes) / sizes
        return np.concatenate([[1 - others.sum()], others])

    def left_over(self, shares: NDArray[np.float64]) -> float:
        """The size of what shares leave over, over the distance to the nearest parent."""
        nearest = float(self.away.diagonal().min())
        others = shares[1:]
        from_first = np.array(
            [self.away[0, 0], -2 * others @ self.target, others @ self.gram @ others]
        )
        from_each = np.outer(shares, shares) * self.away
        # of a parent, or a model, with huge numbers one of the two is a small rest of large terms
        terms = min(from_first, from_each, key=lambda one: float(np.abs(one).sum()))
        left = max(0.0, float(terms.sum()))
        return float(np.sqrt(left / nearest)) if nearest > 0 else 0.0


def settle(together: Together) -> None:
    """Turn all by one rotation, which is found beside the shares in the first block."""

    def shares_now() -> list[float] | None:
        fits = [Fit.of(one.ours, one.others) for one in together.matrices(together.blocks[0])]
        shares = _sum(fits).shares() if fits else None
        return None if shares is None else shares.tolist()

    together.turn(shares_now)


def decompose_into(
    model: Side,
    parents: Sequence[tuple[Side, Mapping[int, int]]],
    *,
    most: int | None = BLOCKS_OF_DIFFERENCE,
    seed: int = 0,
    on_block: Callable[[int, int], None] | None = None,
) -> Decomposition:
    """Fit a model by parents.

    Parameters
    ----------
    model : Side
        The model.
    parents : sequence of (Side, mapping of int to int)
        Two parents or more, each with its block that each block of the model is kin to.
    most, seed, on_block
        As for `provenance.differences.measure.measure`.

    Raises
    ------
    DegenerateError
        If the parents have no block of the model in common, or two of them are one model.
    """
    together = Together(model, parents, most=most, seed=seed)

    traces = Traces(len(parents), seed)

    settle(together)
    found: dict[int, list[Fit]] = {}
    for done, block in enumerate(together.blocks):
        if on_block is not None:
            on_block(done, len(together.blocks))
        matrices = together.matrices(block)
        found[block] = [Fit.of(one.ours, one.others) for one in matrices]
        for one in () if together.is_turned else matrices:
            traces.see(block, one)
    names = tuple(side.checkpoint.source for side, _ in parents)
    fitted = _decomposition(names, {block: some for block, some in found.items() if some})
    return replace(fitted, sparse=traces.merge(), left_out=together.left_out)


def _decomposition(names: tuple[str, ...], fits: Mapping[int, Sequence[Fit]]) -> Decomposition:
    blocks = {block: _sum(some) for block, some in fits.items()}
    every = [fit for some in fits.values() for fit in some]
    whole = _sum(every) if every else None
    shares = None if whole is None else whole.shares()
    if whole is None or shares is None:
        raise DegenerateError(
            "two of the parents are one model in what could be mapped: name each parent once"
        )
    single = [found for fit in every if (found := fit.shares()) is not None]
    if len(single) < 2:
        raise DegenerateError(
            "the shares of fewer than two matrices could be told, which say nothing of their spread"
        )
    half = half_interval(np.array(single))
    return Decomposition(
        parents=names,
        shares=tuple(shares.tolist()),
        low=tuple((shares - half).tolist()),
        high=tuple((shares + half).tolist()),
        left_over=min(1.0, whole.left_over(shares)),
        blocks=tuple(
            BlockShares(block, tuple(found.tolist()), min(1.0, fit.left_over(found)))
            for block, fit in blocks.items()
            if (found := fit.shares()) is not None
        ),
        matrices=len(every),
    )


def _sum(fits: Sequence[Fit]) -> Fit:
    first, *others = fits
    return sum(others, first)
