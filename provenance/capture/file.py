"""The file of a capture: written batch by batch in bounded memory, read one record at a time."""

from __future__ import annotations

import json
import os
import struct
from typing import TYPE_CHECKING, Self

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from provenance.capture.forward import Sink


class ActivationWriter:
    """A `Sink` that fills one safetensors file in place, batch by batch, in bounded memory.

    Tensors are named as `Recording` says: (tokens, width), in the dtype that the model ran in.
    ``widths`` is by name. A context manager.
    Format: https://huggingface.co/docs/safetensors/index#format.
    """

    def __init__(
        self, path: Path, widths: Mapping[str, int], tokens: int, dtype: torch.dtype
    ) -> None:
        self._dtype = dtype
        self._offsets: dict[str, int] = {}
        header: dict[str, object] = {}
        end = 0
        for name, width in widths.items():
            self._offsets[name] = end
            size = tokens * width * dtype.itemsize
            header[name] = {
                "dtype": _SAFETENSORS_NAMES[dtype],
                "shape": [tokens, width],
                "data_offsets": [end, end + size],
            }
            end += size
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self._base = 8 + len(text)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(self._file, struct.pack("<Q", len(text)) + text)
        os.truncate(self._file, self._base + end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def write(self, name: str, start: int, values: torch.Tensor) -> None:
        """Put ``values``, (tokens, width), at rows ``start`` on."""
        rows = values.to("cpu", self._dtype).contiguous()
        at = start * rows.shape[1] * self._dtype.itemsize
        data = memoryview(rows.view(torch.uint8).numpy().data).cast("B")
        at += self._base + self._offsets[name]
        while data:  # one call writes 2 GiB at most on Linux
            written = os.pwrite(self._file, data, at)
            data, at = data[written:], at + written


class TextSink:
    """A `Sink` that leaves out what is in front of the text in every sequence.

    Parameters
    ----------
    sink : Sink
        Is given the rows of the text alone, as if nothing had been in front.
    length : int
        Positions in a sequence, those in front included; only the last sequence may be shorter.
    front : int
        Positions in front of the text.
    """

    def __init__(self, sink: Sink, length: int, front: int) -> None:
        self._sink = sink
        self._length = length
        self._front = front

    def write(self, name: str, start: int, values: torch.Tensor) -> None:
        """Pass on what is text of ``values``, (tokens, width), which begin with a sequence."""
        at = torch.arange(len(values), device=values.device) % self._length
        sequences = start // self._length
        self._sink.write(name, start - sequences * self._front, values[at >= self._front])


_SAFETENSORS_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


class ActivationReader:
    """Reads what `ActivationWriter` wrote, one record at a time."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._path = path
        self._device = device

    def read(self, name: str) -> torch.Tensor:
        """One record, (tokens, width)."""
        from safetensors import safe_open

        # opened for one record: what was read of a file stays mapped while it is open
        with safe_open(self._path, framework="pt", device=self._device) as file:
            values: torch.Tensor = file.get_tensor(name)
        return values
