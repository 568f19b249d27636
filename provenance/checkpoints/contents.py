"""Inspect a folder once: its format, its configuration and the headers of its tensors, all verified."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from provenance.checkpoints.folder import (
    ADAPTER_CONFIG,
    CONFIG,
    INDEX,
    SINGLE,
    TOKENIZER_CONFIG,
    contained,
    read_object,
)
from provenance.checkpoints.formats import OWN_CONVERTERS, Contents, detect_format
from provenance.checkpoints.prefixes import plain_names
from provenance.checkpoints.safetensors_header import PLAIN, StoredTensor, stored_tensors
from provenance.errors import SourceError
from provenance.vocabulary import BLOCK_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

BLOCK_KEYS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")


def inspect(
    place: Path,
    *,
    allow_pickle: bool = False,
    headers: Callable[[Path], tuple[StoredTensor, ...]] = stored_tensors,
) -> Contents:
    """Read what a folder, or a GGUF file, holds, and verify it as far as no weight need be read.

    Parameters
    ----------
    place : pathlib.Path
        A folder, or a GGUF file.
    allow_pickle : bool
        Whether weights in a pickle may be read.
    headers : callable
        Reads the header of a safetensors file, which may lie elsewhere.

    Raises
    ------
    SourceError
        As `detect_format`; or the configuration is missing or cannot be meant, a file of weights is torn,
        two files hold a tensor of one name, the index names other tensors than its files, or weights are
        codes without a word on how they are to be read.
    """
    contents = detect_format(place, allow_pickle=allow_pickle)
    if contents.format == "gguf":
        return contents
    if contents.format != "plain":
        name = ADAPTER_CONFIG if contents.format == "adapter" else CONFIG
        return replace(contents, config=read_object(contained(contents.folder, name)))
    config = _config(contents.folder)
    tensors = _tensors(contents, headers)
    plain = plain_names(tensors, config)
    if any(stored != name for stored, name in plain.items()):
        return replace(contents, format="wrapped", config=config, tensors=tensors, plain=plain)
    method = _quantization(contents.folder, config, tensors)
    return replace(
        contents,
        format="plain" if method is None else "quantized",
        config=config,
        tensors=tensors,
        method=method,
    )


def setting(config: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    """Find the first positive integer under `keys`, of the text part of a multimodal model first.

    Of a model with such a part transformers reads that part, whatever stands beside it.
    """
    nested = text_part(config)
    for part in (nested, config) if "model_type" in nested else (config, nested):
        for key in keys:
            value = part.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return None


TEXT_PARTS = ("text_config", "thinker_config", "vlm_config")
"""Where families describe their language model, or the part that it lies in."""


def text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a configuration says of the language model inside, at any depth; empty where it has none."""
    found: Mapping[str, Any] = {}
    part: Any = config
    while part is not None:
        part = next((part[key] for key in TEXT_PARTS if isinstance(part.get(key), dict)), None)
        found = part if part is not None else found
    return found


def quantization_settings(config: Mapping[str, Any]) -> Any:
    """What a configuration says of how weights are quantized, as transformers looks for it.

    It stands at the top, else with the language model inside. None where it is not there.
    """
    settings = config.get("quantization_config")
    return text_part(config).get("quantization_config") if settings is None else settings


