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
    from provenance.statistics import BlockTest, Preparation, Signature
    from provenance.vocabulary import Role

    OnProgress = Callable[[int, int], None]
    Matchings = tuple[tuple[int, ...], tuple[int, ...]]

KEPT_BYTES = 1 << 30
"""How much memory prepared blocks may take while they wait for other partners."""

Place = tuple[int, int]
"""A block, and the place of an MLP among those of the block."""

Side = TypeVar("Side")
Side_co = TypeVar("Side_co", covariant=True)
Found = TypeVar("Found", PartEvidence, BlockEvidence)


class Units(Protocol[Side_co]):
    """The MLPs of one model: how many each block has, how wide, and what a test is given of them."""

    @property
    def shape(self) -> Shape:
        """What the model is made of."""

    def block(self, index: int, place: int = 0) -> Side_co:
        """What a test is given of one MLP: what its units answer, their weights, or the MLP's proxy.

        ``place`` is the MLP's place in ``shape.mlps[index]``.
        """


@dataclass(frozen=True)
class Component(Generic[Side]):
    """One statistic with what it is computed on, for the candidate and for the reference."""

    statistic: str
    test: BlockTest[Any]
    candidate: Units[Side]
    reference: Units[Side]
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
    components: Sequence[Component[Any]],
    pairing: Pairing,
    seed: int,
    on_progress: OnProgress | None = None,
    kept_bytes: int = KEPT_BYTES,
    rows: Collection[int] | None = None,
) -> BlockTable:
    """Test the blocks of two models.

    Parameters
    ----------
    components : sequence of Component
        Statistics that are computed on each pair of blocks. Their p-values are combined by
        Bonferroni: the smallest times their number.
    pairing : str
        "same-index": block i meets block i. "best-of-reference": each block of the candidate meets
        every block of the reference, the best is kept, and its p-value multiplied by their number
        (Bonferroni), so that the choice costs no validity. "cross": the same, and the whole table
        and the best one-to-one alignment are kept. Where blocks that meet have several MLPs, each MLP
        of the candidate's meets each of the reference's, and the best is kept, at the same price.
    kept_bytes : int
        How much memory prepared MLPs may take while they wait for other partners. What does not
        fit is read and prepared again.
    rows : collection of int, optional
        The candidate's blocks that are tested; all where it is None.
    """
    candidate, reference = components[0].candidate.shape.mlps, components[0].reference.shape.mlps
    pairs = [
        pair for pair in _pairs(candidate, reference, pairing) if rows is None or pair[0] in rows
    ]
    meets_once = pairing == "same-index" and all(
        len(mlps) == 1 for side in (candidate, reference) for mlps in side.values()
    )
    room = 0 if meets_once else kept_bytes // len(components)
    sides = [_Sides(component, seed, room) for component in components]
    tested: dict[tuple[int, int], _Tested[BlockEvidence]] = {}
    for done, (i, j) in enumerate(pairs):
        if on_progress is not None:
            on_progress(done, len(pairs))
        tested[i, j] = _test_blocks(sides, i, j)
    if on_progress is not None:
        on_progress(len(pairs), len(pairs))
    evidence = {pair: tested[pair].evidence for pair in sorted(tested)}
    blocks = tuple(
        _best([evidence[pair] for pair in evidence if pair[0] == i])
        for i in sorted({i for i, _ in tested})
    )
    if pairing != "cross":
        return BlockTable(blocks)
    survivors = {pair: test.survivors for pair, test in tested.items()}
    table = tuple(
        tuple(evidence[i, j].log10_p for j in sorted(reference)) for i in sorted(candidate)
    )
    return BlockTable(blocks, table, align(evidence, survivors))


def _pairs(
    candidate: Mapping[int, object], reference: Mapping[int, object], pairing: Pairing
) -> list[tuple[int, int]]:
    if pairing == "same-index":
        return [(i, i) for i in sorted(candidate) if i in reference]
    return _there_and_back(sorted(candidate), sorted(reference))


def _there_and_back(rows: Sequence[int], columns: Sequence[int]) -> list[tuple[int, int]]:
    """Every pair; the columns that a row met last, which are still in memory, the next row meets first."""
    return [(i, j) for row, i in enumerate(rows) for j in columns[:: -1 if row % 2 else 1]]


