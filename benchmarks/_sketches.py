"""Sides of comparisons as fingerprints hold them, and what they reveal of the weights."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn.functional import cosine_similarity

from provenance.capture.units import ActivationUnits
from provenance.comparison.blocks import compare_blocks
from provenance.comparison.sides import Component
from provenance.loading.parameters import ModelTensors
from provenance.statistics._sketch import Sketch, Sketcher
from provenance.statistics.match import match, prepare
from provenance.vocabulary import InputsSpec, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from benchmarks._null import Trial
    from provenance.architecture.units import MLPFactors
    from provenance.capture.units import Shape
    from provenance.comparison.executor import Executor
    from provenance.evidence.blocks import BlockEvidence
    from provenance.evidence.records import Pairing
    from provenance.statistics._directions import Directions
    from provenance.vocabulary import Role

EXACT = "models"
"""No fingerprint on either side: `match` as it always is."""
RIDGES = (1e-6, 1e-4, 1e-2, 1e-1, 1.0)
"""As shares of the spectrum's mean: the first where rounding is the only noise, the last where most is."""


@dataclass(frozen=True)
class Held:
    """The sketches of one model's blocks; satisfies `provenance.comparison.sides.Units`."""

    shape: Shape
    sketches: Mapping[int, Sketch]

    def block(self, index: int, place: int = 0) -> Sketch:
        """Return the sketch of a block's only MLP."""
        assert place == 0
        return self.sketches[index]


class Factors:
    """A model's units, each block read once."""

    def __init__(self, units: ActivationUnits) -> None:
        self.shape = units.shape
        self._blocks = {index: units.block(index) for index in units.shape.mlps}

    def block(self, index: int, place: int = 0) -> MLPFactors:
        """Return the inputs of a block's only MLP, and its projections."""
        assert place == 0
        return self._blocks[index]


class Fingerprinted:
    """One model with its fingerprints, all on the same inputs; ``columns`` None are whole answers."""

    def __init__(
        self, run: Executor, folder: Path, inputs: InputsSpec, columns: Sequence[int | None]
    ) -> None:
        checkpoint = run.checkpoint(ModelSpec(path=str(folder)))
        fed = run.work.encoded.for_one(inputs, checkpoint)
        entry = run.work.activations(checkpoint, fed, gated=True)
        self.exact = Factors(ActivationUnits(entry.path, ModelTensors(checkpoint), "cpu"))
        shape = self.exact.shape
        self.sketchers = {k: Sketcher(fed.digest, len(fed.ids), k) for k in columns}
        self.held = {
            k: Held(shape, {i: _rounded(sketcher.of(self.exact.block(i))) for i in shape.mlps})
            for k, sketcher in self.sketchers.items()
        }

    def part(self, other: Fingerprinted, columns: int | str | None) -> Component[object]:
        """Return `match` of fingerprints against fingerprints, or of models."""
        if columns == EXACT:
            return Component("match", match, self.exact, other.exact, prepare)
        assert not isinstance(columns, str)
        ready = self.sketchers[columns].prepare
        return Component("match", match, self.held[columns], other.held[columns], ready)

    def prepared(self, columns: int | str | None, role: Role, seed: int) -> dict[int, Directions]:
        """Every block of this side."""
        if columns == EXACT:
            sides = {i: prepare(self.exact.block(i), role, seed) for i in self.exact.shape.mlps}
        else:
            assert not isinstance(columns, str)
            ready = self.sketchers[columns].prepare
            sides = {
                i: ready(sketch, role, seed) for i, sketch in self.held[columns].sketches.items()
            }
        return sides


def _rounded(sketch: Sketch) -> Sketch:
    """Return the sketch as a file gives it back."""
    return replace(sketch, gate=sketch.gate.half().float(), up=sketch.up.half().float())


