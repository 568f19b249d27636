"""A store at a URL: machines that share it, what they see of each other, and what strangers put there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from hashlib import sha256
from pathlib import Path

import fsspec
import pytest

from provenance.errors import StoreError
from provenance.store import entry as _entries
from provenance.store import shared as _distant
from provenance.store import store as store_module
from provenance.store.entry import TornError
from provenance.store.objects import Objects
from provenance.store.shared import shareable_files
from provenance.store.store import SHARED, Store, digest_of
from tests.support.places import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
FIELDS = {"model": "a" * 64, "tokens": 4096}
DIGEST = digest_of(FIELDS)
PLACE = f"v1/activations/{DIGEST[:2]}/{DIGEST}"
GATE = b"gate" * 1000
BLOB = f"{PLACE}/{sha256(GATE).hexdigest()}"


def build(folder):
    (folder / "gate.bin").write_bytes(GATE)
    (folder / "blocks").mkdir()
    (folder / "blocks" / "0.txt").write_text("βlock")


def build_otherwise(folder):
    (folder / "gate.bin").write_bytes(b"made elsewhere")


def refuse(_folder):
    pytest.fail("built although it was there")


# --- where ---------------------------------------------------------------------------------------


@pytest.fixture
def bucket(s3, tmp_path):
    """The URL of an empty bucket."""
    name = f"b{sha256(str(tmp_path).encode()).hexdigest()[:20]}"
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir(name)
    return f"s3://{name}/some/prefix"


@pytest.fixture
def memory():
    opened = fsspec.filesystem("memory")
    opened.store.clear()
    opened.pseudo_dirs[:] = [""]
    yield "memory://shared/prefix"
    opened.store.clear()


@pytest.fixture(params=["file", "memory", "s3"])
def url(request, tmp_path):
    if request.param == "file":
        return (tmp_path / "shared folder").as_uri().replace("%20", " ")
    return request.getfixturevalue("bucket" if request.param == "s3" else request.param)


@pytest.fixture
def machine(url, tmp_path):
    """Stores at the URL, of machines with these names."""
    return lambda name="here": Store(url, tmp_path / name)


@pytest.fixture
def objects(url):
    return Objects(url)


def kinds(store):
    return [line["kind"] for line in store.journal()]


def everything(objects):
    return {
        name: objects.read(name, 2**20) for name in objects.sizes("v1") for name in [f"v1/{name}"]
    }


def left(store):
    return list((store.root / "v1" / "tmp").glob("*"))


# --- two machines --------------------------------------------------------------------------------


def test_what_one_machine_has_made_another_brings_and_does_not_make(machine):
    made = machine().get_or_create("activations", FIELDS, build)
    there = machine("there")
    brought = there.get_or_create("activations", FIELDS, refuse)
    assert brought.names == made.names == {"gate.bin", "blocks/0.txt"}
    assert brought.path != made.path
    for name in ("gate.bin", "blocks/0.txt", "manifest.json"):
        assert (brought.path / name).read_bytes() == (made.path / name).read_bytes()
    assert kinds(machine()) == ["activations"]
    assert kinds(there) == []
    assert left(there) == []


def test_what_another_machine_has_made_is_got_too(machine):
    assert machine("there").get("activations", FIELDS) is None
    machine().get_or_create("activations", FIELDS, build)
    assert machine("there").get("activations", FIELDS).read_text("blocks/0.txt") == "βlock"


def test_what_was_brought_is_brought_once(machine, objects):
    machine().get_or_create("activations", FIELDS, build)
    machine("there").get("activations", FIELDS)
    for name in everything(objects):
        objects.remove(name)
    assert machine("there").get("activations", FIELDS) is not None


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_what_was_brought_is_for_its_owner_alone(machine):
    machine().get_or_create("activations", FIELDS, build)
    umask = os.umask(0)
    try:
        there = machine("there")
        there.get("activations", FIELDS)
    finally:
        os.umask(umask)
    for path in (there.root, *there.root.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("kind", SHARED)
def test_every_kind_but_hashes_is_shared(memory, tmp_path, kind):
    Store(memory, tmp_path / "here").get_or_create(kind, FIELDS, build)
    assert Store(memory, tmp_path / "there").get(kind, FIELDS) is not None


def test_hashes_of_local_files_are_not_shared(machine, objects):
    machine().sha256(Path(__file__))
    assert everything(objects) == {}
    assert machine("there").get("hashes", FIELDS) is None
    assert everything(objects) == {}


def test_what_is_of_use_here_alone_is_not_shared(machine, objects):
    machine().get_or_create("checkpoint", FIELDS, build, here=True)
    assert everything(objects) == {}
    machine("there").get_or_create("checkpoint", FIELDS, build, here=True)
    assert kinds(machine("there")) == ["checkpoint"]


def test_the_manifest_is_put_last_and_the_files_by_content(machine, objects, monkeypatch):
    order = []
    put, create = Objects.put, Objects.create
    monkeypatch.setattr(Objects, "put", lambda *a: order.append(a[1]) or put(*a))
    monkeypatch.setattr(Objects, "create", lambda *a: order.append(a[1]) or create(*a))
    machine().get_or_create("activations", FIELDS, build)
    text = sha256("βlock".encode()).hexdigest()
    assert order[0] == "v1/store.json"
    assert set(order[1:3]) == {BLOB, f"{PLACE}/{text}"}
    assert order[3:] == [f"{PLACE}/manifest.json"]
    assert set(everything(objects)) == set(order)


def test_equal_files_are_put_and_brought_once_each(machine, objects):
    def twice(folder):
        (folder / "a").write_bytes(GATE)
        (folder / "b").write_bytes(GATE)

    machine().get_or_create("activations", FIELDS, twice)
    assert sorted(everything(objects)) == sorted(["v1/store.json", f"{PLACE}/manifest.json", BLOB])
    assert machine("there").get("activations", FIELDS).file("b").read_bytes() == GATE


def test_an_empty_file_is_shared(machine):
    machine().get_or_create("activations", FIELDS, lambda folder: (folder / "a").touch())
    assert machine("there").get("activations", FIELDS).read_text("a") == ""


def test_an_entry_that_is_spoiled_here_is_brought_again(machine, monkeypatch):
    made = machine().get_or_create("activations", FIELDS, build)
    made.file("gate.bin").write_bytes(b"spoiled")
    again = machine().get_or_create("activations", FIELDS, refuse)
    assert again.file("gate.bin").read_bytes() == GATE


# --- many at once --------------------------------------------------------------------------------


def at_once(machine, monkeypatch, first):
    """Have another machine put its own version while this one is building."""

    def slowly(folder):
        machine("there").get_or_create("activations", FIELDS, first)
        build(folder)

    return machine().get_or_create("activations", FIELDS, slowly)


def test_who_comes_second_takes_over_what_is_there(machine, monkeypatch):
    ours = at_once(machine, monkeypatch, build_otherwise)
    assert ours.names == {"gate.bin"}
    assert ours.file("gate.bin").read_bytes() == b"made elsewhere"
    theirs = machine("there").get("activations", FIELDS)
    assert (ours.path / "manifest.json").read_bytes() == (
        theirs.path / "manifest.json"
    ).read_bytes()
    assert machine("third").get("activations", FIELDS).names == {"gate.bin"}


def test_of_two_who_put_at_the_same_moment_the_first_wins(machine, objects, monkeypatch):
    """The second has looked, seen nothing, and puts its manifest when the first's is there."""
    really = _distant.SharedEntries.put

    def put(self, kind, fields, folder, *, replace):
        monkeypatch.setattr(_distant.SharedEntries, "put", really)
        machine("there").get_or_create("activations", FIELDS, build_otherwise)
        return really(self, kind, fields, folder, replace=replace)

    monkeypatch.setattr(_distant.SharedEntries, "put", put)
    ours = machine().get_or_create("activations", FIELDS, build)
    assert ours.file("gate.bin").read_bytes() == b"made elsewhere"
    assert BLOB in everything(objects)  # refers to nothing of the winner's, and harms nobody
    assert machine("third").get("activations", FIELDS).names == {"gate.bin"}


