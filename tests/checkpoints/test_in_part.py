"""checkpoints/in_part.py: a checkpoint is opened by its headers, wherever it lies."""

from __future__ import annotations

import json
import struct

import fsspec
import pytest
from huggingface_hub import close_session

from fixtures.models import save_checkpoint, tiny_llama
from provenance.checkpoints.in_part import open_in_part
from provenance.checkpoints.ranged import patience
from provenance.checkpoints.ranged.reader import Meter
from provenance.errors import SourceError
from provenance.store.store import Store
from provenance.vocabulary import ModelSpec
from tests.support.hub_server import COMMIT, serve

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(patience, "PAUSE", 0.0)
    yield
    close_session()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_checkpoint(tiny_llama(0), tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def hub(folder):
    with serve({file.name: file.read_bytes() for file in folder.iterdir()}) as running:
        running.large = {"model.safetensors"}
        yield running


def of_hub(hub, store, meter=None):
    return open_in_part(ModelSpec(repo="org/tiny"), store, meter or Meter(), endpoint=hub.endpoint)


def of_web(hub, store, meter=None):
    url = f"{hub.endpoint}/org/tiny/resolve/main"
    return open_in_part(ModelSpec(url=url), store, meter or Meter())


def of_disk(folder, store):
    return open_in_part(ModelSpec(path=str(folder)), store, Meter(), folder=folder)


def shapes(checkpoint):
    return {name: tensor.shape for name, tensor in checkpoint.tensors.items()}


@pytest.mark.parametrize("there", [of_hub, of_web])
def test_wherever_it_lies_it_is_one_model(folder, store, hub, there):
    near, meter = of_disk(folder, store), Meter()
    far = there(hub, store, meter)
    assert shapes(far) == shapes(near)
    assert (far.config, far.parameters) == (near.config, near.parameters)
    # its beginning is brought, which of a tiny model is much of it
    assert meter.moved <= 2**16 + (folder / "config.json").stat().st_size
    again = Meter()
    assert there(hub, store, again).digest == far.digest
    assert again.moved == 0


def test_the_commit_is_pinned(store, hub):
    assert of_hub(hub, store).source == f"repo:org/tiny@{COMMIT}"


def test_what_the_hub_says_of_the_whole_is_what_it_is_known_by(store, hub):
    first = of_hub(hub, store)
    data = bytearray(hub.files["model.safetensors"])
    data[-1] ^= 1  # no part that opening reads
    hub.files["model.safetensors"] = bytes(data)
    assert of_hub(hub, Store(store.root / "other")).digest != first.digest


def broken(size=2**20, length=None, tensors=None):
    """A file with a header that says what it should not."""
    text = json.dumps(tensors or {}).encode()
    length = len(text) if length is None else length
    return struct.pack("<Q", length) + text.ljust(size - 8, b" ")


def tensor(start, stop):
    return {"dtype": "U8", "shape": [stop - start], "data_offsets": [start, stop]}


HEADERS = {
    "of 40 GB": (broken(length=40 * 10**9), "its header is longer than the file"),
    "of too many bytes": (broken(2**26, 2**25 + 1), "more than 33,554,432"),
    "that overlaps": (broken(tensors={"a": tensor(0, 9), "b": tensor(4, 12)}), "overlaps the one"),
    "that points outside": (broken(tensors={"a": tensor(0, 2**40)}), "it was cut off"),
    "that is no JSON": (broken(length=1), "its header is no JSON"),
}


@pytest.mark.parametrize(("data", "message"), HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("there", [of_hub, of_web])
def test_a_header_is_refused_in_one_line(store, hub, there, data, message):
    hub.files["model.safetensors"] = data
    with pytest.raises(SourceError, match=message) as caught:
        there(hub, store, Meter(2**20))
    assert "\n" not in str(caught.value)
    assert "org/tiny" in str(caught.value)


def test_the_budget_holds_for_headers_too(store, hub):
    with pytest.raises(SourceError, match="the budget is 10: raise --budget"):
        of_hub(hub, store, Meter(10))


def test_a_config_of_many_bytes_is_not_brought(store, hub):
    hub.files["tokenizer.json"] = bytes(100 * 2**20 + 1)
    before = hub.moved
    with pytest.raises(SourceError, match=r"tokenizer.json is 104,857,601 bytes; more than"):
        of_hub(hub, store)
    assert hub.moved - before < 10_000


def test_a_claim_of_quantization_over_plain_weights_is_refused(store, hub):
    config = json.loads(hub.files["config.json"])
    config["quantization_config"] = {"quant_method": "fp8"}
    hub.files["config.json"] = json.dumps(config).encode()
    with pytest.raises(SourceError, match="says 'fp8', but no weight is quantized"):
        of_hub(hub, store)


def test_a_scale_that_is_not_there_is_told_before_a_weight_is_read(store, hub):
    header = {"a.weight": {"dtype": "F8_E4M3", "shape": [2**12, 2**8], "data_offsets": [0, 2**20]}}
    hub.files["model.safetensors"] = broken(2**20 + 2**10, 2**10 - 8, header)
    config = json.loads(hub.files["config.json"]) | {"quantization_config": {"quant_method": "fp8"}}
    hub.files["config.json"] = json.dumps(config).encode()
    meter = Meter()
    with pytest.raises(SourceError, match=r"holds a\.weight in F8_E4M3, but no a\.weight_scale;"):
        of_hub(hub, store, meter)
    assert meter.moved < 2**17


def test_nothing_to_load_is_refused(store):
    with serve({"README.md": b"x"}) as hub, pytest.raises(SourceError, match="has no weights"):
        of_hub(hub, store)
    with serve({"README.md": b"x"}) as hub, pytest.raises(SourceError, match="has no weights"):
        of_web(hub, store)


def test_an_object_store_is_opened_too(folder, store):
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    for file in folder.iterdir():
        memory.pipe_file(f"/models/base/{file.name}", file.read_bytes())
    checkpoint = open_in_part(ModelSpec(url="memory://models/base"), store, Meter())
    assert shapes(checkpoint) == shapes(of_disk(folder, store))
    memory.store.clear()
