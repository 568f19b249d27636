"""Changes of single weights, on any architecture: noise, rounding, zeros, a low-rank update."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel

__all__ = ["add_noise", "inner_linears", "lora_merge", "prune_magnitude", "round_trip"]


def inner_linears(model: PreTrainedModel) -> Iterator[tuple[str, torch.nn.Linear]]:
    """Yield the linear maps of a model but for its output head, which may be the embedding too."""
    head = model.get_output_embeddings()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and module is not head:
            yield name, module


def add_noise(model: PreTrainedModel, seed: int, scale: float) -> PreTrainedModel:
    """Return a copy with Gaussian noise on every matrix, embeddings included.

    Its deviation is ``scale`` times that of the matrix's entries; gains and biases stay.

    Raises
    ------
    ValueError
        If ``scale`` is negative.
    """
    if scale < 0:
        raise ValueError(f"scale must be 0 or more, but got {scale}")
    generator = torch.Generator().manual_seed(seed)
    noisy = copy.deepcopy(model)
    for parameter in noisy.parameters():
        if parameter.dim() > 1:
            noise = torch.randn(parameter.shape, generator=generator).to(parameter.data)
            parameter.data += scale * parameter.data.std() * noise
    return noisy


def round_trip(model: PreTrainedModel, bits: Literal[4, 8]) -> PreTrainedModel:
    """Return a copy whose linear maps went to integers and back.

    Quantisation is symmetric with one scale a row: ``round(w / s)`` with ``s`` such that the row's
    largest weight is 127 (8 bits) or 7 (4 bits). Embeddings and output head stay, as in the usual
    quantised checkpoints.

    Raises
    ------
    ValueError
        If ``bits`` is neither 8 nor 4.
    """
    if bits not in {4, 8}:
        raise ValueError(f"bits must be 8 or 4, but got {bits}")
    highest = 2 ** (bits - 1) - 1
    rounded = copy.deepcopy(model)
    for _, linear in inner_linears(rounded):
        rows = linear.weight.data.float()
        scales = rows.abs().amax(dim=1, keepdim=True) / highest  # (rows, 1)
        scales[scales == 0] = 1
        linear.weight.data = ((rows / scales).round() * scales).to(linear.weight.dtype)
    return rounded


def prune_magnitude(model: PreTrainedModel, fraction: float) -> PreTrainedModel:
    """Return a copy in which each linear map's smallest weights are zero, ``fraction`` of them.

    The pruning is unstructured; shapes stay. Embeddings and output head are left alone.

    Raises
    ------
    ValueError
        If ``fraction`` is not from 0 to below 1.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction must be from 0 to below 1, but got {fraction}")
    pruned = copy.deepcopy(model)
    for _, linear in inner_linears(pruned):
        weights = linear.weight.data
        smallest = weights.abs().flatten().topk(int(fraction * weights.numel()), largest=False)
        weights.view(-1)[smallest.indices] = 0
    return pruned


def lora_merge(model: PreTrainedModel, seed: int, rank: int, scale: float) -> PreTrainedModel:
    """Return a copy with a random matrix of rank ``rank`` added to every linear map.

    The update's entries have ``scale`` times the deviation of the map's. A random update stands for
    the worst that a trained one can do to the weights; `provenance.recipes.lora.train_lora` trains.

    Raises
    ------
    ValueError
        If ``rank`` is less than 1 or ``scale`` negative.
    """
    if rank < 1 or scale < 0:
        raise ValueError(f"rank must be 1 or more and scale 0 or more, but got {rank} and {scale}")
    generator = torch.Generator().manual_seed(seed)
    merged = copy.deepcopy(model)
    for _, linear in inner_linears(merged):
        rows, columns = linear.weight.shape
        left = torch.randn(rows, rank, generator=generator)
        right = torch.randn(rank, columns, generator=generator)
        update = (left @ right / rank**0.5).to(linear.weight.data)  # (rows, columns), deviation 1
        linear.weight.data += scale * linear.weight.data.std() * update
    return merged