def test_an_object_is_created_once(objects):
    won = []
    barrier = threading.Barrier(4)

    def create(text):
        barrier.wait()
        if objects.create("v1/x", text):
            won.append(text)

    threads = [threading.Thread(target=create, args=(f"{i}".encode(),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not objects.url.startswith("memory:"):  # which looks first, and then puts
        assert len(won) == 1
    assert objects.read("v1/x", 10) in won
    assert objects.create("v1/x", b"late") is False


@pytest.mark.parametrize("theirs", [True, False])
def test_a_conflict_is_looked_at_and_tried_again(memory, monkeypatch, theirs):
    """Of two conditional puts at once S3 answers one with 409: the other may have been put, or not."""
    kind = fsspec.get_filesystem_class("memory")
    really = kind.pipe_file
    monkeypatch.setattr("provenance.store.objects.PAUSE", 0)

    def conflict(self, path, data, mode="overwrite"):
        monkeypatch.setattr(kind, "pipe_file", really)
        if theirs:
            really(self, path, b"theirs")
        raise OSError(16, "A conflicting conditional operation is currently in progress")

    monkeypatch.setattr(kind, "pipe_file", conflict)
    objects = Objects(memory)
    assert objects.create("v1/x", b"ours") is not theirs
    assert objects.read("v1/x", 10) == (b"theirs" if theirs else b"ours")


def test_threads_of_one_machine_build_once(machine):
    barrier, built = threading.Barrier(4), []

    def one(folder):
        built.append(folder)
        build(folder)

    def run():
        barrier.wait()
        machine().get_or_create("activations", FIELDS, one)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1


# --- what is torn, killed or lost ----------------------------------------------------------------


def test_an_interrupted_put_is_seen_by_nobody_and_completed_by_the_next_run(
    machine, objects, monkeypatch
):
    really = Objects.create

    def interrupted(self, name, data):
        if name.endswith("manifest.json"):
            raise KeyboardInterrupt
        return really(self, name, data)

    monkeypatch.setattr(Objects, "create", interrupted)
    with pytest.raises(KeyboardInterrupt):
        machine().get_or_create("activations", FIELDS, build)
    assert BLOB in everything(objects)
    assert machine("there").get("activations", FIELDS) is None
    monkeypatch.setattr(Objects, "create", really)
    put, order = Objects.put, []
    monkeypatch.setattr(Objects, "put", lambda *a: order.append(a[1]) or put(*a))
    machine().get_or_create("activations", FIELDS, refuse)
    assert order == []  # they are there already
    assert machine("there").get("activations", FIELDS) is not None


KILLED = """
import os, sys
from provenance.store.objects import Objects
from provenance.store.store import Store

Objects.create = lambda self, name, data: os._exit(9) if "manifest" in name else True
Store(sys.argv[1], sys.argv[2]).get_or_create(
    "activations", {"key": 1}, lambda folder: (folder / "a").write_text("done") and None
)
"""


def test_a_run_that_was_killed_while_it_put_loses_nothing(tmp_path):
    url = (tmp_path / "shared").as_uri()
    command = [sys.executable, "-c", KILLED, url, str(tmp_path / "here")]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == 9
    assert Store(url, tmp_path / "there").get("activations", {"key": 1}) is None
    Store(url, tmp_path / "here").get_or_create("activations", {"key": 1}, refuse)
    there = Store(url, tmp_path / "there").get("activations", {"key": 1})
    assert there.read_text("a") == "done"


def manifest_of(objects):
    return json.loads(objects.read(f"{PLACE}/manifest.json", 2**20))


def say(**changes):
    def spoil(objects):
        changed = manifest_of(objects) | changes
        objects.write(f"{PLACE}/manifest.json", json.dumps(changed).encode())

    spoil.__name__ = "say_" + "_".join(changes)
    return spoil


def named(name, data=b"x"):
    """A manifest of one file, whose object is there, under any name."""

    def spoil(objects):
        digest = sha256(data).hexdigest()
        objects.write(f"{PLACE}/{digest}", data)
        say(files={name: {"size": len(data), "sha256": digest}})(objects)

    spoil.__name__ = f"named_{name!r:.40}"
    return spoil


def both(objects):
    digest = sha256(b"x").hexdigest()
    objects.write(f"{PLACE}/{digest}", b"x")
    record = {"size": 1, "sha256": digest}
    say(files={"a": record, "a/b": record})(objects)


SPOILERS = [
    lambda objects: objects.remove(BLOB),
    lambda objects: objects.write(BLOB, b"torn"),
    lambda objects: objects.write(BLOB, b"tape" * 1000),
    lambda objects: objects.write(BLOB, GATE + b"more"),
    lambda objects: objects.write(f"{PLACE}/manifest.json", b""),
    lambda objects: objects.write(f"{PLACE}/manifest.json", b"[" * 100_000),
    lambda objects: objects.write(f"{PLACE}/manifest.json", b"\xff\xfe"),
    lambda objects: objects.write(f"{PLACE}/manifest.json", b"{}" + b" " * (2**22)),
    say(schema=2),
    say(kind="evidence"),
    say(fields={"model": "b"}),
    say(extra=1),
    say(files=None),
    say(files={"a": {"size": -1, "sha256": "0" * 64}}),
    say(files={"a": {"size": 1, "sha256": "../../../x"}}),
    say(files={"a": {"size": 10**30, "sha256": "0" * 64}}),
    say(files={str(i): {"size": 0, "sha256": "0" * 64} for i in range(10_001)}),
    named("../outside"),
    named("/etc/outside"),
    named("a/../../outside"),
    named("a//b"),
    named("./a"),
    named("a\\..\\b"),
    named("c:a"),
    named(""),
    named("manifest.json"),
    named("a\nb"),
    named("\ud800"),
    named("x" * 300),
    named("/".join("abcdefghijklmnopqrstuvwxyz")),
    both,
]


@pytest.mark.slow
@pytest.mark.parametrize("spoil", SPOILERS)
def test_what_cannot_be_trusted_is_made_again_and_put_again(tmp_path, memory, spoil):
    objects = Objects(memory)
    Store(memory, tmp_path / "here").get_or_create("activations", FIELDS, build)
    spoil(objects)
    there = Store(memory, tmp_path / "there")
    assert there.get("activations", FIELDS) is None
    assert left(there) == []
    assert not (tmp_path / "outside").exists()
    there.get_or_create("activations", FIELDS, build)
    assert kinds(there) == ["activations"]
    third = Store(memory, tmp_path / "third").get_or_create("activations", FIELDS, refuse)
    assert third.file("gate.bin").read_bytes() == GATE


def test_no_more_is_written_than_the_manifest_says(tmp_path, memory, monkeypatch):
    Store(memory, tmp_path / "here").get_or_create("activations", FIELDS, build)
    written = []

    def endless(_self, _name):
        while True:
            written.append(2**16)
            yield b"\0" * 2**16

    monkeypatch.setattr(Objects, "chunks", endless)
    assert Store(memory, tmp_path / "there").get("activations", FIELDS) is None
    assert len(written) <= 2


def test_an_entry_that_finds_no_room_is_one_line(tmp_path, memory, monkeypatch):
    Store(memory, tmp_path / "here").get_or_create("activations", FIELDS, build)
    monkeypatch.setattr(
        "provenance.store.shared.shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})
    )
    there = Store(memory, tmp_path / "there")
    with pytest.raises(StoreError, match=r"No space left.*PROVENANCE_STORE_CACHE to a larger"):
        there.get("activations", FIELDS)
    assert left(there) == []


def test_names_that_entries_have_are_allowed():
    names = [
        "a",
        "model-00001-of-00002.safetensors",
        "blocks/0.txt",
        "ü x.json",
        "..a",
        "b/manifest.json",
    ]
    record = {"size": 1, "sha256": "0" * 64}
    manifest = {
        "schema": 1,
        "kind": "evidence",
        "fields": {},
        "files": dict.fromkeys(names, record),
        "created": "",
    }
    assert set(shareable_files(json.dumps(manifest).encode(), "evidence", {})) == set(names)
    with pytest.raises(TornError):
        shareable_files(json.dumps(manifest).encode(), "evidence", {"a": 1})


# --- when it cannot be reached -------------------------------------------------------------------


def down(monkeypatch, *names):
    def refused(*_args, **_settings):
        raise OSError("connection reset by peer")

    for name in names:
        monkeypatch.setattr(fsspec.get_filesystem_class("memory"), name, refused)


def forget(monkeypatch):
    """Be another process."""
    monkeypatch.setattr(store_module, "_agreed", set())
    monkeypatch.setattr(_entries, "_verified", {})


def test_what_could_not_be_shared_is_kept_and_shared_later(tmp_path, memory, monkeypatch):
    here = Store(memory, tmp_path / "here")
    with monkeypatch.context() as patch:

        def built_as_the_network_fails(folder):
            build(folder)
            down(patch, "pipe_file", "put_file", "open")

        with pytest.raises(StoreError) as caught:
            here.get_or_create("activations", FIELDS, built_as_the_network_fails)
        said = str(caught.value)
        assert said.startswith(
            f"cannot use the store {memory} (OSError: connection reset by peer);"
        )
        assert f"what was computed is kept in {here.root}, and shared when it is next" in said
        assert "\n" not in said
        with pytest.raises(StoreError, match="kept in"):  # and still is not
            here.get_or_create("activations", FIELDS, refuse)
    forget(monkeypatch)
    assert Store(memory, tmp_path / "there").get("activations", FIELDS) is None
    assert Store(memory, tmp_path / "here").get("activations", FIELDS) is not None
    assert kinds(here) == ["activations"]
    assert Store(memory, tmp_path / "there").get("activations", FIELDS) is not None


def test_what_was_made_apart_is_given_up_for_what_is_shared(tmp_path, memory, monkeypatch):
    """Two machines without a network make what differs; then there is a network."""
    for name, how in (("here", build), ("there", build_otherwise)):
        with monkeypatch.context() as patch:
            down(patch, "pipe_file", "put_file")
            patch.setattr(_distant.SharedEntries, "_look", lambda _: None)
            with pytest.raises(StoreError):
                Store(memory, tmp_path / name).get_or_create("activations", FIELDS, how)
    here = Store(memory, tmp_path / "here").get("activations", FIELDS)
    there = Store(memory, tmp_path / "there").get("activations", FIELDS)
    assert here.names == there.names == {"gate.bin", "blocks/0.txt"}


def test_nothing_is_computed_that_could_not_be_put(tmp_path, memory, monkeypatch):
    down(monkeypatch, "pipe_file", "open")
    with pytest.raises(StoreError, match="check the network, and the credentials and the endpoint"):
        Store(memory, tmp_path / "here").get_or_create("activations", FIELDS, refuse)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "match"),
    [
        (PermissionError("Forbidden"), "access is refused; check the credentials in the environ"),
        (FileNotFoundError("no bucket"), "there is no such bucket; make it, or check the address"),
        (ValueError("http://me:secret@host says\nno"), r"\(ValueError: http://host says no\)"),
    ],
)
def test_what_is_refused_is_one_line(tmp_path, memory, monkeypatch, error, match):
    def refused(*_args, **_settings):
        raise error

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "pipe_file", refused)
    with pytest.raises(StoreError, match=match) as caught:
        Store(memory, tmp_path / "here").get_or_create("activations", FIELDS, refuse)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert memory in str(caught.value)


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("http://host/x", "^http://host/x cannot hold a store, which needs puts"),
        ("sftp://host/x", "^sftp://host/x cannot hold a store.*; there are abfs://, abfss://"),
        ("simplecache::s3://b/x", "cannot hold a store"),
        ("github://me:secret@x/y", "^github://x/y cannot hold a store"),
        ("s3://me:secret@b/x", "^s3://b/x must be given without user, password and query"),
        ("s3://b/x?sig=secret", "^s3://b/x must be given without user, password and query"),
        ("s3://", "^s3:// names no bucket or folder; write s3://NAME/PREFIX"),
    ],
)
def test_a_url_that_cannot_hold_a_store_is_refused_at_once(url, match):
    with pytest.raises(StoreError, match=match) as caught:
        Store(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "name"), [("s3://b/x", "s3"), ("gs://b/x", "gcs"), ("abfs://b/x", "azure")]
)
def test_an_absent_backend_is_named_with_its_extra(tmp_path, monkeypatch, url, name):
    def absent(*_args, **_settings):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "url_to_fs", absent)
    with pytest.raises(StoreError, match=rf"Install s3fs .*pytest-provenance\[{name}\]'"):
        Store(url, tmp_path).get("evidence", FIELDS)


