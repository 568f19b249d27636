"""Models for measuring speed: random weights, with a dependent and an independent partner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from provenance._quiet import quiet

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

NOISE = 0.3
"""Of the dependent partner, in standard deviations of the weights: matched unit for unit, and not equal."""


@dataclass(frozen=True)
class Shape:
    """The shape of a Llama and of its inputs; the defaults are those of RESULTS.md."""

    blocks: int = 8
    hidden: int = 512
    units: int = 2048
    heads: int = 8
    vocabulary: int = 32_000
    tokens: int = 4096
    sequence_length: int = 256

    def config(self) -> LlamaConfig:
        """Return the configuration of a Llama of this shape."""
        return LlamaConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.hidden,
            intermediate_size=self.units,
            num_hidden_layers=self.blocks,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            max_position_embeddings=max(2048, self.sequence_length),
        )


@dataclass(frozen=True)
class Models:
    """Checkpoint folders: ``dependent`` is ``base`` with noise, ``independent`` of another seed."""

    base: Path
    dependent: Path
    independent: Path


def make(shape: Shape, folder: Path) -> Models:
    """Write the three checkpoints, in float32, where they are not there yet."""
    models = Models(folder / "base", folder / "dependent", folder / "independent")
    for path, seed, noise in (
        (models.base, 0, 0.0),
        (models.dependent, 0, NOISE),
        (models.independent, 1, 0.0),
    ):
        if not path.is_dir():
            with quiet():
                random_model(shape, seed, noise).save_pretrained(path)
    return models


def random_model(
    shape: Shape, seed: int, noise: float = 0.0, device: str = "cpu", dtype: str = "float32"
) -> PreTrainedModel:
    """Return a Llama of random weights; equal seeds and no noise give equal weights."""
    with torch.device(device), torch.random.fork_rng(devices=[] if device == "cpu" else [device]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            shape.config(), dtype=getattr(torch, dtype)
        )
        torch.manual_seed(seed + 1000)
        if noise:
            with torch.no_grad():
                for weight in model.parameters():
                    if weight.dim() > 1:
                        weight.add_(torch.randn_like(weight) * (noise * weight.std()))
    return model.eval()


def load(path: Path) -> PreTrainedModel:
    """Load a checkpoint as transformers does."""
    with quiet():
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(path, dtype="float32")
    return model.eval()
