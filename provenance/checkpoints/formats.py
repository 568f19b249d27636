"""What a user has in hand: a plain checkpoint, or something that one must be made from first.

Told from the names of files and from the configuration, without torch and without reading a weight.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from provenance.checkpoints.folder import (
    ADAPTER_CONFIG,
    CONFIG,
    INDEX,
    SINGLE,
    TOKENIZER_FILES,
    contained,
    listing,
    read_object,
    weight_tensors,
)
from provenance.checkpoints.safetensors_header import PLAIN
from provenance.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from provenance.checkpoints.safetensors_header import StoredTensor

Kind = Literal["adapter", "gguf", "pickle", "quantized"]

ADAPTER = "adapter_model.safetensors"
ADAPTER_PICKLE = "adapter_model.bin"
PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"
# Repositories keep other copies of the same weights: in the maker's format, or in subfolders.
UNWANTED = ("*/*", "consolidated*")
SPLIT_GGUF = re.compile(r"-\d{5}-of-\d{5}\.gguf$")

METHODS = {
    "awq": "gptqmodel",
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed-tensors",
    "gptq": "gptqmodel",
}
"""The extra of each method of quantization that one of ours has a reader for."""


@dataclass(frozen=True)
class Form:
    """What must be done to a folder before it is a checkpoint, and with which files of it.

    ``method`` is the quantization's; None for the other kinds.
    """

    kind: Kind
    folder: Path
    files: tuple[Path, ...] = ()
    method: str | None = None


def wanted(names: list[str], *, allow_pickle: bool, trust_remote_code: bool) -> list[str] | None:
    """Which of the files at a distant place must be brought here; None where none is of use.

    Parameters
    ----------
    names : list of str
        The files that are there.
    allow_pickle, trust_remote_code : bool
        Whether pickles and code may be of use.

    Returns
    -------
    list of str or None
        Names and patterns.
    """
    found = set(names)
    code = ["*.py"] if trust_remote_code else []
    common = [CONFIG, *TOKENIZER_FILES, *code]
    if SINGLE in found:
        return [*common, ADAPTER_CONFIG, SINGLE]
    if INDEX in found:
        return [*common, ADAPTER_CONFIG, INDEX, "*.safetensors"]
    if ADAPTER_CONFIG in found and (ADAPTER in found or allow_pickle):
        return [*common, ADAPTER_CONFIG, ADAPTER if ADAPTER in found else ADAPTER_PICKLE]
    files = [name for name in names if name.endswith(".gguf")]
    if len(files) == 1:
        return files
    if allow_pickle and found & {PICKLE, PICKLE_INDEX}:
        return [*common, PICKLE_INDEX, "pytorch_model*.bin"]
    return None


def form_of(place: Path, *, allow_pickle: bool) -> Form | None:
    """Tell what lies at `place`; None for a plain checkpoint, and for what is none at all.

    Parameters
    ----------
    place : Path
        A folder, or a GGUF file.
    allow_pickle : bool
        Whether weights in a pickle may be read.

    Raises
    ------
    SourceError
        Several things could be meant, files are missing or lead out of the folder, or what the
        configuration says of quantization is not so.
    """
    if place.is_file() and place.suffix == ".gguf":
        return _gguf(place.parent, [place.name])
    if not place.is_dir():
        return None
    names = listing(place)
    if SINGLE in names or INDEX in names:
        return _quantized(place) if CONFIG in names else None
    if ADAPTER_CONFIG in names:
        return _adapter(place, names, allow_pickle=allow_pickle)
    found = [name for name in names if name.endswith(".gguf")]
    if found:
        return _gguf(place, found)
    return _pickle(place, names) if allow_pickle else None


def _gguf(folder: Path, names: list[str]) -> Form:
    split = [name for name in names if SPLIT_GGUF.search(name)]
    if split:
        raise SourceError(
            f"{folder / split[0]} is a part of a GGUF file; join its parts with llama-gguf-split --merge"
        )
    if len(names) > 1:
        raise SourceError(
            f"{folder} has {len(names)} GGUF files; name one of them, such as {folder / names[0]}"
        )
    return Form("gguf", folder, (contained(folder, names[0]),))


def _adapter(folder: Path, names: list[str], *, allow_pickle: bool) -> Form:
    if ADAPTER in names:
        return Form("adapter", folder, (contained(folder, ADAPTER),))
    if ADAPTER_PICKLE in names and allow_pickle:
        return Form("adapter", folder, (contained(folder, ADAPTER_PICKLE),))
    if ADAPTER_PICKLE in names:
        raise SourceError(
            f"{folder / ADAPTER_PICKLE} is a pickle, which can run code; "
            "save the adapter as safetensors, or set allow_pickle: true on this model"
        )
    raise SourceError(f"{folder} has {ADAPTER_CONFIG} but no {ADAPTER}; save the adapter again")


def _pickle(folder: Path, names: list[str]) -> Form | None:
    if PICKLE_INDEX in names:
        weight_map = read_object(contained(folder, PICKLE_INDEX)).get("weight_map")
        shards = set(weight_map.values()) if isinstance(weight_map, dict) else set()
        if not shards or not all(isinstance(name, str) for name in shards):
            raise SourceError(
                f"{folder / PICKLE_INDEX} has no 'weight_map' of file names; save it again"
            )
        return Form("pickle", folder, tuple(contained(folder, name) for name in sorted(shards)))
    if PICKLE in names:
        return Form("pickle", folder, (contained(folder, PICKLE),))
    return None


def _quantized(folder: Path) -> Form | None:
    settings = read_object(contained(folder, CONFIG)).get("quantization_config")
    if settings is None:
        return None
    method = settings.get("quant_method") if isinstance(settings, dict) else None
    if not isinstance(method, str):
        raise SourceError(
            f"{folder / CONFIG} has a 'quantization_config' without 'quant_method'; "
            "remove it if the weights are plain"
        )
    if not any(_is_packed(tensor) for tensor in weight_tensors(folder).values()):
        raise SourceError(
            f"{folder / CONFIG} says {method!r}, but no weight is quantized; "
            "remove 'quantization_config' from it"
        )
    return Form("quantized", folder, method=method)


def _is_packed(tensor: StoredTensor) -> bool:
    """Whether numbers are codes of weights, or weights in a type that is always scaled.

    Masks and positions are whole numbers in plain models too.
    """
    usual = tensor.dtype in PLAIN | {"I64", "BOOL"} or tensor.name.endswith("bias")
    return not usual and tensor.elements > 0 and len(tensor.shape) > 0


def refuse_packed(config: Mapping[str, Any], tensors: Mapping[str, StoredTensor]) -> None:
    """Refuse codes where a loader would take them for weights: none says how they are to be read.

    Raises
    ------
    SourceError
        A weight is of another type than floating-point numbers, and there is no quantization.
    """
    if "quantization_config" in config:
        return
    for name, tensor in tensors.items():
        if name.endswith("weight") and _is_packed(tensor):
            raise SourceError(
                f"{tensor.file}: {name} is of type {tensor.dtype}, but {CONFIG} has no "
                "'quantization_config' that says how to read it; save the checkpoint again"
            )


def has_code(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether a checkpoint asks for code of its own, for the model or for the tokenizer.

    Raises
    ------
    SourceError
        The code is to come from another repository, or is not in the folder.
    """
    tokenizer = folder / "tokenizer_config.json"
    settings = read_object(contained(folder, tokenizer.name)) if os.path.lexists(tokenizer) else {}
    named = [*_classes(config.get("auto_map")), *_classes(settings.get("auto_map"))]
    for name in named:
        if "--" in name:
            raise SourceError(
                f"{folder} asks for code of another repository ({name}); "
                "put the code into the checkpoint's own folder"
            )
        contained(folder, name.partition(".")[0] + ".py")
    return bool(named)


def _classes(auto_map: Any) -> list[str]:
    values = auto_map.values() if isinstance(auto_map, dict) else [auto_map]
    flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
    return [item for item in flat if isinstance(item, str)]
