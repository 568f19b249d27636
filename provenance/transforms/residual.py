"""Disguises of the residual stream and of the norms that read it. The function is kept."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from provenance.errors import ArchitectureError
from provenance.transforms._axes import NORM_READERS, axes_of, random_factors, scale_axis, select

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn
    from transformers import PreTrainedModel

__all__ = ["fold_norms", "permute_residual_stream", "rescale_norms", "rotate_residual_stream"]

_PROBE = 3.0
"""Size of the vector by which a norm is tried: far from 1, so that normalising shows."""


def permute_residual_stream(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return a copy with the hidden dimension of the whole model in a random order.

    One permutation goes through the embedding, the norms, the projections that read from or write
    to the residual stream, and the output head. A head tied to the embedding moves with it. RMS
    norms are symmetric in their inputs, so the function is kept.

    Raises
    ------
    ArchitectureError
        If the model has a parameter whose axes are not known.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(model.config.hidden_size, generator=generator)
    return select(model, "residual", lambda _: order)


def rotate_residual_stream(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return a copy whose residual stream is multiplied by a random orthogonal matrix.

    The matrix is uniform (Haar). RMS norms without gains do not see a rotation, so `fold_norms`
    comes first; then everything that reads from the stream or writes to it is multiplied, the
    embedding and the output head included. Tied embeddings come out untied. A common ancestor of
    two models can no longer be seen in their weights side by side, only in what they compute.

    Raises
    ------
    ArchitectureError
        As `fold_norms`.
    """
    rotated = fold_norms(model)
    rotation = _random_rotation(model.config.hidden_size, seed)
    for name, (_, axes) in axes_of(rotated).items():
        parameter = rotated.get_parameter(name)
        if "residual" in axes and not name.endswith("norm.weight"):
            axis = axes.index("residual")
            moved = parameter.data.double().movedim(axis, -1) @ rotation.to(parameter.device)
            parameter.data = moved.movedim(-1, axis).to(parameter.dtype).contiguous()
    return rotated


def fold_norms(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy whose norms have gains of one: the matrices that follow took the gains in.

    The final norm's gain goes into the output head, so tied embeddings come out untied and
    ``config.tie_word_embeddings`` False.

    Raises
    ------
    ArchitectureError
        If the model has a parameter whose axes are not known, or its norms are not RMS norms with
        a gain, each in front of the matrices that read it (Llama, Mistral, Qwen).
    """
    folded = _checked_copy(model)
    _untie(folded)
    return _pass_gains_on(folded, lambda gain: gain)


def rescale_norms(
    model: PreTrainedModel, seed: int, *, low: float = 0.5, high: float = 2.0, signs: bool = False
) -> PreTrainedModel:
    """Return a copy with every norm's gain multiplied, and the columns that read it divided.

    The final norm keeps its gain where the embeddings are tied: they cannot take the division up.

    Parameters
    ----------
    model
        Left as it was.
    seed
        Draws one factor a hidden dimension and norm, uniform in its logarithm.
    low, high
        Bounds of the factors' size, ``0 < low <= high``.
    signs
        Also flip each factor's sign with probability one half.

    Raises
    ------
    ArchitectureError
        As `fold_norms`.
    ValueError
        If the bounds are not positive and in order.
    """
    generator = torch.Generator().manual_seed(seed)

    def share(gain: torch.Tensor) -> torch.Tensor:
        return 1 / random_factors(len(gain), low, high, generator, signs=signs).to(gain.device)

    return _pass_gains_on(_checked_copy(model), share)


def _pass_gains_on(
    model: PreTrainedModel, share: Callable[[torch.Tensor], torch.Tensor]
) -> PreTrainedModel:
    """Multiply what reads each norm by a share of its gain, and divide the gain by it, in place.

    A gain of zero folds as it should: the columns become zero and the gain one.
    """
    for norm, readers in _norms(model):
        gain = norm.get_parameter("weight")
        passed = share(gain.data.double())  # (hidden,)
        rest = torch.where(passed == gain.data, torch.ones_like(passed), gain.data / passed)
        gain.data = rest.to(gain.dtype)
        for reader in readers:
            weight = reader.get_parameter("weight")
            scale_axis(weight.data, 1, passed)
    return model


def _norms(model: PreTrainedModel) -> Iterator[tuple[nn.Module, list[nn.Module]]]:
    """Yield each norm with the linear maps that read it; the last is read by an untied head."""
    for block in model.model.layers:
        for name, readers in NORM_READERS.items():
            yield block.get_submodule(name), [block.get_submodule(reader) for reader in readers]
    if model.lm_head.weight is not model.model.embed_tokens.weight:
        yield model.model.norm, [model.lm_head]


def _checked_copy(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy of a model whose norms can be moved into what follows, or refuse it."""
    known = {f"{name}.weight" for name in NORM_READERS}
    for name, (block, axes) in axes_of(model).items():
        local = name.split(".", 3)[-1]
        if block is not None and axes == ("residual",) and not local.endswith(".bias"):
            known_norm = local in known and _is_rms_norm(model.get_submodule(name[:-7]))
        else:
            known_norm = name != "model.norm.weight" or _is_rms_norm(model.model.norm)
        if not known_norm:
            raise ArchitectureError(
                f"{type(model).__name__} has a norm {name!r} that is not an RMS norm with a gain "
                "before the matrices that read it: its gain cannot be moved"
            )
    norms = sum(name.endswith("layernorm.weight") for name, _ in model.named_parameters())
    if norms != len(known) * model.config.num_hidden_layers:
        raise ArchitectureError(
            f"{type(model).__name__} has {norms} norms with gains in its "
            f"{model.config.num_hidden_layers} blocks, and two in each were expected"
        )
    return copy.deepcopy(model)


def _is_rms_norm(norm: nn.Module) -> bool:
    """Whether a norm computes ``x / rms(x) * gain``: not Gemma's ``1 + gain``, no mean taken off."""
    gain = norm.get_parameter("weight").detach()
    ramp = torch.linspace(-_PROBE, 2 * _PROBE, len(gain), dtype=gain.dtype, device=gain.device)
    with torch.no_grad():
        expected = ramp / ramp.square().mean().sqrt() * gain
        tolerance = 1e-3 if gain.dtype == torch.float32 else 3e-2
        return torch.allclose(norm(ramp[None])[0], expected, rtol=tolerance, atol=tolerance)


def _untie(model: PreTrainedModel) -> None:
    """Give the output head weights of its own, in place."""
    if model.lm_head.weight is model.model.embed_tokens.weight:
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
        model.config.tie_word_embeddings = False
        # transformers decided at construction what saving may leave out
        model.all_tied_weights_keys = {}


def _random_rotation(size: int, seed: int) -> torch.Tensor:
    """Return an orthogonal matrix, uniform over the orthogonal group, float64 (size, size)."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(size, size, generator=generator, dtype=torch.float64)
    orthogonal, triangle = torch.linalg.qr(normal)
    return torch.as_tensor(orthogonal * triangle.diagonal().sign())
