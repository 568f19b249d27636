"""The units of a model in memory, and the variants of `match` that differ in similarity alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from provenance.architecture.find import find_mlps
from provenance.architecture.records import linear_map
from provenance.architecture.units import PROJECTIONS, MLPActivations
from provenance.assignment.solve import assign
from provenance.capture.forward import Recording, answers_name, capture
from provenance.capture.units import Shape
from provenance.statistics.match import MatchResult
from provenance.statistics.pvalues import spearman

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SEQUENCE = 128
SIMILARITIES = ("cosine", "centred", "Euclidean")
LABELS = {"cosine": "match_cosine", "centred": "match", "Euclidean": "match, Euclidean"}
ABSOLUTE = {"cosine", "centred"}  # in these `up` is matched by the absolute value


class MemoryUnits:
    """Satisfies `comparison.sides.Units`; takes activations as a `capture.forward.Sink`."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._pieces: dict[str, list[torch.Tensor]] = {}

    def write(self, name: str, start: int, values: torch.Tensor) -> None:
        """Keep a copy of values, (tokens, units); they come in order."""
        if start == 0:
            self._pieces[name] = []
        self._pieces[name].append(values.clone())

    def block(self, index: int, place: int = 0) -> MLPActivations:
        """Return gate and up of one MLP, (tokens, units) or (hidden, units)."""
        names = (answers_name(index, place, projection) for projection in PROJECTIONS)
        return MLPActivations(*(self._joined(name) for name in names))

    def first(self, tokens: int) -> MemoryUnits:
        """Return the units on the first tokens alone."""
        shorter = MemoryUnits(self.shape)
        for name in self._pieces:
            shorter.write(name, 0, self._joined(name)[:tokens])
        return shorter

    def _joined(self, name: str) -> torch.Tensor:
        pieces = self._pieces[name]
        if len(pieces) > 1:
            pieces[:] = [torch.cat(pieces)]
        return pieces[0]


def activations(model: PreTrainedModel, ids: torch.Tensor) -> MemoryUnits:
    """Run a model once over ids, int64 (tokens,), and keep the outputs of its MLPs' projections."""
    found = find_mlps(model)
    kept = MemoryUnits(Shape.of(found, "float32"))
    capture(model, Recording(found, by_input=False), torch.split(ids, SEQUENCE), kept)
    return kept


def weight_rows(model: PreTrainedModel) -> MemoryUnits:
    """Return the weight rows of a model's gates and ups, transposed: each (hidden, units)."""
    found = find_mlps(model)
    kept = MemoryUnits(Shape.of(found, "float32"))
    for block, place, record in found.places():
        for name in PROJECTIONS:
            weight = linear_map(getattr(record, name), model.get_parameter).weight
            kept.write(answers_name(block, place, name), 0, weight.T)
    return kept


class Moments:
    """One side of a comparison, with what every similarity needs, computed once."""

    def __init__(self, mlp: MLPActivations) -> None:
        self.live = mlp.live()
        self.columns = {name: getattr(mlp, name)[:, self.live] for name in PROJECTIONS}
        self.means = {name: x.double().mean(dim=0) for name, x in self.columns.items()}
        self.squares = {name: x.double().square().sum(dim=0) for name, x in self.columns.items()}

    def varying(self, projection: str) -> torch.Tensor:
        """Return the squared deviations from the mean, summed over tokens, float64 (units,)."""
        tokens = len(self.columns[projection])
        varying: torch.Tensor = self.squares[projection] - tokens * self.means[projection].square()
        return varying


def similarities(a: Moments, b: Moments, projection: str) -> dict[str, torch.Tensor]:
    """Return all similarities of two models' live units from one matrix product, float64 (m, n)."""
    x, y = a.columns[projection], b.columns[projection]
    dots = (x.T @ y).double()
    shared = len(x) * torch.outer(a.means[projection], b.means[projection])
    squares = a.squares[projection], b.squares[projection]
    varying = a.varying(projection), b.varying(projection)
    return {
        "cosine": dots / torch.outer(*squares).sqrt(),
        "centred": (dots - shared) / torch.outer(*varying).sqrt(),
        "Euclidean": 2 * dots - squares[0][:, None] - squares[1],
    }


def match_by_all(
    a: Moments,
    b: Moments,
    seed: int,
    names: tuple[str, ...] = SIMILARITIES,
    unsigned: tuple[str, ...] = ("centred",),
) -> dict[str, float]:
    """Return log10 p of `match` by each similarity, and the gate's sign left open by those in ``unsigned``.

    "centred" is `provenance.statistics.match`, renumbering included; "cosine" is `match_cosine`;
    "Euclidean" is the squared distance, `up` signed, as in the paper's public code.
    """
    orders = [
        torch.from_numpy(np.random.default_rng([seed, role]).permutation(len(side.live)))
        for role, side in enumerate((a, b))
    ]
    pairs = {projection: similarities(a, b, projection) for projection in PROJECTIONS}
    found = {}
    for name in names:
        gate, up = (pairs[projection][name][orders[0]][:, orders[1]] for projection in PROJECTIONS)
        up = up.abs() if name in ABSOLUTE else up
        gate = gate.abs() if name in unsigned else gate
        found[name] = spearman(assign(gate).partners, assign(up).partners).log10_p
    return found


def match_euclidean(
    candidate: MLPActivations, reference: MLPActivations, *, seed: int = 0
) -> MatchResult:
    """Run `match` by squared Euclidean distance and signed `up`, as the paper's public code does."""
    a, b = Moments(candidate), Moments(reference)
    log10_p = match_by_all(a, b, seed, ("Euclidean",))["Euclidean"]
    none = np.zeros((0, 2), dtype=np.int64)
    units = candidate.gate.shape[1], reference.gate.shape[1]
    return MatchResult("match", log10_p, 0.0, units, (len(a.live), len(b.live)), none, none)
