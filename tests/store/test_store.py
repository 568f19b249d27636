from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from provenance.errors import StoreError
from provenance.store import entry as _entries
from provenance.store.folder import StoreFolder
from provenance.store.store import Store, digest_of
from tests.support.places import ROOT as REPOSITORY

FIELDS = {"model": "a" * 64, "tokens": 4096, "nested": {"x": [1, 2.5, None, True]}}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def build(folder):
    (folder / "gate.bin").write_bytes(b"gate" * 1000)
    (folder / "blocks").mkdir()
    (folder / "blocks" / "0.txt").write_text("βlock")


def refuse(_folder):
    pytest.fail("built although it was there")


def python(program, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )


def as_another_process(monkeypatch):
    """Forget what this process has verified."""
    monkeypatch.setattr(_entries, "_verified", {})


def leftovers(store):
    tmp = store.root / "v1" / "tmp"
    return list(tmp.iterdir()) if tmp.exists() else []


# Keys


def test_digest_is_the_sha256_of_canonical_json():
    assert digest_of({"b": 1, "a": "é"}) == hashlib.sha256(b'{"a":"\\u00e9","b":1}').hexdigest()


def test_digest_depends_on_neither_order_nor_kind_of_sequence():
    assert digest_of({"a": [1, 2], "b": {"c": 1, "d": 2}}) == digest_of(
        {"b": {"d": 2, "c": 1}, "a": (1, 2)}
    )


@pytest.mark.parametrize("other", [{"a": 2}, {"a": "1"}, {"a": 1.0}, {"a": True}, {"b": 1}, {}])
def test_digest_tells_keys_apart(other):
    assert digest_of({"a": 1}) != digest_of(other)


@pytest.mark.parametrize(
    ("fields", "error"), [({"a": float("nan")}, ValueError), ({"a": Path()}, TypeError)]
)
def test_what_is_not_json_is_no_key(fields, error):
    with pytest.raises(error, match="JSON"):
        digest_of(fields)


def test_an_unknown_kind_is_refused(store):
    with pytest.raises(
        ValueError, match=r"'\.\./x' is no kind of entry; the kinds are activations"
    ):
        store.get("../x", FIELDS)


# Reading and building


def test_an_empty_store_has_nothing_and_makes_nothing(store):
    assert store.get("evidence", FIELDS) is None
    assert store.journal() == []
    assert store.size() == {}
    assert store.prune(0) == []
    assert not store.root.exists()


def test_what_is_built_is_read_back(store, monkeypatch):
    built = store.get_or_create("activations", FIELDS, build)
    as_another_process(monkeypatch)
    read = Store(store.root).get("activations", dict(reversed(FIELDS.items())))
    assert read == built
    assert read.names == {"gate.bin", "blocks/0.txt"}
    assert read.file("gate.bin").read_bytes() == b"gate" * 1000
    assert read.read_text("blocks/0.txt") == "βlock"
    assert read.fields == FIELDS
    digest = digest_of(FIELDS)
    assert read.path == store.root / "v1" / "activations" / digest[:2] / digest


def test_a_second_call_builds_nothing(store):
    first = store.get_or_create("evidence", FIELDS, build)
    assert store.get_or_create("evidence", FIELDS, refuse) == first
    assert len(store.journal()) == 1


def test_a_manifest_says_what_is_in_the_folder(store):
    entry = store.get_or_create("evidence", FIELDS, build)
    manifest = json.loads((entry.path / "manifest.json").read_text())
    created = manifest.pop("created")
    assert created.endswith("+00:00")
    assert manifest == {
        "schema": 1,
        "kind": "evidence",
        "fields": FIELDS,
        "files": {
            "gate.bin": {"size": 4000, "sha256": hashlib.sha256(b"gate" * 1000).hexdigest()},
            "blocks/0.txt": {"size": 6, "sha256": hashlib.sha256("βlock".encode()).hexdigest()},
        },
    }


def test_kinds_do_not_mix(store):
    store.get_or_create("evidence", FIELDS, build)
    assert store.get("activations", FIELDS) is None


def test_a_missing_file_is_a_key_error_that_lists_what_there_is(store):
    entry = store.get_or_create("evidence", FIELDS, build)
    with pytest.raises(KeyError, match=r"gate\.bin"):
        entry.file("../manifest.json")


