"""checkpoints/ranged: parts of files at a hub, at a URL, in an object store and on disk."""

from __future__ import annotations

import hashlib
import json
from threading import Barrier

import fsspec
import pytest
from huggingface_hub import close_session

from provenance.checkpoints.ranged import http, patience
from provenance.checkpoints.ranged.hub_files import HubFiles
from provenance.checkpoints.ranged.local_files import LocalFiles
from provenance.checkpoints.ranged.object_files import ObjectFiles
from provenance.checkpoints.ranged.origin import ChangedError
from provenance.checkpoints.ranged.reader import Meter, RangedFiles
from provenance.checkpoints.ranged.spans import GAP, Span
from provenance.checkpoints.ranged.web_files import WebFiles
from provenance.errors import SourceError
from provenance.store.store import Store
from provenance.vocabulary import ModelSpec
from tests.support.hub_server import COMMIT, serve

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NAME = "model.safetensors"
DATA = bytes(hashlib.shake_256(b"weights").digest(400_000))


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(patience, "PAUSE", 0.0)


@pytest.fixture(autouse=True)
def sessions():
    yield
    close_session()  # Python would warn of its pooled connections


@pytest.fixture
def hub():
    with serve({NAME: DATA, "config.json": b"{}"}) as running:
        running.large = {NAME}
        yield running


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def of_hub(hub, store, meter=None, **settings):
    return RangedFiles(HubFiles(ModelSpec(repo="org/tiny"), hub.endpoint), store, meter, **settings)


def of_web(hub, store, meter=None):
    return RangedFiles(WebFiles(f"{hub.endpoint}/org/tiny/resolve/main"), store, meter)


def entries(store):
    return store.size().get("ranges", (0, 0))[0]


def span(start, stop):
    return Span(NAME, start, stop)


def test_a_part_is_what_the_file_has_there(hub, store):
    files = of_hub(hub, store)
    assert files.read(span(1000, 5000)) == DATA[1000:5000]
    assert hub.moved < 20_000  # of 400 000: the listing, and the part


def test_near_parts_are_one_request_and_far_ones_side_by_side(hub, store):
    files, far = of_hub(hub, store), 4 * GAP
    spans = [span(0, 10), span(20, 30), span(far, far + 10)]
    files.fetch(spans)
    assert sorted(hub.ranges) == ["bytes=0-29", f"bytes={far}-{far + 9}"]
    assert [files.read(one) for one in spans] == [DATA[s.start : s.stop] for s in spans]
    assert len(hub.ranges) == 2


def test_a_second_run_moves_nothing(hub, store):
    of_hub(hub, store).fetch([span(0, 1000), span(300_000, 300_100)])
    before = len(hub.ranges)
    again = of_hub(hub, store)
    again.fetch([span(0, 1000), span(300_000, 300_100)])
    assert again.read(span(300_000, 300_100)) == DATA[300_000:300_100]
    assert len(hub.ranges) == before


def test_a_run_that_broke_off_goes_on(hub, store, monkeypatch):
    monkeypatch.setattr("provenance.checkpoints.ranged.reader.SIDE_BY_SIDE", 1)
    monkeypatch.setattr("provenance.checkpoints.ranged.reader.SMALL", 0)
    spans = [span(start, start + 100) for start in (0, 100_000, 200_000, 300_000)]
    asked, answered = [], http.get_range

    def dying(url, part, *rest):
        asked.append(part)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return answered(url, part, *rest)

    monkeypatch.setattr("provenance.checkpoints.ranged.hub_files.get_range", dying)
    with pytest.raises(KeyboardInterrupt):
        of_hub(hub, store).fetch(spans)
    assert entries(store) == 2
    of_hub(hub, store).fetch(spans)
    assert asked[2:] == [asked[2], asked[2], (300_000, 300_100)]


def test_a_broken_connection_goes_on_where_it_broke(hub, store):
    hub.cuts = 1
    assert of_hub(hub, store).read(span(0, 100_000)) == DATA[:100_000]
    assert hub.ranges == ["bytes=0-99999", "bytes=50000-99999"]


def test_a_connection_that_always_breaks_is_given_up(hub, store):
    hub.cuts = 100
    with pytest.raises(SourceError, match=r"broke off.*5 tries failed: run again to go on"):
        of_hub(hub, store).read(span(0, 100_000))
    assert entries(store) == 0


def test_a_server_in_trouble_is_asked_again(hub, store, monkeypatch):
    files = of_hub(hub, store)
    waits = []
    monkeypatch.setattr(patience.time, "sleep", waits.append)
    hub.answers["resolve"] = (503, "", "")
    with pytest.raises(
        SourceError, match="the server answers 503; try again later; 5 tries failed"
    ):
        files.read(span(0, 10))
    assert len(waits) == patience.TRIES - 1


