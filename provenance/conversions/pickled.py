"""Pickled weights through torch's weights-only loader, as safetensors."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from typing import TYPE_CHECKING, Any

from provenance.checkpoints.contents import refuse_other_names
from provenance.checkpoints.folder import CONFIG, INDEX, SINGLE, contained
from provenance.conversions import copy_tokenizer, translated
from provenance.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from provenance.checkpoints.formats import Contents


def convert_pickle(contents: Contents, folder: Path, source: str) -> None:
    """Save a checkpoint of pickled weights as safetensors, shard by shard.

    Raises
    ------
    SourceError
        A pickle holds anything but tensors, is torn, or claims more than the file has.
    """
    weight_map: dict[str, str] = {}
    total = len(contents.files)
    with translated(source, "converting its pickle"):
        for number, file in enumerate(contents.files, 1):
            name = SINGLE if total == 1 else f"model-{number:05}-of-{total:05}.safetensors"
            names = unpickle(file, folder / name)
            refuse_other_names(names, file)
            weight_map |= dict.fromkeys(names, name)
    if total > 1:
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    shutil.copyfile(contained(contents.folder, CONFIG), folder / CONFIG)
    copy_tokenizer(contents.folder, folder)


def unpickle(file: Path, target: Path) -> list[str]:
    """Save the tensors of one pickle as safetensors; returns their names.

    Raises
    ------
    SourceError
        As `convert_pickle`.
    """
    from safetensors.torch import save_file

    _refuse_bomb(file)
    tensors = _tensors(_load(file), file)
    # cloned, since safetensors takes no views and no tensor that shares memory
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, target)
    return list(tensors)


def _refuse_bomb(file: Path) -> None:
    if zipfile.is_zipfile(file):
        try:
            with zipfile.ZipFile(file) as opened:
                unpacked = sum(entry.file_size for entry in opened.infolist())
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise _torn(file, error) from error
        if unpacked > file.stat().st_size:
            raise SourceError(f"{file} is compressed, which torch never does; it is not read")


def _load(file: Path) -> Any:
    import torch

    try:
        # mapped, so that a claim of more than the file has is an error and no allocation
        return torch.load(
            file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file)
        )
    # torch's own message says how to run the code; it is not passed on
    except pickle.UnpicklingError:
        raise SourceError(
            f"{file} holds more than tensors, and a pickle's code is never run; "
            "ask its maker for safetensors"
        ) from None
    except MemoryError:
        raise
    # the reader raises anything on torn bytes
    except Exception as error:
        raise _torn(file, error) from error


def _torn(file: Path, error: Exception) -> SourceError:
    return SourceError(
        f"{file} is not a whole pickle of torch ({type(error).__name__}); download it again"
    )


def _tensors(content: Any, file: Path) -> Mapping[str, Tensor]:
    import torch

    content = _state(content)
    if not isinstance(content, dict) or not content:
        raise SourceError(f"{file} holds no tensors by name; save the model's state_dict")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise SourceError(
                f"{file}: {str(name)[:100]!r} is no tensor; save the state_dict alone"
            )
        if tensor.layout != torch.strided or tensor.is_meta or _is_expanded(tensor):
            raise SourceError(f"{file}: {name[:100]!r} claims more than the file has of it")
    return content


STATES = ("state_dict", "model_state_dict", "model", "module", "state")
"""Under which of these keys trainers save the weights, beside steps and optimizers."""


def _state(content: Any) -> Any:
    """The weights in what a trainer saved; itself where it is of tensors alone."""
    import torch

    if not isinstance(content, dict) or any(isinstance(v, torch.Tensor) for v in content.values()):
        return content
    return next((content[key] for key in STATES if isinstance(content.get(key), dict)), content)


def _is_expanded(tensor: Tensor) -> bool:
    size = tensor.numel() * tensor.element_size()
    return size > tensor.untyped_storage().nbytes()
