"""What reads bytes of strangers, each as a function that may raise our own errors and nothing else."""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
from hashlib import sha256
from pathlib import Path

from provenance import Evidence, Results
from provenance._cards import read_card
from provenance._entries import file_sha256
from provenance.audit import load_registry
from provenance.errors import ProvenanceError
from provenance.gate.lock import load as load_lock
from provenance.sources import open_folder
from provenance.store import Store
from provenance.suite import loads
from provenance.vocabulary import ModelSpec

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


def scratch() -> Path:
    """A folder of this process, emptied."""
    folder = Path(tempfile.gettempdir()) / f"provenance-fuzz-{id(scratch)}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def suite(data: bytes) -> None:
    loads(data.decode("utf-8", "replace"), Path("fuzz.suite.yaml"))


def evidence(data: bytes) -> None:
    Evidence.from_json(data)


def results(data: bytes) -> None:
    Results.from_json(data)


def lock(data: bytes) -> None:
    load_lock(data)


def registry(data: bytes) -> None:
    path = scratch() / "registry.yaml"
    path.write_bytes(data)
    load_registry(path)


def card(data: bytes) -> None:
    folder = scratch()
    (folder / "README.md").write_bytes(data)
    read_card(ModelSpec(path=str(folder)))


def adapter(data: bytes) -> None:
    folder = scratch()
    (folder / "adapter_config.json").write_bytes(data)
    read_card(ModelSpec(path=str(folder)))


def weights(data: bytes) -> None:
    """A safetensors file beside a good configuration."""
    folder = scratch()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors").write_bytes(data)
    open_folder(folder, ModelSpec(path=str(folder)), file_sha256)


def configuration(data: bytes) -> None:
    """A configuration beside good weights."""
    folder = scratch()
    (folder / "config.json").write_bytes(data)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    open_folder(folder, ModelSpec(path=str(folder)), file_sha256)


def index(data: bytes) -> None:
    """An index of shards beside the shard that a good one names."""
    folder = scratch()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors.index.json").write_bytes(data)
    (folder / "one.safetensors").write_bytes(WEIGHTS)
    open_folder(folder, ModelSpec(path=str(folder)), file_sha256)


def entry(data: bytes) -> None:
    """A manifest of the store: whatever it says, what is read is what was written."""
    store = Store(scratch())
    made = store.get_or_create("evidence", {"key": 1}, lambda f: _write(f / "a", b"true"))
    (made.path / "manifest.json").write_bytes(data)
    found = store.get_or_create("evidence", {"key": 1}, lambda f: _write(f / "a", b"true"))
    assert found.read_text("a") == "true"


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 8,
}


def safetensors(tensors: dict[str, tuple[int, ...]]) -> bytes:
    """A file of zeros in float32."""
    header, at = {}, 0
    for name, shape in tensors.items():
        size = 4
        for side in shape:
            size *= side
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


WEIGHTS = safetensors({"model.layers.0.mlp.up_proj.weight": (8, 4), "lm_head.weight": (8, 4)})


def _kept(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((HERE / "seeds").glob(f"{name}.*"))]


SEEDS = {
    "suite": [path.read_bytes() for path in sorted((ROOT / "suites").glob("[dfq]*.suite.yaml"))],
    "evidence": _kept("evidence"),
    "results": _kept("results"),
    "lock": _kept("lock"),
    "registry": [
        (b"version: 1\nmodels: {a: {recipe: r}, b: {path: ./x}, c: {recipe: r}}\n"
        b"ignore: [{pair: [a, b], reason: x}]\n")
    ],
    "card": [b"---\nbase_model: [acme/base, acme/other]\nbase_model_relation: merge\n---\n# x\n"],
    "adapter": [b'{"base_model_name_or_path": "acme/base", "r": 8}'],
    "weights": [WEIGHTS],
    "configuration": [json.dumps(CONFIG).encode()],
    "index": [
        json.dumps(
            {
                "metadata": {"total_size": 256},
                "weight_map": {
                    "model.layers.0.mlp.up_proj.weight": "one.safetensors",
                    "lm_head.weight": "one.safetensors",
                },
            }
        ).encode()
    ],
    "entry": [
        json.dumps(
            {
                "created": "x",
                "fields": {"key": 1},
                "files": {"a": {"sha256": sha256(b"true").hexdigest(), "size": 4}},
                "kind": "evidence",
                "schema": 1,
            }
        ).encode()
    ],
}  # fmt: skip

TARGETS = {
    function.__name__: function
    for function in (
        suite,
        evidence,
        results,
        lock,
        registry,
        card,
        adapter,
        weights,
        configuration,
        index,
        entry,
    )
}


def attempt(name: str, data: bytes) -> bool:
    """Give a target these bytes; whether it took them. Anything but our own errors goes on."""
    try:
        TARGETS[name](data)
    except ProvenanceError as error:
        return not str(error)  # an error says what is wrong
    return True
