"""The p-values of kin's blocks at their true places: how clearly a statistic shows kinship."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks._real_probe import READINGS, Probed, log10_p, noisy, shared
from benchmarks._tokens import Embedded, on_tokens
from provenance.architecture.units import LinearMap
from provenance.statistics.match_tokens import match_tokens

if TYPE_CHECKING:
    from benchmarks._real_null import Asked
    from provenance.architecture.units import MLPFactors


def in_place(kin: Path, base: Path, asked: Asked, noise: float) -> list[float]:
    """Return log10 p of each block against the one of equal index; the kin has noise in gate and up."""
    if asked.statistic == "match_tokens":
        return _by_package(kin, base, asked, noise)
    models = Probed(kin), Probed(base)
    tokens = shared(*models, asked.tokens, asked.seed)
    sides = models[0].answers(tokens, noise), models[1].answers(tokens)
    blocks = zip(*(side[:: asked.every] for side in sides), strict=True)
    return [log10_p(a, b, READINGS[asked.statistic]) for a, b in blocks]


def _by_package(kin: Path, base: Path, asked: Asked, noise: float) -> list[float]:
    with tempfile.TemporaryDirectory() as scratch:
        models = Embedded(kin, Path(scratch)), Embedded(base, Path(scratch))
    candidate, reference = on_tokens(*models, asked.tokens, asked.seed)
    generator = torch.Generator().manual_seed(asked.seed)
    return [
        match_tokens(
            _noisy(candidate.block(block), noise, generator),
            reference.block(block),
            seed=asked.seed,
        ).log10_p
        for block in sorted(candidate.shape.mlps)[:: asked.every]
    ]


def _noisy(side: MLPFactors, noise: float, generator: torch.Generator) -> MLPFactors:
    assert side.gate is not None
    gate, up = (LinearMap(noisy(x.weight, noise, generator)) for x in (side.gate, side.up))
    return replace(side, gate=gate, up=up)
