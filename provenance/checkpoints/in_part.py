"""Opens a checkpoint in part: its small files whole, of its weights the headers, and no weight.

::

    spec --origin_of--> Origin --headers--> Contents --open_part--> Checkpoint with `ranged`

What is not read cannot be converted: adapters and pickles are refused, and quantized weights whose rows do
not lie by themselves.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from provenance.checkpoints.checkpoint import Checkpoint, open_part
from provenance.checkpoints.contents import inspect
from provenance.checkpoints.folder import INDEX, INDEX_LIMIT, SINGLE, TOKENIZER
from provenance.checkpoints.formats import (
    Contents,
    detect_format,
    is_gguf,
    no_weights,
    unwanted,
    wanted,
)
from provenance.checkpoints.gguf_header import gguf_header
from provenance.checkpoints.ranged.hub_files import HubFiles
from provenance.checkpoints.ranged.local_files import LocalFiles
from provenance.checkpoints.ranged.object_files import ObjectFiles
from provenance.checkpoints.ranged.reader import RangedFiles
from provenance.checkpoints.ranged.spans import Span
from provenance.checkpoints.ranged.web_files import WebFiles
from provenance.checkpoints.safetensors_header import parsed_header
from provenance.checkpoints.urls import is_chosen
from provenance.errors import SourceError
from provenance.store.objects import BACKENDS, check_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from provenance.checkpoints.gguf_header import GgufHeader
    from provenance.checkpoints.ranged.origin import Origin
    from provenance.checkpoints.ranged.reader import Meter
    from provenance.checkpoints.safetensors_header import StoredTensor
    from provenance.store.store import JSON, Store
    from provenance.vocabulary import ModelSpec

BEGINNING = 2**16
"""Bytes of each file of weights that are asked for first: most headers are shorter."""
WHAT = {
    "adapter": "is an adapter",
    "pickle": "has its weights as pickle",
    "wrapped": "was saved from within a wrapper",
}
"""What a checkpoint is of which no part can be read, by its format: a predicate."""


def open_in_part(
    spec: ModelSpec,
    store: Store,
    meter: Meter,
    tell: Callable[[int, int], None] | None = None,
    *,
    folder: Path | None = None,
    endpoint: str | None = None,
) -> Checkpoint:
    """Open a checkpoint of which parts are read.

    Parameters
    ----------
    spec : ModelSpec
        Of a repository or a URL; or any, of the ``folder`` of a plain checkpoint.
    store : Store
        Keeps what is brought.
    meter : Meter
        Counts what is moved.
    tell : callable, optional
        Told of bytes that are brought, as `RangedFiles` does.
    folder : pathlib.Path, optional
        Where the files are, if they are on this machine.
    endpoint : str, optional
        The hub's address, as `provenance.checkpoints.hub.fetch` takes it.

    Raises
    ------
    SourceError
        The files cannot be had in part, or cannot be trusted; the budget is too small.
    """
    if folder is not None:
        found = detect_format(folder, allow_pickle=spec.allow_pickle)
        origin: Origin = LocalFiles(found.folder, [file.name for file in found.files])
        files, place = RangedFiles(origin, store, meter, tell), folder
    else:
        origin = _origin_of(spec, endpoint)
        if isinstance(origin, HubFiles):
            spec = replace(spec, revision=origin.commit)
        files = RangedFiles(origin, store, meter, tell)
        small, files.weights = _chosen(origin)
        place = _placed(files, store, small)
    if len(files.weights) == 1 and is_gguf(files.weights[0]):
        return open_part(_gguf_contents(files, store), spec, files, store.sha256)
    headers = _headers(files, place)
    contents = inspect(
        place, allow_pickle=spec.allow_pickle, headers=lambda file: headers[file.name]()
    )
    return open_part(_require_rows(contents, spec.source), spec, files, store.sha256)


def _origin_of(spec: ModelSpec, endpoint: str | None) -> Origin:
    if spec.repo is not None:
        return HubFiles(spec, endpoint)
    url = spec.url or ""
    check_url(url, BACKENDS, "is of no kind that is read", SourceError)
    return WebFiles(url) if url.startswith(("http://", "https://")) else ObjectFiles(url)


def _require_rows(contents: Contents, source: str) -> Contents:
    if contents.format in WHAT:
        raise SourceError(
            f"{source} {WHAT[contents.format]}, and parts are read of a model's own safetensors and of "
            "GGUF alone: compare without --sample"
        )
    return contents


def _chosen(origin: Origin) -> tuple[list[str], tuple[str, ...]]:
    """The names of small files, which are brought whole, and of files of weights."""
    names = sorted(origin.files)
    patterns = wanted(names, allow_pickle=False, trust_remote_code=False)
    if patterns is None:
        raise SourceError(f"{origin.source} {no_weights(names)}")
    chosen = [name for name in names if is_chosen(name, patterns, unwanted(patterns))]
    weights = [name for name in chosen if name.endswith(".safetensors") or is_gguf(name)]
    if SINGLE in weights:
        weights = [SINGLE]
    small = [
        name
        for name in chosen
        if name not in weights and name.endswith((".json", ".txt", ".model"))
    ]
    for name in small:
        size = origin.files[name].size
        if size > INDEX_LIMIT:
            raise SourceError(
                f"{origin.source}: {name} is {size:,} bytes; more than {INDEX_LIMIT:,} is refused"
            )
    return [name for name in small if name != INDEX or SINGLE not in weights], tuple(weights)


def _placed(files: RangedFiles, store: Store, small: list[str]) -> Path:
    """A folder with the small files, and with an empty file in the place of each of the weights."""
    known = {name: files.origin.files[name] for name in (*small, *files.weights)}
    fields: dict[str, JSON] = {
        "part of": files.origin.identity,
        "files": [[one.name, one.size, one.state] for one in known.values()],
    }

    def make(folder: Path) -> None:
        files.fetch(Span(name, 0, known[name].size) for name in small)
        for name in small:
            (folder / name).write_bytes(files.whole(name))
        for name in files.weights:
            (folder / name).touch()

    return store.get_or_create("checkpoint", fields, make, here=True).path


def _gguf_contents(files: RangedFiles, store: Store) -> Contents:
    """What the header of a GGUF file says, in a folder with its vocabulary alone."""
    (name,) = files.weights
    file = files.origin.files[name]
    fields: dict[str, JSON] = {
        "vocabulary of": files.origin.identity,
        "file": [file.name, file.size, file.state],
    }

    def header(folder: Path) -> GgufHeader:
        return gguf_header(
            lambda start, stop: files.read(Span(name, start, stop)),
            file.size,
            folder / name,
            f"{files.origin.source}: {name}",
        )

    def make(folder: Path) -> None:
        tokenizer = header(folder).tokenizer()
        (folder / name).touch()
        if tokenizer is not None:
            (folder / TOKENIZER).write_text(json.dumps(tokenizer))

    folder = store.get_or_create("checkpoint", fields, make, here=True).path
    found = header(folder)
    tensors = {tensor.name: tensor for tensor in sorted(found.tensors, key=lambda one: one.name)}
    return Contents("gguf", folder, (folder / name,), config=found.config(), tensors=tensors)


def _headers(
    files: RangedFiles, folder: Path
) -> Mapping[str, Callable[[], tuple[StoredTensor, ...]]]:
    """What reads the header of each file of weights; their beginnings are brought side by side."""
    sizes = {name: files.origin.files[name].size for name in files.weights}
    files.fetch(Span(name, 0, min(size, BEGINNING)) for name, size in sizes.items())

    def reading(name: str) -> Callable[[], tuple[StoredTensor, ...]]:
        def read() -> tuple[StoredTensor, ...]:
            label = f"{files.origin.source}: {name}"
            return parsed_header(
                lambda start, stop: files.read(Span(name, start, stop)),
                sizes[name],
                folder / name,
                label,
            )[0]

        return read

    return {name: reading(name) for name in files.weights}
