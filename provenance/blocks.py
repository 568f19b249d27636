"""From the units of two models to the evidence of each block: which block meets which, and the tests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import torch

from provenance.assignment import assign
from provenance.errors import DegenerateError
from provenance.evidence import AlignedBlocks, BlockEvidence, Pairing, PartEvidence
from provenance.pvalues import bonferroni
from provenance.statistics.generalized import GeneralizedResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from provenance.measure import Shape
    from provenance.statistics import BlockResult, BlockTest

    OnProgress = Callable[[int, int], None]

Seen = TypeVar("Seen")
Shown_co = TypeVar("Shown_co", covariant=True)


class Units(Protocol[Shown_co]):
    """The MLPs of one model: how wide each block's is, and what a test is given of it."""

    @property
    def shape(self) -> Shape:
        """What the model is made of."""

    @property
    def units(self) -> Mapping[int, int]:
        """Width by block index, of the blocks that have an MLP of the kind that is tested."""

    def block(self, index: int) -> Shown_co:
        """What the units of one block answer to some inputs, or to all unit vectors (weights).

        For a statistic of functions, the block's proxy.
        """


@dataclass(frozen=True)
class Part(Generic[Seen]):
    """One statistic with what it is computed on, for the candidate and for the reference."""

    statistic: str
    test: BlockTest[Seen]
    candidate: Units[Seen]
    reference: Units[Seen]


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
    parts: Sequence[Part[Any]], pairing: Pairing, seed: int, on_progress: OnProgress | None = None
) -> BlockTable:
    """Test the blocks of two models.

    Parameters
    ----------
    parts : sequence of Part
        Statistics that are computed on each pair of blocks. Their p-values are combined by
        Bonferroni: the smallest times their number.
    pairing : str
        "same-index": block i meets block i. "best-of-reference": each block of the candidate meets
        every block of the reference, the best is kept, and its p-value multiplied by their number
        (Bonferroni), so that the choice costs no validity. "cross": likewise, and the whole table
        and the best one-to-one alignment are kept.
    """
    ours, theirs = parts[0].candidate.units, parts[0].reference.units
    tests = _pairs(ours, theirs, pairing)
    found: dict[tuple[int, int], BlockEvidence] = {}
    for done, (i, j) in enumerate(tests):
        if on_progress is not None:
            on_progress(done, len(tests))
        found[i, j] = _test(parts, i, j, seed)
    if on_progress is not None:
        on_progress(len(tests), len(tests))
    rows = dict.fromkeys(i for i, _ in found)
    blocks = tuple(_best([found[key] for key in found if key[0] == i]) for i in rows)
    if pairing != "cross":
        return BlockTable(blocks)
    return BlockTable(blocks, _table(found, sorted(ours), sorted(theirs)), align(found))


def _pairs(
    ours: Mapping[int, int], theirs: Mapping[int, int], pairing: Pairing
) -> list[tuple[int, int]]:
    if pairing == "same-index":
        return [(i, i) for i in sorted(ours) if i in theirs]
    return [(i, j) for i in sorted(ours) for j in sorted(theirs)]


def _test(parts: Sequence[Part[Any]], i: int, j: int, seed: int) -> BlockEvidence:
    """Run every part on one pair of blocks and combine them."""
    results = [_part(part, i, j, seed) for part in parts]
    units = (parts[0].candidate.units[i], parts[0].reference.units[j])
    tested = [part for part in results if part.log10_p is not None]
    if not tested:
        reasons = "; ".join(dict.fromkeys(part.reason or "" for part in results))
        live, fits = results[0].live, results[0].fits
        return BlockEvidence(i, j, None, None, units, live, 0, "degenerate", reasons, fits=fits)
    best = min(tested, key=lambda part: (part.log10_p, -(part.correlation or 0.0)))
    assert best.log10_p is not None
    log10_p = bonferroni(best.log10_p, len(tested))
    kept = tuple(results) if len(results) > 1 else ()
    return BlockEvidence(
        candidate_block=i,
        reference_block=j,
        log10_p=log10_p,
        correlation=best.correlation,
        units=units,
        live=best.live,
        agreeing=best.agreeing,
        parts=kept,
        fits=best.fits,
    )


def _part(part: Part[Any], i: int, j: int, seed: int) -> PartEvidence:
    try:
        result = part.test(part.candidate.block(i), part.reference.block(j), seed=seed)
    except DegenerateError as error:
        return PartEvidence(part.statistic, None, None, error.live, 0, str(error), error.fits)
    return PartEvidence(
        statistic=part.statistic,
        log10_p=result.log10_p,
        correlation=result.correlation,
        live=(result.live, result.live) if isinstance(result.live, int) else result.live,
        agreeing=result.agreeing(),
        fits=_fits(result),
    )


def _fits(result: BlockResult) -> tuple[float, float] | None:
    """How well the two MLPs were imitated, where the test is one of imitations."""
    if not isinstance(result, GeneralizedResult):
        return None
    candidate, reference = result.fits
    return candidate.nonlinear, reference.nonlinear


def _best(row: Sequence[BlockEvidence]) -> BlockEvidence:
    """The best of one candidate block's tests, its p-value corrected for their number."""
    tested = [block for block in row if block.log10_p is not None]
    if not tested:
        return row[0]
    best = min(tested, key=lambda block: (block.log10_p, -(block.correlation or 0.0)))
    assert best.log10_p is not None
    return replace(best, log10_p=bonferroni(best.log10_p, len(tested)))


def _table(
    found: Mapping[tuple[int, int], BlockEvidence], rows: Sequence[int], columns: Sequence[int]
) -> tuple[tuple[float | None, ...], ...]:
    return tuple(tuple(found[i, j].log10_p for j in columns) for i in rows)


def align(found: Mapping[tuple[int, int], BlockEvidence]) -> tuple[AlignedBlocks, ...]:
    """The one-to-one map of blocks that maximises the sum of -log10 p: optimal, not greedy.

    Every block of the shallower model has a partner; whether the pair is significant is for the
    reader of its p-value to say.
    """
    rows = sorted({i for i, _ in found})
    columns = sorted({j for _, j in found})
    strength = torch.zeros(len(rows), len(columns), dtype=torch.float64)
    for (i, j), block in found.items():
        strength[rows.index(i), columns.index(j)] = -(block.log10_p or 0.0)
    matching = assign(strength)
    pairs = [(rows[a], columns[b]) for a, b in zip(matching.rows, matching.columns, strict=True)]
    return tuple(
        AlignedBlocks(i, j, p) for i, j in sorted(pairs) if (p := found[i, j].log10_p) is not None
    )
