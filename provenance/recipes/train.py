"""Training small language models, the same every time on one machine."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from provenance._quiet import quiet
from provenance.errors import InputError
from provenance.recipes.settings import InitialiseFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from transformers import PretrainedConfig, PreTrainedModel

    from provenance.recipes.settings import Beginning, TrainSettings

__all__ = ["TrainResult", "initialise", "next_token_loss", "one_thread", "optimise", "train"]

_LAST_FRACTION = 0.1
_REPORT_EVERY = 10


@dataclass(frozen=True)
class TrainResult:
    """The loss of every step, in nats a token, before that step's update."""

    losses: tuple[float, ...]

    def last(self, steps: int = 20) -> float:
        """Return the mean loss of the last steps."""
        tail = self.losses[-steps:]
        return sum(tail) / len(tail)


def initialise(settings: Beginning, *, end_of_text: int) -> PreTrainedModel:
    """Return a model with weights drawn from ``settings.seed``, float32 on the CPU.

    `Initialise` gives a Llama, `InitialiseFamily` the causal language model of its family.

    Parameters
    ----------
    settings
        Shape and seed; of ``settings.tokenizer`` only the size of its vocabulary is read.
    end_of_text
        Token id that begins and ends a text.
    """
    from transformers import AutoModelForCausalLM

    config = _config(settings, end_of_text)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.default_generator.manual_seed(settings.seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        return model


def _config(settings: Beginning, end_of_text: int) -> PretrainedConfig:
    from transformers import AutoConfig

    family, own = "llama", {}
    if isinstance(settings, InitialiseFamily):
        family = settings.family
        # configurations tell a list of kinds of layers from a tuple of them
        own = {k: list(v) if isinstance(v, tuple) else v for k, v in settings.settings}
    sizes = {
        "vocab_size": settings.tokenizer.vocabulary,
        "hidden_size": settings.hidden,
        "intermediate_size": settings.units,
        "num_hidden_layers": settings.blocks,
        "num_attention_heads": settings.heads,
        "max_position_embeddings": settings.positions,
        "initializer_range": settings.deviation,
        "tie_word_embeddings": True,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "pad_token_id": end_of_text,
    }
    config: PretrainedConfig = AutoConfig.for_model(family, **sizes | own)
    return config


def train(
    model: PreTrainedModel,
    tokens: torch.Tensor,
    settings: TrainSettings,
    progress: Callable[[int, int], None] | None = None,
) -> TrainResult:
    """Train a model **in place** on next-token prediction; see `optimise`."""
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
) -> TrainResult:
    """Train those parameters of a model that require gradients, **in place**.

    One thread computes, whatever the caller's setting (restored after): the number of threads
    orders floating-point sums, and so changes the last bits of the weights; and threads of several
    processes that wait for each other on the same cores are far slower than one thread each.

    Parameters
    ----------
    model
        A causal language model, on the CPU; left in evaluation mode.
    tokens
        Token ids of the text, int64 (tokens,).
    settings
        Steps, batches, learning rate and the seed of the order.
    loss
        From the model and windows of tokens, int64 (batch, length + 1), to what is minimised.
    progress
        Called now and then with the steps done and the steps in all.

    Raises
    ------
    InputError
        If the text has not more tokens than one window.
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
    with one_thread():
        for step, windows in enumerate(_windows(tokens, settings), start=1):
            losses.append(_update(model, loss(model, windows), optimizer))
            schedule.step()
            if progress and (step % _REPORT_EVERY == 0 or step == settings.steps):
                progress(step, settings.steps)
    model.zero_grad(set_to_none=True)
    model.eval()
    return TrainResult(tuple(losses))


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
    """Return the learning rate of a step (from 0), as a fraction of the highest."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    fallen = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return _LAST_FRACTION + (1 - _LAST_FRACTION) * (1 + math.cos(math.pi * fallen)) / 2


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread inside, and with as many as before after."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
