"""A component of a model as a checkpoint of its own: its tensors, under their names within it."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from provenance.checkpoints.components import configuration_of
from provenance.checkpoints.folder import CONFIG, SINGLE
from provenance.conversions import copy_tokenizer
from provenance.vocabulary import COMPONENT_TYPE

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from provenance.checkpoints.checkpoint import Checkpoint

CHUNK = 2**20
WITHOUT_TEXT = frozenset({"vision", "audio", "projector"})
"""Components that read no tokens."""


def extract(checkpoint: Checkpoint, component: str, prefix: str, folder: Path) -> None:
    """Save the tensors whose names begin with a prefix; their numbers are copied as they are."""
    tensors = {
        name.removeprefix(prefix): tensor
        for name, tensor in sorted(checkpoint.tensors.items())
        if name.startswith(prefix)
    }
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, tensor in tensors.items():
        size = tensor.stop - tensor.start
        header[name] = {
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": [start, start + size],
        }
        start += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the numbers begin at a multiple of 8
    with (folder / SINGLE).open("wb") as written:
        written.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            with tensor.file.open("rb") as source:
                source.seek(tensor.start)
                _copy(source, written, tensor.stop - tensor.start)
    config = configuration_of(component, checkpoint.config)
    config |= {
        "model_type": COMPONENT_TYPE + str(config.get("model_type") or checkpoint.model_type),
        "architectures": [f"{checkpoint.architecture}, {prefix.rstrip('.') or component}"],
    }
    config.pop("auto_map", None)
    (folder / CONFIG).write_text(json.dumps(config))
    if component not in WITHOUT_TEXT:
        copy_tokenizer(checkpoint.folder, folder)


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> None:
    while size > 0:
        piece = source.read(min(size, CHUNK))
        target.write(piece)
        size -= len(piece)
