"""The header of a GGUF file: its settings, its tokens, and where its tensors lie; no weight is read.

The library that reads GGUF maps whole files that are on this machine. Of a file elsewhere the header is
read here, piece by piece, as the format has it [1]_. How large the blocks of a quantization are, the
library says.

References
----------
.. [1] https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from typing import TYPE_CHECKING, Any

from provenance.checkpoints.safetensors_header import HEADER_LIMIT, StoredTensor
from provenance.errors import SourceError, extra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

CHUNK = 2**20
MOST = 2**20
"""Most tensors, and most settings, of a file."""
VERSIONS = (2, 3)
SCALARS = "BbHhIif?"
"""`struct`'s letters of the types 0 to 7; 8 is a text, 9 a list, and 10 to 12 are `WIDE`."""
WIDE = {10: "Q", 11: "q", 12: "d"}
TEXT, LIST = 8, 9
ALIGNMENT = 32


@dataclass(frozen=True)
class GgufHeader:
    """What the header of a GGUF file says: settings by their keys, tensors in the order of their places."""

    settings: Mapping[str, Any]
    tensors: tuple[StoredTensor, ...]

    def setting(self, key: str) -> Any:
        """A setting of the file's own architecture: ``block_count``."""
        return self.settings.get(f"{self.settings.get('general.architecture')}.{key}")

    def config(self) -> dict[str, Any]:
        """What stands for ``config.json``; its type is one that transformers does not know."""
        shapes = {tensor.name: tensor.shape for tensor in self.tensors}
        sizes = {
            "hidden_size": self.setting("embedding_length"),
            "num_hidden_layers": self.setting("block_count"),
            "num_experts": self.setting("expert_count"),
            "vocab_size": shapes.get(EMBEDDING, (None,))[0],
        }
        kind = f"gguf-{self.settings.get('general.architecture')}"
        return {"model_type": kind} | {key: size for key, size in sizes.items() if size}

    def tokenizer(self) -> dict[str, Any] | None:
        """The vocabulary as ``tokenizer.json`` has one; None where the file has none.

        It says what tokens stand for, and does not tokenize.
        """
        tokens = self.settings.get("tokenizer.ggml.tokens")
        if not isinstance(tokens, list) or not tokens:
            return None
        kinds = self.settings.get("tokenizer.ggml.token_type") or []
        special = [at for at, kind in enumerate(kinds[: len(tokens)]) if kind in SPECIAL]
        of_bytes = self.settings.get("tokenizer.ggml.model") == "gpt2"
        return {
            "model": {"type": "BPE", "vocab": {token: at for at, token in enumerate(tokens)}},
            "added_tokens": [{"id": at, "content": tokens[at], "special": True} for at in special],
            "decoder": {"type": "ByteLevel"} if of_bytes else None,
        }


SPECIAL = (2, 3, 5)
"""Kinds of tokens that stand for no text: unknown, control, unused."""
EMBEDDING = "model.embed_tokens.weight"
_NAMES = (
    (r"token_embd\.(\w+)", r"model.embed_tokens.\1"),
    (r"output_norm\.(\w+)", r"model.norm.\1"),
    (r"output\.(\w+)", r"lm_head.\1"),
    (r"blk\.(\d+)\.ffn_gate_inp\.weight", r"model.layers.\1.mlp.gate.weight"),
    (r"blk\.(\d+)\.ffn_(gate|up|down)\.(\w+)", r"model.layers.\1.mlp.\2_proj.\3"),
    (r"blk\.(\d+)\.ffn_(gate|up|down)_exps\.(\w+)", r"model.layers.\1.mlp.experts.\2_proj.\3"),
    (
        r"blk\.(\d+)\.ffn_(gate|up|down)_shexp\.(\w+)",
        r"model.layers.\1.mlp.shared_expert.\2_proj.\3",
    ),
    (r"blk\.(\d+)\.(.+)", r"model.layers.\1.\2"),
)
"""Names of GGUF, and what they are called where MLPs are found by names."""


def plain_name(name: str) -> str:
    """The name of a tensor as models of transformers call it; the norms before MLPs keep theirs."""
    for pattern, plain in _NAMES:
        found, number = re.subn(rf"^{pattern}$", plain, name)
        if number:
            return found
    return name


class _DamagedError(Exception):
    """The file is not what the format says; the text says how."""


def gguf_header(read: Callable[[int, int], bytes], size: int, file: Path, label: str) -> GgufHeader:
    """Read the header of a GGUF file, wherever it lies, and prove that its tensors are in the file.

    Parameters
    ----------
    read, size, file, label
        As `provenance.checkpoints.safetensors_header.parsed_header` takes them.

    Raises
    ------
    SourceError
        The library is absent; the file is not a sound GGUF file, or is of a version or a quantization that
        is not read; and what `read` raises.
    """
    if find_spec("gguf") is None:
        raise SourceError(f"{label} is GGUF, and reading it needs gguf: {extra('gguf')}")
    try:
        return _parsed(_Cursor(read, size), size, file)
    except (_DamagedError, struct.error, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(
            f"{label} is not a whole GGUF file ({_reason(error)}); download it again"
        ) from error


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, _DamagedError) else "its header cannot be read"


