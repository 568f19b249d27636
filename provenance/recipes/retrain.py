"""An MLP thrown away and learnt again from what it did: no weight of it is left, its function is."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from provenance.errors import InputError
from provenance.recipes.train import one_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn
    from transformers import PreTrainedModel

    from provenance.recipes.settings import RetrainSettings

__all__ = ["hidden_states", "retrain_mlp"]

_BATCH = 16
"""Sequences that go through the model together."""


def retrain_mlp(
    model: PreTrainedModel,
    tokens: torch.Tensor,
    blocks: Sequence[int],
    settings: RetrainSettings,
) -> PreTrainedModel:
    """Return a copy in which the MLPs of some blocks were re-initialised and trained from scratch.

    Each learns to give, on the hidden states that reached the old one on a text, what the old one
    gave: the mean squared error is minimised, relative to the variance of the old outputs.

    Parameters
    ----------
    model
        Laid out like Llama, on the CPU; left as it was.
    tokens
        Token ids of the text, int64 (tokens,); the first ``settings.tokens`` are used.
    blocks
        Numbers of the blocks, from 0.
    settings
        Steps, batches, learning rate and seed.

    Raises
    ------
    InputError
        If the text has not one whole sequence.
    ValueError
        If a number names a block that is not there, or there is none.
    """
    last, wanted = model.config.num_hidden_layers - 1, list(blocks)
    if not wanted or min(wanted) < 0 or max(wanted) > last:
        raise ValueError(f"blocks must be numbers from 0 to {last}, but got {wanted}")
    retrained = copy.deepcopy(model).eval()
    with one_thread():
        for block in wanted:
            states = hidden_states(model, tokens, block, settings)
            _retrain(retrained.model.layers[block].mlp, states, retrained, settings)
    return retrained


def hidden_states(
    model: PreTrainedModel, tokens: torch.Tensor, block: int, settings: RetrainSettings
) -> torch.Tensor:
    """Return what enters a block's MLP on a text, (tokens, hidden).

    Raises
    ------
    InputError
        If the text has not one whole sequence.
    """
    count = min(len(tokens), settings.tokens) // settings.length
    if count == 0:
        raise InputError(
            f"retraining needs at least {settings.length} tokens of text, but got {len(tokens)}"
        )
    seen: list[torch.Tensor] = []
    mlp = model.model.layers[block].mlp
    hook = mlp.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    try:
        with torch.no_grad():
            for batch in torch.split(tokens[: count * settings.length].view(count, -1), _BATCH):
                model.model(input_ids=batch, use_cache=False)
    finally:
        hook.remove()
    return torch.cat(seen).flatten(0, 1)


def _retrain(
    mlp: nn.Module, states: torch.Tensor, model: PreTrainedModel, settings: RetrainSettings
) -> None:
    """Replace an MLP's weights by others that do the same on these hidden states, in place."""
    with torch.no_grad():
        targets = mlp(states)  # (tokens, hidden)
    generator = torch.Generator().manual_seed(settings.seed)
    for parameter in mlp.parameters():
        fresh = torch.randn(parameter.shape, generator=generator) * model.config.initializer_range
        parameter.data = (fresh if parameter.dim() > 1 else torch.zeros_like(fresh)).to(parameter)
    variance = targets.var()
    optimizer = torch.optim.Adam(mlp.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, settings.steps)
    for _ in range(settings.steps):
        rows = torch.randint(len(states), (settings.batch,), generator=generator)
        loss = functional.mse_loss(mlp(states[rows]), targets[rows]) / variance
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.zero_grad(set_to_none=True)
