"""A plain rewrite of the token probe, in several readings, to calibrate them on real models.

The MLPs of both models answer to the embeddings of tokens that both vocabularies hold, as if these stood
in the residual stream. A reading turns a projection's answers into unit rows, which are then matched.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import safe_open
from scipy.optimize import linear_sum_assignment

from provenance.statistics.pvalues import spearman

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Answers = tuple[torch.Tensor, torch.Tensor]
    """Of gate and of up, each (units, tokens)."""

ROLES = ("gate", "up")
_DEVIATIONS = 3.0
_NO_DIRECTION = 1e-6
"""Share of the largest variance below which a direction of the answers is rounding."""


class Probed:
    """A checkpoint of Llama's, Qwen's or Gemma's layout, asked about single tokens."""

    def __init__(self, folder: Path) -> None:
        self._file = safe_open(folder / "model.safetensors", "pt")
        document = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        self.vocabulary: dict[str, int] = document["model"]["vocab"]
        names = [n for n in self._file.keys() if n.startswith("model.layers.")]  # noqa: SIM118
        self.blocks = 1 + max(int(name.split(".")[2]) for name in names)
        self._norm, self._offset = "post_attention_layernorm", 0.0
        if "model.layers.0.pre_feedforward_layernorm.weight" in names:  # Gemma's gain is 1 + weight
            self._norm, self._offset = "pre_feedforward_layernorm", 1.0
        self._embedding = self._tensor("model.embed_tokens.weight")

    def answers(self, tokens: Sequence[str], noise: float = 0.0) -> list[Answers]:
        """Return every block's answers to tokens of the vocabulary, in order.

        ``noise`` is added to the rows of gate and up, in standard deviations of a row.
        """
        generator = torch.Generator().manual_seed(self.blocks)
        ids = torch.tensor([self.vocabulary[token] for token in tokens])
        stream = _unit_rows(self._embedding[ids]).T  # (hidden, tokens)
        found = []
        for block in range(self.blocks):
            place = f"model.layers.{block}"
            gain = self._offset + self._tensor(f"{place}.{self._norm}.weight")
            rows = (self._tensor(f"{place}.mlp.{role}_proj.weight") for role in ROLES)
            gate, up = (noisy(row, noise, generator) * gain @ stream for row in rows)
            found.append((gate, up))
        return found

    def _tensor(self, name: str) -> torch.Tensor:
        return self._file.get_tensor(name).float()


def shared(a: Probed, b: Probed, count: int, seed: int = 0) -> list[str]:
    """Return tokens that both vocabularies hold, drawn at random; fewer where there are not so many."""
    both = sorted(a.vocabulary.keys() & b.vocabulary.keys())
    return [both[i] for i in np.random.default_rng(seed).permutation(len(both))[:count]]


def centred(answers: torch.Tensor) -> torch.Tensor:
    """Each unit's deviations from its mean."""
    return _unit_rows(answers - answers.mean(1, keepdim=True))


def ranked(answers: torch.Tensor) -> torch.Tensor:
    """Each unit's ranks."""
    return centred(answers.argsort(1).argsort(1).float())


def clipped(answers: torch.Tensor) -> torch.Tensor:
    """Each unit's deviations from its median, at most three times their median size."""
    deviations = answers - answers.median(1, keepdim=True).values
    bound = _DEVIATIONS * deviations.abs().median(1, keepdim=True).values
    return centred(deviations.clamp(-bound, bound))


def levelled(answers: torch.Tensor) -> torch.Tensor:
    """As `centred`, with no token heavier over the units than the median one."""
    plain = centred(answers)
    weights = plain.norm(dim=0)
    return centred(plain * (weights.median() / weights).clamp(max=1))


def whitened(answers: torch.Tensor) -> torch.Tensor:
    """As `centred`, with the answers of the units uncorrelated between tokens and of one size."""
    return _whitened(answers, 0.0)


def half_whitened(answers: torch.Tensor) -> torch.Tensor:
    """As `whitened`, with the median variance added to every direction's."""
    return _whitened(answers, 1.0)


READINGS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    reading.__name__: reading
    for reading in (centred, ranked, clipped, levelled, whitened, half_whitened)
}


def log10_p(
    candidate: Answers, reference: Answers, reading: Callable[[torch.Tensor], torch.Tensor]
) -> float:
    """Match gate and up, each by itself, and correlate the two matchings."""
    gate, up = (reading(a) @ reading(b).T for a, b in zip(candidate, reference, strict=True))
    return spearman(_partners(gate), _partners(up.abs())).log10_p


def noisy(rows: torch.Tensor, noise: float, generator: torch.Generator) -> torch.Tensor:
    """Return rows with so many of their own standard deviations of noise."""
    drawn = torch.randn(rows.shape, generator=generator) if noise else 0.0
    return rows + noise * rows.std(1, keepdim=True) * drawn


def _partners(similarity: torch.Tensor) -> NDArray[np.int64]:
    """Return the partners of the narrower side's units."""
    wide = similarity if similarity.shape[0] <= similarity.shape[1] else similarity.T
    return linear_sum_assignment(wide.numpy(), maximize=True)[1].astype(np.int64)


def _whitened(answers: torch.Tensor, ridge: float) -> torch.Tensor:
    plain = centred(answers).double()
    variances, directions = torch.linalg.eigh(plain.T @ plain)
    kept = variances > _NO_DIRECTION * variances.max()
    variances, directions = variances[kept], directions[:, kept]
    scales = (variances + ridge * variances.median()).rsqrt()
    return _unit_rows(plain @ (directions * scales) @ directions.T).float()


def _unit_rows(rows: torch.Tensor) -> torch.Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
