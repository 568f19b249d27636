"""checkpoints/urls.py: checkpoints through fsspec, from memory and from an object store on 127.0.0.1."""

from __future__ import annotations

import json
import shutil

import fsspec
import pytest
from safetensors.torch import load_file, save_file

from fixtures.models import save_checkpoint, tiny_llama
from provenance import Executor, InputsSpec, Store, compare
from provenance.errors import SourceError
from provenance.loading.model import quiet
from provenance.vocabulary import ModelSpec

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def executor(tmp_path):
    return Executor(Store(tmp_path / "store"), "cpu")


@pytest.fixture
def base(tmp_path):
    return save_checkpoint(tiny_llama(0), tmp_path / "base")


@pytest.fixture
def memory():
    opened = fsspec.filesystem("memory")
    opened.store.clear()
    opened.pseudo_dirs[:] = [""]
    yield opened
    opened.store.clear()


@pytest.fixture
def kept(memory, base):
    """A checkpoint in memory, beside what nobody needs."""
    for file in base.iterdir():
        memory.pipe_file(f"/models/base/{file.name}", file.read_bytes())
    for name in ("README.md", "optimizer.pt", "pytorch_model.bin", "x.py", "sub/model.safetensors"):
        memory.pipe_file(f"/models/base/{name}", b"x")
    return "memory://models/base"


def refused(executor, url, match, **settings):
    with pytest.raises(SourceError, match=match) as caught:
        executor.checkpoint(ModelSpec(url=url, **settings))
    assert "\n" not in str(caught.value)
    assert executor.store.size().get("checkpoint", (0, 0))[0] == 0


def made(executor):
    return [line["kind"] for line in executor.store.journal()].count("checkpoint")


@pytest.mark.parametrize("end", ["", "/"])
def test_only_what_is_needed_is_brought(executor, kept, base, end):
    found = executor.checkpoint(ModelSpec(url=kept + end))
    names = {path.name for path in found.folder.iterdir()}
    assert names == {"config.json", "model.safetensors", "manifest.json"}
    assert found.digest == executor.checkpoint(ModelSpec(path=str(base))).digest
    assert found.source == kept + end


def test_what_has_not_changed_is_brought_once(executor, kept, memory):
    executor.checkpoint(ModelSpec(url=kept))
    Executor(executor.store, "cpu").checkpoint(ModelSpec(url=kept))
    assert made(executor) == 1
    config = json.loads(memory.cat_file("/models/base/config.json")) | {"rms_norm_eps": 1e-5}
    memory.pipe_file("/models/base/config.json", json.dumps(config).encode())
    found = Executor(executor.store, "cpu").checkpoint(ModelSpec(url=kept))
    assert made(executor) == 2
    assert found.config["rms_norm_eps"] == 1e-5


def test_of_shards_those_that_the_index_lists_are_brought(executor, memory, tmp_path):
    with quiet():
        tiny_llama(0).save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    for file in (tmp_path / "shards").iterdir():
        memory.pipe_file(f"/m/{file.name}", file.read_bytes())
    memory.pipe_file("/m/old-00001-of-00001.safetensors", b"x")
    found = executor.checkpoint(ModelSpec(url="memory://m"))
    whole = executor.checkpoint(ModelSpec(path=str(tmp_path / "shards")))
    assert found.digest == whole.digest
    assert not (found.folder / "old-00001-of-00001.safetensors").exists()


def test_a_file_url(executor, base):
    assert executor.checkpoint(ModelSpec(url=base.as_uri())).source == base.as_uri()


def test_an_adapter_at_a_url_on_a_base_at_a_url(executor, kept, memory, base, tmp_path):
    peft = pytest.importorskip("peft")
    with quiet():
        from transformers import AutoModelForCausalLM

        settings = peft.LoraConfig(r=2, target_modules=["up_proj"], task_type="CAUSAL_LM")
        model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
        model.save_pretrained(tmp_path / "adapter")
    for file in (tmp_path / "adapter").iterdir():
        memory.pipe_file(f"/adapter/{file.name}", file.read_bytes())
    found = executor.checkpoint(ModelSpec(url="memory://adapter", base=kept))
    says = f"adapter merged into {kept}; its configuration names {base}"
    assert found.conversion == says


def test_a_pickle_at_a_url_needs_leave_as_anywhere(executor, memory, base):
    import torch

    torch.save(load_file(base / "model.safetensors"), base / "pytorch_model.bin")
    for name in ("config.json", "pytorch_model.bin"):
        memory.pipe_file(f"/p/{name}", (base / name).read_bytes())
    refused(executor, "memory://p", "pickle only .*set allow_pickle: true")
    assert executor.checkpoint(ModelSpec(url="memory://p", allow_pickle=True)).pickle


@pytest.mark.slow
def test_a_model_at_a_url_is_compared_like_any_other(executor, kept, base):
    evidence = compare(
        kept,
        base,
        inputs=InputsSpec("random", tokens=256, sequence_length=64),
        executor=executor,
    )
    assert evidence.log10_p < -30
    assert evidence.candidate.source == kept