def test_the_budget_refuses_before_anything_moves(hub, store):
    meter = Meter(50_000)
    files = of_hub(hub, store, meter)
    files.fetch([span(0, 30_000)])
    asked = len(hub.ranges)
    message = (
        "30,000 bytes more would be moved, after 30,000, and the budget is 50,000: raise --budget"
    )
    with pytest.raises(SourceError, match=message):
        files.fetch([span(300_000, 330_000)])
    assert (meter.moved, len(hub.ranges)) == (30_000, asked)
    files.fetch([span(0, 30_000)])  # what is here costs nothing


def test_progress_counts_bytes(hub, store):
    told = []
    of_hub(hub, store, tell=lambda done, total: told.append((done, total))).fetch([span(0, 1234)])
    assert told == [(1234, 1234)]


def test_the_record_says_what_was_read_and_what_the_hub_says_of_the_whole(hub, store):
    files = of_hub(hub, store)
    for one in (span(200, 300), span(0, 100), span(50, 120), span(200, 300)):
        files.read(one)
    record = files.record()
    parts = [(0, 100), (50, 120), (200, 300)]
    listed = [[NAME, a, b, hashlib.sha256(DATA[a:b]).hexdigest()] for a, b in parts]
    text = json.dumps(listed, separators=(",", ":"))
    assert record.digest == "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    assert (record.bytes, record.of) == (220, len(DATA) + 2)
    assert record.files == {NAME: hashlib.sha256(DATA).hexdigest()}


def test_every_range_is_of_one_commit(hub, store):
    files = of_hub(hub, store)
    hub.files = {NAME: b"x" * len(DATA)}
    files.read(span(0, 10))
    assert all(COMMIT in line for line in hub.requests if "/resolve/" in line)


@pytest.mark.parametrize("opened", [of_hub, of_web])
def test_a_file_that_changes_between_ranges_is_refused_and_forgotten(hub, store, opened):
    files = opened(hub, store)
    files.read(span(0, 10))
    hub.files = {**hub.files, NAME: DATA[::-1]}
    with pytest.raises(ChangedError, match=f"{NAME} changed while it was read; run again"):
        files.read(span(300_000, 300_010))
    assert entries(store) == 0


def test_a_url_is_read_in_parts_too(hub, store):
    files = of_web(hub, store)
    assert files.origin.files.keys() == {NAME, "config.json"}
    assert files.read(span(7, 77)) == DATA[7:77]
    assert files.record().files == {}  # nobody says what the whole has


def test_the_shards_of_a_url_are_those_of_its_index(store):
    names = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    index = {"weight_map": {"a": names[0], "b": names[1], "c": names[0]}}
    files = {
        "config.json": b"{}",
        "model.safetensors.index.json": json.dumps(index).encode(),
        **dict.fromkeys(names, DATA),
    }
    with serve(files) as hub:
        assert names[1] in of_web(hub, store).origin.files


@pytest.mark.parametrize("text", [b"[", b"{}", b'{"weight_map": 3}', b"[" * 100_000])
def test_an_index_that_is_none_is_refused(store, text):
    files = {"config.json": b"{}", "model.safetensors.index.json": text}
    with serve(files) as hub, pytest.raises(SourceError, match="no 'weight_map' of file names"):
        of_web(hub, store)


@pytest.mark.parametrize("opened", [of_hub, of_web])
def test_a_server_without_ranges_is_refused_before_the_file_comes(hub, store, opened):
    hub.whole = True
    files = opened(hub, store)
    with pytest.raises(
        SourceError, match=r"answers no ranges, so that all 400,000 bytes .* --sample"
    ):
        files.read(span(0, 10))
    assert entries(store) == 0


def header(text):
    return lambda headers, body: (headers | {"Content-Range": text}, body)


LIES = {
    "other bytes": (
        header("bytes 5-14/400000"),
        r"asked for bytes 0-9, the server answers 'bytes 5-14",
    ),
    "another size": (header("bytes 0-9/12"), r"says now 12 bytes and before 400,000"),
    "no range": (header("many"), "the server answers 'many'"),
    "too much": (lambda headers, body: (headers, body * 2), "sends more than the 10 bytes"),
    "too little": (lambda headers, body: (headers, body[:0]), "broke off after 0 bytes; 5 tries"),
    "packed": (
        lambda headers, body: (headers | {"Content-Encoding": "gzip"}, body),
        "packs what it sends",
    ),
}


