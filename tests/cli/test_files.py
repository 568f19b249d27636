"""Where a command writes what it makes: whole files, or what stands for something else."""

import os
import threading

import pytest

from provenance import ProvenanceError
from provenance.cli._files import write
from provenance.store import files


def test_a_file_that_cannot_be_written_to_its_end_stays_as_it_was(tmp_path, monkeypatch):
    file = tmp_path / "results.json"
    write(file, "before")

    def full(_path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync", full)
    with pytest.raises(ProvenanceError, match="cannot be written: No space left on device"):
        write(file, "after")
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_stays_one_and_the_file_behind_it_is_written(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("before")
    link.symlink_to(file)
    write(link, "after")
    assert link.is_symlink()
    assert file.read_text() == "after"


def test_a_pipe_is_written_to(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write(pipe, "through")
    reader.join(10)
    assert read == ["through"]


def test_a_folder_that_is_missing_is_not_made(tmp_path):
    with pytest.raises(ProvenanceError, match="there is no folder"):
        write(tmp_path / "no" / "file", "text")
    assert list(tmp_path.iterdir()) == []
