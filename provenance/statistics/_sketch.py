"""Sketches of a side: what its units answer, along a few public random directions.

A unit's answers to the tokens, less their mean and scaled to length 1, are multiplied by a matrix of
random signs, (tokens, K). Products of two sketches are products of the answers, but for noise of
``1 / sqrt(K)`` (Johnson and Lindenstrauss; signs: Achlioptas 2003, "Database-friendly random projections").
Each side's sketch is a function of that side alone and follows a renumbering of its units, so that what
`match` assumes of answers under the null hypothesis holds of sketches too.

The matrix is drawn from SHAKE-256 of the token ids' digest. Equal ids give an equal matrix on every machine
and with every version of every library.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import shake_256
from typing import TYPE_CHECKING

import numpy as np
import torch

from provenance.statistics._activity import Core
from provenance.statistics._directions import Directions, directions
from provenance.vocabulary import ROLES

if TYPE_CHECKING:
    from provenance.architecture.units import MLPFactors, MLPUnits
    from provenance.vocabulary import Role

SKETCH_VERSION = 1
"""Raised whenever the same answers would give another sketch."""


@dataclass(frozen=True, eq=False)
class Sketch:
    """The live units of one MLP, in order of their numbers, as a bundle holds them.

    Attributes
    ----------
    units : int
        Units of the MLP.
    live : Tensor
        (k,) int64, not falling: the unit that each row stands for. One that is several units of one gate
        stands twice or more, see `merge_units`.
    gate, up : Tensor
        (k, columns) float32, each row of length 1.
    share : Tensor
        (k,) float32: of what the MLP adds to the residual stream, the share of each.
    whole : bool
        Whether the columns are the tokens, and no sketch of them.
    """

    units: int
    live: torch.Tensor
    gate: torch.Tensor
    up: torch.Tensor
    share: torch.Tensor
    whole: bool = False


@dataclass(frozen=True)
class Sketcher:
    """Prepares sides to be compared by sketches of one kind.

    Attributes
    ----------
    inputs : str
        Digest of the token ids.
    tokens : int
        How many.
    columns : int or None
        Numbers a unit; None leaves answers whole.
    """

    inputs: str
    tokens: int
    columns: int | None

    def matrix(self) -> torch.Tensor:
        """The public matrix, (tokens, columns) float32 of signs; its first columns are those of fewer."""
        assert self.columns is not None
        return _signs(self.inputs, self.tokens, self.columns)

    def of(self, side: MLPFactors) -> Sketch:
        """Sketch a side that has a way out, in order of its units.

        Raises
        ------
        DegenerateError
            As `directions`.
        """
        prepared = directions(side, "reference", 0, centred=True)
        assert prepared.core is not None
        order = prepared.live.argsort(stable=True)
        gate, up = self._sketched(prepared)
        added = prepared.core.added
        share = added / added.sum().clamp_min(torch.finfo(torch.float64).tiny)
        live, gate, up, share = (x[order].cpu() for x in (prepared.live, gate, up, share.float()))
        return Sketch(prepared.units, live, gate, up, share, whole=self.columns is None)

    def prepare(self, side: MLPUnits | Sketch, role: Role, seed: int) -> Directions:
        """Prepare a side of `match`: a model's, or one of a bundle, which may have more columns."""
        if isinstance(side, Sketch):
            return self._of_bundle(side, role, seed)
        prepared = directions(side, role, seed, centred=True)
        if self.columns is None:
            return prepared
        gate, up = self._sketched(prepared)
        return replace(prepared, tokens=self.columns, gate=gate, up=up, basis=None)

    def _sketched(self, side: Directions) -> tuple[torch.Tensor, torch.Tensor]:
        """Gate and up, (k, columns), each row of length 1."""
        if self.columns is None:
            along = None if side.basis is None else side.basis.T
        else:
            along = self.matrix().to(side.gate.device)
            along = along if side.basis is None else side.basis.T @ along
        gate, up = (_unit(x if along is None else x @ along) for x in (side.gate, side.up))
        return gate, up

    def _of_bundle(self, side: Sketch, role: Role, seed: int) -> Directions:
        rng = np.random.default_rng([seed, ROLES.index(role)])
        order = torch.from_numpy(rng.permutation(len(side.live))).to(side.gate.device)
        gate, up = (self._narrowed(x, whole=side.whole)[order] for x in (side.gate, side.up))
        strength = side.share[order].sqrt()
        core = Core(lambda: strength, lambda: torch.ones_like(strength))
        tokens = self.tokens if self.columns is None else self.columns
        return Directions(side.units, tokens, side.live[order], gate, up, core=core)

    def _narrowed(self, rows: torch.Tensor, *, whole: bool) -> torch.Tensor:
        """Rows of a bundle's, of this sketch's columns."""
        if self.columns is None:
            return _unit(rows)
        if whole:
            return _unit(rows @ self.matrix().to(rows.device))
        return _unit(rows[:, : self.columns])


@lru_cache(maxsize=4)
def _signs(inputs: str, tokens: int, columns: int) -> torch.Tensor:
    size = -(-tokens // 8)
    drawn = []
    for column in range(columns):
        seed = f"provenance sketch {SKETCH_VERSION}:{inputs}:{column}".encode()
        bits = np.frombuffer(shake_256(seed).digest(size), dtype=np.uint8)
        drawn.append(np.unpackbits(bits)[:tokens])
    return torch.from_numpy(2.0 * np.stack(drawn, axis=1).astype(np.float32) - 1.0)


def _unit(rows: torch.Tensor) -> torch.Tensor:
    """Rows scaled to length 1."""
    unit: torch.Tensor = rows / rows.norm(dim=1, keepdim=True).clamp_min(
        torch.finfo(torch.float32).tiny
    )
    return unit
