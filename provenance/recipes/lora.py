"""Fine-tuning by a low-rank update of every linear map (LoRA), merged when it is trained."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils import parametrize

from provenance.recipes.train import next_token_loss, optimise
from provenance.transforms.weights import inner_linears

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

    from provenance.recipes.settings import LoraSettings

__all__ = ["train_lora"]


def train_lora(
    model: PreTrainedModel,
    tokens: torch.Tensor,
    settings: LoraSettings,
    progress: Callable[[int, int], None] | None = None,
) -> PreTrainedModel:
    """Return a copy with a trained low-rank update merged into every linear map [1]_.

    Embeddings, norms and output head stay as they were.

    Parameters
    ----------
    model
        A causal language model, on the CPU; left as it was.
    tokens, progress
        As of `provenance.recipes.train.optimise`.
    settings
        Rank and scale of the update, and how it is trained.

    Raises
    ------
    InputError
        If the text has not more tokens than one window.

    References
    ----------
    .. [1] Hu et al.: LoRA. ICLR 2022, arXiv 2106.09685.
    """
    tuned = copy.deepcopy(model).requires_grad_(requires_grad=False)
    generator = torch.Generator().manual_seed(settings.training.seed)
    linears = [linear for _, linear in inner_linears(tuned)]
    for linear in linears:
        update = _LowRank(linear.weight, settings, generator)
        parametrize.register_parametrization(linear, "weight", update)
    optimise(tuned, tokens, settings.training, next_token_loss, progress)
    for linear in linears:
        parametrize.remove_parametrizations(linear, "weight", leave_parametrized=True)
    return tuned.requires_grad_(requires_grad=True)


class _LowRank(nn.Module):
    """A matrix with ``scale b a`` added to it; b begins at zero."""

    def __init__(
        self, weight: torch.Tensor, settings: LoraSettings, generator: torch.Generator
    ) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.scale = settings.scale
        first = torch.randn(settings.rank, columns, generator=generator) * columns**-0.5
        self.a = nn.Parameter(first.to(weight))
        self.b = nn.Parameter(weight.new_zeros(rows, settings.rank))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.scale * (self.b @ self.a)
