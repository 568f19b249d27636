"""Quantized checkpoints through transformers' readers, dequantized."""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from provenance.architecture.auto_class import auto_class
from provenance.checkpoints.coded.parts import OF_ACTIVATIONS, OF_WEIGHTS
from provenance.conversions import copy_tokenizer, need, translated
from provenance.conversions.scaled_fp8 import dequantize_fp8, is_scaled_fp8
from provenance.errors import SourceError
from provenance.loading.configuration import read_configuration
from provenance.loading.families import why_not_run
from provenance.loading.model import refuse_gaps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import torch
    from torch import nn

    from provenance.checkpoints.checkpoint import Checkpoint

EXTRAS = {
    "awq": "gptqmodel",
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed-tensors",
    "gptq": "gptqmodel",
}
"""The extra that brings the reader of a method of quantization; transformers reads the others itself."""
MODULES = {"compressed-tensors": "compressed_tensors"}
"""Modules whose name is not that of their distribution."""


def dequantize(original: Checkpoint, method: str, folder: Path, device: str) -> None:
    """Save a quantized checkpoint with the weights that it computes with.

    Parameters
    ----------
    original : Checkpoint
        The quantized checkpoint; its configuration has a ``quantization_config``.
    method : str
        Its ``quant_method``.
    folder : Path
        The empty folder to write.
    device : str
        Device to load the model on: some methods have code for GPUs only.

    Raises
    ------
    SourceError
        The method or the family is unknown, a library is absent, tensors are missing, or a weight cannot
        be dequantized.
    """
    if original.config.get("quantization_config") is None:
        raise SourceError(
            f"{original.source} is quantized in a part of it ({method}), which is read as a sample alone: "
            "give the model before it was quantized, or compare with --sample"
        )
    if is_scaled_fp8(original, method):
        with translated(original.source, f"dequantizing it ({method})"):
            dequantize_fp8(original, folder)
        return
    unknown = why_not_run(original)
    if unknown is not None:
        raise SourceError(f"{unknown}, or give the model before it was quantized ({method})")
    kind = _known(original, method)
    if method in EXTRAS:
        name = EXTRAS[method]
        need(MODULES.get(name, name), name, f"{original.source} is quantized ({method}), which")
    with translated(original.source, f"dequantizing it ({method})"):
        loaded = _loaded(original, kind, device)
        plain = _plain_skeleton(original)
        _fill(plain, loaded, original.source)
        plain.save_pretrained(folder)
    copy_tokenizer(original.folder, folder)


def _known(original: Checkpoint, method: str) -> Any:
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    settings = original.config["quantization_config"]
    name = method
    if method == "bitsandbytes":
        name = f"bitsandbytes_{'8bit' if settings.get('load_in_8bit') else '4bit'}"
    kind = AUTO_QUANTIZATION_CONFIG_MAPPING.get(name)
    if kind is None:
        raise SourceError(
            f"{original.source}: this transformers knows no quantization {method!r}; upgrade it, "
            "or give the model before it was quantized"
        )
    return kind


def _loaded(original: Checkpoint, kind: Any, device: str) -> Any:
    config = read_configuration(original)
    if "dequantize" in inspect.signature(kind.__init__).parameters:
        config.quantization_config = {
            **original.config["quantization_config"],
            "dequantize": True,
        }
    model, info = auto_class(config).from_pretrained(
        original.folder,
        config=config,
        dtype=original.spec.dtype or "auto",
        device_map={"": device},
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    refuse_gaps(original.source, info)
    _refuse_unread(original.source, info["unexpected_keys"])
    if getattr(model, "hf_quantizer", None) is not None:
        with suppress(NotImplementedError):  # else each weight is read back by itself
            model.dequantize()
    return model.eval()


def _refuse_unread(source: str, names: Iterable[str]) -> None:
    """Refuse scales of weights that transformers only logs that it left unread."""
    unread = [
        name
        for name in sorted(names)
        if OF_WEIGHTS.search(name) and not OF_ACTIVATIONS.search(name)
    ]
    if unread:
        more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
        raise SourceError(
            f"{source}: transformers leaves {unread[0]}{more} unread, and its weights are nothing without; "
            "give the model before it was quantized"
        )


def _plain_skeleton(original: Checkpoint) -> Any:
    import torch

    config: Any = read_configuration(original)
    del config.quantization_config
    with torch.device("meta"):
        return auto_class(config).from_config(config, trust_remote_code=False)


def _fill(plain: Any, loaded: Any, source: str) -> None:
    """Give a skeleton the weights of a quantized model."""
    import torch

    stored = loaded.state_dict()
    dtype = next((t.dtype for t in stored.values() if _is_plain(t)), torch.float32)
    filled = {}
    for name, wanted in plain.state_dict().items():
        module, _, parameter = name.rpartition(".")
        weight = stored.get(name)
        if weight is None or not _is_plain(weight) or weight.shape != wanted.shape:
            weight = _read_back(loaded.get_submodule(module), parameter, wanted, dtype)
        if weight is None:
            raise SourceError(f"{source}: its quantized weight {name} cannot be had back")
        filled[name] = weight.detach().to("cpu", dtype)
    plain.load_state_dict(filled, assign=True)
    plain.tie_weights()


def _is_plain(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() and tensor.element_size() > 1


def _read_back(
    module: nn.Module, parameter: str, wanted: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor | None:
    """Ask a quantized linear map for its weight: what it answers to the unit vectors."""
    import torch

    if parameter != "weight" or wanted.dim() != 2:
        return None
    place = next((t.device for t in _tensors(module).values()), torch.device("cpu"))
    outputs, inputs = wanted.shape
    with torch.inference_mode():
        nothing = module(torch.zeros(1, inputs, dtype=dtype, device=place))
        answers = module(torch.eye(inputs, dtype=dtype, device=place)) - nothing
    weight: torch.Tensor = answers.T.contiguous()
    return weight if weight.shape == (outputs, inputs) else None


def _tensors(module: nn.Module) -> Mapping[str, torch.Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())
