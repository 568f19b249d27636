"""Writes checkpoints of `fixtures.synthetic_weights` as methods of quantization do, on the spot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from provenance.loading.decode import FLOAT4

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from fixtures.synthetic_weights import Weights

Tensors = dict[str, torch.Tensor]
SIDE, GROUP = 16, 32
LARGEST_FLOAT8 = 448


def _float8(name: str, weight: torch.Tensor, scale: torch.Tensor, ending: str) -> Tensors:
    """Codes of a weight that is divided by a scale which is spread over it, and the scale's own numbers."""
    spread = scale
    if scale.dim() == 2 and scale.shape != (len(weight), 1):
        spread = scale.repeat_interleave(SIDE, 0).repeat_interleave(SIDE, 1)
        spread = spread[: weight.shape[0], : weight.shape[1]]
    return {name: (weight / spread).to(torch.float8_e4m3fn), f"{name}{ending}": scale}


def _of_blocks(weight: torch.Tensor) -> torch.Tensor:
    rows, columns = (-(-size // SIDE) for size in weight.shape)
    padded = torch.zeros(rows * SIDE, columns * SIDE)
    padded[: weight.shape[0], : weight.shape[1]] = weight
    return padded.reshape(rows, SIDE, columns, SIDE).abs().amax((1, 3)) / LARGEST_FLOAT8


def _of_rows(weight: torch.Tensor) -> torch.Tensor:
    return weight.abs().amax(1, keepdim=True) / LARGEST_FLOAT8


def _int8(name: str, weight: torch.Tensor) -> Tensors:
    scale = weight.abs().amax(1, keepdim=True) / 127
    return {name: (weight / scale).round().to(torch.int8), f"{name}_scale": scale}


def _int4(name: str, weight: torch.Tensor) -> Tensors:
    grouped = weight.reshape(len(weight), -1, GROUP)
    scale = (grouped.abs().amax(2) / 7).bfloat16()
    codes = (grouped / scale.float()[..., None]).round().clamp(-8, 7).reshape(weight.shape) + 8
    return {
        f"{name}_packed": _nibbles(codes.to(torch.uint8)).view(torch.int32),
        f"{name}_scale": scale,
        f"{name}_shape": torch.tensor(weight.shape),
    }


def _nibbles(codes: torch.Tensor) -> torch.Tensor:
    """Two codes of four bits a byte, the first in the low bits."""
    return (codes[..., 0::2] | (codes[..., 1::2] << 4)).contiguous()


def _float4(weight: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
    """The nearest codes of four bits, two a byte."""
    wanted = weight / spread
    nearest = (wanted.abs()[..., None] - torch.tensor(FLOAT4)).abs().argmin(-1)
    return _nibbles((nearest + 8 * (wanted < 0)).to(torch.uint8))


def mxfp4(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Bytes of codes, two a byte, and the exponents of scales, of groups of the last axis."""
    grouped = weight.reshape(*weight.shape[:-1], -1, GROUP)
    exponents = (grouped.abs().amax(-1) / 6).log2().ceil()
    codes = _float4(grouped, exponents.exp2()[..., None])
    return codes, (exponents + 127).to(torch.uint8)


def _compressed_mxfp4(name: str, weight: torch.Tensor) -> Tensors:
    codes, exponents = mxfp4(weight)
    return {f"{name}_packed": codes.flatten(1), f"{name}_scale": exponents}


def _nvfp4(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
    grouped = weight.reshape(len(weight), -1, 16)
    of_all = float(weight.abs().max()) / (6 * LARGEST_FLOAT8)
    scale = (grouped.abs().amax(-1) / 6 / of_all).to(torch.float8_e4m3fn)
    return _float4(grouped, scale.float()[..., None] * of_all).flatten(1), scale, of_all


def _compressed_nvfp4(name: str, weight: torch.Tensor) -> Tensors:
    codes, scale, of_all = _nvfp4(weight)
    whole = {f"{name}_global_scale": torch.tensor([1 / of_all])}
    return {f"{name}_packed": codes, f"{name}_scale": scale, **whole}


def _modelopt_nvfp4(name: str, weight: torch.Tensor) -> Tensors:
    codes, scale, of_all = _nvfp4(weight)
    return {name: codes, f"{name}_scale": scale, f"{name}_scale_2": torch.tensor(of_all)}


def _compressed(format_: str, **weights: Any) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": {"symmetric": True, **weights}}
    return {
        "quant_method": "compressed-tensors",
        "format": format_,
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
    }


_FLOAT8 = {"num_bits": 8, "type": "float"}
_FP8 = {"quant_method": "fp8", "weight_block_size": [SIDE, SIDE]}

KINDS: Mapping[str, tuple[dict[str, Any], Callable[[str, torch.Tensor], Tensors]]] = {
    "fp8 blocks": (_FP8, lambda n, w: _float8(n, w, _of_blocks(w), "_scale_inv")),
    "fp8 rows": (
        {"quant_method": "fbgemm_fp8"},
        lambda n, w: _float8(n, w, _of_rows(w), "_scale"),
    ),
    "fp8 tensor": (
        {"quant_method": "fp8"},
        lambda n, w: _float8(n, w, w.abs().max() / LARGEST_FLOAT8, "_scale"),
    ),
    "modelopt nvfp4": ({"quant_method": "modelopt"}, _modelopt_nvfp4),
    "compressed fp8 channel": (
        _compressed("float-quantized", strategy="channel", **_FLOAT8),
        lambda n, w: _float8(n, w, _of_rows(w).bfloat16(), "_scale"),
    ),
    "compressed fp8 block": (
        _compressed("float-quantized", strategy="block", block_structure=[SIDE, SIDE], **_FLOAT8),
        lambda n, w: _float8(n, w, _of_blocks(w), "_scale"),
    ),
    "compressed int8": (
        _compressed("int-quantized", num_bits=8, type="int", strategy="channel"),
        _int8,
    ),
    "compressed int4": (
        _compressed("pack-quantized", num_bits=4, type="int", strategy="group", group_size=GROUP),
        _int4,
    ),
    "compressed mxfp4": (
        _compressed(
            "mxfp4-pack-quantized", num_bits=4, type="float", strategy="group", group_size=32
        ),
        _compressed_mxfp4,
    ),
    "compressed nvfp4": (
        _compressed(
            "nvfp4-pack-quantized", num_bits=4, type="float", strategy="tensor_group", group_size=16
        ),
        _compressed_nvfp4,
    ),
}
"""What a configuration says, and what makes the stored tensors of one weight, of each kind."""


def write_quantized(folder: Path, weights: Weights, kind: str) -> Path:
    """Write a checkpoint whose projections are quantized as a kind has it; the others are bfloat16."""
    settings, make = KINDS[kind]
    stored: Tensors = {}
    for name in weights.size.shapes():
        tensor = weights.tensor(name)
        stored |= make(name, tensor.float()) if "proj" in name else {name: tensor}
    return write(folder, stored, weights.size.config() | {"quantization_config": settings})


def write_mxfp4(folder: Path, weights: Weights, *, quantized: bool = True) -> Path:
    """Write a mixture as gpt-oss lays it out: stacked experts, gate and up in turn, in 4 bits or 16."""
    size, stored = weights.size, {}
    for name in size.shapes():
        if "experts" not in name:
            stored[name.replace("mlp.gate.", "mlp.router.")] = weights.tensor(name)
    for block in range(size.blocks):
        at = f"model.layers.{block}.mlp.experts"

        def stack(projection: str, at: str = at) -> torch.Tensor:
            names = (f"{at}.{expert}.{projection}.weight" for expert in range(size.experts))
            return torch.stack([weights.tensor(name) for name in names])

        gate, up = stack("gate_proj"), stack("up_proj")
        both = torch.stack([gate, up], dim=2).flatten(1, 2)  # (experts, units of both, hidden)
        for called, stacked in (("gate_up_proj", both), ("down_proj", stack("down_proj"))):
            stored[f"{at}.{called}_bias"] = torch.zeros(stacked.shape[:2]).bfloat16()
            if quantized:
                codes, exponents = mxfp4(stacked.float())
                stored |= {f"{at}.{called}_blocks": codes, f"{at}.{called}_scales": exponents}
            else:
                stored[f"{at}.{called}"] = stacked.transpose(1, 2).contiguous()
    settings = {"quantization_config": {"quant_method": "mxfp4"}} if quantized else {}
    config = size.config() | {"model_type": "gpt_oss", "num_local_experts": size.experts}
    return write(folder, stored, config | settings)


def write(folder: Path, stored: Tensors, config: Mapping[str, Any]) -> Path:
    """Write tensors and a configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    contiguous = {name: tensor.contiguous() for name, tensor in stored.items()}
    save_file(contiguous, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    return folder
