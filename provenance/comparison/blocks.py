"""From the units of two models to the evidence of each block: which block meets which, and the tests."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
import torch

from provenance.architecture.units import nbytes
from provenance.assignment.solve import assign
from provenance.comparison.experts import ALL, partners
from provenance.errors import DegenerateError
from provenance.evidence.records import (
    MATCHINGS,
    AlignedBlocks,
    BlockEvidence,
    MLPEvidence,
    Pairing,
    PartEvidence,
)
from provenance.statistics.pvalues import bonferroni

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from provenance.architecture.units import MLPShape
    from provenance.capture.units import Shape
    from provenance.statistics import BlockTest, Preparation, Role, Signature

    OnProgress = Callable[[int, int], None]
    Matchings = tuple[tuple[int, ...], tuple[int, ...]]

KEPT_BYTES = 1 << 30
"""How much memory prepared blocks may take while they wait for other partners."""

Seen = TypeVar("Seen")
Shown_co = TypeVar("Shown_co", covariant=True)


class Units(Protocol[Shown_co]):
    """The MLPs of one model: how many each block has, how wide, and what a test is given of them."""

    @property
    def shape(self) -> Shape:
        """What the model is made of."""

    def block(self, index: int, place: int = 0) -> Shown_co:
        """What the units of one MLP of a block answer to some inputs, or to unit vectors (weights).

        For a statistic of functions, the MLP's proxy. ``place`` is its place in ``shape.mlps[index]``.
        """


@dataclass(frozen=True)
class Component(Generic[Seen]):
    """One statistic with what it is computed on, for the candidate and for the reference."""

    statistic: str
    test: BlockTest[Any]
    candidate: Units[Seen]
    reference: Units[Seen]
    prepare: Preparation | None = None
    signature: Signature | None = None


@dataclass(frozen=True)
class BlockTable:
    """Tests of blocks against blocks.

    ``blocks`` holds one entry a block of the candidate. ``cross`` is the whole table of uncorrected
    log10 p-values, (candidate blocks, reference blocks), None where no test is defined, and
    ``alignment`` the best one-to-one map of blocks; both are empty where only equal indices met.
    """

    blocks: tuple[BlockEvidence, ...]
    cross: tuple[tuple[float | None, ...], ...] = ()
    alignment: tuple[AlignedBlocks, ...] = ()


def compare_blocks(
    parts: Sequence[Component[Any]],
    pairing: Pairing,
    seed: int,
    on_progress: OnProgress | None = None,
    kept_bytes: int = KEPT_BYTES,
    rows: Collection[int] | None = None,
) -> BlockTable:
    """Test the blocks of two models.

    Parameters
    ----------
    parts : sequence of Component
        Statistics that are computed on each pair of blocks. Their p-values are combined by
        Bonferroni: the smallest times their number.
    pairing : str
        "same-index": block i meets block i. "best-of-reference": each block of the candidate meets
        every block of the reference, the best is kept, and its p-value multiplied by their number
        (Bonferroni), so that the choice costs no validity. "cross": likewise, and the whole table
        and the best one-to-one alignment are kept. Where blocks that meet have several MLPs, each of
        the one meets each of the other, and the best is kept, at the same price.
    kept_bytes : int
        How much memory prepared blocks may take while they wait for other partners; what does not
        fit is read and prepared again.
    rows : collection of int, optional
        The candidate's blocks that are tested; all where it is None.
    """
    ours, theirs = parts[0].candidate.shape.mlps, parts[0].reference.shape.mlps
    tests = [pair for pair in _pairs(ours, theirs, pairing) if rows is None or pair[0] in rows]
    once = pairing == "same-index" and all(
        len(mlps) == 1 for side in (ours, theirs) for mlps in side.values()
    )
    room = 0 if once else kept_bytes // len(parts)  # no MLP comes again
    sides = [_Sides(part, seed, room) for part in parts]
    found: dict[tuple[int, int], _Tested] = {}
    for done, (i, j) in enumerate(tests):
        if on_progress is not None:
            on_progress(done, len(tests))
        found[i, j] = _test_all(sides, i, j)
    if on_progress is not None:
        on_progress(len(tests), len(tests))
    evidence = {key: found[key].evidence for key in sorted(found)}
    tested = sorted({i for i, _ in found})
    blocks = tuple(_best([evidence[key] for key in evidence if key[0] == i]) for i in tested)
    if pairing != "cross":
        return BlockTable(blocks)
    survivors = {key: tested.survivors for key, tested in found.items()}
    table = _table(evidence, sorted(ours), sorted(theirs))
    return BlockTable(blocks, table, align(evidence, survivors))


def _pairs(
    ours: Mapping[int, object], theirs: Mapping[int, object], pairing: Pairing
) -> list[tuple[int, int]]:
    if pairing == "same-index":
        return [(i, i) for i in sorted(ours) if i in theirs]
    return _there_and_back(sorted(ours), sorted(theirs))


def _there_and_back(rows: Sequence[int], columns: Sequence[int]) -> list[tuple[int, int]]:
    """Every pair; the columns met last, which are still at hand, are met next."""
    return [(i, j) for row, i in enumerate(rows) for j in columns[:: -1 if row % 2 else 1]]


Place = tuple[int, int]
"""A block, and the place of an MLP among those of the block."""


class _Sides:
    """The MLPs of both models as one statistic takes them: read and prepared when first needed."""

    def __init__(self, part: Component[Any], seed: int, kept_bytes: int) -> None:
        self.part = part
        self.seed = seed
        self._room = kept_bytes
        self._kept: OrderedDict[tuple[Role, Place], tuple[Any, int]] = OrderedDict()
        self._known: dict[tuple[Role, int], list[torch.Tensor | None]] = {}

    def candidate(self, place: Place) -> Any:
        """The candidate's MLP, ready to be tested."""
        return self._get("candidate", place)

    def reference(self, place: Place) -> Any:
        """The reference's MLP, ready to be tested."""
        return self._get("reference", place)

    def promising(self, i: int, j: int, signature: Signature) -> set[tuple[int, int]]:
        """Which MLPs of a block are worth a test against which of another, by their places."""
        return partners(
            self._signatures("candidate", i, signature),
            self._signatures("reference", j, signature),
        )

    def _signatures(
        self, role: Role, index: int, signature: Signature
    ) -> list[torch.Tensor | None]:
        if (role, index) not in self._known:
            count = len(getattr(self.part, role).shape.mlps[index])
            self._known[role, index] = [
                self._signature(role, (index, place), signature) for place in range(count)
            ]
        return self._known[role, index]

    def _signature(self, role: Role, place: Place, signature: Signature) -> torch.Tensor | None:
        try:
            return signature(self._get(role, place), self.seed)
        except DegenerateError:  # told when it is tested
            return None

    def _get(self, role: Role, place: Place) -> Any:
        if (role, place) in self._kept:
            self._kept.move_to_end((role, place))
            return self._kept[role, place][0]
        side = getattr(self.part, role).block(*place)
        if self.part.prepare is not None:
            side = self.part.prepare(side, role, self.seed)
        size = nbytes(side)
        while self._kept and self._room < size:
            _, (_, freed) = self._kept.popitem(last=False)
            self._room += freed
        if size <= self._room:
            self._kept[role, place] = (side, size)
            self._room -= size
        return side


