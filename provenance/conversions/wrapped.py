"""A checkpoint of a wrapped or compiled model under the model's own names; no number is touched."""

from __future__ import annotations

import json
import shutil
import struct
from typing import TYPE_CHECKING

from provenance.checkpoints.folder import CONFIG, INDEX, contained, listing
from provenance.checkpoints.safetensors_header import stored_header
from provenance.conversions import copy_tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from provenance.checkpoints.formats import Contents

CHUNK = 2**20


def unwrap(contents: Contents, folder: Path) -> None:
    """Save a checkpoint under the names of ``contents.plain``, file by file.

    Raises
    ------
    SourceError
        A file is not whole, or leads out of its folder.
    """
    for file in contents.files:
        _rename(file, folder / file.name, contents.plain)
    if contents.index:
        index = {contents.plain[name]: shard for name, shard in contents.index.items()}
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": index}))
    code = [name for name in listing(contents.folder) if name.endswith(".py")]
    for name in (CONFIG, *code):
        shutil.copyfile(contained(contents.folder, name), folder / name)
    copy_tokenizer(contents.folder, folder)


def _rename(file: Path, target: Path, plain: Mapping[str, str]) -> None:
    tensors, texts = stored_header(file)
    first = min((tensor.start for tensor in tensors), default=0)
    header: dict[str, object] = {
        plain[tensor.name]: {
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": [tensor.start - first, tensor.stop - first],
        }
        for tensor in tensors
    }
    text = json.dumps({"__metadata__": dict(texts), **header}).encode()
    text += b" " * (-len(text) % 8)  # the numbers begin at a multiple of 8
    with file.open("rb") as source, target.open("wb") as written:
        written.write(struct.pack("<Q", len(text)) + text)
        source.seek(first)
        shutil.copyfileobj(source, written, CHUNK)