class _Sides:
    """The MLPs of both models as one component takes them: read and prepared when first needed."""

    def __init__(self, component: Component[Any], seed: int, kept_bytes: int) -> None:
        self.component = component
        self.seed = seed
        self._room = kept_bytes
        self._kept: OrderedDict[tuple[Role, Place], tuple[Any, int]] = OrderedDict()
        self._signatures: dict[tuple[Role, int], list[torch.Tensor | None]] = {}

    def get(self, role: Role, place: Place) -> Any:
        """The MLP of one model, ready to be tested."""
        if (role, place) in self._kept:
            self._kept.move_to_end((role, place))
            return self._kept[role, place][0]
        side = getattr(self.component, role).block(*place)
        if self.component.prepare is not None:
            side = self.component.prepare(side, role, self.seed)
        size = nbytes(side)
        while self._kept and self._room < size:
            _, (_, freed) = self._kept.popitem(last=False)
            self._room += freed
        if size <= self._room:
            self._kept[role, place] = (side, size)
            self._room -= size
        return side

    def promising(self, i: int, j: int, signature: Signature) -> set[tuple[int, int]]:
        """Which MLPs of a block are worth a test against which of another, by their places."""
        return partners(
            self._signatures_of("candidate", i, signature),
            self._signatures_of("reference", j, signature),
        )

    def _signatures_of(
        self, role: Role, index: int, signature: Signature
    ) -> list[torch.Tensor | None]:
        if (role, index) not in self._signatures:
            count = len(getattr(self.component, role).shape.mlps[index])
            self._signatures[role, index] = [
                self._signature(role, (index, place), signature) for place in range(count)
            ]
        return self._signatures[role, index]

    def _signature(self, role: Role, place: Place, signature: Signature) -> torch.Tensor | None:
        try:
            return signature(self.get(role, place), self.seed)
        except DegenerateError:  # testing the MLP says why
            return None


@dataclass(frozen=True)
class _Tested(Generic[Found]):
    """A test of two MLPs or blocks: its evidence, the units in both, (k, 2) int64, and two matchings."""

    evidence: Found
    survivors: NDArray[np.int64]
    matchings: Matchings | None = None


def _test_blocks(sides: Sequence[_Sides], i: int, j: int) -> _Tested[BlockEvidence]:
    """Every MLP of one block against every MLP of the other: the best, corrected for their number."""
    component = sides[0].component
    candidate, reference = component.candidate.shape.mlps[i], component.reference.shape.mlps[j]
    if len(candidate) == len(reference) == 1:
        return _test_mlps(sides, (i, 0), (j, 0))
    pairs = _there_and_back(range(len(candidate)), range(len(reference)))
    if len(reference) > ALL:
        pairs = _promising(sides, i, j, pairs)
    met = {(a, b): _test_mlps(sides, (i, a), (j, b)) for a, b in pairs}
    tested = {
        pair: test.evidence for pair, test in met.items() if test.evidence.log10_p is not None
    }
    if not tested:
        return next(iter(met.values()))
    a, b = min(tested, key=lambda pair: _strength(tested[pair]))
    evidence = replace(
        _corrected(tested[a, b], len(candidate) * len(reference)),
        mlps=(candidate[a].label, reference[b].label),
        experts=tuple(
            _expert(place, candidate, reference, tested) for place in range(len(candidate))
        ),
    )
    return _Tested(evidence, met[a, b].survivors)