@dataclass(frozen=True)
class _Tested:
    """A pair of MLPs or blocks: its evidence, and the units that are in both, (k, 2) int64."""

    evidence: BlockEvidence
    survivors: NDArray[np.int64]


@dataclass(frozen=True)
class _PartTested:
    """One statistic of a pair of MLPs, the units in both, and its two matchings."""

    evidence: PartEvidence
    survivors: NDArray[np.int64]
    matchings: Matchings | None = None


def _test_all(sides: Sequence[_Sides], i: int, j: int) -> _Tested:
    """Every MLP of one block against every MLP of the other: the best, corrected for their number."""
    ours, theirs = (sides[0].part.candidate.shape.mlps[i], sides[0].part.reference.shape.mlps[j])
    if len(ours) == len(theirs) == 1:
        return _test(sides, (i, 0), (j, 0))
    pairs = _there_and_back(range(len(ours)), range(len(theirs)))
    if len(theirs) > ALL:
        pairs = _promising(sides, i, j, pairs)
    met = {(a, b): _test(sides, (i, a), (j, b)) for a, b in pairs}
    tested = {key: mlp for key, mlp in met.items() if mlp.evidence.log10_p is not None}
    if not tested:
        return next(iter(met.values()))
    a, b = min(tested, key=lambda key: _strength(tested[key].evidence))
    best = tested[a, b]
    assert best.evidence.log10_p is not None
    evidence = replace(
        best.evidence,
        log10_p=bonferroni(best.evidence.log10_p, len(ours) * len(theirs)),
        mlps=(ours[a].label, theirs[b].label),
        experts=tuple(_expert(place, ours, theirs, tested) for place in range(len(ours))),
    )
    return _Tested(evidence, best.survivors)


