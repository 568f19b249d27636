"""The files of a checkpoint folder: which of them a loader would open, and whether they are sound.

Only what is verified here is digested and later loaded; a file that a loader could be talked into
opening besides (a shard outside of the folder, a pickle named by the index) is refused.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from provenance._text import visible
from provenance.checkpoints.safetensors_header import StoredTensor, stored_tensors
from provenance.errors import SourceError, one_line

CONFIG = "config.json"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER_CONFIG = "adapter_config.json"
TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)

CONFIG_LIMIT = 10 * 2**20
INDEX_LIMIT = 100 * 2**20

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
PICKLE_REMEDY = "pickle can run code; convert it to safetensors"
LEAVE = "or set allow_pickle: true on this model"


def read_object(file: Path, limit: int = CONFIG_LIMIT) -> dict[str, Any]:
    """Read the JSON object in `file`.

    Raises
    ------
    SourceError
        The file is larger than `limit` bytes, unreadable, not JSON, or not a JSON object.
    """
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):  # reading a pipe would wait for ever
            raise SourceError(f"{file} is not a regular file")
        if found.st_size > limit:
            raise SourceError(f"{file} is {found.st_size:,} bytes; more than {limit:,} is refused")
        value = json.loads(file.read_bytes())
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{file} is not valid JSON ({one_line(error)}); save or download it again"
        ) from error
    if not isinstance(value, dict):
        raise SourceError(f"{file} holds a JSON {type(value).__name__}, not an object")
    return value


def listing(folder: Path) -> list[str]:
    """List the names in `folder`, sorted.

    Raises
    ------
    SourceError
        The folder cannot be read.
    """
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise SourceError(f"{folder} cannot be read: {error.strerror or error}") from error


def contained(folder: Path, name: str) -> Path:
    """Find the regular file `name` of `folder`, in itself or in its hub cache's ``blobs``.

    Raises
    ------
    SourceError
        The name leads out of the folder, or there is no such regular file.
    """
    file = folder / name
    windows = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows.anchor or ".." in windows.parts:
        raise SourceError(f"{folder} names the file {name!r}, which is outside of the folder")
    try:
        target, root = file.resolve(strict=True), folder.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceError(
            f"{folder / visible(name[:200])} is missing; download or save the checkpoint again"
        ) from error
    if not any(target.is_relative_to(home) for home in _homes(root)):
        raise SourceError(f"{file} is a link out of its folder, to {target}; put the file itself")
    if not target.is_file():
        raise SourceError(f"{file} is not a regular file")
    return file


def _homes(root: Path) -> list[Path]:
    # A hub cache keeps <repo>/snapshots/<commit>/<name> -> ../../blobs/<etag>.
    if root.parent.name == "snapshots":
        return [root, root.parent.parent / "blobs"]
    return [root]


def weight_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Find every tensor that a loader would read from `folder`, by name, sorted.

    Raises
    ------
    SourceError
        As `weight_files` and `stored_tensors`; or two files hold a tensor of one name, or the index
        and its files do not name the same tensors.
    """
    files = weight_files(folder)
    found: dict[str, StoredTensor] = {}
    for file in files.values():
        for tensor in stored_tensors(file):
            other = found.setdefault(tensor.name, tensor)
            if other is not tensor:
                raise SourceError(f"{file} holds {tensor.name!r}, and so does {other.file.name}")
    if SINGLE not in files:
        _refuse_other_tensors(folder, found)
    return dict(sorted(found.items()))


def _refuse_other_tensors(folder: Path, found: dict[str, StoredTensor]) -> None:
    """Refuse an index that is of other tensors than its files: half of a save, or a forgery."""
    listed = read_object(folder / INDEX, INDEX_LIMIT)["weight_map"]
    for name, shard in sorted(listed.items()):
        if name not in found or found[name].file != folder / shard:
            raise SourceError(
                f"{folder / shard} has no tensor {name[:100]!r}, which the index says it has; "
                "download or save the checkpoint again"
            )
    for name, tensor in found.items():
        if name not in listed:
            raise SourceError(
                f"{tensor.file} has the tensor {name[:100]!r}, which the index does not list; "
                "download or save the checkpoint again"
            )


def weight_files(folder: Path) -> dict[str, Path]:
    """Find the safetensors files that transformers would load from `folder`, by name, sorted.

    As `PreTrainedModel.from_pretrained` chooses: `model.safetensors`, else what the index lists.

    Raises
    ------
    SourceError
        There are none, or the index is not sound, or it lists a file that is missing, not
        safetensors, or outside of the folder.
    """
    if os.path.lexists(folder / SINGLE):
        return {SINGLE: contained(folder, SINGLE)}
    if not os.path.lexists(folder / INDEX):
        raise SourceError(f"{folder} {no_weights(listing(folder))}")
    index = contained(folder, INDEX)
    weight_map = read_object(index, INDEX_LIMIT).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise SourceError(f"{index} has no 'weight_map'; save or download the checkpoint again")
    if not all(isinstance(name, str) for name in weight_map.values()):
        raise SourceError(f"{index} has a 'weight_map' whose values are not file names")
    return {name: _shard(folder, name) for name in sorted(set(weight_map.values()))}


def _shard(folder: Path, name: str) -> Path:
    # transformers hands a shard of any other name to torch.load.
    if not name.endswith(".safetensors"):
        raise SourceError(f"{folder / INDEX} lists {name!r}: {PICKLE_REMEDY}")
    return contained(folder, name)


def no_weights(names: list[str]) -> str:
    """Say why a folder or repository with the files `names` has nothing to load: a predicate."""
    files = [name for name in names if name.endswith(".gguf")]
    if files:
        return f"has {len(files)} GGUF files; download one, and give it as path: ({files[0]})"
    if ADAPTER_CONFIG in names:
        return f"has {ADAPTER_CONFIG} but no adapter_model.safetensors; save the adapter again"
    shards = [name for name in names if name.endswith(".safetensors")]
    if shards:
        return f"has {shards[0]} but neither {SINGLE} nor {INDEX}; download or save it again"
    pickles = [name for name in names if name.endswith(PICKLES)]
    if pickles:
        return f"has its weights as pickle only ({pickles[0]}): {PICKLE_REMEDY}, {LEAVE}"
    return f"has no weights: neither {SINGLE} nor {INDEX}; download or save it again"