def _promising(
    sides: Sequence[_Sides], i: int, j: int, pairs: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Those pairs of MLPs that some statistic finds worth a test; all, where one has no signatures."""
    chosen: set[tuple[int, int]] = set()
    for side in sides:
        if side.component.signature is None:
            return pairs
        chosen |= side.promising(i, j, side.component.signature)
    return [pair for pair in pairs if pair in chosen]


def _expert(
    place: int,
    candidate: Sequence[MLPShape],
    reference: Sequence[MLPShape],
    tested: Mapping[tuple[int, int], BlockEvidence],
) -> MLPEvidence:
    """The best partner of one of the candidate's MLPs among the reference's."""
    row = {b: evidence for (a, b), evidence in tested.items() if a == place}
    if not row:
        return MLPEvidence(candidate[place].label, None, None, None)
    partner = min(row, key=lambda b: _strength(row[b]))
    best = _corrected(row[partner], len(reference))
    return MLPEvidence(
        candidate[place].label, reference[partner].label, best.log10_p, best.correlation
    )


def _test_mlps(
    sides: Sequence[_Sides], candidate: Place, reference: Place
) -> _Tested[BlockEvidence]:
    """Run every component on one pair of MLPs and combine them."""
    (i, a), (j, b) = candidate, reference
    tests = [_test_component(side, candidate, reference) for side in sides]
    parts = [test.evidence for test in tests]
    component = sides[0].component
    units = component.candidate.shape.mlps[i][a].units, component.reference.shape.mlps[j][b].units
    tested = [test for test in tests if test.evidence.log10_p is not None]
    if not tested:
        reasons = "; ".join(dict.fromkeys(part.reason or "" for part in parts))
        live, fits = parts[0].live, parts[0].fits
        failed = BlockEvidence(i, j, None, None, units, live, 0, "degenerate", reasons, fits=fits)
        return _Tested(failed, tests[0].survivors)
    strongest = min(tested, key=lambda test: _strength(test.evidence))
    best = strongest.evidence
    evidence = BlockEvidence(
        candidate_block=i,
        reference_block=j,
        log10_p=best.log10_p,
        correlation=best.correlation,
        units=units,
        live=best.live,
        agreeing=best.agreeing,
        parts=tuple(parts) if len(parts) > 1 else (),
        fits=best.fits,
        matchings=strongest.matchings,
    )
    return _Tested(_corrected(evidence, len(tested)), strongest.survivors)


def _test_component(sides: _Sides, candidate: Place, reference: Place) -> _Tested[PartEvidence]:
    """One statistic of one pair of MLPs."""
    name = sides.component.statistic
    try:
        result = sides.component.test(
            sides.get("candidate", candidate), sides.get("reference", reference), seed=sides.seed
        )
    except DegenerateError as error:
        failed = PartEvidence(name, None, None, error.live, 0, str(error), error.fits)
        return _Tested(failed, np.zeros((0, 2), dtype=np.int64))
    part = PartEvidence(
        statistic=name,
        log10_p=result.log10_p,
        correlation=result.correlation,
        live=(result.live, result.live) if isinstance(result.live, int) else result.live,
        agreeing=result.agreeing(),
        fits=result.imitation_fits(),
    )
    return _Tested(part, result.survivors(), result.matchings(MATCHINGS))


def _best(row: Sequence[BlockEvidence]) -> BlockEvidence:
    """The best of one candidate block's tests, its p-value corrected for their number."""
    tested = [block for block in row if block.log10_p is not None]
    return _corrected(min(tested, key=_strength), len(tested)) if tested else row[0]


def _corrected(block: BlockEvidence, tests: int) -> BlockEvidence:
    """Evidence of the best of so many tests."""
    assert block.log10_p is not None
    return replace(block, log10_p=bonferroni(block.log10_p, tests))


def _strength(block: BlockEvidence | PartEvidence) -> tuple[float, float]:
    """A key that sorts what was tested, the strongest evidence first."""
    assert block.log10_p is not None
    return block.log10_p, -(block.correlation or 0.0)


def align(
    blocks: Mapping[tuple[int, int], BlockEvidence],
    survivors: Mapping[tuple[int, int], NDArray[np.int64]],
) -> tuple[AlignedBlocks, ...]:
    """The one-to-one map of blocks that maximises the sum of -log10 p: optimal, not greedy.

    Every block of the shallower model has a partner; whether the pair is significant is for the
    reader of its p-value to say. ``survivors`` holds the units in both of every pair, (k, 2) int64.
    """
    rows = sorted({i for i, _ in blocks})
    columns = sorted({j for _, j in blocks})
    strength = torch.zeros(len(rows), len(columns), dtype=torch.float64)
    for (i, j), block in blocks.items():
        strength[rows.index(i), columns.index(j)] = -(block.log10_p or 0.0)
    matching = assign(strength)
    pairs = [(rows[a], columns[b]) for a, b in zip(matching.rows, matching.columns, strict=True)]
    return tuple(
        AlignedBlocks(i, j, p, *(tuple(side.tolist()) for side in survivors[i, j].T))
        for i, j in sorted(pairs)
        if (p := blocks[i, j].log10_p) is not None
    )