def _promising(
    sides: Sequence[_Sides], i: int, j: int, pairs: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Those pairs of MLPs that some statistic finds worth a test; all, where one has no signatures."""
    chosen: set[tuple[int, int]] = set()
    for side in sides:
        if side.part.signature is None:
            return pairs
        chosen |= side.promising(i, j, side.part.signature)
    return [pair for pair in pairs if pair in chosen]


def _expert(
    place: int,
    ours: Sequence[MLPShape],
    theirs: Sequence[MLPShape],
    tested: Mapping[tuple[int, int], _Tested],
) -> MLPEvidence:
    """What one of the candidate's MLPs found among the reference's."""
    row = {b: mlp.evidence for (a, b), mlp in tested.items() if a == place}
    if not row:
        return MLPEvidence(ours[place].label, None, None, None)
    best = min(row, key=lambda b: _strength(row[b]))
    log10_p = row[best].log10_p
    assert log10_p is not None
    return MLPEvidence(
        ours[place].label,
        theirs[best].label,
        bonferroni(log10_p, len(theirs)),
        row[best].correlation,
    )


def _test(sides: Sequence[_Sides], ours: Place, theirs: Place) -> _Tested:
    """Run every part on one pair of MLPs and combine them."""
    i, j = ours[0], theirs[0]
    tests = [_part(side, ours, theirs) for side in sides]
    results = [test.evidence for test in tests]
    part = sides[0].part
    units = (
        part.candidate.shape.mlps[i][ours[1]].units,
        part.reference.shape.mlps[j][theirs[1]].units,
    )
    tested = [test for test in tests if test.evidence.log10_p is not None]
    if not tested:
        reasons = "; ".join(dict.fromkeys(part.reason or "" for part in results))
        live, fits = results[0].live, results[0].fits
        failed = BlockEvidence(i, j, None, None, units, live, 0, "degenerate", reasons, fits=fits)
        return _Tested(failed, tests[0].survivors)
    found = min(tested, key=lambda test: _strength(test.evidence))
    best = found.evidence
    assert best.log10_p is not None
    evidence = BlockEvidence(
        candidate_block=i,
        reference_block=j,
        log10_p=bonferroni(best.log10_p, len(tested)),
        correlation=best.correlation,
        units=units,
        live=best.live,
        agreeing=best.agreeing,
        parts=tuple(results) if len(results) > 1 else (),
        fits=best.fits,
        matchings=found.matchings,
    )
    return _Tested(evidence, found.survivors)


def _part(sides: _Sides, ours: Place, theirs: Place) -> _PartTested:
    """One statistic of one pair of MLPs."""
    name = sides.part.statistic
    try:
        result = sides.part.test(sides.candidate(ours), sides.reference(theirs), seed=sides.seed)
    except DegenerateError as error:
        failed = PartEvidence(name, None, None, error.live, 0, str(error), error.fits)
        return _PartTested(failed, np.zeros((0, 2), dtype=np.int64))
    part = PartEvidence(
        statistic=name,
        log10_p=result.log10_p,
        correlation=result.correlation,
        live=(result.live, result.live) if isinstance(result.live, int) else result.live,
        agreeing=result.agreeing(),
        fits=result.imitation_fits(),
    )
    return _PartTested(part, result.survivors(), result.matchings(MATCHINGS))


def _best(row: Sequence[BlockEvidence]) -> BlockEvidence:
    """The best of one candidate block's tests, its p-value corrected for their number."""
    tested = [block for block in row if block.log10_p is not None]
    if not tested:
        return row[0]
    best = min(tested, key=_strength)
    assert best.log10_p is not None
    return replace(best, log10_p=bonferroni(best.log10_p, len(tested)))


def _strength(block: BlockEvidence | PartEvidence) -> tuple[float, float]:
    """Sorts what was tested, the strongest evidence first."""
    assert block.log10_p is not None
    return block.log10_p, -(block.correlation or 0.0)


def _table(
    found: Mapping[tuple[int, int], BlockEvidence], rows: Sequence[int], columns: Sequence[int]
) -> tuple[tuple[float | None, ...], ...]:
    return tuple(tuple(found[i, j].log10_p for j in columns) for i in rows)


def align(
    found: Mapping[tuple[int, int], BlockEvidence],
    survivors: Mapping[tuple[int, int], NDArray[np.int64]],
) -> tuple[AlignedBlocks, ...]:
    """The one-to-one map of blocks that maximises the sum of -log10 p: optimal, not greedy.

    Every block of the shallower model has a partner; whether the pair is significant is for the
    reader of its p-value to say. ``survivors`` holds the units in both of every pair, (k, 2) int64.
    """
    rows = sorted({i for i, _ in found})
    columns = sorted({j for _, j in found})
    strength = torch.zeros(len(rows), len(columns), dtype=torch.float64)
    for (i, j), block in found.items():
        strength[rows.index(i), columns.index(j)] = -(block.log10_p or 0.0)
    matching = assign(strength)
    pairs = [(rows[a], columns[b]) for a, b in zip(matching.rows, matching.columns, strict=True)]
    return tuple(
        AlignedBlocks(i, j, p, *(tuple(side.tolist()) for side in survivors[i, j].T))
        for i, j in sorted(pairs)
        if (p := found[i, j].log10_p) is not None
    )
