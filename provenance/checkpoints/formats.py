"""Which format the files of a folder or repository have, and which of them a loader opens.

Told from names and from the index of shards, without torch and without reading a weight. What a loader
could be talked into opening besides (a shard outside the folder, a pickle in the index) is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

from provenance.checkpoints.folder import (
    ADAPTER_CONFIG,
    CONFIG,
    CONFIG_LIMIT,
    INDEX,
    INDEX_LIMIT,
    SINGLE,
    TOKENIZER_FILES,
    contained,
    listing,
    read_object,
)
from provenance.checkpoints.meant import advice
from provenance.checkpoints.pickles import (
    ADAPTER_PICKLE,
    PICKLE_INDEX,
    REMEDY,
    choose_pickles,
    pickles,
)
from provenance.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from provenance.checkpoints.safetensors_header import StoredTensor

Format = Literal["plain", "quantized", "wrapped", "adapter", "gguf", "pickle"]
"""What a folder holds. All but "plain" must be converted before they are loaded."""

ADAPTER = "adapter_model.safetensors"
# Repositories keep other copies of the same weights: in the maker's format, or in subfolders.
UNWANTED = ("*/*", "consolidated*")
SHARD = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")
SPLIT_GGUF = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_BESIDE_GGUF = re.compile(r"mmproj|imatrix", re.IGNORECASE)
"""In the names of GGUF files that hold no language model: projectors of images, means of activations."""


@dataclass(frozen=True)
class Contents:
    """What a folder holds: its format and files, and once it is inspected also what they say.

    Attributes
    ----------
    format : Format
        A quantized checkpoint, or a wrapped model's, is "plain" until it is inspected.
    folder : pathlib.Path
        Where the files are.
    files : tuple of pathlib.Path
        The files of weights that a loader opens, sorted by name.
    index : Mapping
        The file's name of every tensor, where the weights are sharded.
    config : Mapping
        The configuration, of an adapter its own; empty for GGUF.
    tensors : Mapping
        What the headers say of each tensor, by name, sorted; empty unless plain or quantized.
    method : str or None
        The quantization's ``quant_method``.
    plain : Mapping
        Of a wrapped model's checkpoint, the model's own name of every tensor by its stored name.
    """

    format: Format
    folder: Path
    files: tuple[Path, ...]
    index: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, StoredTensor] = field(default_factory=dict)
    method: str | None = None
    plain: Mapping[str, str] = field(default_factory=dict)


def wanted(names: list[str], *, allow_pickle: bool, trust_remote_code: bool) -> list[str] | None:
    """Choose the files to download from a repository or URL; None where nothing can be loaded.

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
    code = ["*.py"] if trust_remote_code else []
    common = [CONFIG, *TOKENIZER_FILES, *code]
    if SINGLE in names:
        return [*common, ADAPTER_CONFIG, SINGLE]
    if INDEX in names:
        return [*common, ADAPTER_CONFIG, INDEX, "*.safetensors"]
    if ADAPTER_CONFIG in names and (ADAPTER in names or allow_pickle):
        return [*common, ADAPTER_CONFIG, ADAPTER if ADAPTER in names else ADAPTER_PICKLE]
    gguf = ggufs(names)
    if len(gguf) == 1:
        return gguf
    files = _wanted_pickles(names) if allow_pickle else []
    return [*common, *files] if files else None


def _wanted_pickles(names: list[str]) -> list[str]:
    if PICKLE_INDEX in names:
        return [PICKLE_INDEX, "pytorch_model*.bin"]
    return [] if _foreign(names) else list(choose_pickles(names)[0])


def unwanted(chosen: list[str]) -> list[str]:
    """The patterns of files that are not downloaded, whatever pattern of ``chosen`` they match."""
    return [
        pattern for pattern in UNWANTED if not any(fnmatchcase(name, pattern) for name in chosen)
    ]


def detect_format(place: Path, *, allow_pickle: bool) -> Contents:
    """Tell the format of a folder, or of a GGUF file, and which of its files a loader opens.

    Parameters
    ----------
    place : pathlib.Path
        A folder, or a GGUF file.
    allow_pickle : bool
        Whether weights in a pickle may be read.

    Raises
    ------
    SourceError
        Nothing that can be loaded is there, or several things could be meant; an index is not sound; a
        file is missing, leads out of the folder, or is a pickle without leave.
    """
    if is_gguf(place.name) and place.is_file():
        return _gguf(place.parent, [place.name])
    if not place.is_dir():
        what = "is a file; give the folder that it is in"
        if not place.exists():
            what = f"is not there{advice(place)}"
        raise SourceError(f"the folder {place} {what}")
    names = listing(place)
    if SINGLE in names or INDEX in names:
        return _plain(place, names)
    if ADAPTER_CONFIG in names:
        return _adapter(place, names, allow_pickle=allow_pickle)
    gguf = ggufs(names)
    if gguf:
        return _gguf(place, gguf)
    if allow_pickle and pickles(names) and not _foreign(names):
        return _pickle(place, names)
    raise SourceError(f"{place} {_below(place) or no_weights(names)}")


def _below(place: Path) -> str:
    """Say which folders in one have what it lacks, as of a trainer or of several adapters: a predicate."""
    wanted = {ADAPTER_CONFIG, SINGLE, INDEX}
    found = sorted({file.parent for file in place.glob("*/*") if file.name in wanted})
    if not found:
        return ""
    what = "an adapter" if (found[0] / ADAPTER_CONFIG).is_file() else "a model"
    many = f"{len(found)} folders in it have" if len(found) > 1 else "a folder in it has"
    return f"has no weights, but {many}: {found[0].name} has {what}; give path: {found[0]}"


