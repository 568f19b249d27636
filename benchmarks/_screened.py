"""The screen of an audit on changes of one deep small model, and on strangers: misses and savings."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks._power import BASE, FINE, STRANGER, Change, Relatives
from benchmarks._units import activations, weight_rows
from benchmarks._zoo import members
from fixtures.recipes.steps import (
    AddNoise,
    LoraMerge,
    MergeLinear,
    PruneMagnitude,
    RescaleNorms,
    RetrainMlp,
    RetrainSettings,
    RotateResidual,
    RoundTrip,
    TransplantMlp,
    UpscaleDepth,
)
from provenance.audit.screen import LEVEL
from provenance.comparison.blocks import compare_blocks
from provenance.comparison.plan import sampled
from provenance.comparison.sides import Component
from provenance.evidence.decide import decide_blocks
from provenance.recipes.settings import TrainSettings
from provenance.recipes.steps import (
    PermuteResidual,
    PermuteUnits,
    PruneDepth,
    PruneWidth,
    RescaleUnits,
    Train,
    load,
)
from provenance.statistics import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import torch

    from benchmarks._units import MemoryUnits
    from benchmarks._zoo import Scale, Zoo
    from provenance.evidence.blocks import BlockEvidence
    from provenance.evidence.records import Pairing
    from provenance.recipes.steps import Step
    from provenance.vocabulary import Verdict

THRESHOLD = 1e-6 / 4950
"""Of a pair in an audit of a hundred models at the default alpha."""

Side = dict[str, "MemoryUnits"]


@dataclass(frozen=True)
class Screened:
    """One pair: its verdict by all blocks, and the share of all screens that let it through."""

    kind: str
    strength: str
    verdict: Verdict
    kin: int
    blocks: int
    passes: float


@dataclass(frozen=True)
class Cost:
    """Seconds to match a pair of strangers by a screen and by all blocks."""

    blocks: int
    screen: float
    whole: float


def screens(blocks: int, number: int) -> Iterator[tuple[int, ...]]:
    """Yield every sample that `provenance.comparison.plan.sampled` may draw."""
    ends = [k * blocks // number for k in range(number + 1)]
    return itertools.product(*(range(*end) for end in itertools.pairwise(ends)))


def passing(found: Sequence[BlockEvidence], number: int) -> float:
    """Return the share of screens of ``number`` blocks that let a pair through to all of them."""
    level = math.log10(LEVEL)
    weak = [b.log10_p is not None and b.log10_p >= level for b in found]
    drawn = [not all(weak[i] for i in blocks) for blocks in screens(len(found), number)]
    return sum(drawn) / len(drawn)


def _scattered(blocks: int, count: int) -> tuple[int, ...]:
    """Return ``count`` blocks, evenly over the depth."""
    return tuple(sorted({(2 * k + 1) * blocks // (2 * count) for k in range(count)}))


def changes(zoo: Zoo, *, small: bool) -> list[Change]:
    """Return the changes of the base, which has at least six blocks."""
    n = zoo.scale.blocks
    found = [*_whole(zoo, small=small), *_cut(zoo.scale), *_disguised()]
    for count in sorted({1, 2, n // 4, n // 2}):
        graft = TransplantMlp(BASE, _scattered(n, count))
        found.append(Change("MLPs in a stranger", f"{count} of {n}", (graft,), STRANGER, (BASE,)))
    for count in (1,) if small else (n // 4, n // 2, n - 2):
        settings = RetrainSettings(steps=20 if small else 200)
        again = RetrainMlp(zoo.text("code-0"), _scattered(n, count), settings)
        found.append(Change("MLPs retrained", f"{count} of {n}", (again,)))
    return [*found, Change("stranger", "", (), STRANGER)]


def _whole(zoo: Zoo, *, small: bool) -> Iterator[Change]:
    """Yield the changes of all blocks alike."""
    for steps in (10,) if small else (50, 200, 500):
        settings = TrainSettings(steps, 4, zoo.scale.length, 1e-3, 10, seed=1)
        yield Change("fine-tune", f"{steps} steps", (Train(zoo.text("prose"), settings),))
    for deviation in (0.5, 1.0, 2.0, 3.0, 4.0, 6.0):
        yield Change("Gaussian noise", f"{deviation} std", (AddNoise(41, deviation),))
    for fraction in (0.5, 0.9, 0.95, 0.98):
        yield Change("magnitude pruning", f"{fraction:.0%} zero", (PruneMagnitude(fraction),))
    yield Change("rounding", "int4", (RoundTrip(4),))
    for deviation in (1.0, 2.0):
        step = LoraMerge(43, 8, deviation)
        yield Change("random rank-8 update", f"{deviation} std", (step,))
    for weight in (0.5, 0.75, 0.8, 0.85, 0.9):
        merge = MergeLinear(STRANGER, weight)
        yield Change(
            "merge with a stranger", f"{weight:.0%} stranger", (merge,), others=(STRANGER,)
        )


def _cut(scale: Scale) -> Iterator[Change]:
    n = scale.blocks
    for kept in (0.5, 0.25):
        yield Change(
            "width pruning", f"{1 - kept:.0%} gone", (PruneWidth(int(kept * scale.units)),)
        )
    yield Change("depth pruning", f"{n - 2} of {n} blocks", (PruneDepth(tuple(range(1, n - 1))),))
    yield Change("depth pruning", f"{n // 2} of {n} blocks", (PruneDepth(tuple(range(0, n, 2))),))
    twice = tuple(sorted([*range(n), *range(n // 3, n - n // 3)]))
    yield Change("depth up-scaling", f"{len(twice)} of {n} blocks", (UpscaleDepth(twice),))


def _disguised() -> Iterator[Change]:
    together: tuple[Step, ...] = (
        PermuteUnits(31),
        RescaleUnits(32),
        PermuteResidual(34),
        RotateResidual(35),
        RescaleNorms(36),
    )
    yield Change("disguised fine-tune", "residual stream rotated", (RotateResidual(35),), FINE)
    yield Change("disguised fine-tune", "all together", together, FINE)


def _side(path: Path, ids: torch.Tensor) -> Side:
    model = load(path)
    return {"match": activations(model, ids), "match_weights": weight_rows(model)}


def _parts(candidate: Side, reference: Side) -> tuple[list[Component[MemoryUnits]], Pairing]:
    """Return `kinship` of two models, and the pairing of blocks that an audit would choose."""
    parts = [
        Component(name, REGISTRY[name].load(), candidate[name], reference[name])
        for name in ("match", "match_weights")
    ]
    same = candidate["match"].shape.blocks == reference["match"].shape.blocks
    return parts, "same-index" if same else "best-of-reference"


def _judged(change: Change, candidate: Side, reference: Side, number: int) -> Screened:
    parts, pairing = _parts(candidate, reference)
    blocks = compare_blocks(parts, pairing, seed=0).blocks
    kin = sum(b.log10_p is not None and b.log10_p < math.log10(THRESHOLD) for b in blocks)
    verdict = decide_blocks(blocks, THRESHOLD)
    return Screened(
        change.kind, change.strength, verdict, kin, len(blocks), passing(blocks, number)
    )


def kin(
    zoo: Zoo, ids: torch.Tensor, number: int, report: Callable[[str], None], *, small: bool
) -> list[Screened]:
    """Compare every changed model with the base, by all blocks and by every screen."""
    relatives = Relatives(zoo, small=True)
    base = _side(relatives.paths[BASE], ids)
    chosen = changes(zoo, small=small)
    if small:  # one of each kind
        chosen = list({change.kind: change for change in chosen}.values())
    found = []
    for change in chosen:
        report(f"{change.kind}, {change.strength}")
        found.append(_judged(change, _side(relatives.path(change), ids), base, number))
    return found


def null(
    zoo: Zoo, ids: torch.Tensor, count: int, number: int, report: Callable[[str], None]
) -> tuple[list[Screened], Cost]:
    """Compare every pair of independently trained models, and time the first of equal depth."""
    sides = []
    for member in members(count, zoo.scale):
        report(f"stranger {member.name}")
        sides.append(_side(zoo.member(member), ids))
    found = []
    for reference, candidate in itertools.combinations(sides, 2):
        depths = {side["match"].shape.blocks for side in (candidate, reference)}
        change = Change("strangers", "of one depth" if len(depths) == 1 else "of two depths", ())
        found.append(_judged(change, candidate, reference, number))
    return found, cost(sides[1], sides[0], number)


def cost(candidate: Side, reference: Side, number: int, repeats: int = 3) -> Cost:
    """Time the matching of some blocks and of all: the least of several runs each."""
    parts, pairing = _parts(candidate, reference)
    blocks = sorted(candidate["match"].shape.mlps)
    rows = sampled(blocks, number, 0)

    def seconds(which: tuple[int, ...] | None) -> float:
        begun = time.perf_counter()
        compare_blocks(parts, pairing, seed=0, rows=which)
        return time.perf_counter() - begun

    timed = [(seconds(rows), seconds(None)) for _ in range(repeats)]
    screen, whole = (min(column) for column in zip(*timed, strict=True))
    return Cost(len(blocks), screen, whole)