def test_a_verified_entry_is_not_hashed_again(store, monkeypatch):
    store.get_or_create("evidence", FIELDS, build)
    monkeypatch.setattr(_entries, "file_sha256", None)
    assert store.get("evidence", FIELDS) is not None


def test_another_process_hashes_an_entry_once(store, monkeypatch):
    store.get_or_create("evidence", FIELDS, build)
    as_another_process(monkeypatch)
    hashed = []
    really = _entries.file_sha256
    monkeypatch.setattr(_entries, "file_sha256", lambda p: hashed.append(p.name) or really(p))
    assert store.get("evidence", FIELDS)
    assert store.get("evidence", FIELDS)
    assert sorted(hashed) == ["0.txt", "gate.bin"]


def test_the_journal_tells_what_was_computed(store):
    for tokens in (1, 2):
        store.get_or_create("evidence", {"tokens": tokens}, build)
        store.get("evidence", {"tokens": tokens})
    records = store.journal()
    assert [r["digest"] for r in records] == [digest_of({"tokens": t}) for t in (1, 2)]
    assert {(r["kind"], r["pid"]) for r in records} == {("evidence", os.getpid())}
    assert all(r["seconds"] >= 0 for r in records)
    assert records[0]["time"] <= records[1]["time"]


def test_half_a_line_in_the_journal_is_passed_over(store):
    store.get_or_create("evidence", FIELDS, build)
    with (store.root / "v1" / "journal.jsonl").open("a") as journal:
        journal.write('{"time": 12')
    assert len(store.journal()) == 1


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_the_folder_is_for_its_owner_alone(store):
    store.get_or_create("evidence", FIELDS, build)
    assert store.root.stat().st_mode & 0o777 == 0o700


# Failures while building


def test_what_build_raises_goes_on_and_leaves_nothing(store):
    def fail(folder):
        build(folder)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        store.get_or_create("evidence", FIELDS, fail)
    assert leftovers(store) == []
    assert store.journal() == []
    assert store.get("evidence", FIELDS) is None
    assert store.get_or_create("evidence", FIELDS, build)


