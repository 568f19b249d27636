"""From what a person typed for a model to verified local files and their digests.

::

    text --parse--> ModelSpec --fetch--> folder --inspect--> Contents --open_checkpoint--> Checkpoint

None of this needs torch or transformers: `provenance.loading.model` takes a `Checkpoint` from here on.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance._text import expanded
from provenance.checkpoints.coded.methods import coded_weights
from provenance.checkpoints.coded.weights import as_weights
from provenance.checkpoints.contents import (
    BLOCK_KEYS,
    has_code,
    quantization_settings,
    setting,
)
from provenance.checkpoints.fingerprint_file import is_bundle
from provenance.checkpoints.folder import (
    ADAPTER_CONFIG,
    CONFIG,
    contained,
    listing,
    read_object,
    tokenizer_files,
)
from provenance.checkpoints.formats import Contents, no_weights
from provenance.checkpoints.hub import cached_snapshot, fetch
from provenance.checkpoints.parse import parse
from provenance.checkpoints.safetensors_header import hash_tensors
from provenance.checkpoints.token_fingerprint_file import read_bundle
from provenance.errors import BundleError, SourceError
from provenance.vocabulary import BLOCK_LIMIT, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from provenance.checkpoints.coded.weights import CodedWeight
    from provenance.checkpoints.ranged.reader import RangedFiles
    from provenance.checkpoints.safetensors_header import StoredTensor
    from provenance.checkpoints.token_fingerprint_file import Bundle

__all__ = [
    "Checkpoint",
    "base_of",
    "fetch",
    "lasting_digest",
    "open_checkpoint",
    "open_part",
    "parse",
    "peek_blocks",
    "said_of",
    "tokenizer_digest",
]

# Keys that a save or a download writes without changing the model.
VOLATILE = frozenset({"transformers_version", "_name_or_path", "_commit_hash"})

POSITION_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len")


@dataclass(frozen=True)
class Checkpoint:
    """A folder of verified files, and what is known of the model without loading it.

    Attributes
    ----------
    spec : ModelSpec
        What was asked for.
    source : str
        The spec as one word; for a hub repository with its commit.
    folder : Path
        Where the files are.
    digest : str
        ``sha256:`` over the configuration, without its volatile keys, the weights, the code that is
        trusted, and what the spec says of the layout.
    weights_digest : str
        ``sha256:`` over the weights alone: the names, types, shapes and bytes of all tensors, in
        whatever files they lie.
    tokenizer_digest : str or None
        ``sha256:`` over the tokenizer's files; None where there are none.
    config : Mapping
        The configuration as `config.json` has it.
    parameters : int
        The number of elements of all tensors. A quantized format that packs several weights into one
        element has fewer than the model.
    tensors : Mapping
        The header of each tensor, by name.
    conversion : str or None
        What the checkpoint was converted from, if it was.
    pickle : bool
        Whether it was converted from a pickle.
    remote_code : bool
        Whether code of the checkpoint is run when it is loaded.
    bundle : Fingerprint or TokenFingerprint or None
        The fingerprint, if this is a bundle and no checkpoint. Then ``folder`` is the file, both digests
        are of its bytes, and there are no weights.
    hashes : Mapping
        The SHA-256 of each tensor's bytes, by name.
    ranged : RangedFiles or None
        What reads the files of weights, of a checkpoint that is opened in part. Then these are not in
        ``folder``, nothing of them was hashed, and both digests are of what they are known by: the headers,
        and the SHA-256 that the hub says of each whole file, else its place, size and state.
    coded : Mapping
        Of a quantized checkpoint that is opened in part, the weights that are stored as codes, by name. In
        ``tensors`` they have the shape of the weight.
    """

    spec: ModelSpec
    source: str
    folder: Path
    digest: str
    weights_digest: str
    tokenizer_digest: str | None
    config: Mapping[str, Any] = field(repr=False, hash=False)
    parameters: int
    tensors: Mapping[str, StoredTensor] = field(default_factory=dict, repr=False, hash=False)
    conversion: str | None = None
    pickle: bool = False
    remote_code: bool = False
    bundle: Bundle | None = field(default=None, hash=False)
    hashes: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    ranged: RangedFiles | None = field(default=None, repr=False, hash=False)
    coded: Mapping[str, CodedWeight] = field(default_factory=dict, repr=False, hash=False)

    @property
    def model_type(self) -> str:
        """The family, as transformers names it: ``llama``."""
        return str(self.config["model_type"])

    @property
    def architecture(self) -> str:
        """The class that saved the checkpoint, else its family."""
        names = self.config.get("architectures")
        if isinstance(names, list) and names and isinstance(names[0], str):
            return names[0]
        return self.model_type

    @property
    def blocks(self) -> int | None:
        """The number of transformer blocks, if the configuration says it."""
        return setting(self.config, BLOCK_KEYS)

    @property
    def vocabulary(self) -> int | None:
        """The number of token ids, if the configuration says it."""
        return setting(self.config, ("vocab_size",))

    @property
    def positions(self) -> int | None:
        """The longest sequence in tokens, if the configuration says it."""
        return setting(self.config, POSITION_KEYS)


def open_checkpoint(
    contents: Contents,
    spec: ModelSpec,
    sha256: Callable[[Path], str],
    tensor_hashes: Callable[[Path], Mapping[str, str]] = hash_tensors,
) -> Checkpoint:
    """Digest a plain or quantized checkpoint that was inspected.

    Parameters
    ----------
    contents : Contents
        What `inspect` returned.
    spec : ModelSpec
        The model that was asked for; for a hub repository with the commit from `fetch` as revision.
    sha256 : callable
        Hashes a file; the caller memoises it.
    tensor_hashes : callable
        Hashes each tensor of a safetensors file; the caller memoises it.

    Raises
    ------
    SourceError
        The contents have another format, a file cannot be read, or the code that `spec` trusts is not
        in the folder.
    """
    folder, config, tensors = contents.folder, dict(contents.config), contents.tensors
    if contents.format not in {"plain", "quantized"}:
        raise SourceError(f"{folder} {no_weights(listing(folder))}")
    code = _code(folder, config, sha256) if spec.trust_remote_code else {}
    hashes = _hashes_of_tensors(tensors, tensor_hashes)
    weights = _weights_digest(tensors, hashes)
    return Checkpoint(
        spec=spec,
        source=spec.source,
        folder=folder,
        digest=_model_digest(config, weights, code, said_of(spec)),
        weights_digest=weights,
        tokenizer_digest=tokenizer_digest(folder, sha256),
        config=config,
        parameters=sum(tensor.elements for tensor in tensors.values()),
        tensors=tensors,
        remote_code=bool(code),
        hashes=hashes,
    )


def open_part(
    contents: Contents, spec: ModelSpec, ranged: RangedFiles, sha256: Callable[[Path], str]
) -> Checkpoint:
    """Open a checkpoint that was inspected, plain, GGUF or quantized, without reading a weight.

    Parameters
    ----------
    contents, spec, sha256
        As in `open_checkpoint`.
    ranged : RangedFiles
        Reads the files that the contents name, by their names.

    Raises
    ------
    SourceError
        It is quantized so that no rows can be read alone.
    """
    config = dict(contents.config)
    coded: Mapping[str, CodedWeight] = {}
    if contents.format == "quantized":
        coded = coded_weights(contents.tensors, quantization_settings(config), spec.source)
    tensors = as_weights(contents.tensors, coded)
    weights = _digest({"tensors": _places(contents), "files": _known_by(contents, ranged)})
    return Checkpoint(
        spec=spec,
        source=spec.source,
        folder=contents.folder,
        digest=_model_digest(config, weights, {}, said_of(spec)),
        weights_digest=weights,
        tokenizer_digest=tokenizer_digest(contents.folder, sha256),
        config=config,
        parameters=sum(tensor.elements for tensor in tensors.values()),
        tensors=tensors,
        conversion=_in_part(contents),
        ranged=ranged,
        coded=coded,
    )


def _in_part(contents: Contents) -> str | None:
    """What is made of the rows that are read."""
    what = contents.files[0].name if contents.format == "gguf" else contents.method
    return None if what is None else f"{what} dequantized, as far as it was read"


def _places(contents: Contents) -> dict[str, list[Any]]:
    return {
        name: [tensor.dtype, list(tensor.shape), tensor.file.name, tensor.start, tensor.stop]
        for name, tensor in contents.tensors.items()
    }


def _known_by(contents: Contents, ranged: RangedFiles) -> dict[str, Any]:
    """What says which bytes each file of weights has."""
    files = [ranged.origin.files[file.name] for file in contents.files]
    return {
        file.name: file.sha256 or [ranged.origin.identity, file.state, file.size] for file in files
    }


def tokenizer_digest(folder: Path, sha256: Callable[[Path], str]) -> str | None:
    """Digest the tokenizer's files in a folder; None where there are none."""
    files = {name: contained(folder, name) for name in tokenizer_files(folder)}
    return _digest(_hashes(files, sha256)) if files else None


