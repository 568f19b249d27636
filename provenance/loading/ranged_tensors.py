"""Reads rows of tensors of a checkpoint that is opened in part."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import torch

from provenance.checkpoints.coded.parts import EXPONENTS, shown
from provenance.checkpoints.formats import is_gguf
from provenance.checkpoints.ranged.spans import Span
from provenance.checkpoints.safetensors_header import PLAIN
from provenance.errors import SourceError
from provenance.loading.decode import decoded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.checkpoints.coded.weights import CodedWeight
    from provenance.checkpoints.safetensors_header import StoredTensor

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
"""torch's types by those of safetensors."""

assert DTYPES.keys() == PLAIN

_OF_SCALES = {
    **DTYPES,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
} | dict.fromkeys(EXPONENTS, torch.uint8)
"""The types that a scale may have besides."""


class RangedTensors:
    """The tensors of a checkpoint by their stored names; rows run along all axes but the last.

    Parameters
    ----------
    checkpoint : Checkpoint
        With `ranged`.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        assert checkpoint.ranged is not None
        self._stored = checkpoint.tensors
        self._coded = checkpoint.coded
        self._files = checkpoint.ranged
        self._source = checkpoint.source
        self._is_gguf = all(is_gguf(name) for name in checkpoint.ranged.weights)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, from its header."""
        return self._of(name).shape

    def spans(self, name: str, runs: Iterable[range]) -> Iterator[Span]:
        """Where runs of rows lie: a span for each, or for each row of a run with steps.

        Of a quantized weight also what says how its rows are read.
        """
        tensor, coded = self._of(name), self._coded.get(name)
        for run in runs:
            yield from _spans(tensor, run)
            for scale in () if coded is None else coded.scales:
                yield from _spans(scale.tensor, scale.cover(run))
        if coded is not None and coded.shape_at is not None:
            yield _whole(coded.shape_at)

    def fetch(self, spans: Iterable[Span]) -> None:
        """Bring spans side by side, so that reading them moves nothing.

        Raises
        ------
        SourceError
            They cannot be had, or are more than the budget allows.
        """
        self._files.fetch(spans)

    def runs(self, name: str, runs: Sequence[range]) -> torch.Tensor:
        """Some rows of a tensor, (rows, width), on the CPU: as it is stored, or dequantized in float32.

        Raises
        ------
        SourceError
            They cannot be had, or are codes of a quantization that is not read here.
        """
        tensor, coded = self._of(name), self._coded.get(name)
        self._files.fetch(list(self.spans(name, runs)))
        if coded is not None:
            return self._decoded(coded, runs)
        data = self._data(tensor, runs)
        width = tensor.shape[-1] if tensor.shape else 1
        if self._is_gguf and tensor.dtype not in DTYPES:
            return _dequantized(data, tensor, self._source)
        if not data:
            return torch.zeros(0, width, dtype=_dtype(tensor, self._source))
        return torch.frombuffer(data, dtype=_dtype(tensor, self._source)).reshape(-1, width)

    def rows(self, name: str, indices: Sequence[int]) -> torch.Tensor:
        """Rows by their numbers, (len(indices), width); raises as `runs`."""
        return self.runs(name, [range(index, index + 1) for index in indices])

    def read(self, name: str) -> torch.Tensor:
        """The whole of a tensor; raises as `runs`."""
        shape = self.shape(name)
        return self.runs(name, [range(prod(shape[:-1]))]).reshape(shape)

    __call__ = read

    def _decoded(self, coded: CodedWeight, runs: Sequence[range]) -> torch.Tensor:
        if coded.shape_at is not None:
            self._require_shape(coded, coded.shape_at)
        made = [torch.zeros(0, coded.shape[-1])]
        for run in filter(len, runs):
            codes = self._bytes(coded.codes, run)
            numbers = [self._numbers(scale.tensor, scale.cover(run)) for scale in coded.scales]
            made.append(decoded(coded, run, codes, numbers))
        return torch.cat(made)

    def _bytes(self, tensor: StoredTensor, run: range) -> torch.Tensor:
        return torch.frombuffer(self._data(tensor, [run]), dtype=torch.uint8).reshape(len(run), -1)

    def _numbers(self, tensor: StoredTensor, run: range) -> torch.Tensor:
        return self._bytes(tensor, run).view(_OF_SCALES[tensor.dtype])

    def _require_shape(self, coded: CodedWeight, place: StoredTensor) -> None:
        """Refuse a weight that is said to have another shape than its codes and scales take."""
        data = self._files.read(_whole(place))
        dtype = torch.int32 if place.dtype == "I32" else torch.int64
        shape = tuple(torch.frombuffer(bytearray(data), dtype=dtype).tolist())
        if shape != coded.shape:
            raise SourceError(
                f"{self._source}: {shown(place.name)} says {list(shape)}, and {shown(coded.stored)} holds "
                f"{list(coded.shape)}: compare without --sample"
            )

    def _data(self, tensor: StoredTensor, runs: Iterable[range]) -> bytearray:
        return bytearray().join(
            self._files.read(span) for run in runs for span in _spans(tensor, run)
        )

    def _of(self, name: str) -> StoredTensor:
        tensor = self._stored.get(name)
        if tensor is None:
            raise SourceError(f"{self._source}: the files have no tensor {name!r}")
        return tensor


def _spans(tensor: StoredTensor, run: range) -> Iterator[Span]:
    bytes_a_row = _row_bytes(tensor)
    for part in [run] if run.step == 1 else [range(row, row + 1) for row in run]:
        yield Span(
            tensor.file.name,
            tensor.start + part.start * bytes_a_row,
            tensor.start + part.stop * bytes_a_row,
        )


def _whole(tensor: StoredTensor) -> Span:
    return Span(tensor.file.name, tensor.start, tensor.stop)


def _row_bytes(tensor: StoredTensor) -> int:
    rows = prod(tensor.shape[:-1])
    return (tensor.stop - tensor.start) // rows if rows else 0


def _dequantized(data: bytearray, tensor: StoredTensor, source: str) -> torch.Tensor:
    """Rows of codes of GGUF as float32: no block of codes is in two rows."""
    import numpy as np
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    codes = np.frombuffer(data, dtype=np.uint8).reshape(-1, _row_bytes(tensor))
    try:
        rows = dequantize(codes, GGMLQuantizationType[tensor.dtype])
    except NotImplementedError:
        raise SourceError(
            f"{source}: {tensor.name} is quantized as {tensor.dtype}, which gguf does not dequantize"
        ) from None
    return torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32))


def _dtype(tensor: StoredTensor, source: str) -> torch.dtype:
    dtype = DTYPES.get(tensor.dtype)
    if dtype is None:
        raise SourceError(
            f"{source}: {tensor.name} is of type {tensor.dtype}, whose numbers are no weights by "
            "themselves; compare without --sample"
        )
    return dtype
