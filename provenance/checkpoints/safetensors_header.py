"""The tensors in a safetensors file: found and hashed from its bytes, without torch or numpy.

A file is hashed in pieces of `CHUNK` bytes, so that a tensor of any size takes little memory.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provenance._threads import spread
from provenance.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
    "C64": 64,
}
"""Bits of an element, for every type of the format."""

PLAIN = frozenset({"F64", "F32", "F16", "BF16"})
"""Types whose numbers are the weights themselves, and not codes of them."""

HEADER_LIMIT = 32 * 2**20  # safetensors' own is 100 MB; a model of 100 000 tensors has 12 MB
CHUNK = 2**20
MAX_SIDES = 64  # numpy's; the product of a million would take hours
MAX_COUNT = 2**63 - 1


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies: bytes ``start`` to ``stop`` of ``file``, counted from its first."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int
    file: Path

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


class _DamagedError(Exception):
    """A file is not what the format says; the text says how."""


def stored_tensors(file: Path) -> tuple[StoredTensor, ...]:
    """Read the header of a safetensors file and prove that it describes the file, to the last byte.

    Returns
    -------
    tuple of StoredTensor
        In the order in which they lie in the file.

    Raises
    ------
    SourceError
        The file is not a sound safetensors file: cut off, longer than its header says, or with a
        header that is no JSON, too long, or of overlapping, missing or impossible tensors.

    References
    ----------
    .. [1] https://huggingface.co/docs/safetensors/index#format
    """
    return stored_header(file)[0]


def stored_header(file: Path) -> tuple[tuple[StoredTensor, ...], Mapping[str, str]]:
    """As `stored_tensors`, with the texts of the header's metadata.

    Raises
    ------
    SourceError
        As `stored_tensors`.
    """
    try:
        with file.open("rb") as opened:
            size = opened.seek(0, 2)

            def read(start: int, stop: int) -> bytes:
                opened.seek(start)
                return opened.read(stop - start)

            return parsed_header(read, size, file, str(file))
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror or error}") from error


def parsed_header(
    read: Callable[[int, int], bytes], size: int, file: Path, label: str
) -> tuple[tuple[StoredTensor, ...], Mapping[str, str]]:
    """As `stored_header`, of a file that is read by `read`, wherever it lies.

    Parameters
    ----------
    read : callable
        Reads the bytes from ``start`` up to ``stop``. It is called for the header alone.
    size : int
        Bytes of the file.
    file : pathlib.Path
        What its tensors name as their file.
    label : str
        What the file is called in errors.

    Raises
    ------
    SourceError
        As `stored_tensors`, and what `read` raises.
    """
    try:
        return _read(read, size, file)
    except (_DamagedError, ValueError, RecursionError) as error:
        raise SourceError(
            f"{label} is not a whole safetensors file ({_reason(error)}); download or save it again"
        ) from error


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, _DamagedError) else "its header is no JSON"


def _read(
    read: Callable[[int, int], bytes], size: int, file: Path
) -> tuple[tuple[StoredTensor, ...], Mapping[str, str]]:
    if size < 8:
        raise _DamagedError(f"it has {size} bytes, too few for a header")
    (length,) = struct.unpack("<Q", read(0, 8))
    if length > size - 8:
        raise _DamagedError("its header is longer than the file")
    if length > HEADER_LIMIT:
        raise _DamagedError(f"its header has {length:,} bytes, more than {HEADER_LIMIT:,}")
    header = json.loads(read(8, 8 + length).decode("utf-8"), object_pairs_hook=_without_repeats)
    if not isinstance(header, dict):
        raise _DamagedError("its header is no JSON object")
    metadata = header.pop("__metadata__", None)
    tensors = [_tensor(name, entry, length + 8, file) for name, entry in header.items()]
    tensors.sort(key=lambda tensor: (tensor.start, tensor.stop))
    _refuse_gaps(tensors, length + 8, size)
    texts = metadata if isinstance(metadata, dict) else {}
    return tuple(tensors), {key: text for key, text in texts.items() if isinstance(text, str)}


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise _DamagedError("its header names a tensor twice")
    return entries


def _tensor(name: str, entry: Any, origin: int, file: Path) -> StoredTensor:
    entry = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _DamagedError(f"tensor {name[:100]!r} has no type that the format knows")
    if not _are_counts(shape, MAX_SIDES) or not _are_counts(offsets, 2) or len(offsets) != 2:
        raise _DamagedError(f"tensor {name[:100]!r} has no shape or no place")
    start, stop = offsets
    if (stop - start) * 8 != math.prod(shape) * BITS[dtype]:
        raise _DamagedError(f"tensor {name[:100]!r} has not the bytes that its shape takes")
    return StoredTensor(name, dtype, tuple(shape), origin + start, origin + stop, file)


def _are_counts(value: Any, most: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= most
        and all(type(item) is int and 0 <= item <= MAX_COUNT for item in value)
    )


def _refuse_gaps(tensors: list[StoredTensor], origin: int, size: int) -> None:
    for tensor in tensors:
        if tensor.start != origin:
            what = "overlaps" if tensor.start < origin else "leaves a gap after"
            raise _DamagedError(f"tensor {tensor.name[:100]!r} {what} the one before it")
        origin = tensor.stop
    if origin > size:
        raise _DamagedError(f"it was cut off: it has {size:,} bytes of {origin:,}")
    if origin < size:
        raise _DamagedError(f"it has {size - origin:,} bytes more than its tensors")


def hash_tensors(file: Path) -> dict[str, str]:
    """SHA-256, in hex, of every tensor's bytes, by name; several at once where there are cores.

    Raises
    ------
    SourceError
        As `stored_tensors`.
    """
    tensors = stored_tensors(file)
    try:
        return {
            tensor.name: sha256
            for tensor, sha256 in zip(tensors, spread(_sha256, tensors), strict=True)
        }
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror or error}") from error


def _sha256(tensor: StoredTensor) -> str:
    digest = hashlib.sha256()
    with tensor.file.open("rb", buffering=0) as opened:
        opened.seek(tensor.start)
        for piece in _pieces(opened, tensor.stop - tensor.start):
            digest.update(piece)
    return digest.hexdigest()


def _pieces(opened: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0:
        piece = opened.read(min(CHUNK, size))
        if not piece:
            raise OSError(0, "it became shorter while it was read")
        size -= len(piece)
        yield piece
