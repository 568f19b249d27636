"""Power: the p-value of each statistic for each change of one model, at several strengths."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._tokens import COUNTS, Embedded, label, on_tokens
from benchmarks._units import activations, match_euclidean, weight_rows
from benchmarks._zoo import Zoo, members
from fixtures.recipes.steps import (
    AddNoise,
    Distil,
    LoraMerge,
    LoraSettings,
    MergeLinear,
    MergeSlerp,
    MergeTies,
    PermuteHeads,
    PruneMagnitude,
    RescaleNorms,
    RetrainMlp,
    RetrainSettings,
    RotateResidual,
    RoundTrip,
    TrainLora,
    TransplantMlp,
    UpscaleDepth,
)
from provenance.comparison.blocks import compare_blocks
from provenance.comparison.sides import Component
from provenance.errors import ArchitectureError
from provenance.inputs.tokens import random_ids
from provenance.recipes.settings import TrainSettings
from provenance.recipes.steps import (
    PermuteResidual,
    PermuteUnits,
    PruneDepth,
    PruneWidth,
    RescaleUnits,
    Step,
    Train,
    load,
)
from provenance.statistics import REGISTRY
from provenance.statistics.permtest import l2_permtest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch
    from transformers import PreTrainedModel

    from benchmarks._units import MemoryUnits
    from benchmarks._zoo import Scale
    from provenance.comparison.sides import Units
    from provenance.evidence.records import Pairing
    from provenance.statistics import BlockTest

BASE, STRANGER, FINE, LORA = "base", "stranger", "fine-tune", "LoRA"
TOKENS = (256, 1024, 4096, 16_384)
PERMUTATIONS = 99
SEED = 0
STATISTICS = (
    "kinship",
    "match",
    "match_cosine",
    "match, Euclidean",
    "match, random ids",
    "match_cosine, random ids",
    *map(label, COUNTS),
    "match_weights",
    "csu",
    "csh",
    "l2",
)
KINSHIP = REGISTRY["kinship"].parts


@dataclass(frozen=True)
class Change:
    """A descendant: the steps that are done to ``parent``, with the models of ``others``."""

    kind: str
    strength: str
    steps: tuple[Step, ...]
    parent: str = BASE
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One change; for each statistic the log10 p of the blocks of the changed model."""

    kind: str
    strength: str
    log10_ps: dict[str, list[float]] = field(default_factory=dict)

    def least(self, statistic: str) -> float | None:
        """Return the log10 p of the strongest block."""
        found = self.log10_ps.get(statistic)
        return min(found) if found else None


def tuned(zoo: Zoo, steps: int) -> Train:
    """Return the step that fine-tunes a model on prose."""
    settings = TrainSettings(steps, 4, zoo.scale.length, 1e-3, 10, seed=1)
    return Train(zoo.text("prose"), settings)


def _low_rank(zoo: Zoo) -> TrainLora:
    training = TrainSettings(150, 4, zoo.scale.length, 2e-3, 10, seed=3)
    return TrainLora(zoo.text("prose"), LoraSettings(training))


def _trained(zoo: Zoo, *, small: bool) -> Iterator[Change]:
    for steps in (50,) if small else (50, 200, 500):
        yield Change("fine-tune on prose, lr 1e-3", f"{steps} steps", (tuned(zoo, steps),))
    if small:
        return
    yield Change("LoRA, merged", "rank 8, 150 steps", (_low_rank(zoo),))
    again = RetrainMlp(zoo.text("code-0"), (1,), RetrainSettings(steps=1000))
    yield Change("MLP of block 1 retrained", "1000 steps", (again,))


def _perturbed(*, small: bool) -> Iterator[Change]:
    for scale in (0.5,) if small else (0.1, 0.3, 0.5, 1.0, 2.0):
        yield Change("Gaussian noise", f"{scale} std", (AddNoise(41, scale),))
    for bits in (8, 4) if not small else (8,):
        yield Change("rounding", f"int{bits}", (RoundTrip(bits),))
    for fraction in (0.5,) if small else (0.3, 0.5, 0.7, 0.9):
        change = PruneMagnitude(fraction)
        yield Change("magnitude pruning", f"{fraction:.0%} zero", (change,))
    if not small:
        for scale in (0.5, 1.0):
            yield Change("random rank-8 update", f"{scale} std", (LoraMerge(43, 8, scale),))


def _cut(scale: Scale, *, small: bool) -> Iterator[Change]:
    for kept in (0.5,) if small else (0.75, 0.5, 0.25):
        change = PruneWidth(int(kept * scale.units))
        yield Change("width pruning", f"{1 - kept:.0%} of units gone", (change,))
    if not small:
        yield Change("depth pruning", "3 of 4 blocks", (PruneDepth((0, 1, 3)),))
        yield Change("depth pruning", "2 of 4 blocks", (PruneDepth((0, 2)),))
        yield Change("depth up-scaling", "6 blocks of 4", (UpscaleDepth((0, 1, 2, 1, 2, 3)),))


