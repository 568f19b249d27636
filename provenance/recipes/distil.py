"""Distillation: a student learns what a teacher says, and inherits none of its weights."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from provenance.recipes.train import optimise

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

    from provenance.recipes.settings import TrainSettings

__all__ = ["distil"]


def distil(
    teacher: PreTrainedModel,
    student_seed: int,
    tokens: torch.Tensor,
    settings: TrainSettings,
    progress: Callable[[int, int], None] | None = None,
) -> PreTrainedModel:
    """Return a model of the teacher's shape, trained from another initialisation on its logits.

    The loss is the Kullback-Leibler divergence of the student from the teacher, over the next token.

    This is **not** weight lineage. Nothing but the text and the teacher's outputs reaches the
    student, so the statistics here, which compare weights and what single units do, rightly find
    the two independent.

    Parameters
    ----------
    teacher
        A causal language model, on the CPU; left as it was.
    student_seed
        Draws the student's initial weights.
    tokens, settings, progress
        As of `provenance.recipes.train.optimise`.

    Raises
    ------
    InputError
        If the text has not more tokens than one window.
    """
    expert = copy.deepcopy(teacher).eval()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(student_seed)
        student = type(teacher)(copy.deepcopy(teacher.config))

    def divergence(model: PreTrainedModel, windows: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            wanted = _log_probabilities(expert, windows)
        said = _log_probabilities(model, windows)
        return functional.kl_div(said, wanted, reduction="batchmean", log_target=True)

    optimise(student, tokens, settings, divergence, progress)
    return student


def _log_probabilities(model: PreTrainedModel, windows: torch.Tensor) -> torch.Tensor:
    """Return the next token's log-probabilities, (batch * length, vocabulary), in nats."""
    logits = model(input_ids=windows[:, :-1], use_cache=False).logits
    return functional.log_softmax(logits.flatten(0, 1), dim=-1)