def lasting_digest(config: Mapping[str, Any]) -> str:
    """Digest a configuration without the keys that a save or a download writes."""
    return _digest(_lasting(dict(config)))


def base_of(adapter: Contents, spec: ModelSpec, recipes: Collection[str]) -> ModelSpec:
    """Find the model that an adapter belongs on: the base of its spec, else of its configuration.

    A stranger wrote the configuration, so that it may name a folder or a repository, and nothing else.

    Raises
    ------
    SourceError
        Neither names a model.
    """
    if isinstance(spec.base, ModelSpec):
        return spec.base
    if spec.base is not None:
        return parse(spec.base, recipes)
    file = adapter.folder / ADAPTER_CONFIG
    name, revision = adapter.config.get("base_model_name_or_path"), adapter.config.get("revision")
    if not isinstance(name, str) or not name:
        raise SourceError(f"{file} names no base")
    beside = adapter.folder / name
    if os.path.isdir(beside) and not os.path.isdir(name):  # noqa: PTH112  never raises
        return ModelSpec(path=str(beside))
    base = parse(name, typed=False)
    if base.path is None and base.repo is None:
        raise SourceError(f"{file} names {name!r}, which is no folder or repository")
    return replace(base, revision=revision) if base.repo and isinstance(revision, str) else base


