"""Models of Ollama's local store: ``ollama:llama3.2:1b``. Nothing is run, and no server is asked.

Below ``$OLLAMA_MODELS``, else ``~/.ollama/models``, a manifest names the layers of a model by their
SHA-256, and each layer is a file, ``blobs/sha256-...``. The one that is a GGUF file is copied, and its
SHA-256 compared.

https://github.com/ollama/ollama/blob/main/docs/import.md
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance._text import expanded, without_home
from provenance.checkpoints.loaders.copying import copied, pieces_of, written
from provenance.checkpoints.loaders.web import parsed
from provenance.checkpoints.remote import RemoteFiles
from provenance.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from provenance.vocabulary import ModelSpec

REGISTRY, NAMESPACE, TAG = "registry.ollama.ai", "library", "latest"
"""What a name without them means."""
SERVICE = Path("/usr/share/ollama/.ollama/models")
"""Where Ollama keeps models on Linux when it runs as a service."""
MANIFEST_LIMIT = 1 << 20
MODEL = "application/vnd.ollama.image.model"
ADAPTER = "application/vnd.ollama.image.adapter"
FILE = "model.gguf"

_ADDRESS = re.compile(
    r"ollama:(?P<name>(?:[\w.-]+(?::\d+)?/)?(?:[\w.-]+/)?[\w.-]+)"
    r"(?::(?P<tag>[\w.-]+))?(?:@sha256:(?P<pin>[0-9a-f]{64}))?",
    re.ASCII,
)
_DIGEST = re.compile(r"sha256:(?P<hex>[0-9a-f]{64})")


class OllamaLoader:
    """Satisfies `provenance.checkpoints.loaders.Loader`."""

    def look_up(self, spec: ModelSpec) -> RemoteFiles:
        """Find the GGUF layer of a model; see `Loader`."""
        address = spec.url or ""
        name = _Name.of(address)
        root = _root(name)
        manifest = root / "manifests" / name.path
        layers = _layers(manifest, address)
        if any(layer.get("mediaType") == ADAPTER for layer in layers):
            raise SourceError(f"{address} is a model with an adapter; give the two by themselves")
        models = [layer for layer in layers if layer.get("mediaType") == MODEL]
        if len(models) != 1:
            raise SourceError(
                f"{address} has {len(models)} layers of weights in GGUF, and one is read; pull another"
            )
        digest, size = _DIGEST.fullmatch(str(models[0].get("digest"))), models[0].get("size")
        if digest is None or type(size) is not int or size <= 0:
            raise SourceError(f"{without_home(str(manifest))} is damaged; pull {address} again")
        if name.pin not in {None, digest["hex"]}:
            raise SourceError(
                f"{address} is another model by now: its weights have {digest[0]}; pull that one again"
            )
        pinned = f"ollama:{name.shown}@{digest[0]}"
        place = str(root / "blobs" / f"sha256-{digest['hex']}")
        return RemoteFiles(address, ((FILE, place),), ((FILE, size, digest["hex"]),), pinned)

    def download(
        self,
        remote: RemoteFiles,
        folder: Path,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Copy the layer, and compare its SHA-256; see `Loader`."""
        ((name, place),), ((_, size, sha256),) = remote.files, remote.states
        with written(without_home(place)), Path(place).open("rb") as source:
            done, found = copied(pieces_of(source), folder / name, size, progress)
        if (done, found) != (size, sha256):
            raise SourceError(f"{without_home(place)} is damaged; pull {remote.url} again")


LOADER = OllamaLoader()


@dataclass(frozen=True)
class _Name:
    """A model's name, taken apart."""

    registry: str
    namespace: str
    model: str
    tag: str
    pin: str | None

    @classmethod
    def of(cls, address: str) -> _Name:
        found = _ADDRESS.fullmatch(address)
        parts: list[str] = [] if found is None else found["name"].split("/")
        tag: str = TAG if found is None else found["tag"] or TAG
        if found is None or not all(part.strip(".") for part in (*parts, tag)):
            raise SourceError(f"{address} names no model of Ollama; write ollama:NAME:TAG")
        usual = (REGISTRY, NAMESPACE)[: 3 - len(parts)]
        registry, namespace, model = (*usual, *parts)
        return cls(registry, namespace, model, tag, found["pin"])

    @property
    def path(self) -> str:
        return f"{self.registry}/{self.namespace}/{self.model}/{self.tag}"

    @property
    def shown(self) -> str:
        """The name as short as Ollama writes it."""
        full = f"{self.registry}/{self.namespace}/{self.model}"
        short = full.removeprefix(f"{REGISTRY}/").removeprefix(f"{NAMESPACE}/")
        return f"{short}:{self.tag}"


def _root(name: _Name) -> Path:
    """The store that has the model, of the places where Ollama keeps one."""
    chosen = os.environ.get("OLLAMA_MODELS")
    places = [Path(expanded(chosen))] if chosen else [Path(expanded("~/.ollama/models")), SERVICE]
    for place in places:
        if (place / "manifests" / name.path).is_file():
            return place
    looked = " or ".join(without_home(str(place)) for place in places)
    raise SourceError(
        f"Ollama has no {name.shown} in {looked}; pull it, or set OLLAMA_MODELS to its folder"
    )


def _layers(manifest: Path, address: str) -> list[dict[str, Any]]:
    label = without_home(str(manifest))
    with written(label):
        if manifest.stat().st_size > MANIFEST_LIMIT:
            raise SourceError(f"{label} is larger than a manifest is")
        said = parsed(manifest.read_bytes(), label)
    layers = said.get("layers")
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise SourceError(f"{label} names no layers; pull {address} again")
    return layers
