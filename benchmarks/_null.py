"""False positives: every pair of independently trained models and every pair of their blocks."""

from __future__ import annotations

import itertools
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from benchmarks._tokens import COUNTS, Embedded, label, p_values
from benchmarks._units import (
    LABELS,
    Moments,
    activations,
    match_by_all,
    weight_rows,
)
from provenance.inputs.tokens import random_ids
from provenance.recipes.steps import load
from provenance.statistics import REGISTRY
from provenance.statistics.pvalues import bonferroni, fisher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from numpy.typing import NDArray

    from benchmarks._units import MemoryUnits
    from benchmarks._zoo import Member, Scale

Trial = tuple[int, int, int, int, float]
"""Candidate model, reference model, candidate block, reference block, log10 p."""

LEVELS = (0.05, 0.01, 0.001)
CHECKED_EVERY = 40
DEFAULT = "match"
COMBINED = ("match", "match_cosine", "match_tokens", "match_weights", "kinship", "csu", "csh")


@dataclass
class Null:
    """Trials by statistic: of block pairs, and of model pairs (Fisher over blocks; blocks are -1)."""

    blocks: dict[str, list[Trial]] = field(default_factory=dict)
    models: dict[str, list[Trial]] = field(default_factory=dict)
    checked: int = 0


@dataclass(frozen=True)
class _Model:
    member: Member
    text: MemoryUnits
    weights: MemoryUnits
    moments: dict[str, dict[int, Moments]]  # by inputs and block
    embedded: Embedded


def measure(
    zoo: Sequence[tuple[Member, Path]],
    ids: torch.Tensor,
    scale: Scale,
    report: Callable[[str], None],
) -> Null:
    """Compare all models with each other; ``zoo`` pairs their descriptions with their checkpoints."""
    text = ids[: scale.tokens]
    noise = random_ids(scale.tokens, scale.vocabulary, seed=7)
    with tempfile.TemporaryDirectory() as scratch:
        models = [
            _read(member, path, text, noise, Embedded(path, Path(scratch))) for member, path in zoo
        ]
    counts = [count for count in COUNTS if count <= scale.vocabulary]
    null = Null()
    pairs = list(itertools.combinations(range(len(models)), 2))
    for done, (a, b) in enumerate(pairs):
        if done % 10 == 0:
            report(f"independent models: {done} of {len(pairs)} pairs")
        sides = models[a].embedded, models[b].embedded
        probed = {count: p_values(*sides, count, _seed(a, b)) for count in counts}
        for i, j in itertools.product(models[a].weights.shape.mlps, models[b].weights.shape.mlps):
            probes = {
                label(count): found[i, j] for count, found in probed.items() if (i, j) in found
            }
            _compare(null, models, (a, b, i, j), probes)
    _combine(null)
    return null


def _read(
    member: Member, path: Path, text: torch.Tensor, noise: torch.Tensor, embedded: Embedded
) -> _Model:
    model = load(path)
    units = {"text": activations(model, text), "random ids": activations(model, noise)}
    weights = weight_rows(model)
    moments = {
        inputs: {block: Moments(side.block(block)) for block in side.shape.mlps}
        for inputs, side in (*units.items(), ("weights", weights))
    }
    return _Model(member, units["text"], weights, moments, embedded)


def _seed(a: int, b: int) -> int:
    """Return the seed of a pair of models: as in a suite, one for all that is done with it."""
    return 1000 * a + b


def _compare(
    null: Null,
    models: Sequence[_Model],
    where: tuple[int, int, int, int],
    probed: dict[str, float],
) -> None:
    """Run every statistic on one pair of blocks; ``probed`` has those on tokens."""
    a, b, i, j = where
    ours, theirs = models[a], models[b]
    seed = _seed(a, b)

    def keep(statistic: str, log10_p: float) -> None:
        null.blocks.setdefault(statistic, []).append((*where, log10_p))

    for inputs in ("text", "random ids"):
        suffix = "" if inputs == "text" else ", random ids"
        found = match_by_all(ours.moments[inputs][i], theirs.moments[inputs][j], seed)
        for similarity, log10_p in found.items():
            keep(f"{LABELS[similarity]}{suffix}", log10_p)
        if inputs == "text":
            text = found
    for statistic, log10_p in probed.items():
        keep(statistic, log10_p)
    kin = [text["centred"], *(p for name, p in probed.items() if name == "match_tokens")]
    if ours.member.hidden == theirs.member.hidden:
        sides = ours.moments["weights"][i], theirs.moments["weights"][j]
        rows = match_by_all(*sides, seed, ("cosine",), unsigned=("cosine",))["cosine"]
        keep("match_weights", rows)
        kin.append(rows)
    # a part that is not defined, for other hidden sizes, is paid for all the same
    keep("kinship", bonferroni(min(kin), len(REGISTRY["kinship"].parts)))
    if ours.member.units == theirs.member.units:
        _compare_in_order(ours, theirs, i, j, seed, keep)
    if len(null.blocks[DEFAULT]) % CHECKED_EVERY == 1:
        _check(ours, theirs, i, j, seed, text)
        null.checked += 1


def _compare_in_order(
    ours: _Model, theirs: _Model, i: int, j: int, seed: int, keep: Callable[[str, float], None]
) -> None:
    sides = ours.text.block(i), theirs.text.block(j)
    keep("csh", REGISTRY["csh"].load()(*sides, seed=seed).log10_p)
    if ours.member.hidden == theirs.member.hidden:
        rows = ours.weights.block(i), theirs.weights.block(j)
        keep("csu", REGISTRY["csu"].load()(*rows, seed=seed).log10_p)