def _met(*, small: bool) -> Iterator[Change]:
    for weight in (0.5,) if small else (0.25, 0.5, 0.75, 0.9):
        change = MergeLinear(STRANGER, weight)
        yield Change(
            "merge with a stranger", f"{weight:.0%} stranger", (change,), others=(STRANGER,)
        )
    graft = TransplantMlp(BASE, (1,))
    yield Change("MLP of block 1 in a stranger", "1 block", (graft,), STRANGER, (BASE,))
    if not small:
        slerp = MergeSlerp(STRANGER, 0.5)
        yield Change("SLERP with a stranger", "50% stranger", (slerp,), others=(STRANGER,))
        ties = MergeTies((FINE, LORA), 0.3, 1.0)
        yield Change("TIES of two fine-tunes", "density 0.3", (ties,), others=(FINE, LORA))


UNITS, SIGNS, HEADS = PermuteUnits(31), RescaleUnits(32), PermuteHeads(33)
ORDER, ROTATION, NORMS = PermuteResidual(34), RotateResidual(35), RescaleNorms(36)
ALL_TOGETHER: tuple[Step, ...] = (UNITS, SIGNS, HEADS, ORDER, ROTATION, NORMS)
"""Every disguise: each leaves what the model computes as it is."""


def _disguised(*, small: bool) -> Iterator[Change]:
    disguises: dict[str, tuple[Step, ...]] = {
        "units permuted": (UNITS,),
        "up rows rescaled, signs flipped": (SIGNS,),
        "residual stream rotated": (ROTATION,),
    }
    if not small:
        disguises |= {
            "heads permuted": (HEADS,),
            "residual stream permuted": (ORDER,),
            "norms rescaled": (NORMS,),
            "all together": ALL_TOGETHER,
        }
    for what, steps in disguises.items():
        yield Change("disguised fine-tune", what, steps, FINE)


def _independent(zoo: Zoo, *, small: bool) -> Iterator[Change]:
    if not small:
        settings = TrainSettings(zoo.scale.steps, zoo.scale.batch, zoo.scale.length)
        student = Distil(zoo.text("code-0"), seed=99, settings=settings)
        yield Change("distilled (independent by definition)", "", (student,))
    yield Change("stranger (independent)", "", (), STRANGER)


def changes(zoo: Zoo, *, small: bool) -> list[Change]:
    """Return the changes of the base; a small run has fewer."""
    return [
        *_trained(zoo, small=small),
        *_perturbed(small=small),
        *_cut(zoo.scale, small=small),
        *_met(small=small),
        *_disguised(small=small),
        *_independent(zoo, small=small),
    ]


class Relatives:
    """The base, its descendants and a stranger, as checkpoints."""

    def __init__(self, zoo: Zoo, *, small: bool) -> None:
        self._zoo = zoo
        first, second = members(2, zoo.scale)
        self.paths = {BASE: zoo.member(first), STRANGER: zoo.member(second)}
        trained: dict[str, tuple[Step, ...]] = {FINE: (tuned(zoo, 50 if small else 200),)}
        if not small:
            trained[LORA] = (_low_rank(zoo),)
        for name, steps in trained.items():
            self.paths[name] = zoo.checkpoint("tuned", steps, self.paths[BASE])

    def path(self, change: Change) -> Path:
        """Return the checkpoint of a changed model."""
        parent = self.paths[change.parent]
        if not change.steps:
            return parent
        others = {name: self.paths[name] for name in change.others}
        name = change.kind.partition(" ")[0].strip(",")
        return self._zoo.checkpoint(name, change.steps, parent, others)


@dataclass(frozen=True)
class _Side:
    """A model and its units on each kind of input."""

    model: PreTrainedModel
    units: dict[str, MemoryUnits]
    embedded: Embedded


def _side(path: Path, text: torch.Tensor, noise: torch.Tensor) -> _Side:
    model = load(path)
    units = {
        "text": activations(model, text),
        "random": activations(model, noise),
        "weights": weight_rows(model),
    }
    with tempfile.TemporaryDirectory() as scratch:
        embedded = Embedded(path, Path(scratch))
    return _Side(model, units, embedded)