def _hashes(files: Mapping[str, Path], sha256: Callable[[Path], str]) -> dict[str, str]:
    try:
        return {name: sha256(file) for name, file in sorted(files.items())}
    except OSError as error:
        raise SourceError(f"{error.filename} cannot be read: {error.strerror or error}") from error


def _hashes_of_tensors(
    tensors: Mapping[str, StoredTensor], hashes: Callable[[Path], Mapping[str, str]]
) -> dict[str, str]:
    hashed = {file: hashes(file) for file in sorted({one.file for one in tensors.values()})}
    return {name: hashed[tensor.file][name] for name, tensor in tensors.items()}


def _weights_digest(tensors: Mapping[str, StoredTensor], hashes: Mapping[str, str]) -> str:
    return _digest(
        {name: [tensor.dtype, list(tensor.shape), hashes[name]] for name, tensor in tensors.items()}
    )


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lasting(item) for key, item in value.items() if key not in VOLATILE}
    return [_lasting(item) for item in value] if isinstance(value, list) else value


def _code(folder: Path, config: dict[str, Any], sha256: Callable[[Path], str]) -> dict[str, str]:
    """Hash the code that a checkpoint brings; empty if it needs none."""
    if not has_code(folder, config):
        return {}
    names = [name for name in listing(folder) if name.endswith(".py")]
    return _hashes({name: contained(folder, name) for name in names}, sha256)


def said_of(spec: ModelSpec) -> dict[str, Any]:
    """What a person said of a model's tensors, as JSON; empty where nothing was."""
    if spec.layout is None:
        return {}
    return {key: value for key, value in asdict(spec.layout).items() if key != "where"}


def _model_digest(
    config: dict[str, Any], weights: str, code: dict[str, str], said: dict[str, Any]
) -> str:
    try:
        parts = {"config": _lasting(config), "weights": weights}
        more = {"code": code, "layout": said}
        return _digest(parts | {key: part for key, part in more.items() if part})
    except RecursionError as error:
        raise SourceError(f"the {CONFIG} is nested too deeply to be a configuration") from error


def _digest(value: Any) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(canonical.encode("ascii")).hexdigest()


def peek_blocks(spec: ModelSpec) -> int | None:
    """Find the number of blocks of a model without torch and without a network.

    It comes from the spec, a local folder, or a repository in the local hub cache; else it is None.
    Nothing is raised: a faulty model is reported when it is used.
    """
    if spec.blocks is not None:
        return spec.blocks
    folder = None if spec.path is None else Path(expanded(spec.path))
    if spec.repo is not None:
        folder = cached_snapshot(spec)
    if isinstance(spec.base, ModelSpec):
        return peek_blocks(spec.base)
    if folder is None:
        return None
    try:
        if is_bundle(folder):
            return read_bundle(folder).blocks
        blocks = setting(read_object(folder / CONFIG), BLOCK_KEYS)
    except (BundleError, SourceError, OSError, ValueError):
        return None
    return blocks if blocks is None or blocks <= BLOCK_LIMIT else None
