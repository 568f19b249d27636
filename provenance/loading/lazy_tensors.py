"""Reads tensors of a checkpoint one at a time, by name, without building the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from provenance.errors import SourceError, one_line

if TYPE_CHECKING:
    import torch

    from provenance.checkpoints.checkpoint import Checkpoint


class LazyTensors(Mapping[str, "torch.Tensor"]):
    """The tensors of a checkpoint by name; each is read from its file when it is looked up.

    Nothing is kept: looking a name up twice reads it twice.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._stored = checkpoint.tensors

    def __getitem__(self, name: str) -> torch.Tensor:
        """The tensor, in its stored dtype, on the CPU.

        Raises
        ------
        KeyError
            If the checkpoint has no tensor of that name.
        SourceError
            If the library does not read what the file holds.
        """
        from safetensors import SafetensorError, safe_open

        # a file that stays open keeps every page mapped that was ever read of it
        file = self._stored[name].file
        try:
            with safe_open(file, framework="pt") as opened:
                tensor: torch.Tensor = opened.get_tensor(name)
        except SafetensorError as error:
            raise SourceError(f"{file} is no sound safetensors file: {one_line(error)}") from None
        return tensor

    def rows(self, name: str, indices: Sequence[int]) -> torch.Tensor:
        """Some rows of a tensor of two axes, (len(indices), width); no other row is read.

        Raises
        ------
        KeyError, SourceError
            As looking the name up does.
        """
        import torch
        from safetensors import SafetensorError, safe_open

        file = self._stored[name].file
        try:
            with safe_open(file, framework="pt") as opened:
                table = opened.get_slice(name)
                return torch.cat([table[index : index + 1] for index in indices])
        except SafetensorError as error:
            raise SourceError(f"{file} is no sound safetensors file: {one_line(error)}") from None

    def __contains__(self, name: object) -> bool:
        """Whether the checkpoint has a tensor of that name; nothing is read."""
        return name in self._stored

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._stored))

    def __len__(self) -> int:
        return len(self._stored)