@pytest.mark.parametrize(("lie", "message"), LIES.values(), ids=LIES)
def test_a_server_that_lies_is_refused_in_one_line(hub, store, lie, message):
    files = of_hub(hub, store)
    hub.lie = lie
    with pytest.raises(SourceError, match=message) as caught:
        files.read(span(0, 10))
    assert "\n" not in str(caught.value)
    assert entries(store) == 0


OF_ALL = hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize("digest", [None, ""], ids=["listed", "said by the redirect"])
def test_the_hub_says_what_a_large_file_is_as_a_whole(hub, store, digest):
    hub.digest = digest
    files = of_hub(hub, store)
    assert files.record().files == {}  # nothing of it was read
    files.read(span(0, 10))
    assert files.record().files == {NAME: OF_ALL}
    asked = [line for line in hub.requests if line.startswith("HEAD ")]
    assert len(asked) == (0 if digest is None else 1)


def test_a_hub_that_keeps_no_large_files_says_no_sha256(hub, store):
    hub.large = set()
    files = of_hub(hub, store)
    files.read(span(0, 10))
    record = files.record()
    assert record.files == {}
    assert (record.bytes, record.of) == (10, len(DATA) + 2)


@pytest.mark.parametrize("digest", ["0" * 63, OF_ALL.upper(), "sha256:" + OF_ALL, "\n" * 64])
def test_what_is_no_sha256_is_refused_in_one_line(hub, store, digest):
    hub.digest = digest
    with pytest.raises(
        SourceError, match=rf"the SHA-256 of {NAME} is '.*, which is none; check"
    ) as caught:
        of_hub(hub, store)
    assert "\n" not in str(caught.value)


def test_a_listing_that_lacks_what_a_hub_lists_is_refused_in_one_line(hub, store):
    hub._about = lambda _name, data: {"size": len(data), "lfs": {"size": len(data)}}
    with pytest.raises(
        SourceError, match=r"org/tiny.* the hub's answer is none of a hub \(.*\); check HF_ENDPOINT"
    ):
        of_hub(hub, store)


def test_bytes_outside_of_a_file_are_refused_unasked(hub, store):
    files = of_hub(hub, store)
    with pytest.raises(
        SourceError, match=r"bytes 399,999 to 400,001 of model.safetensors are outside of"
    ):
        files.read(span(399_999, 400_001))
    with pytest.raises(SourceError, match=r"other.safetensors is not there"):
        files.read(Span("other.safetensors", 0, 1))


def test_what_the_store_lost_is_brought_again(hub, store):
    files = of_hub(hub, store)
    files.fetch([span(0, 1000)])
    store.prune(0)
    assert files.read(span(0, 1000)) == DATA[:1000]


@pytest.fixture
def memory():
    opened = fsspec.filesystem("memory")
    opened.store.clear()
    opened.pipe_file(f"/models/{NAME}", DATA)
    yield opened
    opened.store.clear()


def test_an_object_store_is_read_in_parts(memory, store):
    files = RangedFiles(ObjectFiles("memory://models"), store)
    assert files.read(span(10, 20)) == DATA[10:20]
    assert entries(store) == 1


def test_states_of_objects_are_asked_for_side_by_side(memory, store, monkeypatch):
    memory.pipe_file("/models/config.json", b"{}")
    both, plain = Barrier(2, timeout=30), type(memory).info

    def info(self, path, **settings):
        both.wait()  # until the other is asked for as well
        return plain(self, path, **settings)

    origin = ObjectFiles("memory://models")
    monkeypatch.setattr(type(memory), "info", info)
    assert ObjectFiles("memory://models").files == origin.files
    files = RangedFiles(origin, store)
    files.fetch([span(10, 20), Span("config.json", 0, 2)])
    assert [files.read(span(10, 20)), files.read(Span("config.json", 0, 2))] == [DATA[10:20], b"{}"]
    assert files.record().bytes == 12


def test_an_object_that_changes_is_refused_and_forgotten(memory, store):
    files = RangedFiles(ObjectFiles("memory://models"), store)
    files.read(span(10, 20))
    memory.pipe_file(f"/models/{NAME}", DATA[::-1])
    with pytest.raises(ChangedError):
        files.record()
    assert entries(store) == 0


def test_a_file_on_disk_is_read_in_place(tmp_path, store):
    (tmp_path / NAME).write_bytes(DATA)
    files = RangedFiles(LocalFiles(tmp_path, [NAME]), store, Meter(0))
    assert files.read(span(10, 20)) == DATA[10:20]
    assert entries(store) == 0
    (tmp_path / NAME).write_bytes(DATA[:-1])
    with pytest.raises(ChangedError, match="changed while it was read"):
        files.record()