def test_an_interrupted_build_leaves_nothing(store):
    def interrupt(folder):
        build(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.get_or_create("evidence", FIELDS, interrupt)
    assert leftovers(store) == []
    assert store.get_or_create("evidence", FIELDS, build)


def test_an_os_error_of_build_is_not_blamed_on_the_store(store):
    def fail(folder):
        (folder / "missing").read_bytes()

    with pytest.raises(FileNotFoundError):
        store.get_or_create("evidence", FIELDS, fail)


def test_build_may_not_write_a_manifest(store):
    with pytest.raises(StoreError, match=r"manifest.json is the store's own"):
        store.get_or_create(
            "evidence", FIELDS, lambda folder: (folder / "manifest.json").write_text("{}") and None
        )
    assert leftovers(store) == []


def test_build_may_not_write_a_link(store, tmp_path):
    with pytest.raises(StoreError, match="away is a link or a device; store plain files only"):
        store.get_or_create(
            "evidence", FIELDS, lambda folder: (folder / "away").symlink_to(tmp_path)
        )
    assert store.get("evidence", FIELDS) is None


def test_builds_may_need_other_entries(store):
    def outer(folder):
        inner = store.get_or_create("activations", FIELDS, build)
        (folder / "copy").write_text(inner.read_text("blocks/0.txt"))

    assert store.get_or_create("evidence", FIELDS, outer).read_text("copy") == "βlock"
    assert [record["kind"] for record in store.journal()] == ["activations", "evidence"]


# Entries that are not to be trusted


def truncate(entry):
    with entry.file("gate.bin").open("r+b") as file:
        file.truncate(100)


def flip_a_byte(entry):
    with entry.file("gate.bin").open("r+b") as file:
        file.write(b"X")


def edit_manifest(**changes):
    def edit(entry):
        path = entry.path / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    edit.__name__ = "edit_manifest_" + "_".join(changes)
    return edit


def drop_key(entry):
    path = entry.path / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["created"]
    path.write_text(json.dumps(manifest))


def escape(entry):
    """List a file outside, rightly described."""
    path = entry.path / "manifest.json"
    manifest = json.loads(path.read_text())
    (entry.path.parent / "outside").write_bytes(b"")
    manifest["files"]["../outside"] = {"size": 0, "sha256": hashlib.sha256().hexdigest()}
    path.write_text(json.dumps(manifest))


def link_a_file(entry):
    path = entry.file("gate.bin")
    real = entry.path.parent / "real"
    path.rename(real)
    path.symlink_to(real)


def link_a_folder(entry):
    folder = entry.path / "blocks"
    folder.rename(entry.path.parent / "real")
    folder.symlink_to(entry.path.parent / "real")


def link_the_entry(entry):
    real = entry.path.parent.parent / "real"
    entry.path.rename(real)
    entry.path.symlink_to(real)


def dangle(entry):
    link_the_entry(entry)
    (entry.path.parent.parent / "real").rename(entry.path.parent.parent / "gone")


def replace_by_a_file(entry):
    entry.path.rename(entry.path.parent.parent / "real")
    entry.path.write_text("not a folder")


def empty(entry):
    for name in (*entry.names, "manifest.json"):
        (entry.path / name).unlink()


def of_another_key(entry):
    """Put another key's perfect entry in its place."""
    store = Store(entry.path.parents[3])
    other = store.get_or_create("evidence", {"other": 1}, build)
    entry.path.rename(entry.path.parent / "aside")
    other.path.rename(entry.path)


SPOILERS = [
    truncate,
    flip_a_byte,
    lambda entry: entry.file("gate.bin").write_bytes(b"longer" * 1000),
    lambda entry: entry.file("gate.bin").unlink(),
    lambda entry: (entry.path / "foreign.bin").write_bytes(b""),
    lambda entry: (entry.path / "blocks" / "foreign.bin").write_bytes(b""),
    lambda entry: (entry.path / "manifest.json").unlink(),
    lambda entry: (entry.path / "manifest.json").write_text('{"schema": 1, "ki'),
    lambda entry: (entry.path / "manifest.json").write_bytes(b"\xff\xfe"),
    lambda entry: (entry.path / "manifest.json").write_text("[]"),
    lambda entry: (entry.path / "manifest.json").write_text("[" * 100_000),
    drop_key,
    edit_manifest(schema=2),
    edit_manifest(kind="activations"),
    edit_manifest(fields={}),
    edit_manifest(fields=None),
    edit_manifest(extra=1),
    edit_manifest(files={}),
    edit_manifest(files=None),
    edit_manifest(files={"gate.bin": None, "blocks/0.txt": None}),
    edit_manifest(files={"gate.bin": {"size": 4000}, "blocks/0.txt": {"size": 6}}),
    escape,
    link_a_file,
    link_a_folder,
    link_the_entry,
    dangle,
    replace_by_a_file,
    empty,
    of_another_key,
]


@pytest.mark.slow
@pytest.mark.parametrize("spoil", SPOILERS)
@pytest.mark.parametrize("same_process", [True, False])
def test_a_spoiled_entry_is_computed_again(store, monkeypatch, spoil, same_process):
    entry = store.get_or_create("evidence", FIELDS, build)
    spoil(entry)
    if not same_process:
        as_another_process(monkeypatch)
    assert store.get("evidence", FIELDS) is None
    assert not os.path.lexists(entry.path)
    assert store.get_or_create("evidence", FIELDS, build).read_text("blocks/0.txt") == "βlock"
    computed = [r for r in store.journal() if r["digest"] == digest_of(FIELDS)]
    assert len(computed) == 2
    assert leftovers(store) == []


def test_removing_a_linked_entry_leaves_what_it_led_to(store):
    entry = store.get_or_create("evidence", FIELDS, build)
    link_the_entry(entry)
    assert store.get("evidence", FIELDS) is None
    assert (entry.path.parent.parent / "real" / "gate.bin").exists()


def test_a_spoiled_entry_that_someone_mends_is_left_to_them(store):
    entry = store.get_or_create("evidence", FIELDS, build)
    truncate(entry)
    with store._local.lock(f"evidence-{entry.path.name}"):
        assert store.get("evidence", FIELDS) is None
    assert entry.path.exists()


# Many at once

RACE = """
import sys, time
from pathlib import Path
from provenance.store.store import Store

store, waited = Store(Path(sys.argv[1])), []

def build(folder):
    (folder / "x").write_text("done")
    time.sleep(0.5)

print("ready", flush=True)
while not Path(sys.argv[2]).exists():
    time.sleep(0.001)
entry = store.get_or_create("evidence", {"key": 1}, build, lambda: waited.append(1))
print(entry.read_text("x"), len(waited), flush=True)
"""


@pytest.mark.slow
def test_of_many_processes_one_builds_and_the_others_wait(store, tmp_path):
    go = tmp_path / "go"
    processes = [python(RACE, store.root, go) for _ in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    go.touch()
    outputs = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [output[0] for output in outputs] == ["done"] * 4
    assert {output[1] for output in outputs} <= {"0", "1"}
    assert len(store.journal()) == 1


def test_of_many_threads_one_builds(store):
    barrier, entries = threading.Barrier(4), []

    def run():
        barrier.wait()
        entries.append(store.get_or_create("evidence", FIELDS, build))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entries) == 4
    assert len(store.journal()) == 1


def test_who_waits_is_told_once(store):
    building, waiting, told = threading.Event(), threading.Event(), []

    def slow(folder):
        building.set()
        assert waiting.wait(60)
        build(folder)

    def wait():
        told.append(1)
        waiting.set()

    first = threading.Thread(target=store.get_or_create, args=("evidence", FIELDS, slow))
    first.start()
    assert building.wait(60)
    assert store.get_or_create("evidence", FIELDS, refuse, wait)
    first.join()
    assert told == [1]


def test_who_need_not_wait_is_told_nothing(store):
    store.get_or_create("evidence", FIELDS, build, lambda: pytest.fail("did not wait"))


KILLED = """
import sys, time
from pathlib import Path
from provenance.store.store import Store

def build(folder):
    (folder / "half").write_text("half")
    print("building", flush=True)
    time.sleep(600)

Store(Path(sys.argv[1])).get_or_create("evidence", {"key": int(sys.argv[2])}, build)
"""


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.fixture
def half_built(store):
    """Start processes that never end a build; none outlives the test."""
    processes = []

    def start(key):
        processes.append(python(KILLED, store.root, key))
        assert processes[-1].stdout.readline() == "building\n"
        return processes[-1]

    yield start
    for process in processes:
        if process.returncode is None:
            kill(process)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_run_after_a_killed_one_completes(store, half_built):
    kill(half_built(1))
    assert len(leftovers(store)) == 1
    assert store.get("evidence", {"key": 1}) is None
    entry = store.get_or_create("evidence", {"key": 1}, build)
    assert entry.names == {"gate.bin", "blocks/0.txt"}
    assert leftovers(store) == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_only_what_the_dead_left_is_swept(store, half_built):
    living, dead = half_built(1), half_built(2)
    kill(dead)
    assert len(leftovers(store)) == 2
    store.get_or_create("evidence", {"key": 3}, build)
    (left,) = leftovers(store)
    assert left.name.startswith(f"evidence-{digest_of({'key': 1})}.")
    assert (left / "half").exists()
    kill(living)
    store.prune(10**9)
    assert leftovers(store) == []


# Room


def fill(store, *keys):
    folders = []
    for age, key in enumerate(reversed(keys)):
        entry = store.get_or_create("evidence", {"key": key}, build)
        os.utime(entry.path / "manifest.json", (1e9 - age, 1e9 - age))
        folders.insert(0, entry.path)
    return folders


def test_size_counts_entries_and_bytes_by_kind(store):
    first, second = fill(store, 1, 2)
    store.sha256(Path(__file__))
    sizes = store.size()
    files = [f for folder in (first, second) for f in folder.rglob("*") if f.is_file()]
    assert sizes["evidence"] == (2, sum(f.stat().st_size for f in files))
    assert sizes["hashes"][0] == 1


def test_prune_removes_what_was_longest_unused(store):
    first, second, third = fill(store, 1, 2, 3)
    bytes_each = store.size()["evidence"][1] // 3
    assert store.get("evidence", {"key": 1})
    assert store.prune(2 * bytes_each + 10) == [second]
    assert store.prune(2 * bytes_each + 10) == []
    assert store.get("evidence", {"key": 2}) is None
    assert first.exists()
    assert third.exists()
    assert leftovers(store) == []


def test_prune_to_nothing_empties_the_store(store):
    assert store.prune(0) == []
    folders = fill(store, 1, 2, 3)
    assert store.prune(0) == folders
    assert store.size() == {}


def test_prune_removes_what_has_no_manifest(store):
    (folder,) = fill(store, 1)
    (folder / "manifest.json").unlink()
    assert store.prune(0) == [folder]


def test_prune_leaves_what_is_locked(store):
    first, second = fill(store, 1, 2)
    with store._local.lock(f"evidence-{first.name}"):
        assert store.prune(0) == [second]
    assert first.exists()


# Digests of files


def test_a_file_is_hashed_once(store, tmp_path, monkeypatch):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    assert store.sha256(file) == digest
    monkeypatch.setattr("provenance.store.store.file_sha256", None)
    link = tmp_path / "link"
    link.symlink_to(file)
    assert store.sha256(file) == store.sha256(link) == digest
    assert len(store.journal()) == 1


def test_a_changed_file_is_hashed_again_even_if_its_time_was_set_back(store, tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")
    status = file.stat()
    store.sha256(file)
    file.write_bytes(b"strange")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert store.sha256(file) == hashlib.sha256(b"strange").hexdigest()


def test_a_file_that_changes_while_it_is_read_has_no_digest(store, tmp_path, monkeypatch):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")

    def hash_and_append(path):
        with path.open("ab") as handle:
            handle.write(b"more")
        return "0" * 64

    monkeypatch.setattr("provenance.store.store.file_sha256", hash_and_append)
    with pytest.raises(StoreError, match="changed while it was read"):
        store.sha256(file)
    assert store.size() == {}


def test_a_file_that_is_not_there_has_no_digest(store, tmp_path):
    with pytest.raises(FileNotFoundError):
        store.sha256(tmp_path / "missing")


# Where it is


def test_the_environment_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("PROVENANCE_STORE", str(tmp_path / "named"))
    assert Store().root == tmp_path / "named"


def test_the_folder_is_the_users_cache_by_default(monkeypatch, tmp_path):
    monkeypatch.delenv("PROVENANCE_STORE", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    assert Store().root == tmp_path / "pytest-provenance"


def test_a_relative_folder_stays_where_it_was(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    store = Store(Path("here"))
    monkeypatch.chdir("/")
    assert store.root == tmp_path / "here"


@pytest.mark.parametrize("below", [".", "deeper"])
def test_a_file_in_the_way_is_one_line_that_says_what_to_do(tmp_path, below):
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / below)
    with pytest.raises(StoreError, match="set PROVENANCE_STORE to a folder that is") as caught:
        store.get_or_create("evidence", FIELDS, refuse)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "file") in str(caught.value)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_says_what_to_do(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match=r"Permission denied.*make it writable"):
        Store(tmp_path / "store").get_or_create("evidence", FIELDS, refuse)


def test_a_full_disk_says_what_to_do_and_leaves_nothing(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("provenance.store.store.seal", full)
    with pytest.raises(StoreError, match="No space left on device"):
        store.get_or_create("evidence", FIELDS, build)
    assert leftovers(store) == []
    assert store.get("evidence", FIELDS) is None


def test_a_folder_that_its_owner_moves_away_during_a_sweep_is_no_error(tmp_path, monkeypatch):
    from contextlib import contextmanager

    store = Store(tmp_path / "store")
    store.get_or_create("evidence", {"n": 1}, lambda folder: (folder / "a").write_text("1"))
    leftover = store.root / "v1" / "tmp" / "evidence-0.moved"
    leftover.mkdir()
    lock = StoreFolder.lock

    @contextmanager
    def acquired_when_its_owner_has_finished(self, name):
        with lock(self, name):
            leftover.rmdir()
            yield

    monkeypatch.setattr(StoreFolder, "lock", acquired_when_its_owner_has_finished)
    entry = store.get_or_create("evidence", {"n": 2}, lambda folder: (folder / "a").write_text("2"))
    assert entry.read_text("a") == "2"
