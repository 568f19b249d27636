"""One change of `benchmarks.kinds`, and the copies that several of its lists are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fixtures import transforms
from fixtures.transforms.weights import inner_linears
from provenance.recipes.settings import TrainSettings
from provenance.recipes.train import train

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from transformers import PreTrainedModel

    from provenance.evidence.kinds import Kind

    Make = Callable[[PreTrainedModel, PreTrainedModel, torch.Tensor], Any]

SEED = 11


@dataclass(frozen=True)
class Change:
    """One way to make a copy: of which kind it is by its making, what was done, and how strongly.

    ``make`` takes a model, a fine-tune of it, and ids of a text, int64 (tokens,). ``narrow`` stores both
    models in bfloat16. ``truth`` is None where no word of a claim names what was done. ``reference`` makes
    the other model, as ``make`` does; None: it is the model itself.
    """

    truth: Kind | None
    what: str
    strength: str
    make: Make
    narrow: bool = False
    blocks: tuple[int, ...] | None = None
    reference: Make | None = None


def tuned(
    model: PreTrainedModel,
    ids: torch.Tensor,
    steps: int = 20,
    rate: float = 1e-3,
    *,
    batch: int = 4,
    seed: int = 3,
) -> PreTrainedModel:
    """Return a copy that was trained on for a few steps; ``seed`` draws the batches."""
    copy = transforms.add_noise(model, 0, 0.0)
    settings = TrainSettings(
        steps=steps,
        batch=batch,
        length=32,
        learning_rate=rate,
        warmup=min(2, steps - 1),
        seed=seed,
    )
    train(copy, ids, settings, None)
    return copy.eval()


def two_of_four(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy with the two smallest of every four numbers of a row zero."""
    pruned = transforms.prune_magnitude(model, 0.0)
    for _, linear in inner_linears(pruned):
        groups = linear.weight.data.view(-1, 4)
        groups.scatter_(1, groups.abs().topk(2, dim=1, largest=False).indices, 0.0)
    return pruned
