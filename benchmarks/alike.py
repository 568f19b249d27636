"""What becomes of strangers whose gates and ups are alike, on the embeddings of tokens.

Where the gate and the up of a unit say the same, the two matchings of `match_tokens` agree between
strangers. Such MLPs are drawn at random here and compared: by the statistic, which refuses what it finds
too alike, and without its refusal.

``python -m benchmarks.alike``
    Draw and compare strangers.
``python -m benchmarks.alike --models DIR ...``
    Count such units in checkpoints, block by block.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks._arguments import at_least
from benchmarks._table import table
from benchmarks._tokens import DEFAULT, Embedded, on_tokens
from provenance.architecture.units import LinearMap, MLPFactors
from provenance.errors import DegenerateError
from provenance.recipes.train import one_thread
from provenance.statistics._alike import ALIKE, own_correlation
from provenance.statistics.match import best_match, prepare
from provenance.statistics.match_tokens import half_whitened, match_tokens
from provenance.vocabulary import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Draw = Callable[[torch.Generator], tuple[torch.Tensor, torch.Tensor]]
    """Draws the rows of gate and of up, each (units, hidden)."""

HIDDEN, UNITS, TOKENS = 64, 256, 256
NOISE = 0.5
"""Of a model's embeddings, about what all models have in common."""


@dataclass(frozen=True)
class Row:
    """Pairs of strangers: the share of units that are alike, how many are refused, and all log10 p."""

    alike: float
    refused: int
    log10_ps: Sequence[float]


def mixed(correlation: float, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw gates, and ups that correlate with them."""
    gate, other = torch.randn(2, UNITS, HIDDEN, generator=generator)
    return gate, correlation * gate + (1 - correlation**2) ** 0.5 * other


def grouped(width: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw units in groups: those of one group read the same few dimensions, and no other group does."""
    groups = torch.arange(UNITS) * (HIDDEN // width) // UNITS
    reads = (torch.arange(HIDDEN) // width)[None] == groups[:, None]
    gate, up = torch.randn(2, UNITS, HIDDEN, generator=generator)
    return gate * reads, up * reads


CASES: Mapping[str, Draw] = {
    "gate and up drawn apart": partial(mixed, 0.0),
    "gate and up correlate at 0.3": partial(mixed, 0.3),
    "gate and up correlate at 0.5": partial(mixed, 0.5),
    "gate and up correlate at 0.6": partial(mixed, 0.6),
    "gate and up correlate at 0.7": partial(mixed, 0.7),
    "gate and up correlate at 0.8": partial(mixed, 0.8),
    "gate and up are one matrix": partial(mixed, 1.0),
    "groups that read 16 dimensions": partial(grouped, 16),
    "groups that read 8 dimensions": partial(grouped, 8),
    "groups that read 4 dimensions": partial(grouped, 4),
    "groups that read 2 dimensions": partial(grouped, 2),
}


def measure(draw: Draw, pairs: int) -> Row:
    """Compare so many pairs of strangers."""
    alike, refused, log10_ps = [], 0, []
    for seed in range(pairs):
        generator = torch.Generator().manual_seed(seed)
        common = torch.randn(TOKENS, HIDDEN, generator=generator)
        candidate, reference = (_stranger(common, draw, generator) for _ in range(2))
        try:
            match_tokens(candidate, reference, seed=seed)
        except DegenerateError:
            refused += 1
        sides = [
            MLPFactors(half_whitened(side.inputs), side.gate, side.up)
            for side in (candidate, reference)
        ]
        alike.append(_share(sides[0]))
        prepared = (prepare(side, role, seed) for side, role in zip(sides, ROLES, strict=True))
        log10_ps.append(best_match(*prepared, seed=seed).log10_p)
    return Row(float(np.mean(alike)), refused, log10_ps)


def shares(checkpoint: Path) -> list[float]:
    """Return the share of each block's units whose gate and up are alike."""
    with tempfile.TemporaryDirectory() as scratch:
        model = Embedded(checkpoint, Path(scratch))
    units, _ = on_tokens(model, model, DEFAULT, seed=0)
    sides = (units.block(block) for block in sorted(units.shape.mlps))
    return [_share(MLPFactors(half_whitened(side.inputs), side.gate, side.up)) for side in sides]


def _share(whitened: MLPFactors) -> float:
    likeness = own_correlation(prepare(whitened, "candidate", 0))
    return float((likeness > ALIKE).float().mean())


def _stranger(common: torch.Tensor, draw: Draw, generator: torch.Generator) -> MLPFactors:
    """An MLP with embeddings that have something in common with all others', in a basis of their own."""
    basis = torch.linalg.qr(torch.randn(HIDDEN, HIDDEN, generator=generator)).Q
    own = torch.randn(common.shape, generator=generator)
    gate, up = draw(generator)
    return MLPFactors(common @ basis + NOISE * own, LinearMap(gate), LinearMap(up))


def page(rows: Mapping[str, Row]) -> str:
    """Return the measurements as a Markdown table."""
    head = ("strangers", "units alike", "refused", "below 0.05", "below 0.001", "least p")

    def cells(what: str, row: Row) -> tuple[str, ...]:
        pairs = len(row.log10_ps)
        counts = (sum(p < np.log10(level) for p in row.log10_ps) for level in (0.05, 0.001))
        share, least = f"{row.alike:.1%}", min(row.log10_ps)
        of = (f"{count} of {pairs}" for count in (row.refused, *counts))
        return what, share, *of, f"{10**least:.1g}" if least > -5 else f"1e{least:.0f}"

    return table(head, [cells(what, row) for what, row in rows.items()])


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alike", description=__doc__)
    parser.add_argument("--pairs", type=at_least(1), default=60, help="of strangers, of each kind")
    parser.add_argument("--models", type=Path, nargs="+", help="checkpoints, in place of strangers")
    given = parser.parse_args(arguments)
    with one_thread():
        if given.models:
            print(_page_of_models(given.models))
        else:
            print(page({what: measure(draw, given.pairs) for what, draw in CASES.items()}))


def _page_of_models(models: Sequence[Path]) -> str:
    found = {model.name: shares(model) for model in models}
    rows = [
        (name, str(len(row)), f"{np.median(row):.2%}", f"{max(row):.2%}", str(np.argmax(row)))
        for name, row in found.items()
    ]
    return table(("model", "blocks", "units alike, median", "largest", "in block"), rows)


if __name__ == "__main__":
    main()