class _Cursor:
    """Reads on from the beginning of a file, in chunks."""

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read, self._size = read, size
        self._data = bytearray()
        self.at = 0

    def take(self, number: int) -> bytes:
        """The next so many bytes."""
        stop = self.at + number
        if stop > min(self._size, HEADER_LIMIT):
            what = "the file" if stop > self._size else f"{HEADER_LIMIT:,} bytes"
            raise _DamagedError(f"its header is longer than {what}")
        while len(self._data) < stop:
            start = len(self._data)
            self._data += self._read(start, min(self._size, start + CHUNK))
        taken = bytes(self._data[self.at : stop])
        self.at = stop
        return taken

    def number(self, letter: str) -> Any:
        """The next number of a type of `struct`."""
        return struct.unpack(f"<{letter}", self.take(struct.calcsize(f"<{letter}")))[0]

    def numbers(self, letter: str, count: int) -> list[Any]:
        """The next numbers of one type."""
        data = self.take(count * struct.calcsize(f"<{letter}"))
        return list(struct.unpack(f"<{count}{letter}", data))

    def text(self) -> str:
        """The next text."""
        return self.take(self.number("Q")).decode("utf-8", "surrogatepass")

    def count(self, what: str) -> int:
        """The next number of tensors or settings."""
        number: int = self.number("Q")
        if number > MOST:
            raise _DamagedError(f"it says to have {number:,} {what}")
        return number


def _parsed(cursor: _Cursor, size: int, file: Path) -> GgufHeader:
    if cursor.take(4) != b"GGUF":
        raise _DamagedError("it does not begin as one")
    version = cursor.number("I")
    if version not in VERSIONS:
        raise _DamagedError(f"it is of version {version}, and {VERSIONS} are read")
    tensors, settings = cursor.count("tensors"), cursor.count("settings")
    found = {}
    for _ in range(settings):
        key = cursor.text()
        found[key] = _value(cursor, cursor.number("I"))
    infos = [_info(cursor) for _ in range(tensors)]
    alignment = found.get("general.alignment", ALIGNMENT)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise _DamagedError(f"its alignment is {alignment}")
    origin = -(-cursor.at // alignment) * alignment
    placed = sorted((_tensor(info, origin, file) for info in infos), key=lambda one: one.start)
    _refuse_overlaps(placed, size)
    return GgufHeader(found, tuple(placed))


def _value(cursor: _Cursor, kind: int, depth: int = 0) -> Any:
    if kind == TEXT:
        return cursor.text()
    if kind == LIST:
        inner, count = cursor.number("I"), cursor.number("Q")
        letter = _letter(inner)
        if letter is not None:
            return cursor.numbers(letter, count)
        if depth or count > HEADER_LIMIT:
            raise _DamagedError("it has lists of lists of lists")
        return [_value(cursor, inner, depth + 1) for _ in range(count)]
    letter = _letter(kind)
    if letter is None:
        raise _DamagedError(f"a setting is of type {kind}, which the format does not have")
    return cursor.number(letter)


def _letter(kind: int) -> str | None:
    return SCALARS[kind] if kind < len(SCALARS) else WIDE.get(kind)


_Info = tuple[str, tuple[int, ...], int, int]


def _info(cursor: _Cursor) -> _Info:
    name, axes = cursor.text(), cursor.number("I")
    if axes > 8:
        raise _DamagedError(f"tensor {name[:100]!r} has {axes} axes")
    shape = tuple(reversed(cursor.numbers("Q", axes)))  # the format counts from the last
    return name, shape, cursor.number("I"), cursor.number("Q")


def _tensor(info: _Info, origin: int, file: Path) -> StoredTensor:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    name, shape, kind, offset = info
    try:
        quantization = GGMLQuantizationType(kind)
    except ValueError:
        raise _DamagedError(
            f"tensor {name[:100]!r} is of type {kind}, which gguf does not know"
        ) from None
    elements, of_bytes = GGML_QUANT_SIZES[quantization]
    if not shape or shape[-1] % elements:
        raise _DamagedError(f"tensor {name[:100]!r} is no whole number of blocks")
    start = origin + offset
    length = prod(shape) // elements * of_bytes
    return StoredTensor(plain_name(name), quantization.name, shape, start, start + length, file)


def _refuse_overlaps(tensors: Iterable[StoredTensor], size: int) -> None:
    last = 0
    names = set()
    for tensor in tensors:
        if tensor.name in names:
            raise _DamagedError(f"its header names tensor {tensor.name[:100]!r} twice")
        names.add(tensor.name)
        if tensor.start < last:
            raise _DamagedError(f"tensor {tensor.name[:100]!r} overlaps the one before it")
        if tensor.stop > size:
            raise _DamagedError(f"it was cut off: it has {size:,} bytes of {tensor.stop:,}")
        last = tensor.stop
