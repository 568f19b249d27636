"""The p-values of strangers' blocks, counted: a statistic that is sound has no more small ones than due."""

from __future__ import annotations

import itertools
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import stats

from benchmarks._real_probe import READINGS, Probed, log10_p, shared
from benchmarks._table import table
from benchmarks._tokens import Embedded, p_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

LEVELS = (0.1, 0.05, 0.01, 0.001)
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Asked:
    """What is measured: `match_tokens`, or a reading of the probe here; on how many tokens.

    ``every`` is the step from one block to the next; ``seed`` draws the tokens.
    """

    statistic: str
    tokens: int
    every: int = 1
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.statistic}, {self.tokens} tokens"


def p_table(candidate: Path, reference: Path, asked: Asked) -> NDArray[np.float64]:
    """Return log10 p of every pair of blocks, (candidate's, reference's); NaN where none is defined."""
    if asked.statistic == "match_tokens":
        return _on_tokens(candidate, reference, asked)
    models = Probed(candidate), Probed(reference)
    tokens = shared(*models, asked.tokens, asked.seed)
    sides = [model.answers(tokens)[:: asked.every] for model in models]
    generator = torch.Generator().manual_seed(asked.seed)
    # in an order of their own, so that no solver's liking for low numbers looks like kinship
    rows, columns = ([_shuffled(block, generator) for block in side] for side in sides)
    reading = READINGS[asked.statistic]
    return np.array([[log10_p(a, b, reading) for b in columns] for a in rows])


def _shuffled(
    answers: tuple[torch.Tensor, torch.Tensor], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    order = torch.randperm(len(answers[0]), generator=generator)
    return answers[0][order], answers[1][order]


def _on_tokens(candidate: Path, reference: Path, asked: Asked) -> NDArray[np.float64]:
    with tempfile.TemporaryDirectory() as scratch:
        sides = Embedded(candidate, Path(scratch)), Embedded(reference, Path(scratch))
    found = p_values(*sides, asked.tokens, asked.seed, asked.every)
    rows, columns = (sorted({pair[side] for pair in found}) for side in (0, 1))
    return np.array([[found[i, j] for j in columns] for i in rows])


def measure(
    pairs: Iterable[tuple[Path, Path]],
    asked: Iterable[Asked],
    kept: Path,
    report: Callable[[str], None],
) -> dict[str, list[float]]:
    """Return log10 p of all pairs of blocks by statistic and tokens; ``kept`` is a folder of tables."""
    kept.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[float]] = {}
    for what, (candidate, reference) in itertools.product(asked, pairs):
        name = f"{candidate.name}-{reference.name}-{what.statistic}"
        name += f"-{what.tokens}-every-{what.every}-seed-{what.seed}"
        file = kept / f"{name}.json"
        if not file.exists():
            report(file.stem)
            file.write_text(json.dumps(p_table(candidate, reference, what).tolist()))
        cells = np.array(json.loads(file.read_text())).ravel()
        found.setdefault(str(what), []).extend(cells[np.isfinite(cells)].tolist())
    return found


def page(found: dict[str, list[float]]) -> str:
    """Return how many p-values are below each level, how many are due, and the least, as Markdown."""
    head = ["what", "pairs of blocks", *(f"below {level:g}" for level in LEVELS), "least p"]
    rows = [
        [
            name,
            str(len(cells)),
            *(counted(cells, level) for level in LEVELS),
            f"{10 ** min(cells):.2g}",
        ]
        for name, cells in found.items()
    ]
    return table(head, rows)


def counted(log10_ps: Sequence[float], level: float) -> str:
    """Return the count below a level, the count due, and the exact interval of the share.

    The interval (Clopper-Pearson) is somewhat too narrow: pairs of blocks that share a block are not
    independent.
    """
    count, tests = int((np.array(log10_ps) < np.log10(level)).sum()), len(log10_ps)
    low, high = stats.binomtest(count, tests).proportion_ci(CONFIDENCE, method="exact")
    return f"{count} of {level * tests:.1f} ({low:.3f}–{high:.3f}){' ▲' * (low > level)}"
