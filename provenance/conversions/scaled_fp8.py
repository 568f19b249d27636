"""Float8 weights with their scales beside them, as AutoFP8, FBGEMM and ModelOpt name these.

A weight ``x`` is the float8 ``x`` times ``x_scale``: one number, one a row, or one a block. transformers
reads another name (``x_scale_inv``), and leaves these unread or has code for GPUs only. Of a family that
transformers does not know, both names are read here.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from provenance.checkpoints.folder import CONFIG, INDEX, SINGLE
from provenance.conversions import copy_tokenizer
from provenance.errors import SourceError
from provenance.loading.families import why_not_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from provenance.checkpoints.checkpoint import Checkpoint

METHODS = frozenset({"fbgemm_fp8", "fp8", "modelopt"})
INVERSE = "_scale_inv"
"""Ends the name that transformers reads. It too is what a weight is multiplied by."""
FLOAT8 = frozenset({"F8_E4M3", "F8_E5M2"})
OF_ACTIVATIONS = re.compile(r"[._](activation|input|output|prob_output|[kqv]|kv)_scale(_ub)?$")
"""Scales of what a model computes; no weight depends on them."""


def is_scaled_fp8(original: Checkpoint, method: str) -> bool:
    """Whether a quantized checkpoint has float8 weights with scales under these names."""
    scales = {
        _scale(name, original)
        for name, tensor in original.tensors.items()
        if method in METHODS and tensor.dtype in FLOAT8
    } & original.tensors.keys()
    if not scales:
        return False
    is_own = any(not scale.endswith(INVERSE) for scale in scales)
    return is_own or why_not_run(original) is not None


def dequantize_fp8(original: Checkpoint, folder: Path) -> None:
    """Save a checkpoint of scaled float8 weights as a plain one, file by file.

    Raises
    ------
    SourceError
        A float8 weight has no scale, or one of another shape.
    """
    from safetensors.torch import save_file

    dtype = _dtype(original)
    _refuse_unscaled(original)
    files = sorted({tensor.file for tensor in original.tensors.values()})
    weight_map: dict[str, str] = {}
    for number, file in enumerate(files, 1):
        name = SINGLE
        if len(files) > 1:
            name = f"model-{number:05}-of-{len(files):05}.safetensors"
        made = _plain(original, file, dtype)
        save_file(made, folder / name, {"format": "pt"})
        weight_map |= dict.fromkeys(made, name)
    if len(files) > 1:
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    config = {key: v for key, v in original.config.items() if key != "quantization_config"}
    (folder / CONFIG).write_text(json.dumps(config | {"dtype": str(dtype).partition(".")[2]}))
    copy_tokenizer(original.folder, folder)


def _scale(weight: str, original: Checkpoint) -> str:
    """What the scale of a weight is called."""
    plain, inverse = f"{weight}_scale", f"{weight}{INVERSE}"
    return inverse if plain not in original.tensors and inverse in original.tensors else plain


def _dtype(original: Checkpoint) -> torch.dtype:
    """The type that was asked for, else the configuration's, else bfloat16."""
    import torch

    stated = original.config.get("dtype") or original.config.get("torch_dtype")
    name = original.spec.dtype or str(stated).rpartition(".")[2]
    found: Any = getattr(torch, name, None)
    is_plain = isinstance(found, torch.dtype) and found.is_floating_point and found.itemsize > 1
    return found if is_plain else torch.bfloat16


def _refuse_unscaled(original: Checkpoint) -> None:
    for name, tensor in original.tensors.items():
        scale = _scale(name, original)
        if tensor.dtype in FLOAT8 and scale not in original.tensors:
            raise SourceError(
                f"{original.source}: {tensor.file} holds {name} in {tensor.dtype}, but no {scale}; "
                "download it again, or give the model before it was quantized"
            )


def _plain(original: Checkpoint, file: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The tensors of one file, its weights multiplied by their scales, without any scale."""
    from provenance.loading.lazy_tensors import LazyTensors

    tensors = LazyTensors(original)
    block = original.config["quantization_config"].get("weight_block_size")
    scales = {_scale(name, original) for name, t in original.tensors.items() if t.dtype in FLOAT8}
    made = {}
    for name, stored in original.tensors.items():
        if stored.file != file or name in scales or OF_ACTIVATIONS.search(name):
            continue
        weight = tensors[name]
        if stored.dtype in FLOAT8:
            weight = weight.float()
            beside = _scale(name, original)
            scale = _spread(tensors[beside].float(), weight.shape, block)
            if scale is None:
                raise SourceError(
                    f"{original.source}: {beside} is {list(tensors[beside].shape)}, which fits "
                    f"no weight of {list(weight.shape)}"
                )
            weight *= scale
        made[name] = weight.to(dtype) if weight.is_floating_point() else weight
    return made


def _spread(scale: torch.Tensor, shape: Sequence[int], block: Any) -> torch.Tensor | None:
    """A scale as what its weight is multiplied by; None where its shape is none that is known."""
    if scale.numel() == 1:
        return scale.reshape(())
    if len(shape) == 2 and tuple(scale.shape) == (shape[0],):
        return scale[:, None]
    if scale.dim() == len(shape):
        if all(have in {1, want} for have, want in zip(scale.shape, shape, strict=True)):
            return scale
        return _of_blocks(scale, shape, block)
    return None


def _of_blocks(scale: torch.Tensor, shape: Sequence[int], block: Any) -> torch.Tensor | None:
    """A scale for each block of rows and columns; None where there are not as many as that."""
    if not (isinstance(block, list) and len(block) == 2 and all(type(n) is int for n in block)):
        return None
    wanted = [-(-size // max(side, 1)) for size, side in zip(shape[-2:], block, strict=True)]
    if list(scale.shape[-2:]) != wanted:
        return None
    for axis, side in zip((-2, -1), block, strict=True):
        scale = scale.repeat_interleave(side, axis)
    return scale[..., : shape[-2], : shape[-1]]
