"""Several models mapped onto one, block by block: each matrix of it beside its counterparts in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch

from provenance.differences.align import Alignment
from provenance.differences.digits import Storage
from provenance.differences.measure import spread
from provenance.differences.residual import ResidualMap, nearest_rotation
from provenance.errors import DegenerateError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from provenance.differences.matrix import Pair
    from provenance.differences.side import Side

__all__ = ["Matrix", "Together"]

ROUNDS, SETTLED = 8, 1e-5
"""Of a rotation that is found beside shares: rounds at most, and the change of a share that ends them."""


@dataclass(frozen=True)
class Matrix:
    """A matrix of the model beside its counterparts, all float32 of one shape.

    ``storage`` is how the model's files have it.
    """

    ours: torch.Tensor
    others: list[torch.Tensor]
    storage: Storage


@dataclass
class _Seen:
    """The matrices of one block, as each alignment shows them."""

    model: dict[str, torch.Tensor] = field(default_factory=dict)
    storage: dict[str, Storage] = field(default_factory=dict)
    others: list[dict[str, torch.Tensor]] = field(default_factory=list)

    def see(self, place: int, name: str, _blocks: tuple[int, int] | None, pair: Pair) -> None:
        if pair.mapped.dim() > 1 and not pair.fitted:
            if name not in self.storage:
                self.storage[name] = Storage.of(pair.stored)
            self.model[name] = pair.mapped
            self.others[place][name] = pair.counterpart


class Together:
    """Models that are kin to one, each mapped onto it.

    Parameters
    ----------
    model : Side
        The model that the others are mapped onto.
    others : sequence of (Side, mapping of int to int)
        Each with its block that each block of the model is kin to.
    most : int, optional
        Blocks of the model that are looked at, evenly spread; None for all.
    seed : int
        Of what is drawn at random.

    Attributes
    ----------
    blocks : tuple of int
        The blocks of the model that are looked at, all of which are kin to a block of every other.

    Raises
    ------
    DegenerateError
        If the others have no block of the model in common, or nothing can be mapped.
    """

    def __init__(
        self,
        model: Side,
        others: Sequence[tuple[Side, Mapping[int, int]]],
        *,
        most: int | None,
        seed: int,
    ) -> None:
        common = set.intersection(*(set(blocks) for _, blocks in others))
        if not common:
            raise DegenerateError("no block of the model is kin to a block of every parent")
        self.blocks = spread(sorted(common), most)
        self._seen = _Seen()
        self._maps = [blocks for _, blocks in others]
        self._alignments = [
            Alignment(model, side, partial(self._seen.see, place))
            for place, (side, _) in enumerate(others)
        ]
        for alignment, blocks in zip(self._alignments, self._maps, strict=True):
            alignment.embed(seed)
            alignment.fold(self.blocks[0], blocks[self.blocks[0]])
        # the model itself must be one and the same beside every other
        folded = any(alignment.folded for alignment in self._alignments)
        for alignment in self._alignments:
            alignment.folded = folded

    @property
    def is_turned(self) -> bool:
        """Whether a map multiplies by a rotation, which is not known to the last digit of a number."""
        return any(one.residual.rotation is not None for one in self._alignments)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The parameters of blocks that were looked at so far that could not be mapped onto every other."""
        every = (name for one in self._alignments for name in one.left_out)
        return tuple(dict.fromkeys(every))

    def matrices(self, block: int) -> list[Matrix]:
        """Every matrix of a block that could be mapped, with its counterparts."""
        seen = self._seen
        seen.model, seen.storage, seen.others = {}, {}, [{} for _ in self._maps]
        for alignment, blocks in zip(self._alignments, self._maps, strict=True):
            alignment.block(block, blocks[block])
        shown = (name for name in seen.model if all(name in one for one in seen.others))
        return [
            Matrix(seen.model[name], [one[name] for one in seen.others], seen.storage[name])
            for name in shown
        ]

    def turn(self, shares_now: Callable[[], Sequence[float] | None]) -> None:
        """Turn all by one rotation, of their combination onto the model: its own takes a part of each.

        Nothing is done where they are not turned, or lie in different coordinates.

        Parameters
        ----------
        shares_now : callable
            Gives the share of each, as the rotation is now; None where it cannot be told.
        """
        alignments = self._alignments
        if any(one.residual.kind != "rotated" or one.rows is None for one in alignments):
            return
        tables = [one.embedded(*one.rows) for one in alignments if one.rows is not None]
        model, first = tables[0]
        if any(not torch.equal(ours, model) or _is_apart(first, its) for ours, its in tables):
            return
        shares = [1 / len(tables)] * len(tables)
        for _ in range(ROUNDS):
            combined = sum(
                (share * its for share, (_, its) in zip(shares, tables, strict=True)),
                torch.zeros_like(first),
            )
            rotation, left = nearest_rotation(model, combined)
            for one in alignments:
                one.residual = ResidualMap("rotated", left, rotation=rotation)
            found = shares_now()
            if found is None:
                return
            change = max(abs(now - then) for now, then in zip(found, shares, strict=True))
            if change < SETTLED:
                return
            shares = [float(share) for share in found]


def _is_apart(first: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether the embeddings of two models lie in different coordinates."""
    return first.shape != other.shape or float((first - other).norm()) > float(first.norm())