def has_code(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether a checkpoint asks for code of its own, for the model or for the tokenizer.

    Raises
    ------
    SourceError
        The code is to come from another repository, or is not in the folder.
    """
    tokenizer = folder / TOKENIZER_CONFIG
    settings = read_object(contained(folder, tokenizer.name)) if os.path.lexists(tokenizer) else {}
    classes = [*_classes(config.get("auto_map")), *_classes(settings.get("auto_map"))]
    for name in classes:
        if "--" in name:
            raise SourceError(
                f"{folder} asks for code of another repository ({name}); "
                "put the code into the checkpoint's own folder"
            )
        contained(folder, name.partition(".")[0] + ".py")
    return bool(classes)


def _classes(auto_map: Any) -> list[str]:
    values = auto_map.values() if isinstance(auto_map, dict) else [auto_map]
    flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
    return [item for item in flat if isinstance(item, str)]


def _config(folder: Path) -> dict[str, Any]:
    """Read the configuration beside a checkpoint's weights, and refuse one that cannot be meant."""
    file = folder / CONFIG
    if not os.path.lexists(file):
        raise SourceError(
            f"{folder} has no {CONFIG}; give the folder of a checkpoint that transformers saved"
        )
    config = read_object(contained(folder, CONFIG))
    if not isinstance(config.get("model_type"), str) or not config["model_type"]:
        raise SourceError(f"{file} has no 'model_type'; save the model again with transformers")
    if (setting(config, BLOCK_KEYS) or 0) > BLOCK_LIMIT:
        raise SourceError(f"{file} claims more than {BLOCK_LIMIT:,} blocks; no model has so many")
    _refuse_dtype(config, file)
    # transformers would load other files than those that are digested
    other = config.get("transformers_weights")
    usual = SINGLE if os.path.lexists(folder / SINGLE) else INDEX
    if other is not None and other != usual:
        raise SourceError(f"{file} asks for the weights {other!r}, not {usual}; rename them")
    if os.path.lexists(folder / ADAPTER_CONFIG):
        raise SourceError(
            f"{folder} has an adapter ({ADAPTER_CONFIG}) beside its weights; "
            "merge it, or move it away"
        )
    return config


DTYPE = re.compile(r"(torch\.)?(auto|bool|double|float|half|b?float16|u?int\d+|float\d+(_\w+)?)")


def _refuse_dtype(config: Mapping[str, Any], file: Path) -> None:
    """Refuse a type of numbers that torch does not have, in the model's part or in a nested one."""
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key in ("dtype", "torch_dtype"):
            value = part.get(key)
            if isinstance(value, dict) or value is None:
                continue
            if not isinstance(value, str) or not DTYPE.fullmatch(value):
                raise SourceError(
                    f"{file} has {key} {str(value)[:50]!r}, which is no type of torch; write float32, "
                    "bfloat16 or float16"
                )


def _tensors(
    contents: Contents, headers: Callable[[Path], tuple[StoredTensor, ...]]
) -> dict[str, StoredTensor]:
    """Every tensor that a loader would read, by name, sorted."""
    tensors: dict[str, StoredTensor] = {}
    for file in contents.files:
        for tensor in headers(file):
            other = tensors.setdefault(tensor.name, tensor)
            if other is not tensor:
                raise SourceError(f"{file} holds {tensor.name!r}, and so does {other.file.name}")
    if contents.index:
        _refuse_other_tensors(contents, tensors)
    refuse_other_names(tensors, contents.files[0])
    _refuse_twins(tensors)
    return dict(sorted(tensors.items()))


WRAPPERS = frozenset(
    {"_orig_mod", "backbone", "base_model", "language_model", "model", "module", "transformer"}
)
"""What is put in front of a model's names when it is wrapped, or when a head is put on it."""


BUFFERS = re.compile(r"(inv_freq|position_ids|masked_bias|attn\.bias|attention\.bias)$")
"""Names of what older versions of transformers saved of positions and masks: no weights."""


def _refuse_twins(tensors: Mapping[str, StoredTensor]) -> None:
    """Refuse two tensors whose names differ by wrappers alone: a loader takes one of them, unsaid.

    `provenance.loading.renamings` finds what a family's own renamings bring together.
    """
    bare: dict[str, str] = {}
    for name in tensors:
        parts = name.split(".")
        while len(parts) > 1 and parts[0] in WRAPPERS:
            parts.pop(0)
        other = bare.setdefault(".".join(parts), name)
        if other != name:
            raise SourceError(
                f"{tensors[name].file} holds {name[:100]!r}, and {tensors[other].file.name} "
                f"{other[:100]!r}: two tensors for one parameter; remove the one that does not run, or "
                "save the model again"
            )


def refuse_other_names(names: Collection[str], file: Path) -> None:
    """Refuse weights of Meta's and Mistral's own format, which transformers has other names for.

    Raises
    ------
    SourceError
        The file holds such.
    """
    if set(names) >= OWN_NAMES:
        raise SourceError(
            f"{file} has the names of Meta's and Mistral's own format ({min(OWN_NAMES)}); convert it "
            f"with {OWN_CONVERTERS}"
        )


OWN_NAMES = frozenset({"layers.0.attention.wq.weight", "layers.0.feed_forward.w1.weight"})


def _refuse_other_tensors(contents: Contents, tensors: Mapping[str, StoredTensor]) -> None:
    """Refuse an index that is of other tensors than its files: half of a save, or a forgery."""
    for name, shard in sorted(contents.index.items()):
        file = contents.folder / shard
        if name not in tensors or tensors[name].file != file:
            raise SourceError(
                f"{file} has no tensor {name[:100]!r}, which the index says it has; "
                "download or save the checkpoint again"
            )
    for name, tensor in tensors.items():
        if name not in contents.index:
            raise SourceError(
                f"{tensor.file} has the tensor {name[:100]!r}, which the index does not list; "
                "download or save the checkpoint again"
            )


def _quantization(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, StoredTensor]
) -> str | None:
    """The method by which the weights are quantized; refuse what the configuration and they disagree on."""
    packed = [tensor for tensor in tensors.values() if is_packed(tensor)]
    settings = quantization_settings(config)
    _refuse_mlx(folder, config, packed)
    if settings is None:
        for tensor in packed:
            if tensor.name.endswith("weight"):
                raise SourceError(
                    f"{tensor.file}: {tensor.name} is of type {tensor.dtype}, but {CONFIG} has no "
                    "'quantization_config' that says how to read it; save the checkpoint again"
                )
        return None
    method = settings.get("quant_method") if isinstance(settings, dict) else None
    if not isinstance(method, str):
        raise SourceError(
            f"{folder / CONFIG} has a 'quantization_config' without 'quant_method'; "
            "remove it if the weights are plain"
        )
    if not packed:
        raise SourceError(
            f"{folder / CONFIG} says {method!r}, but no weight is quantized; "
            "remove 'quantization_config' from it"
        )
    return method


def _refuse_mlx(folder: Path, config: Mapping[str, Any], packed: list[StoredTensor]) -> None:
    """Refuse what MLX quantized: it says so under a key of its own, and names no method."""
    settings = config.get("quantization") or config.get("quantization_config")
    if not isinstance(settings, dict) or "group_size" not in settings:
        return
    if "quant_method" not in settings and any(tensor.dtype == "U32" for tensor in packed):
        raise SourceError(
            f"{folder} is quantized by MLX to {settings.get('bits')} bits, which only MLX reads: give the "
            "model before it was quantized, or what mlx_lm.convert --dequantize makes of it"
        )


def is_packed(tensor: StoredTensor) -> bool:
    """Whether numbers are codes of weights, or weights in a type that is always scaled.

    Masks and positions are whole numbers in plain models too.
    """
    usual = tensor.dtype in PLAIN | {"I64", "BOOL"} or tensor.name.endswith("bias")
    return not usual and tensor.elements > 0 and len(tensor.shape) > 0
