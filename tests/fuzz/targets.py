"""What reads bytes of strangers, each as a function that may raise our own errors and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from base64 import b64decode, b64encode
from functools import cache
from pathlib import Path
from typing import Any

from provenance import Evidence, Executor, Results, compare
from provenance.attest import (
    check_envelope,
    make_statement,
    read_statement,
    recorded_subjects,
)
from provenance.audit import load_registry
from provenance.checkpoints.checkpoint import open_checkpoint
from provenance.checkpoints.contents import inspect
from provenance.conversions.pickled import unpickle
from provenance.errors import ProvenanceError, SuiteError
from provenance.evidence.families import lineage_graph
from provenance.evidence.family_formats import format_lineage
from provenance.evidence.read import read_results
from provenance.gate.lock import Lock, dump, pinned
from provenance.gate.lock import load as load_lock
from provenance.gate.markdown import summary
from provenance.gate.sarif import sarif
from provenance.gate.verify import read_stored
from provenance.gate.verify import verify as check_stored
from provenance.identification import references_of
from provenance.identification.library import INDEX, faults, read_library, strangers
from provenance.inputs.tokens import Reader, choose_again
from provenance.inputs.vocabulary import read_vocabulary
from provenance.loading.lazy_tensors import LazyTensors
from provenance.report import render_report
from provenance.store.files import file_sha256
from provenance.store.store import Store
from provenance.suite.model_cards import read_card
from provenance.suite.read import loads
from provenance.vocabulary import InputsSpec, ModelSpec
from tests.fuzz.mutate import mutate
from tests.fuzz.seeds import CONFIG, KINDS, SEEDS, WEIGHTS

# in memory where that can be had: most of a case would be the disk's
MEMORY = Path("/dev/shm")
HOME = str(MEMORY) if os.access(MEMORY, os.W_OK) else tempfile.gettempdir()


def scratch() -> Path:
    """A folder of this process, emptied."""
    folder = Path(HOME) / f"provenance-fuzz-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def suite(data: bytes) -> None:
    loads(data.decode("utf-8", "replace"), Path("fuzz.suite.yaml"))


def lineage(data: bytes) -> None:
    """A suite again, of one seed with trees, anchors and every key of a claim."""
    suite(data)


def evidence(data: bytes) -> None:
    Evidence.from_json(data)


def results(data: bytes) -> None:
    Results.from_json(data)


def reading(data: bytes) -> None:
    """Results, evidence or a comparison, in a file."""
    path = scratch() / "kept.json"
    path.write_bytes(data)
    read_results([path])


def verify(data: bytes) -> None:
    """What `provenance verify` makes of a stranger's file."""
    path = scratch() / "kept.json"
    path.write_bytes(data)
    for stored in read_stored(path):
        check_stored(stored)


def told(data: bytes) -> None:
    """What is told of a stranger's results: their families, a summary, SARIF, a Statement, a lock."""
    found = Results.from_json(data)
    for kind in ("json", "dot", "mermaid"):
        format_lineage(lineage_graph(found), kind)
    summary(found)
    sarif(found)
    make_statement(found, recorded_subjects(found, {}))
    load_lock(dump(Lock(pinned(found))).encode())


def report(data: bytes) -> None:
    render_report(Results.from_json(data))


def statement(data: bytes) -> None:
    read_statement(data)


def envelope(data: bytes) -> None:
    """An envelope that whoever has the key has signed, whatever is in it."""
    folder = Path(HOME) / f"provenance-fuzz-{os.getpid()}.pub"
    sign, public = _key()
    folder.write_bytes(public)
    check_envelope(_signed(data, sign), folder)


def _signed(data: bytes, sign: Any) -> bytes:
    """The envelope with a good signature, if it is near enough to one to be given any."""
    try:
        fields = json.loads(data)
        kind, payload = fields["payloadType"].encode(), b64decode(fields["payload"])
        head = b"DSSEv1 %d %s %d " % (len(kind), kind, len(payload))
        fields["signatures"][0]["sig"] = b64encode(sign(head + payload)).decode()
        return json.dumps(fields).encode()
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return data


@cache
def _key() -> tuple[Any, bytes]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.sign, key.public_key().public_bytes(serialization.Encoding.PEM, form)


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
    open_checkpoint(inspect(folder), ModelSpec(path=str(folder)), file_sha256)


def tensors(data: bytes) -> None:
    """A safetensors file whose every tensor is loaded."""
    folder = scratch()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors").write_bytes(data)
    found = open_checkpoint(inspect(folder), ModelSpec(path=str(folder)), file_sha256)
    for name, tensor in LazyTensors(found).items():
        assert tuple(tensor.shape) == found.tensors[name].shape


