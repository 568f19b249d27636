"""A fine-tune that is trained against the test: the same outputs from units that respond otherwise."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from provenance.recipes.train import next_token_loss, optimise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel

    from provenance.recipes.settings import TrainSettings


def evade(
    model: PreTrainedModel,
    reference: PreTrainedModel,
    tokens: torch.Tensor,
    settings: TrainSettings,
    weight: float,
    *,
    on_random: bool = False,
) -> PreTrainedModel:
    """Return a copy, trained on a text and against the likeness of its units to the reference's.

    The loss is that of the next token plus ``weight`` times the mean squared correlation, over the
    tokens of a batch, between each up unit and the reference's of the same index. To
    spoil one of the two matchings suffices: the gates are left alone.

    Parameters
    ----------
    on_random
        Take the likeness on ids uniform over the vocabulary instead of the text: the model then
        deviates only where such ids audit it.
    """
    evading, known = copy.deepcopy(model), copy.deepcopy(reference).eval()
    known.requires_grad_(requires_grad=False)
    generator = torch.Generator().manual_seed(settings.seed)

    def loss(trained: PreTrainedModel, windows: torch.Tensor) -> torch.Tensor:
        seen = windows
        if on_random:
            seen = torch.randint(trained.config.vocab_size, windows.shape, generator=generator)
        alike = [
            _likeness(ours, theirs)
            for ours, theirs in zip(_ups(trained, seen), _ups(known, seen), strict=True)
        ]
        return next_token_loss(trained, windows) + weight * torch.stack(alike).mean()

    optimise(evading, tokens, settings, loss)
    return evading


def _likeness(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Return the mean squared correlation of columns of equal index, both (tokens, units)."""
    a, b = (x - x.mean(dim=0) for x in (ours, theirs))
    squares = a.square().sum(dim=0) * b.square().sum(dim=0)
    return ((a * b).sum(dim=0).square() / squares.clamp_min(1e-12)).mean()


def _ups(model: PreTrainedModel, ids: torch.Tensor) -> list[torch.Tensor]:
    """Return the outputs of the up projections of all blocks, each (tokens, units)."""
    with _recording(model) as found:
        model(input_ids=ids[:, :-1], use_cache=False)
    return found


@contextmanager
def _recording(model: PreTrainedModel) -> Iterator[list[torch.Tensor]]:
    found: list[torch.Tensor] = []
    hooks = [
        layer.mlp.up_proj.register_forward_hook(lambda *x: found.append(x[2].flatten(0, 1)))
        for layer in model.model.layers
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
