"""Models of one base that are trained from it and from each other, by name, each made and opened once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks._kind_change import tuned

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from transformers import PreTrainedModel

    from benchmarks.kinds import Workshop
    from provenance.differences.side import Side

BASE = "base"


@dataclass(frozen=True)
class Schedule:
    """How models are trained: steps, the rate at its highest, windows of a batch."""

    steps: int
    rate: float = 1e-3
    batch: int = 4

    @property
    def words(self) -> str:
        """The settings, in words."""
        return f"{self.steps} steps of {self.batch} at {self.rate:g}"


@dataclass
class Trained:
    """A base model, and what was trained from it on some texts, int64 (tokens,) each, by their names."""

    shop: Workshop
    base: PreTrainedModel
    texts: Mapping[str, torch.Tensor]
    schedule: Schedule
    _models: dict[str, PreTrainedModel] = field(default_factory=dict)
    _sides: dict[str, Side] = field(default_factory=dict)

    def make(self, name: str, start: str, text: str, seed: int, times: float = 1) -> str:
        """Train a model on from another one, ``times`` as long as the schedule says; return its name."""
        if name not in self._models:
            self._models[name] = tuned(
                self._models.get(start, self.base),
                self.texts[text],
                max(2, round(times * self.schedule.steps)),
                self.schedule.rate,
                batch=self.schedule.batch,
                seed=seed,
            )
        return name

    def side(self, name: str) -> Side:
        """A model, saved and opened."""
        if name not in self._sides:
            model = self._models.get(name, self.base)
            self._sides[name] = self.shop.side(model, str(len(self._sides)), narrow=False)
        return self._sides[name]

    @property
    def blocks(self) -> dict[int, int]:
        """Every block of a model, at its own index in every other."""
        return {index: index for index in range(self.base.config.num_hidden_layers)}
