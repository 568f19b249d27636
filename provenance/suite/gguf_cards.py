"""Read from a GGUF file what its model is made from: the keys ``general.base_model.*``.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md#source-metadata
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from provenance.errors import extra, one_line

if TYPE_CHECKING:
    from pathlib import Path

COUNT = "general.base_model.count"
MOST = 100
"""Above every number of bases that is believed."""
HUB = ("https://huggingface.co/", "https://hf.co/")


def bases_of(file: Path, notes: list[str]) -> list[tuple[str, str]]:
    """The bases that a GGUF file names: hub ids, or what stands there, each with its key.

    Parameters
    ----------
    notes : list of str
        Takes a line where the file cannot be read.
    """
    if find_spec("gguf") is None:
        notes.append(f"{file.name} is GGUF, and reading it needs gguf: {extra('gguf')}")
        return []
    try:
        fields = import_module("gguf").GGUFReader(file).fields
        count = int(fields[COUNT].contents()) if COUNT in fields else 0
        keys = [f"general.base_model.{i}" for i in range(min(count, MOST))]
        named = [(_name(fields, key), key) for key in keys]
    # the reader raises anything on a damaged file
    except Exception as error:  # noqa: BLE001
        notes.append(f"{file.name} cannot be read as GGUF: {one_line(error)}")
        return []
    return [(name, key) for name, key in named if name is not None]


def _name(fields: Any, key: str) -> str | None:
    """The hub id of a base, by its repository's address; else the address or the name that stands there."""
    said = {
        part: str(fields[f"{key}.{part}"].contents())
        for part in ("repo_url", "organization", "name")
        if f"{key}.{part}" in fields
    }
    url = said.get("repo_url", "")
    for hub in HUB:
        if url.startswith(hub):
            return url.removeprefix(hub).strip("/")
    return url or said.get("name")
