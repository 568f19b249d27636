"""Training of small language models, the same every time on one machine."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from provenance.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from transformers import PreTrainedModel

    from provenance.recipes.settings import TrainSettings

__all__ = ["next_token_loss", "one_thread", "optimise", "train"]

_LAST_FRACTION = 0.1
_REPORT_EVERY = 10


def train(
    model: PreTrainedModel,
    tokens: torch.Tensor,
    settings: TrainSettings,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[float, ...]:
    """Train a model **in place** on next-token prediction; return the losses, in nats a token."""
    return optimise(model, tokens, settings, next_token_loss, progress)


def next_token_loss(model: PreTrainedModel, windows: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of windows, int64 (batch, length + 1), in nats a token."""
    logits = model(input_ids=windows[:, :-1], use_cache=False).logits  # (batch, length, vocabulary)
    return functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())


def optimise(
    model: PreTrainedModel,
    tokens: torch.Tensor,
    settings: TrainSettings,
    loss: Callable[[PreTrainedModel, torch.Tensor], torch.Tensor],
    progress: Callable[[int, int], None] | None = None,
) -> tuple[float, ...]:
    """Train those parameters of a model that require gradients, **in place**; return the losses.

    One thread computes, whatever the caller's setting, which is restored. The number of threads decides
    the order of floating-point sums, and so the last bits of the weights. Several processes on the same
    cores are also far faster with one thread each.

    Parameters
    ----------
    model
        A causal language model, on the CPU; left in evaluation mode.
    tokens
        Token ids of the text, int64 (tokens,).
    settings
        Steps, batches, learning rate, and the seed of the order and of any dropout.
    loss
        Takes the model and windows of tokens, int64 (batch, length + 1), and returns what to minimise.
    progress
        Takes, every few steps, the number of steps done and of all steps.

    Returns
    -------
    tuple of float
        The loss of every step before its update.

    Raises
    ------
    InputError
        If the text has no more tokens than one window.
    """
    if len(tokens) <= settings.length:
        raise InputError(
            f"training needs more than {settings.length} tokens of text, but got {len(tokens)}"
        )
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, settings))
    losses = []
    model.train()
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(settings.seed)  # draws the dropout
        for step, windows in enumerate(_windows(tokens, settings), start=1):
            losses.append(_update(model, loss(model, windows), optimizer))
            schedule.step()
            if progress and (step % _REPORT_EVERY == 0 or step == settings.steps):
                progress(step, settings.steps)
    model.zero_grad(set_to_none=True)
    model.eval()
    return tuple(losses)


def _windows(tokens: torch.Tensor, settings: TrainSettings) -> Iterator[torch.Tensor]:
    """Yield each step's windows, int64 (batch, length + 1)."""
    generator = torch.Generator().manual_seed(settings.seed)
    offsets = torch.arange(settings.length + 1)
    for _ in range(settings.steps):
        starts = torch.randint(
            len(tokens) - settings.length, (settings.batch, 1), generator=generator
        )
        yield tokens[starts + offsets]


def _update(model: PreTrainedModel, loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> float:
    """Take one step and return the loss before it."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def _rate(step: int, settings: TrainSettings) -> float:
    """Return the learning rate of a step (from 0) as a fraction of the highest."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    fallen = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return _LAST_FRACTION + (1 - _LAST_FRACTION) * (1 + math.cos(math.pi * fallen)) / 2


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread inside the context; restore the number of threads after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