def _tests() -> dict[str, tuple[str, BlockTest[Any]]]:
    """Return, for each statistic that is no combination, its inputs and its test."""
    match, cosine = REGISTRY["match"].load(), REGISTRY["match_cosine"].load()
    tests: dict[str, tuple[str, BlockTest[Any]]] = {
        "match": ("text", match),
        "match_cosine": ("text", cosine),
        "match, Euclidean": ("text", match_euclidean),
        "match, random ids": ("random", match),
        "match_cosine, random ids": ("random", cosine),
    }
    for count in COUNTS:
        tests[label(count)] = (_tokens(count), REGISTRY["match_tokens"].load())
    return tests | {
        "match_weights": ("weights", REGISTRY["match_weights"].load()),
        "csu": ("weights", REGISTRY["csu"].load()),
        "csh": ("text", REGISTRY["csh"].load()),
    }


def _tokens(count: int) -> str:
    """Name the inputs that are so many tokens' embeddings."""
    return f"{count} tokens"


def measure(
    zoo: Zoo, ids: torch.Tensor, report: Callable[[str], None], *, small: bool
) -> list[Row]:
    """Compare every changed model with the base, as a claim of descent would."""
    relatives = Relatives(zoo, small=small)
    inputs = ids[: zoo.scale.tokens], random_ids(zoo.scale.tokens, zoo.scale.vocabulary, seed=7)
    base = _side(relatives.paths[BASE], *inputs)
    rows = []
    for change in changes(zoo, small=small):
        report(f"power: {change.kind}, {change.strength}")
        candidate = _side(relatives.path(change), *inputs)
        rows.append(Row(change.kind, change.strength, _compare(candidate, base)))
    return rows


def _compare(candidate: _Side, base: _Side) -> dict[str, list[float]]:
    depths = [len(side.units["text"].shape.mlps) for side in (candidate, base)]
    pairing: Pairing = "same-index" if depths[0] == depths[1] else "best-of-reference"
    sides: dict[str, tuple[Units[Any], Units[Any]]] = {
        on: (candidate.units[on], base.units[on]) for on in base.units
    }
    for count in _counts(candidate, base):
        sides[_tokens(count)] = on_tokens(candidate.embedded, base.embedded, count, SEED)
    components = {
        name: Component(name, test, *sides[on])
        for name, (on, test) in _tests().items()
        if on in sides
    }
    combined = {"kinship": [components[part] for part in KINSHIP]}
    alone = {name: [component] for name, component in components.items()}
    found: dict[str, list[float]] = {name: [] for name in STATISTICS}
    for name, parts in (combined | alone).items():
        table = compare_blocks(parts, pairing, SEED)
        found[name] = [block.log10_p for block in table.blocks if block.log10_p is not None]
    found["l2"] = _distance(candidate.model, base.model)
    return found


def _counts(candidate: _Side, base: _Side) -> list[int]:
    """Return the numbers of tokens that both vocabularies have."""
    size = min(side.embedded.vocabulary.size for side in (candidate, base))
    return [count for count in COUNTS if count <= size]


def _distance(candidate: PreTrainedModel, base: PreTrainedModel) -> list[float]:
    """Return PERMTEST of l2 on the whole models, or an empty list where it is not defined."""
    parameters = [
        {name: tensor.detach() for name, tensor in model.named_parameters()}
        for model in (candidate, base)
    ]
    try:
        result = l2_permtest(*parameters, trials=PERMUTATIONS, seed=0)
    except ArchitectureError:
        return []
    return [result.log10_p]


def by_tokens(
    zoo: Zoo, ids: torch.Tensor, report: Callable[[str], None], *, small: bool
) -> dict[str, dict[int, list[float]]]:
    """Return log10 p of the blocks of two hard cases by statistic and number of tokens."""
    relatives = Relatives(zoo, small=small)
    tokens = [count for count in TOKENS if count <= zoo.scale.longest]
    hard: dict[str, tuple[Step, ...]] = {
        "fine-tune, 500 steps" if not small else "fine-tune": (tuned(zoo, 50 if small else 500),),
        "noise of 0.5 std": (AddNoise(41, 0.5),),
    }
    noise = random_ids(tokens[-1], zoo.scale.vocabulary, seed=7)
    tests = {name: test for name, test in _tests().items() if test[0] in {"text", "random"}}
    del tests["csh"]
    base = _side(relatives.paths[BASE], ids[: tokens[-1]], noise)
    found: dict[str, dict[int, list[float]]] = {}
    for what, steps in hard.items():
        report(f"power by tokens: {what}")
        path = zoo.checkpoint(what.partition(" ")[0].strip(","), steps, relatives.paths[BASE])
        candidate = _side(path, ids[: tokens[-1]], noise)
        for name, (on, test) in tests.items():
            row = found.setdefault(f"{what}: {name}", {})
            for count in tokens:
                ours, theirs = (side.units[on].first(count) for side in (candidate, base))
                parts = [Component(name, test, ours, theirs)]
                table = compare_blocks(parts, "same-index", SEED)
                row[count] = [b.log10_p for b in table.blocks if b.log10_p is not None]
    return found