def bundle(data: bytes) -> None:
    """A fingerprint, which is compared with itself, and whose inputs are made again."""
    file = scratch() / "kept.safetensors"
    file.write_bytes(data)
    executor = Executor(Store(file.parent / "store"), "cpu")
    said = executor.checkpoint(ModelSpec(path=str(file))).bundle
    assert said is not None
    evidence = compare(file, file, inputs=InputsSpec("random"), executor=executor)
    assert Evidence.from_json(evidence.to_json()) == evidence
    choose_again(said, "kept", InputsSpec(), Reader("a model", 8, None, None))


def token_bundle(data: bytes) -> None:
    """A token fingerprint, which is compared with itself and with a sound one, in either place."""
    file = scratch() / "kept.safetensors"
    file.write_bytes(data)
    sound = file.with_name("sound.safetensors")
    sound.write_bytes(SEEDS["token_bundle"][0])
    executor = Executor(Store(file.parent / "store"), "cpu")
    for sides in ((file, file), (file, sound), (sound, file)):
        evidence = compare(*sides, executor=executor)
        assert Evidence.from_json(evidence.to_json()) == evidence


def library(data: bytes) -> None:
    """The index of a library, beside the fingerprint that a good one names: nothing else is opened."""
    folder = scratch()
    (folder / INDEX).write_bytes(data)
    (folder / "chat.safetensors").write_bytes(SEEDS["token_bundle"][0])
    said = read_library(folder)
    faults(folder, said)
    strangers(folder, said)
    for spec in references_of([folder]).values():
        assert spec.path is not None
        assert Path(spec.path).parent == folder


def pickled(data: bytes) -> None:
    """A pickle of torch, whose reader runs no code of it."""
    folder = scratch()
    (folder / "pytorch_model.bin").write_bytes(data)
    unpickle(folder / "pytorch_model.bin", folder / "model.safetensors")


def configuration(data: bytes) -> None:
    """A configuration beside good weights."""
    folder = scratch()
    (folder / "config.json").write_bytes(data)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    open_checkpoint(inspect(folder), ModelSpec(path=str(folder)), file_sha256)


def tokenizer(data: bytes) -> None:
    """A tokenizer's file: whatever it says, ids are those of rows, and texts are bytes."""
    folder = scratch()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "tokenizer.json").write_bytes(data)
    checkpoint = open_checkpoint(inspect(folder), ModelSpec(path=str(folder)), file_sha256)
    texts = read_vocabulary(checkpoint, 8).texts
    assert texts is not None
    assert all(isinstance(text, bytes) and 0 <= index < 8 for text, index in texts.items())


def index(data: bytes) -> None:
    """An index of shards beside the shard that a good one names."""
    folder = scratch()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors.index.json").write_bytes(data)
    (folder / "one.safetensors").write_bytes(WEIGHTS)
    open_checkpoint(inspect(folder), ModelSpec(path=str(folder)), file_sha256)


def entry(data: bytes) -> None:
    """A manifest of the store: whatever it says, what is read is what was written."""
    store = Store(scratch())
    made = store.get_or_create("evidence", {"key": 1}, lambda f: _write(f / "a", b"true"))
    (made.path / "manifest.json").write_bytes(data)
    found = store.get_or_create("evidence", {"key": 1}, lambda f: _write(f / "a", b"true"))
    assert found.read_text("a") == "true"


def distant(data: bytes) -> None:
    """A manifest at a store's URL: whatever it says, what is brought is what its files are."""
    folder = scratch()
    url = (folder / "shared").as_uri()
    made = Store(url, folder / "one").get_or_create("evidence", {"key": 1}, _build)
    place = folder / "shared" / "v1" / "evidence" / made.path.parent.name / made.path.name
    (place / "manifest.json").write_bytes(data)
    another = Store(url, folder / "two")
    found = another.get_or_create("evidence", {"key": 1}, _build)
    assert all(found.file(name).read_bytes() == b"true" for name in found.names)
    inside = {path for path in folder.rglob("*") if path.is_file()}
    inside -= {path for name in ("one", "two", "shared") for path in (folder / name).rglob("*")}
    assert not inside, inside


def _build(folder: Path) -> None:
    _write(folder / "a", b"true")


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


TARGETS = {
    function.__name__: function
    for function in (
        suite,
        lineage,
        evidence,
        results,
        reading,
        verify,
        told,
        report,
        statement,
        envelope,
        lock,
        registry,
        card,
        adapter,
        weights,
        tensors,
        bundle,
        token_bundle,
        library,
        pickled,
        configuration,
        tokenizer,
        index,
        entry,
        distant,
    )
}


def mutation(name: str, data: bytes, seed: int) -> bytes:
    """One structure-aware mutation of what a target reads."""
    return mutate(KINDS.get(name, "json"), data, seed, SEEDS[name])


def attempt(name: str, data: bytes) -> bool:
    """Give a target these bytes; whether it took them. Anything but our own errors goes on."""
    try:
        TARGETS[name](data)
    except ProvenanceError as error:
        # a line each, in which nothing of a stranger's can break it, colour it or turn it round
        lines = str(error).split("\n") if isinstance(error, SuiteError) else [str(error)]
        assert all(line and line.isprintable() for line in lines), lines
        return False
    return True
