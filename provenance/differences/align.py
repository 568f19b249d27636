"""The map of one of two kin onto the other, block by block; a visitor is shown every matrix that is mapped.

One block of each model is in memory at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from provenance.differences.heads import HeadMap, Heads, head_map
from provenance.differences.matrix import Pair
from provenance.differences.residual import ResidualMap, residual_map
from provenance.differences.side import HEAD, Side
from provenance.differences.tokens import paired_rows
from provenance.differences.units import MLPWeights, unit_map
from provenance.errors import DegenerateError
from provenance.evidence.difference import BlockMap, DifferenceRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from provenance.architecture.records import MLPRecord, Projection
    from provenance.differences.units import UnitMap
    from provenance.evidence.difference import MatrixDifference, Moved, Tokens

__all__ = ["Alignment"]

FAR = 0.9
"""A rotation that leaves so much of the embeddings maps nothing: the two are not kin there."""
OTHER_GAINS = 0.2
"""Relative difference of the gains of norms from which it is tried whether they were moved elsewhere."""


@dataclass
class Alignment:
    """Maps the reference onto the candidate, a block at a time.

    Attributes
    ----------
    candidate, reference : Side
        Two models that are kin.
    visit : callable
        Gets each matrix, once it is mapped: its name, the candidate's and the reference's block (None
        outside of blocks), and the two. It may replace it between blocks.
    """

    candidate: Side
    reference: Side
    visit: Callable[[str, tuple[int, int] | None, Pair], None]
    residual: ResidualMap = field(default_factory=lambda: ResidualMap("same", 0.0))
    folded: bool = False
    how: Tokens = "by id"
    rows: tuple[torch.Tensor, torch.Tensor] | None = None
    maps: list[BlockMap] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    # the residual stream

    def embed(self, seed: int) -> None:
        """Choose the pairing of tokens, and the map of coordinates, that leave the least."""
        best: ResidualMap | None = None
        for how, ours, theirs in paired_rows(self.candidate, self.reference, seed):
            found = residual_map(*self.embedded(ours, theirs))
            if best is None or found.fit < best.fit / 2:
                best, self.how, self.rows = found, how, (ours, theirs)
        widths = {max(r.hidden for r in side.layout.trace.mlps) for side in self._sides}
        if best is not None and best.fit < FAR:
            self.residual = best
        elif len(widths) > 1:
            raise DegenerateError(
                "their embeddings have nothing in common, and their widths differ"
            )
        else:
            self.residual = ResidualMap("same", 1.0 if best is None else best.fit)
        self.folded = self.residual.kind == "rotated"

    def embedded(
        self, ours: torch.Tensor, theirs: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of both embeddings, float32."""
        assert self.candidate.embedding is not None
        assert self.reference.embedding is not None
        return (
            self.candidate.rows(self.candidate.embedding, ours).float(),
            self.reference.rows(self.reference.embedding, theirs).float(),
        )

    def fold(self, block: int, partner: int) -> None:
        """See whether gains of norms were moved into the matrices that read them."""
        records = self._records(block, partner)
        if self.folded or not records:
            return
        ours, theirs = records[0]
        gains = self.candidate.gain(block, None, ours), self.reference.gain(partner, None, theirs)
        if gains[0] is None or gains[1] is None:
            return
        mapped = self.residual(gains[1], 0)
        if float((gains[0] - mapped).norm()) <= OTHER_GAINS * float(mapped.norm()):
            return
        left = {
            folded: self._left(ours, theirs, block, partner, folded=folded)
            for folded in (False, True)
        }
        self.folded = left[True] < left[False] / 2

    def _left(
        self, ours: MLPRecord, theirs: MLPRecord, block: int, partner: int, *, folded: bool
    ) -> float:
        mlps = (
            self._mlp(self.candidate, ours, block, folded=folded),
            self._mapped_mlp(theirs, partner, folded=folded),
        )
        found = unit_map(*mlps)
        if found is None:
            return float("inf")
        up = found.rows(mlps[1].up, 1)
        return float((mlps[0].up - up).norm() / up.norm().clamp_min(1e-30))

    # one block

    def block(self, block: int, partner: int) -> None:
        """Map and compare one block."""
        moved: list[Moved] = []
        found, units, reason = 0, 0, None
        for ours, theirs in self._records(block, partner):
            mapped = self._units(ours, theirs, block, partner)
            units += ours.units
            if mapped is None:
                reason = "no map finds half of the units of its MLP"
                self.left_out += [
                    p.parameter for p in (ours.gate, ours.up, ours.down) if p is not None
                ]
                continue
            found += mapped.found
            moved += mapped.moved
        heads = self._heads(block, partner)
        moved += () if heads is None else heads.moved
        self._others(block, partner, heads)
        self.maps.append(
            BlockMap(block, partner, (found, units), tuple(dict.fromkeys(moved)), reason)
        )

    def _records(self, block: int, partner: int) -> list[tuple[MLPRecord, MLPRecord]]:
        ours, theirs = self.candidate.mlps(block), self.reference.mlps(partner)
        return [(ours[key], theirs[key]) for key in ours if key in theirs]

    def _units(
        self, ours: MLPRecord, theirs: MLPRecord, block: int, partner: int
    ) -> UnitMap | None:
        candidate = self._mlp(self.candidate, ours, block, folded=self.folded)
        reference = self._mapped_mlp(theirs, partner, folded=self.folded)
        found = unit_map(candidate, reference)
        if found is None:
            return None
        sides = [
            ("gate", ours.gate, theirs.gate, candidate.gate, reference.gate, 0),
            ("up", ours.up, theirs.up, candidate.up, reference.up, 1),
            ("down", ours.down, theirs.down, candidate.down, reference.down, -1),
        ]
        for what, own, other, mine, its, power in sides:
            if own is None or other is None or mine is None or its is None:
                continue
            stored, original = self.candidate.projection(own), self.reference.projection(other)
            mapped, counterpart = mine, found.rows(its, power)
            if what == "down":  # one row a unit is how it is matched, not how it is stored
                stored, original, mapped, counterpart = (
                    one.T.contiguous() for one in (stored, original, mapped, counterpart)
                )
            fitted = bool(power) and found.factors is not None
            exact = not self.folded and self.residual.rotation is None and not fitted
            orders = (found.order, self.residual.order)
            orders = orders[::-1] if what == "down" else orders
            pair = Pair(stored, mapped, counterpart, original, exact, fitted, orders)
            self._look(_label(own, what), (block, partner), pair)
        return found

    def _mlp(self, side: Side, record: MLPRecord, block: int, *, folded: bool) -> MLPWeights:
        """An MLP's weights; with the gain of the norm before it where gains are folded."""
        weights = side.weights(record)
        gain = side.gain(block, None, record) if folded else None
        if gain is None:
            return weights
        gate = None if weights.gate is None else weights.gate * gain
        return MLPWeights(gate, weights.up * gain, weights.down)

    def _mapped_mlp(self, record: MLPRecord, block: int, *, folded: bool) -> MLPWeights:
        """The reference's, in the candidate's residual coordinates."""
        weights = self._mlp(self.reference, record, block, folded=folded)
        gate = None if weights.gate is None else self.residual(weights.gate, 1)
        return MLPWeights(gate, self.residual(weights.up, 1), self.residual(weights.down, 1))

    def _heads(self, block: int, partner: int) -> HeadMap | None:
        """The map of attention heads; None where there is none, or none is found."""
        sides = []
        for side, index in ((self.candidate, block), (self.reference, partner)):
            names = [side.names.get((index, f"self_attn.{one}_proj.weight")) for one in "qkv"]
            if side.heads is None or side.groups is None or None in names:
                return None
            rows = [self._read(side, index, f"self_attn.{one}_proj.weight")[1] for one in "qkv"]
            if side is self.reference:
                rows = [self.residual(one, 1) for one in rows]
            if rows[0].shape[0] % side.heads or rows[1].shape[0] % side.groups:
                return None
            sides.append(Heads(rows[0], rows[1], rows[2], side.heads, side.groups))
        return head_map(sides[0], sides[1])

    def _read(self, side: Side, block: int | None, local: str) -> tuple[torch.Tensor, torch.Tensor]:
        """A parameter as stored, and float32 with the gain before it where gains are folded."""
        stored = side.read(side.names[block, local])
        gain = side.gain(block, local, None) if self.folded else None
        return stored, stored.float() if gain is None else stored.float() * gain

    def _others(self, block: int, partner: int, heads: HeadMap | None) -> None:
        for (index, local), name in self.candidate.names.items():
            if index != block:
                continue
            if (partner, local) not in self.reference.names or not self._compare(
                name, (block, partner), local, heads
            ):
                self.left_out.append(name)

    def _compare(
        self, name: str, blocks: tuple[int, int] | None, local: str, heads: HeadMap | None
    ) -> bool:
        """Compare one parameter; False where it cannot be mapped."""
        block, partner = blocks or (None, None)
        axes = self.candidate.axes(block, local)
        if self.folded and local.endswith("norm.weight") and axes == ("residual",):
            return True  # it is in the matrices
        stored, mapped = self._read(self.candidate, block, local)
        original, counterpart = self._read(self.reference, partner, local)
        if axes is None or len(axes) != counterpart.dim():
            if self.residual.kind != "same" or (heads is not None and heads.moved):
                return False
            axes = ("other",) * counterpart.dim()
        exact = not self.folded and self.residual.rotation is None
        orders: list[torch.Tensor | None] = []
        for axis, kind in enumerate(axes):
            own = torch.arange(counterpart.shape[axis])
            turned = self._along(counterpart, axis, kind, heads, mapped.shape)
            if turned is None:
                return False
            counterpart = turned
            order = self._along(own, 0, kind, heads, mapped.shape[axis:]) if exact else None
            orders.append(None if order is None or torch.equal(order, own) else order)
        if counterpart.shape != mapped.shape:
            return False
        both = (orders[0], orders[1]) if len(orders) == 2 else (None, None)
        pair = Pair(stored, mapped, counterpart, original, exact, orders=both)
        self._look(name, blocks, pair)
        return True

    def _along(
        self,
        tensor: torch.Tensor,
        axis: int,
        kind: str,
        heads: HeadMap | None,
        shape: Sequence[int],
    ) -> torch.Tensor | None:
        """Map one axis; None where the map is not known."""
        if kind == "residual":
            return self.residual(tensor, axis)
        if kind == "tokens":
            return tensor if tensor.shape[axis] == shape[axis] else None
        if kind in {"query", "key", "value", "output"}:
            if heads is None:
                return None
            order: torch.Tensor | None = getattr(heads, kind)
            if order is None or len(order) != tensor.shape[axis]:  # one norm for all heads
                return tensor
            return tensor.index_select(axis, order)
        return tensor

    # outside of the blocks

    def outside(self) -> None:
        """Compare embeddings, the output head and the last norm."""
        self._tables()
        for (index, local), name in self.candidate.names.items():
            if index is not None or local == HEAD:
                continue
            if (None, local) not in self.reference.names or not self._compare(
                name, None, local, None
            ):
                self.left_out.append(name)

    def _tables(self) -> None:
        """Compare the embeddings, and the heads where one of them is a table of its own."""
        ours, theirs = self._sides
        tables = [(ours.embedding, ours.embedding, theirs.embedding)]
        if any((None, HEAD) in side.names for side in self._sides):
            tables.append((HEAD, ours.head, theirs.head))
        for name, own, other in tables:
            if (
                own is not None
                and other is not None
                and self.rows is not None
                and self.residual.fit < FAR
            ):
                self._table(str(name), own, other, self.rows)
            elif own is not None or other is not None:
                self.left_out.append(str(name or other))

    def _table(
        self, name: str, own: str, other: str, rows: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        """Compare rows of shared tokens; a head with what its norm multiplies, where gains are folded."""
        stored, original = self.candidate.rows(own, rows[0]), self.reference.rows(other, rows[1])
        mapped, counterpart = stored.float(), original.float()
        is_folded = name == HEAD and self.folded
        if is_folded:
            gains = [side.gain(None, HEAD, None) for side in self._sides]
            mapped = mapped if gains[0] is None else mapped * gains[0]
            counterpart = counterpart if gains[1] is None else counterpart * gains[1]
        counterpart = self.residual(counterpart, 1)
        exact = self.residual.rotation is None and not is_folded
        orders = (None, self.residual.order)
        self._look(name, None, Pair(stored, mapped, counterpart, original, exact, orders=orders))

    @property
    def _sides(self) -> tuple[Side, Side]:
        return self.candidate, self.reference

    def _look(self, name: str, blocks: tuple[int, int] | None, pair: Pair) -> None:
        if not bool(torch.isfinite(pair.mapped - pair.counterpart).all()):
            self.left_out.append(name)  # numbers too large for float32, once they are mapped
            return
        self.visit(name, blocks, pair)

    def record(self, matrices: Sequence[MatrixDifference]) -> DifferenceRecord:
        """What was found, with what was measured of the matrices.

        Raises
        ------
        DegenerateError
            If no matrix of a block could be compared.
        """
        if not any(one.block is not None and len(one.shape) > 1 for one in matrices):
            raise DegenerateError("no matrix of one could be mapped onto its counterpart")
        sides = [side.layout.trace for side in self._sides]
        looked = [
            [r.units for one in self.maps for r in trace.of_block(getattr(one, f"{role}_block"))]
            for trace, role in zip(sides, ("candidate", "reference"), strict=True)
        ]
        hidden = [max(record.hidden for record in trace.mlps) for trace in sides]
        return DifferenceRecord(
            residual=self.residual.kind,
            folded=self.folded,
            tokens=self.how,
            fit=self.residual.fit,
            blocks=tuple(self.maps),
            of_blocks=(sides[0].blocks, sides[1].blocks),
            hidden=(hidden[0], hidden[1]),
            units=(max(looked[0], default=0), max(looked[1], default=0)),
            matrices=tuple(matrices),
            left_out=tuple(dict.fromkeys(self.left_out)),
        )


def _label(projection: Projection, what: str) -> str:
    """A projection's parameter, with what it is where the parameter holds more."""
    name = projection.parameter
    expert = "" if projection.expert is None else f" of expert {projection.expert}"
    shared = projection.channels.start or projection.channels.step > 1 or expert
    return f"{name} ({what}{expert})" if shared or "gate_up" in name else name
