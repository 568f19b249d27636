"""What the command line tells while something takes long."""

import re

import pytest

from provenance.cli._progress import progress
from provenance.vocabulary import Stage

STAGES = [Stage("load", "path:[red]x"), *(Stage("match", "a against b", i, 4) for i in range(5))]


def tell(**how):
    with progress(**how) as told:
        for stage in STAGES:
            told(stage)


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich's word for a terminal
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("CI", raising=False)


def test_a_terminal_shows_a_bar_and_takes_it_away_again(terminal, capsys):
    tell()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "match a against b" in shown.err
    assert "4/4" in shown.err
    assert shown.err.rstrip().endswith("\x1b[2K") or "\x1b[1A\x1b[2K" in shown.err


def test_colours_respect_no_color(terminal, capsys, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    tell()
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", capsys.readouterr().err)


def test_names_are_text_and_not_markup(terminal, capsys):
    with progress() as told:
        told(STAGES[0])
    assert "path:[red]x" in capsys.readouterr().err


def test_quiet_is_quiet_on_a_terminal_and_in_a_log(terminal, capsys, monkeypatch):
    tell(quiet=True)
    monkeypatch.delenv("FORCE_COLOR")
    monkeypatch.setenv("CI", "true")
    tell(quiet=True)
    assert capsys.readouterr().err == ""


def test_a_log_of_a_ci_system_has_a_line_a_stage(capsys, monkeypatch):
    monkeypatch.setenv("CI", "true")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    tell()
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["provenance: load path:[red]x", "provenance: match a against b"]


def test_a_pipe_has_nothing(capsys, monkeypatch):
    for name in ("CI", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    tell()
    assert capsys.readouterr().err == ""