def listed_without_sizes(memory, monkeypatch):
    """Let the listing be a web page's, which has names alone."""
    listing = type(memory).ls

    def ls(self, path, *, detail=True, **options):
        found = listing(self, path, detail=detail, **options)
        return [{**entry, "size": None} for entry in found] if detail else found

    monkeypatch.setattr(type(memory), "ls", ls)


def test_sizes_that_a_listing_leaves_out_are_asked_for(executor, kept, memory, base, monkeypatch):
    listed_without_sizes(memory, monkeypatch)
    checkpoint = executor.checkpoint(ModelSpec(url=kept))
    assert load_file(checkpoint.folder / "model.safetensors").keys()


def test_a_size_that_nobody_tells_is_one_line(executor, kept, memory, monkeypatch):
    listed_without_sizes(memory, monkeypatch)
    monkeypatch.setattr(type(memory), "info", lambda _, path, **__: {"name": path, "size": None})
    refused(executor, kept, "its server does not say how large config.json is")


def test_a_file_that_comes_short_is_not_kept(executor, kept, monkeypatch):
    from provenance.checkpoints import urls as _urls

    def torn(source, target, _chunk):
        target.write(source.read()[:-1])

    monkeypatch.setattr(shutil, "copyfileobj", torn)
    assert _urls.shutil is shutil
    refused(executor, kept, "came in another size than it is listed with; try again")


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("memory://nowhere", "there is nothing at memory://nowhere; check the address"),
        ("file:///nowhere/at/all", "there is nothing at file:///nowhere/at/all"),
        ("zip://x::memory://y", "is of no kind that is read; there are abfs://, abfss://, az://"),
        ("simplecache::s3://b/x", "is of no kind that is read"),
        ("github://a:b@/x", "is of no kind that is read"),
        ("https://me:secret@host/x", "^https://host/x must be given without user, password"),
        ("https://host/x?sig=secret", "^https://host/x must be given without user, password"),
        ("https://127.0.0.1:9/x", "https://127.0.0.1:9/x"),
    ],
)
def test_a_url_that_leads_nowhere_or_should_not_be_followed(executor, url, match):
    refused(executor, url, match)


def test_nothing_to_load(executor, memory):
    memory.pipe_file("/m/README.md", b"x")
    refused(executor, "memory://m", "^memory://m has no weights")


def test_names_that_lead_out_of_the_folder_are_not_followed():
    from provenance.checkpoints.urls import _name

    assert [_name(path) for path in ("a/..", "a/.", r"a/..\x", "a/b", "b/")] == [
        "",
        "",
        "",
        "b",
        "b",
    ]


@pytest.mark.parametrize(
    ("url", "name"), [("s3://b/x", "s3"), ("gs://b/x", "gcs"), ("abfs://b/x", "azure")]
)
def test_an_absent_backend_is_named_with_its_extra(executor, monkeypatch, url, name):
    def absent(*_args, **_settings):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "url_to_fs", absent)
    match = rf"Install s3fs to access S3: pip install 'pytest-provenance\[{name}\]'"
    refused(executor, url, match)


# --- an object store -----------------------------------------------------------------------------


@pytest.fixture
def bucket(s3):
    """A bucket in moto's server, reached by s3fs through boto's own environment variables."""
    opened = fsspec.filesystem("s3", skip_instance_cache=True)
    if not opened.exists("tiny"):  # moto keeps its buckets for the process
        opened.mkdir("tiny")
    return opened


def test_a_model_in_an_object_store(executor, bucket, base):
    for file in base.iterdir():
        bucket.put_file(str(file), f"tiny/a/b/{file.name}")
    bucket.pipe_file("tiny/a/b/README.md", b"x")
    found = executor.checkpoint(ModelSpec(url="s3://tiny/a/b"))
    assert found.digest == executor.checkpoint(ModelSpec(path=str(base))).digest
    assert not (found.folder / "README.md").exists()
    Executor(executor.store, "cpu").checkpoint(ModelSpec(url="s3://tiny/a/b"))
    assert made(executor) == 1
    # of equal size, and perhaps within the same second: the ETag tells
    tensors = load_file(base / "model.safetensors")
    tensors["model.norm.weight"] += 1
    save_file(tensors, base / "model.safetensors", {"format": "pt"})
    bucket.put_file(str(base / "model.safetensors"), "tiny/a/b/model.safetensors")
    changed = Executor(executor.store, "cpu").checkpoint(ModelSpec(url="s3://tiny/a/b"))
    assert changed.digest != found.digest


@pytest.mark.parametrize("url", ["s3://tiny/nowhere", "s3://no-such-bucket/x"])
def test_an_object_store_that_has_nothing_there(executor, bucket, url):
    refused(executor, url, "there is nothing at|cannot be read")


def test_an_object_store_that_refuses(executor, bucket, monkeypatch):
    def denied(*_args, **_settings):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(bucket), "ls", denied)
    refused(executor, "s3://tiny/x", "access is refused; check the credentials in the environment")