def null(
    models: Sequence[Fingerprinted],
    extents: Sequence[int | str | None],
    report: Callable[[str], None],
) -> dict[int | str | None, list[Trial]]:
    """Return log10 p of all blocks of all pairs of models, for each kind of sketch."""
    found: dict[int | str | None, list[Trial]] = {extent: [] for extent in extents}
    pairs = list(itertools.combinations(range(len(models)), 2))
    for done, (a, b) in enumerate(pairs):
        if done % 10 == 0:
            report(f"independent models: {done} of {len(pairs)} pairs")
        for extent in extents:
            seed = 1000 * a + b
            ours = models[a].prepared(extent, "candidate", seed)
            theirs = models[b].prepared(extent, "reference", seed)
            found[extent] += [
                (a, b, i, j, match(x, y).log10_p)
                for (i, x), (j, y) in itertools.product(ours.items(), theirs.items())
            ]
    return found


def null_of_equals(
    models: Mapping[int, Fingerprinted], widths: Sequence[int], extent: int | str | None, text: int
) -> list[Trial]:
    """Every block of every model against every block of every other of its width, on one text."""
    roles: tuple[Role, Role] = ("candidate", "reference")
    ours, theirs = (
        {a: model.prepared(extent, role, 100 * text + a) for a, model in models.items()}
        for role in roles
    )
    return [
        (a, b, i, j, match(x, y).log10_p)
        for a, b in itertools.combinations(models, 2)
        if widths[a] == widths[b]
        for (i, x), (j, y) in itertools.product(ours[a].items(), theirs[b].items())
    ]


def strengths(
    candidate: Fingerprinted, base: Fingerprinted, extents: Sequence[int | str | None]
) -> dict[int | str | None, list[float]]:
    """Return log10 p of the candidate's blocks, for each kind of sketch."""
    return {
        extent: [
            p for block in _blocks(candidate, base, extent) if (p := block.log10_p) is not None
        ]
        for extent in extents
    }


def _blocks(
    candidate: Fingerprinted, base: Fingerprinted, extent: int | str | None
) -> tuple[BlockEvidence, ...]:
    depths = [side.exact.shape.blocks for side in (candidate, base)]
    pairing: Pairing = "same-index" if depths[0] == depths[1] else "best-of-reference"
    return compare_blocks([candidate.part(base, extent)], pairing, seed=0).blocks


class Recovered(NamedTuple):
    """Mean cosines of solved values with the truth: rows of weights, and answers to the inputs."""

    rows: float
    answers: float


def recovered(
    model: Fingerprinted, fed: Mapping[int, torch.Tensor], columns: int | None
) -> Recovered:
    """Return how much of gate and up the holder of these hidden states can solve for.

    Parameters
    ----------
    model : Fingerprinted
        Whose fingerprint it is.
    fed : mapping
        By block, what the attacker takes for what the MLP was fed, (tokens, hidden): the truth, at worst.
    columns : int or None
        Of the fingerprint.

    Returns
    -------
    Recovered
        Of ridge regression, by the best of `RIDGES` for rows.
    """
    return max(_recovered(model, fed, columns, ridge) for ridge in RIDGES)


def _recovered(
    model: Fingerprinted, fed: Mapping[int, torch.Tensor], columns: int | None, share: float
) -> Recovered:
    rows, answers = [], []
    for index, sketch in model.held[columns].sketches.items():
        centred = fed[index] - fed[index].mean(dim=0)
        if columns is not None:
            centred = model.sketchers[columns].matrix().T @ centred
        mlp = model.exact.block(index)
        inputs = (mlp.inputs - mlp.inputs.mean(dim=0)).double()
        for name in ("gate", "up"):
            found = _ridge(centred.double(), getattr(sketch, name).double().T, share)
            truth = getattr(mlp, name).weight.double()[sketch.live]
            rows.append(cosine_similarity(found, truth, dim=1))
            answers.append(cosine_similarity(inputs @ found.T, inputs @ truth.T, dim=0))
    return Recovered(*(float(torch.cat(cosines).mean()) for cosines in (rows, answers)))


def _ridge(seen: torch.Tensor, answers: torch.Tensor, share: float) -> torch.Tensor:
    """Return weights, (units, hidden), that give ``answers``, (k, units), to ``seen``, (k, hidden)."""
    wide = len(seen) < seen.shape[1]
    gram = seen @ seen.T if wide else seen.T @ seen
    gram = gram + share * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    if wide:
        return (seen.T @ torch.linalg.solve(gram, answers)).T
    return torch.linalg.solve(gram, seen.T @ answers).T
