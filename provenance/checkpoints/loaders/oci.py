"""Models in OCI registries: ``oci://registry/repository:tag``, the layers of ModelPack, KitOps and ORAS.

A layer is a file, named by an annotation, or a tar of files, plain or packed with gzip or zstd. Data
sets, documents and code that is not trusted are left where they are.

https://github.com/modelpack/model-spec/blob/main/docs/spec.md
https://kitops.org/docs/modelkit/spec/
"""

from __future__ import annotations

import io
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from provenance.checkpoints.fingerprint_file import DIGEST
from provenance.checkpoints.loaders.copying import told, written
from provenance.checkpoints.loaders.names import checkpoint_in, needed, place_of
from provenance.checkpoints.loaders.oci_registry import Registry
from provenance.checkpoints.loaders.unpack import unpack, zstd
from provenance.checkpoints.remote import RemoteFiles
from provenance.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from provenance.vocabulary import ModelSpec

TAG = "latest"
LAYER_LIMIT = 10_000
NAMES = ("org.cncf.model.filepath", "org.opencontainers.image.title")
"""Annotations that name the file of a layer."""
LEFT = re.compile(r"\.(dataset|docs?)(\.|$)|\+json$")
"""Types of layers that hold no weights, and nothing that belongs to them."""
CODE = re.compile(r"\.code(\.|$)")
OLLAMA = "application/vnd.ollama.image.model"

_ADDRESS = re.compile(
    r"oci://(?P<host>[A-Za-z0-9.-]+(?::\d{1,5})?)/"
    r"(?P<name>[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<pin>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Layer:
    """A layer of weights, or of what belongs to them; ``path`` is its file's, where it is one."""

    kind: str
    digest: str
    size: int
    path: PurePosixPath | None

    @property
    def packed(self) -> bool:
        """Whether it is a tar."""
        return ".tar" in self.kind or self.kind.endswith(("+gzip", "+zstd"))


class OCILoader:
    """Satisfies `provenance.checkpoints.loaders.Loader`."""

    def look_up(self, spec: ModelSpec) -> RemoteFiles:
        """Read the manifest, and choose the layers that are needed; see `Loader`."""
        address = spec.url or ""
        registry, reference = _opened(address)
        manifest, digest = _one(registry, reference, address)
        layers = _layers(manifest, address)
        if not spec.trust_remote_code:
            layers = [layer for layer in layers if not CODE.search(layer.kind)]
        layers = _chosen(layers, spec, address)
        pinned = f"oci://{registry.host}/{registry.repository}@{digest}"
        files = tuple((_name(layer), layer.kind) for layer in layers)
        states = tuple((_name(layer), layer.size, layer.digest) for layer in layers)
        return RemoteFiles(address, files, states, pinned)

    def download(
        self,
        remote: RemoteFiles,
        folder: Path,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Bring the layers, unpack them, and keep the folder that holds the weights; see `Loader`."""
        registry, _ = _opened(remote.pinned or remote.url)
        staging = Path(tempfile.mkdtemp(dir=folder))
        done = 0
        kinds = dict(remote.files)
        try:
            with written(f"{remote.url}: what its layers hold"):
                for name, size, digest in remote.states:
                    layer = Layer(kinds[name], digest, size, None)
                    brought = staging / "layer"
                    registry.bring(digest, size, brought)
                    if layer.packed:
                        unpack(brought, staging / "files", f"{remote.url}: {name}")
                    else:
                        place = staging / "files" / name
                        place.parent.mkdir(parents=True, exist_ok=True)
                        brought.replace(place)
                    done += size
                    told(progress, done, remote.size)
                for file in checkpoint_in(staging / "files", remote.url):
                    file.replace(folder / file.name)
        finally:
            shutil.rmtree(staging)


LOADER = OCILoader()


def _opened(address: str) -> tuple[Registry, str]:
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise SourceError(
            "an address of a registry is oci://HOST/REPOSITORY:TAG or @sha256:DIGEST, without user and "
            "password, which docker login keeps"
        )
    return Registry(found["host"], found["name"]), found["pin"] or found["tag"] or TAG


def _one(registry: Registry, reference: str, address: str) -> tuple[dict[str, Any], str]:
    """The manifest that is meant; of an index the only one that it lists."""
    manifest, digest = registry.manifest(reference)
    listed = manifest.get("manifests")
    if listed is None:
        return manifest, digest
    digests = [one.get("digest") for one in listed if isinstance(one, dict)] if listed else []
    if len(digests) != 1 or not DIGEST.fullmatch(str(digests[0])):
        raise SourceError(
            f"{address} is an index of {len(digests)} manifests: name one of them by its @sha256:DIGEST"
        )
    return registry.manifest(str(digests[0]))


def _layers(manifest: dict[str, Any], address: str) -> list[Layer]:
    """The layers of a manifest that may hold weights, or what belongs to them."""
    listed = manifest.get("layers")
    if not isinstance(listed, list) or not 0 < len(listed) <= LAYER_LIMIT:
        raise SourceError(f"{address} has no layers; is it a model?")
    found = []
    for layer in listed:
        fields = layer if isinstance(layer, dict) else {}
        kind, digest, size = (fields.get(key) for key in ("mediaType", "digest", "size"))
        sound = isinstance(kind, str) and isinstance(digest, str) and DIGEST.fullmatch(digest)
        if not sound or type(size) is not int or size < 0:
            raise SourceError(f"{address}: a layer has no type, SHA-256 and size: it is damaged")
        if not LEFT.search(str(kind)):
            found.append(Layer(str(kind), str(digest), size, _path(fields, str(kind), address)))
    return found


def _path(fields: dict[str, Any], kind: str, address: str) -> PurePosixPath | None:
    annotations = fields.get("annotations")
    named = annotations if isinstance(annotations, dict) else {}
    name = next((named[key] for key in NAMES if isinstance(named.get(key), str)), None)
    if kind == OLLAMA:
        name = "model.gguf"
    return None if name is None else place_of(name, address)


def _chosen(layers: Sequence[Layer], spec: ModelSpec, address: str) -> list[Layer]:
    """The layers that a checkpoint needs: by the names of their files, or all where a tar may hold any."""
    if any(layer.kind.endswith("zstd") for layer in layers):
        zstd(io.BytesIO(), address)  # what is needed for it is asked for before anything is brought
    if any(layer.path is None and layer.packed for layer in layers):
        return [layer for layer in layers if layer.packed or layer.path is not None]
    folders = dict.fromkeys(
        layer.path.parent for layer in _by_depth(layers) if layer.path is not None
    )
    refused: SourceError | None = None
    for folder in folders:
        inside = {
            layer.path.name: layer
            for layer in layers
            if layer.path is not None and layer.path.parent == folder
        }
        try:
            return [inside[name] for name in needed(inside, spec, address)]
        except SourceError as error:
            refused = refused or error
    raise refused or SourceError(f"{address} has no layer whose file has a name; is it a model?")


def _by_depth(layers: Sequence[Layer]) -> list[Layer]:
    return sorted(layers, key=lambda layer: len(layer.path.parts) if layer.path else 0)


def _name(layer: Layer) -> str:
    return layer.digest if layer.path is None else str(layer.path)