def read_weight_map(file: Path, limit: int = INDEX_LIMIT) -> dict[str, str]:
    """Read the index of shards: the file's name of every tensor.

    Raises
    ------
    SourceError
        It cannot be read as a JSON object, or has no ``weight_map`` of file names.
    """
    weight_map = read_object(file, limit).get("weight_map")
    names = weight_map.values() if isinstance(weight_map, dict) else ()
    if isinstance(weight_map, dict) and names and all(isinstance(name, str) for name in names):
        return weight_map
    raise SourceError(
        f"{file} has no 'weight_map' of file names; save or download the checkpoint again"
    )


def _plain(folder: Path, names: list[str]) -> Contents:
    # as `PreTrainedModel.from_pretrained` chooses
    if SINGLE in names:
        return Contents("plain", folder, (contained(folder, SINGLE),))
    index = read_weight_map(contained(folder, INDEX))
    for name in sorted(set(index.values())):
        # transformers hands a shard of any other name to torch.load
        if not name.endswith(".safetensors"):
            raise SourceError(f"{folder / INDEX} lists {name!r}: {REMEDY}")
    return Contents("plain", folder, _files(folder, index.values()), index)


def _pickle(folder: Path, names: list[str]) -> Contents:
    if PICKLE_INDEX not in names:
        files, reason = choose_pickles(names)
        if reason:
            raise SourceError(f"{folder} {reason}")
        return Contents("pickle", folder, _files(folder, files))
    index = read_weight_map(contained(folder, PICKLE_INDEX), CONFIG_LIMIT)
    return Contents("pickle", folder, _files(folder, index.values()), index)


def _files(folder: Path, names: Iterable[str]) -> tuple[Path, ...]:
    return tuple(contained(folder, name) for name in sorted(set(names)))


def is_gguf(name: str) -> bool:
    """Whether a file's name is that of a GGUF file."""
    return name.lower().endswith(".gguf")


def ggufs(names: list[str]) -> list[str]:
    """The GGUF files that can be language models; the others only where there is none."""
    found = [name for name in names if is_gguf(name)]
    return [name for name in found if not _BESIDE_GGUF.search(name)] or found


def _gguf(folder: Path, names: list[str]) -> Contents:
    split = [name for name in names if SPLIT_GGUF.search(name)]
    if split:
        raise SourceError(
            f"{folder / split[0]} is a part of a GGUF file; join its parts with llama-gguf-split --merge"
        )
    if len(names) > 1:
        raise SourceError(
            f"{folder} has {len(names)} GGUF files; name one of them, such as {folder / names[0]}"
        )
    return Contents("gguf", folder, (contained(folder, names[0]),))


def _adapter(folder: Path, names: list[str], *, allow_pickle: bool) -> Contents:
    if ADAPTER in names:
        return Contents("adapter", folder, (contained(folder, ADAPTER),))
    if ADAPTER_PICKLE in names and allow_pickle:
        return Contents("adapter", folder, (contained(folder, ADAPTER_PICKLE),))
    if ADAPTER_PICKLE in names:
        raise SourceError(
            f"{folder / ADAPTER_PICKLE} is a pickle, which can run code; "
            "save the adapter as safetensors, or set allow_pickle: true on this model"
        )
    raise SourceError(f"{folder} has {ADAPTER_CONFIG} but no {ADAPTER}; save the adapter again")


OWN_CONVERTERS = (
    "convert_llama_weights_to_hf.py or convert_mistral_weights_to_hf.py of transformers"
)
FOREIGN = (
    ("params.json", "is in Meta's or Mistral's own format", OWN_CONVERTERS),
    ("zero_to_fp32.py", "is a checkpoint of DeepSpeed", "the zero_to_fp32.py that lies in it"),
    (".metadata", "is a distributed checkpoint of torch", "`accelerate merge-weights`"),
    ("tf_model.h5", "has weights of TensorFlow", "transformers 4 (from_tf=True)"),
    ("flax_model.msgpack", "has weights of Flax", "transformers 4 (from_flax=True)"),
)
"""Files of other formats, what a folder with one is, and what converts it."""


def _foreign(names: list[str]) -> str:
    """Say which other format the weights are in: a predicate; empty where pickles can be read."""
    if CONFIG in names and pickles(names):
        return ""
    for marker, what, converter in FOREIGN:
        if marker in names:
            return f"{what} ({marker}); convert it with {converter}"
    return ""


def no_weights(names: list[str]) -> str:
    """Say why a folder or repository with the files `names` has nothing to load: a predicate."""
    gguf = ggufs(names)
    if gguf:
        return f"has {len(gguf)} GGUF files; download one, and give it as path: ({gguf[0]})"
    if ADAPTER_CONFIG in names:
        return f"has {ADAPTER_CONFIG} but no {ADAPTER}; save the adapter again"
    return (
        _foreign(names)
        or _other_safetensors(names)
        or _pickles_alone(names)
        or f"has no weights: neither {SINGLE} nor {INDEX}; download or save it again"
    )


def _other_safetensors(names: list[str]) -> str:
    shards = [name for name in names if name.endswith(".safetensors")]
    if len(shards) == 1 and not SHARD.search(shards[0]):
        return f"has {shards[0]} but no {SINGLE}; rename it if it is the whole model"
    if shards:
        return f"has {shards[0]} but neither {SINGLE} nor {INDEX}; download or save it again"
    return ""


def _pickles_alone(names: list[str]) -> str:
    found = pickles(names)
    if not found:
        return ""
    reason = "" if PICKLE_INDEX in names else choose_pickles(names)[1]
    if reason:
        return f"{reason}; {REMEDY}"
    leave = "set allow_pickle: true on this model"
    return f"has its weights as pickle only ({found[0]}): {REMEDY}, or {leave}"
