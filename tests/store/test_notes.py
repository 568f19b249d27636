from __future__ import annotations

import os
import threading

import pytest

from provenance.errors import StoreError
from provenance.store.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_a_note_is_what_was_written_last(store):
    assert store.notes.read("parts/1-of-2") is None
    store.notes.write("parts/1-of-2", "begun")
    store.notes.write("parts/1-of-2", "ended: αβγ")
    assert Store(store.root).notes.read("parts/1-of-2") == "ended: αβγ"


def test_names_are_those_below_a_prefix(store):
    assert store.notes.names("parts") == []
    for name in ("parts/b", "parts/a", "parts/deep/c", "cluster/x"):
        store.notes.write(name, "")
    assert store.notes.names("parts") == ["parts/a", "parts/b", "parts/deep/c"]


def test_a_removed_note_is_gone_and_removing_it_again_is_no_error(store):
    store.notes.write("a", "x")
    store.notes.remove("a")
    store.notes.remove("a")
    assert store.notes.read("a") is None


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../out", "a/../b", "A", "a//b", ".hidden"])
def test_a_name_cannot_lead_outside(store, name):
    with pytest.raises(ValueError, match="no name for a note"):
        store.notes.write(name, "x")


def test_notes_are_for_the_eyes_of_their_owner(store):
    umask = os.umask(0)
    try:
        store.notes.write("parts/a", "x")
    finally:
        os.umask(umask)
    for path in (store.root, *store.root.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_whoever_reads_while_others_write_sees_no_half(store):
    texts = [letter * 10000 for letter in "abcd"]
    store.notes.write("a", texts[0])
    writers = [
        threading.Thread(target=lambda t=text: [store.notes.write("a", t) for _ in range(20)])
        for text in texts
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert store.notes.read("a") in texts
    assert [path.name for path in (store.root / "v1" / "notes").iterdir()] == ["a"]


def test_a_store_that_cannot_be_written_says_so_in_one_line(store):
    store.root.mkdir()
    (store.root / "v1").write_text("in the way")
    with pytest.raises(StoreError, match="cannot use the store"):
        store.notes.write("a", "x")
