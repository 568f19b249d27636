"""checkpoints/loaders/ollama.py: the layout of Ollama's store, and what may be wrong with it."""

import hashlib
import json

import pytest

from fixtures.models import tiny_llama
from fixtures.transforms.gguf_files import write_gguf
from provenance.checkpoints.loaders.ollama import ADAPTER, LOADER, MODEL
from provenance.errors import SourceError
from provenance.vocabulary import ModelSpec

PROJECTOR = "application/vnd.ollama.image.projector"


@pytest.fixture
def ollama(tmp_path, monkeypatch):
    """Put a model into a store: its layers by their types, as bytes."""
    root = tmp_path / "models"
    monkeypatch.setenv("OLLAMA_MODELS", str(root))

    def ollama(name="library/tiny/latest", registry="registry.ollama.ai", said=None, **layers):
        listed = []
        for kind, data in layers.items():
            digest = hashlib.sha256(data).hexdigest()
            (root / "blobs").mkdir(parents=True, exist_ok=True)
            (root / "blobs" / f"sha256-{digest}").write_bytes(data)
            media = f"application/vnd.ollama.image.{kind.rstrip('2')}"
            listed.append({"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)})
        manifest = root / "manifests" / registry / name
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text(json.dumps({"schemaVersion": 2, "layers": listed} | (said or {})))
        return root

    return ollama


def digest_of(data):
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("address", "name", "registry"),
    [
        ("ollama:tiny", "library/tiny/latest", "registry.ollama.ai"),
        ("ollama:tiny:1b", "library/tiny/1b", "registry.ollama.ai"),
        ("ollama:me/tiny:1b", "me/tiny/1b", "registry.ollama.ai"),
        ("ollama:hf.co/org/tiny:Q4_K_M", "org/tiny/Q4_K_M", "hf.co"),
        ("ollama:localhost:5000/org/tiny", "org/tiny/latest", "localhost:5000"),
    ],
)
def test_a_name_means_what_it_means_to_ollama(ollama, tmp_path, address, name, registry):
    ollama(name, registry, model=b"weights", license=b"x", projector=b"y")
    found = LOADER.look_up(ModelSpec(url=address))
    assert found.states == (("model.gguf", 7, digest_of(b"weights")),)
    assert LOADER.look_up(ModelSpec(url=found.pinned)).states == found.states
    (tmp_path / "to").mkdir()
    LOADER.download(found, tmp_path / "to")
    assert (tmp_path / "to" / "model.gguf").read_bytes() == b"weights"


@pytest.mark.slow
def test_its_weights_are_those_of_the_gguf_file(ollama, opened, executor, tmp_path):
    pytest.importorskip("gguf")
    file = write_gguf(tiny_llama(0), tmp_path / "tiny.gguf")
    ollama(model=file.read_bytes())
    found = opened("ollama:tiny")
    direct = executor.checkpoint(ModelSpec(path=str(file)))
    assert found.weights_digest == direct.weights_digest
    assert found.source == f"ollama:tiny:latest@sha256:{digest_of(file.read_bytes())}"
    assert found.conversion == "model.gguf dequantized"


@pytest.mark.parametrize(
    ("layers", "said", "message"),
    [
        ({"model": b"w", "adapter": b"a"}, {}, "is a model with an adapter"),
        ({"license": b"w"}, {}, "has 0 layers of weights in GGUF"),
        ({"model": b"w", "model2": b"v"}, {}, "has 2 layers of weights in GGUF"),
        ({}, {"layers": 3}, "names no layers; pull ollama:tiny again"),
        ({}, {"layers": [3]}, "names no layers"),
        (
            {},
            {"layers": [{"mediaType": MODEL, "digest": "sha256:../../x", "size": 1}]},
            "is damaged; pull ollama:tiny again",
        ),
        (
            {},
            {"layers": [{"mediaType": MODEL, "digest": "sha256:" + "a" * 64, "size": True}]},
            "is damaged",
        ),
        (
            {},
            {"layers": [{"mediaType": MODEL, "digest": "sha256:" + "a" * 64, "size": 9}]},
            f"blobs/sha256-{'a' * 64} cannot be read or written: No such file",
        ),
    ],
)
def test_a_manifest_that_names_no_weights_is_refused(ollama, refused, layers, said, message):
    ollama(said=said, **layers)
    refused("ollama:tiny", message)


@pytest.mark.parametrize("data", [b"other!!", b"cut", b"longer than before"])
def test_a_layer_that_was_changed_is_refused(ollama, refused, data):
    root = ollama(model=b"weights")
    (root / "blobs" / f"sha256-{digest_of(b'weights')}").write_bytes(data)
    refused("ollama:tiny", f"sha256-{digest_of(b'weights')} is damaged; pull ollama:tiny again")


def test_a_pin_holds_though_the_tag_moves(ollama, refused):
    ollama(model=b"weights")
    pinned = LOADER.look_up(ModelSpec(url="ollama:tiny")).pinned
    ollama(model=b"others")
    refused(pinned, "is another model by now: its weights have sha256:")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ollama:tiny:9b", r"Ollama has no tiny:9b in .*models; pull it, or set OLLAMA_MODELS"),
        ("ollama:../tiny", "names no model of Ollama; write ollama:NAME:TAG"),
        ("ollama:a/b/c/d", "names no model of Ollama"),
        ("ollama:tiny:..", "names no model of Ollama"),
    ],
)
def test_a_name_of_nothing_is_refused(ollama, refused, address, message):
    ollama(model=b"weights")
    refused(address, message)


def test_a_manifest_that_is_none_is_refused(ollama, refused):
    root = ollama(model=b"weights")
    manifest = root / "manifests" / "registry.ollama.ai" / "library" / "tiny" / "latest"
    manifest.write_text("[]")
    refused("ollama:tiny", "is no JSON object")
    manifest.write_bytes(b" " * (2 << 20))
    refused("ollama:tiny", "is larger than a manifest is")
    assert ADAPTER != PROJECTOR


def test_the_usual_place_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SourceError, match=r"in ~/\.ollama/models or /usr/share/ollama"):
        LOADER.look_up(ModelSpec(url="ollama:tiny"))