def test_a_bucket_that_is_not_there(bucket, tmp_path):
    store = Store("s3://no-such-bucket-at-all/x", tmp_path)
    with pytest.raises(StoreError, match="there is no such bucket; make it, or check the addr"):
        store.get_or_create("evidence", FIELDS, refuse)
    with pytest.raises(StoreError, match="there is no such bucket"):
        store.notes.write("a", "x")


def test_a_bucket_that_vanishes(bucket, tmp_path):
    store = Store(bucket, tmp_path)
    opened = fsspec.filesystem("s3", skip_instance_cache=True)

    def built_as_it_vanishes(folder):
        build(folder)
        opened.rm(bucket.removeprefix("s3://").partition("/")[0], recursive=True)

    with pytest.raises(StoreError, match=r"there is no such bucket.*kept in"):
        store.get_or_create("activations", FIELDS, built_as_it_vanishes)


def test_a_server_that_is_not_there(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:secret@127.0.0.1:9")
    with pytest.raises(
        StoreError, match=r"cannot use the store s3://.*check the network"
    ) as caught:
        Store(bucket, tmp_path).get_or_create("evidence", FIELDS, refuse)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


# --- notes ---------------------------------------------------------------------------------------


def test_a_note_is_seen_by_all_machines(machine):
    notes, others = machine().notes, machine("there").notes
    assert others.read("parts/1-of-2") is None
    notes.write("parts/1-of-2", "begun")
    notes.write("parts/1-of-2", "ended: αβγ")
    notes.write("parts/deep/c", "")
    notes.write("cluster/x", "")
    assert others.read("parts/1-of-2") == "ended: αβγ"
    assert others.read("cluster/x") == ""
    assert others.names("parts") == ["parts/1-of-2", "parts/deep/c"]
    assert others.names("nothing") == []
    others.remove("cluster/x")
    others.remove("cluster/x")
    assert notes.read("cluster/x") is None


def test_what_is_no_note_is_refused(machine, objects):
    notes = machine().notes
    for name in ("", "../out", "A", "a//b", ".hidden"):
        with pytest.raises(ValueError, match="no name for a note"):
            notes.write(name, "x")
    with pytest.raises(StoreError, match="at most 1048576 bytes"):
        notes.write("a", "x" * (2**20 + 1))
    for data in (b"\xff\xfe", b"x" * (2**20 + 1)):
        objects.write("v1/notes/a", data)
        with pytest.raises(StoreError, match="/v1/notes/a is no note; remove it"):
            notes.read("a")
    objects.write("v1/notes/NoName", b"")
    assert notes.names("a") == []


# --- looking and clearing up ---------------------------------------------------------------------


def test_sizes_of_both_tiers(machine, objects):
    assert machine().shared_size() == {}
    made = machine().get_or_create("activations", FIELDS, build)
    machine().sha256(Path(__file__))
    manifest = (made.path / "manifest.json").stat().st_size
    held = (1, len(GATE) + len("βlock".encode()) + manifest)
    assert machine().shared_size() == machine("there").shared_size() == {"activations": held}
    assert machine().size()["activations"] == held
    assert machine().size()["hashes"][0] == 1
    assert machine("there").size() == {}


def test_pruning_leaves_what_is_shared(machine):
    machine().get_or_create("activations", FIELDS, build)
    assert len(machine().prune(0)) == 1
    assert machine().size() == {}
    assert machine().get_or_create("activations", FIELDS, refuse)


# --- where it is ---------------------------------------------------------------------------------


def test_a_url_is_named_by_the_environment_and_kept_below_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PROVENANCE_STORE", "s3://bucket/prefix/")
    monkeypatch.setenv("PROVENANCE_STORE_CACHE", str(tmp_path / "named"))
    store = Store()
    assert (store.url, store.place) == ("s3://bucket/prefix", "s3://bucket/prefix")
    assert store.root.parent == tmp_path / "named"
    assert Store("s3://bucket/prefix").root == store.root
    assert Store("s3://bucket/other").root != store.root
    monkeypatch.delenv("PROVENANCE_STORE_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    assert Store().root.parent == tmp_path / "pytest-provenance" / "shared"


def test_a_folder_has_no_url(tmp_path):
    store = Store(tmp_path / "x")
    assert (store.url, store.place) == (None, str(tmp_path / "x"))
    assert store.shared_size() == {}
