"""Models that are larger than memory: run block by block from their weight files (accelerate's hooks).

A block's weights are read when the block is called and freed when it returns. Memory holds one block, the
embeddings, and the activations of a batch.
"""

from __future__ import annotations

import ctypes
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from provenance.architecture.collect import largest_list

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DISK = "disk"

M_MMAP_THRESHOLD = -3
LARGE_BYTES = 1 << 20


def device_map(skeleton: PreTrainedModel, device: str) -> dict[str, str]:
    """Where each part of a model belongs: its blocks and its untied head on disk, the rest on the device.

    Parameters
    ----------
    skeleton : PreTrainedModel
        On the meta device.
    """
    places: dict[str, str] = {}
    _place(skeleton, "", largest_list(skeleton), device, places)
    head = _untied_head(skeleton)
    return places | ({head: DISK} if head in places else {})


def _place(
    module: torch.nn.Module, path: str, stack: str, device: str, places: dict[str, str]
) -> None:
    """Give the module, or each of its parts where the blocks are inside of it, a place."""
    prefix = f"{path}." if path else ""
    if path == stack:
        places.update({f"{prefix}{name}": DISK for name, _ in module.named_children()})
    elif stack.startswith(prefix):
        own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        places.update({f"{prefix}{name}": device for name, _ in own})
        for name, child in module.named_children():
            _place(child, f"{prefix}{name}", stack, device, places)
    else:
        places[path] = device


def _untied_head(model: PreTrainedModel) -> str | None:
    """Path of the head, which is run once or never, where its weight is its own."""
    head = model.get_output_embeddings()
    if head is None or getattr(model.config.get_text_config(), "tie_word_embeddings", False):
        return None
    return next((name for name, module in model.named_modules() if module is head), None)


def return_freed_memory() -> None:
    """Have glibc map large allocations one by one, so that freed ones leave the process.

    Once one was freed, glibc would carve the next ones out of its heap. Batches of activations then leave
    holes of several times the model's size: 1.2 GiB for a model of 0.5 GiB that was read 14 MiB at a time.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # not in musl
            libc.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


def remove_with(model: PreTrainedModel, folder: str) -> None:
    """Remove the folder of converted weights when the model is freed."""
    weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)


def scratch_folder() -> str:
    """A new folder for weights that cannot be read in place."""
    return tempfile.mkdtemp(prefix="provenance-offload-")


def cast(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Let a streamed model run in another type than it is stored in, still reading nothing now.

    Weights are cast to the type of their placeholder when they are read.
    """
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            if weight.is_floating_point() and weight.dtype != dtype:
                made: Any = (
                    torch.empty(weight.shape, dtype=dtype, device="meta")
                    if weight.is_meta
                    else weight.to(dtype)
                )
                module.register_parameter(name, torch.nn.Parameter(made, requires_grad=False))


def is_streamed(model: torch.nn.Module) -> bool:
    """Whether a model's blocks are on disk."""
    return DISK in getattr(model, "hf_device_map", {}).values()


Change = Callable[[str, torch.Tensor], torch.Tensor]


class _Changed(Mapping[str, torch.Tensor]):
    """Weights of a module by their names, one of them changed when it is read."""

    def __init__(self, weights: Mapping[str, torch.Tensor], parameter: str, change: Change) -> None:
        self._weights = weights
        self._parameter = parameter
        self._change = change

    def __getitem__(self, name: str) -> torch.Tensor:
        weight = self._weights[name]
        own = name == self._parameter.rpartition(".")[2]
        return self._change(self._parameter, weight) if own else weight

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


@contextmanager
def changing(model: torch.nn.Module, parameter: str, change: Change) -> Iterator[None]:
    """Change a weight of a streamed model whenever it is read from disk, until the ``with`` ends.

    Parameters
    ----------
    parameter : str
        For ``model.get_parameter``; on disk.
    change : callable
        Given the parameter's name and its tensor, which it does not write to; returns what stands in.
    """
    hook: Any = getattr(model.get_submodule(parameter.rpartition(".")[0]), "_hf_hook")  # noqa: B009
    holder = next(one for one in getattr(hook, "hooks", (hook,)) if one.weights_map is not None)
    kept = holder.weights_map
    holder.weights_map = _Changed(kept, parameter, change)
    try:
        yield
    finally:
        holder.weights_map = kept
