"""Float8 weights with their scales beside them, as AutoFP8, FBGEMM and ModelOpt name these.

A weight ``x`` is the float8 ``x`` times ``x_scale``: one number, one a row, or one a block. transformers
reads another name (``x_scale_inv``), and leaves these unread or has code for GPUs only. Of a family that
transformers does not know, both names are read here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from provenance.checkpoints.coded.float8 import float8_weights, scale_name
from provenance.checkpoints.coded.methods import FLOAT8_METHODS
from provenance.checkpoints.coded.parts import FLOAT8, OF_ACTIVATIONS, Stored
from provenance.checkpoints.folder import CONFIG, INDEX, SINGLE
from provenance.conversions import copy_tokenizer
from provenance.loading.families import why_not_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.checkpoints.coded.weights import CodedWeight
OWN = "_scale"
"""Ends the names of scales that transformers leaves unread."""


def is_scaled_fp8(original: Checkpoint, method: str) -> bool:
    """Whether a quantized checkpoint has float8 weights with scales under these names."""
    scales = {
        scale_name(name, original.tensors)
        for name, tensor in original.tensors.items()
        if method in FLOAT8_METHODS and tensor.dtype in FLOAT8
    } & original.tensors.keys()
    if not scales:
        return False
    is_own = any(scale.endswith(OWN) for scale in scales)
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
    settings = original.config["quantization_config"]
    weights = {
        weight.stored: weight
        for weight in float8_weights(Stored(original.tensors, original.source), settings)
    }
    files = sorted({tensor.file for tensor in original.tensors.values()})
    weight_map: dict[str, str] = {}
    for number, file in enumerate(files, 1):
        name = SINGLE
        if len(files) > 1:
            name = f"model-{number:05}-of-{len(files):05}.safetensors"
        made = _plain(original, weights, file, dtype)
        save_file(made, folder / name, {"format": "pt"})
        weight_map |= dict.fromkeys(made, name)
    if len(files) > 1:
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    config = {key: v for key, v in original.config.items() if key != "quantization_config"}
    (folder / CONFIG).write_text(json.dumps(config | {"dtype": str(dtype).partition(".")[2]}))
    copy_tokenizer(original.folder, folder)


def _dtype(original: Checkpoint) -> torch.dtype:
    """The type that was asked for, else the configuration's, else bfloat16."""
    import torch

    stated = original.config.get("dtype") or original.config.get("torch_dtype")
    name = original.spec.dtype or str(stated).rpartition(".")[2]
    found: Any = getattr(torch, name, None)
    is_plain = isinstance(found, torch.dtype) and found.is_floating_point and found.itemsize > 1
    return found if is_plain else torch.bfloat16


def _plain(
    original: Checkpoint, weights: Mapping[str, CodedWeight], file: Path, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """The tensors of one file, its weights multiplied by their scales, without any scale."""
    from provenance.loading.decode import decoded_whole
    from provenance.loading.lazy_tensors import LazyTensors

    tensors = LazyTensors(original)
    beside = {scale.tensor.name for weight in weights.values() for scale in weight.scales}
    made = {}
    for name, stored in original.tensors.items():
        if stored.file != file or name in beside or OF_ACTIVATIONS.search(name):
            continue
        coded = weights.get(name)
        tensor = tensors[name] if coded is None else decoded_whole(coded, tensors)
        made[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    return made