def _check(
    ours: _Model, theirs: _Model, i: int, j: int, seed: int, found: dict[str, float]
) -> None:
    """Compare the shared computation with the library's own."""
    sides = ours.text.block(i), theirs.text.block(j)
    direct = {
        "centred": REGISTRY["match"].load()(*sides, seed=seed).log10_p,
        "cosine": REGISTRY["match_cosine"].load()(*sides, seed=seed).log10_p,
    }
    for name, log10_p in direct.items():
        # a near tie may fall either way in float32, which moves a unit or two
        if abs(log10_p - found[name]) > 0.1:
            raise RuntimeError(f"{name}: {found[name]} here, {log10_p} by the library")


def _combine(null: Null) -> None:
    """Combine the blocks of equal index by Fisher's method, as a claim about models of one depth does."""
    for statistic in COMBINED:
        by_pair: dict[tuple[int, int], list[float]] = defaultdict(list)
        for a, b, i, j, log10_p in null.blocks[statistic]:
            if i == j:
                by_pair[a, b].append(log10_p)
        for (a, b), log10_ps in by_pair.items():
            both = min(fisher(log10_ps), bonferroni(min(log10_ps), len(log10_ps)))
            found = {f"Fisher, {statistic}": fisher(log10_ps)}
            if statistic == "kinship":
                found["claim"] = bonferroni(both, 2)
            for name, log10_p in found.items():
                null.models.setdefault(name, []).append((a, b, -1, -1, log10_p))


@dataclass(frozen=True)
class Rate:
    """How often p was at most a level, with confidence intervals.

    ``low`` and ``high`` bound the share by Clopper and Pearson (95 %); ``error`` is its standard error
    by leaving out one model at a time.
    """

    level: float
    count: int
    trials: int
    low: float
    high: float
    error: float

    @property
    def share(self) -> float:
        """The share of false positives."""
        return self.count / self.trials

    @property
    def above(self) -> bool:
        """Whether the interval lies above the level, or by the error that counts shared models."""
        return self.low > self.level and self.share - 1.96 * self.error > self.level


def rate(trials: Sequence[Trial], level: float) -> Rate:
    """Count the false positives at one level."""
    positive = np.array([10.0 ** trial[-1] <= level for trial in trials])
    count = int(positive.sum())
    interval = stats.binomtest(count, len(trials)).proportion_ci(0.95, method="exact")
    error = jackknife(trials, positive)
    return Rate(level, count, len(trials), float(interval.low), float(interval.high), error)


def jackknife(pairs: Sequence[Sequence[float]], positive: NDArray[np.bool_]) -> float:
    """Return the standard error of a mean over pairs that share models, by leaving out one at a time.

    The first two numbers of a pair are its models.
    """
    first, second = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    models = sorted({*first.tolist(), *second.tolist()})
    without = [positive[(first != m) & (second != m)] for m in models]
    means = np.array([part.mean() for part in without if len(part)])
    count = len(means)
    if count < 3:
        return float("nan")
    return float(np.sqrt((count - 1) / count * ((means - means.mean()) ** 2).sum()))


def uniformity(trials: Sequence[Trial]) -> tuple[float, float]:
    """Return the distance of the p-values from the uniform law, and Kolmogorov-Smirnov's p."""
    result = stats.kstest([10.0 ** trial[-1] for trial in trials], "uniform")
    return float(result.statistic), float(result.pvalue)


@dataclass(frozen=True)
class Dependence:
    """Mean correlation of the blocks' z-scores over pairs of models, and its permutation p-value."""

    correlation: float
    p: float
    pairs: int
    blocks: int
    variance: float


def dependence(trials: Sequence[Trial], seed: int = 0, draws: int = 1000) -> Dependence:
    """Correlate the blocks of equal index: Fisher's method assumes that they are independent.

    Pairs of models are used that have as many blocks as most, two or more. Permuting each block's scores
    over the pairs of models gives the law under independence. ``variance`` is that of the sum of a pair's
    scores, as a multiple of what independent uniform p-values give.
    """
    by_pair: dict[tuple[int, int], dict[int, float]] = defaultdict(dict)
    for a, b, i, j, log10_p in trials:
        if i == j:
            by_pair[a, b][i] = float(stats.norm.isf(np.clip(10.0**log10_p, 1e-12, 1 - 1e-12)))
    depths = [len(scores) for scores in by_pair.values() if len(scores) > 1]
    depth = max(set(depths), key=depths.count)
    table = np.array([[s[k] for k in sorted(s)] for s in by_pair.values() if len(s) == depth])
    rng = np.random.default_rng(seed)
    observed = _mean_correlation(table)
    null = [_mean_correlation(rng.permuted(table, axis=0)) for _ in range(draws)]
    p = (1 + sum(abs(value) >= abs(observed) for value in null)) / (draws + 1)
    variance = float(table.sum(axis=1).var(ddof=1) / depth)
    return Dependence(observed, p, len(table), depth, variance)


def _mean_correlation(table: NDArray[np.float64]) -> float:
    matrix = np.atleast_2d(np.corrcoef(table.T))
    return float(matrix[np.triu_indices(len(matrix), 1)].mean())
