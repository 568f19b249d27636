"""Where a command writes what it makes: whole files, or what stands for something else."""

import os
import threading

import pytest

from provenance import ProvenanceError
from provenance.cli import main
from provenance.cli._files import write
from provenance.store import files
from tests.support.gate_results import SUITE, small


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


COMMANDS = [
    ("summary", "{}"),
    ("report", "{}", "-o", "-"),
    ("graph", "{}", "--json"),
    ("graph", "{}", "--format", "json"),
    ("graph", "{}"),
    ("bom", "{}"),
    ("attest", "make", "{}"),
    ("explain", f"{SUITE}::a-vs-b", "--results", "{}"),
    ("verify", "{}", "--json"),
]


def called(capfd, *arguments):
    """Run the command; (exit code, stdout, stderr)."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code, *capfd.readouterr()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_results_are_named_by_their_file_or_by_its_folder(command, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / "results.json").write_text(small().to_json() + "\n")
    told = [
        called(capfd, *(word.format(path) for word in command))
        for path in ("evidence", "evidence/results.json")
    ]
    assert told[0] == told[1]
    assert (told[0][0] < 2, bool(told[0][1]), told[0][2]) == (True, True, "")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("place", ["empty", "absent", "nested/results.json"])
def test_a_folder_without_results_is_one_line_that_names_it(
    command, place, tmp_path, capfd, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "nested/results.json").mkdir(parents=True)
    code, out, err = called(capfd, *(word.format(place) for word in command))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert place in err


@pytest.mark.parametrize("option", ["-o", "--output"])
@pytest.mark.parametrize(
    "command",
    [*COMMANDS[:7], ("schema",), ("suite", "schema"), ("completion", "bash")],
    ids=" ".join,
)
def test_what_goes_to_stdout_goes_into_the_file_that_is_named(
    command, option, tmp_path, capfd, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results.json").write_text(small().to_json() + "\n")
    words = [word.format("results.json") for word in command]
    _, out, _ = called(capfd, *words)
    code, rest, _ = called(capfd, *words, option, "made")
    assert (code, rest) == (0, "made\n" if command[0] == "report" else "")
    assert (tmp_path / "made").read_text() == out


def test_two_formats_at_once_are_refused(capfd, tmp_path):
    (tmp_path / "results.json").write_text(small().to_json())
    code, _, err = called(capfd, "graph", tmp_path, "--json", "--format", "dot")
    assert (code, "--json and --format dot: choose one of them" in err) == (2, True)
