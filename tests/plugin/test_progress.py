"""What the command line tells while something takes long."""

import io
import re
import time
from importlib import import_module
from types import SimpleNamespace
from typing import get_args

import pytest
from tqdm import tqdm

from provenance._pace import Pace, clock_of
from provenance._quiet import quiet
from provenance.cli._progress import progress
from provenance.plugin.progress import VERBS, Progress
from provenance.vocabulary import Action, Stage, StageNumber

NODES = ["a.suite.yaml::x[block0]", "a.suite.yaml::x[verdict]", "a.suite.yaml::y", "t.py::test_z"]

STAGES = [Stage("load", "path:[red]x"), *(Stage("match", "a against b", i, 4) for i in range(5))]


def tell(**how):
    with progress(**how) as told:
        for stage in STAGES:
            told(stage)


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich's word for a terminal
    monkeypatch.setenv("COLUMNS", "100")


def test_a_terminal_shows_a_bar_and_takes_it_away_again(terminal, capsys):
    tell()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "match a against b" in shown.err
    assert "4/4" in shown.err
    assert shown.err.rstrip().endswith("\x1b[2K") or "\x1b[1A\x1b[2K" in shown.err


def test_a_total_that_is_unknown_is_none_that_is_made_up(terminal, capsys):
    with progress() as told:
        told(Stage("match", "a against b", 4, 4))
        told(Stage("load", "path:x"))  # the bar before had a total
        time.sleep(0.3)
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    loading = drawn[drawn.index("load path:x") :]
    assert "/" not in loading
    assert "0:00" in loading


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0:00"), (7, "0:07"), (750, "12:30"), (3723, "1:02:03"), (90000, "25:00:00")],
)
def test_a_duration_is_short(seconds, words):
    assert clock_of(seconds) == words


def test_the_pace_says_which_part_how_far_how_long_and_how_much_longer():
    clock = Clock()
    pace = Pace(clock)
    assert pace.text() == ""
    assert pace.see(Stage("audit", "a and b", 2, 12))
    assert pace.text() == "2/12, 0:00"
    assert pace.see(Stage("load", "a"))
    assert pace.text() == "3 of 12, 0:00"
    clock.now = 5
    assert pace.see(Stage("match", "a against b", 4, 16))  # some were known already
    assert not pace.see(Stage("match", "a against b", 4, 16))
    assert pace.text() == "3 of 12, 4/16, 0:05"
    clock.now = 11
    assert not pace.see(Stage("match", "a against b", 7, 16))
    assert pace.text() == "3 of 12, 7/16, 0:11, about 0:18 left"
    pace.see(Stage("match", "a against b", 16, 16))
    assert pace.text() == "3 of 12, 16/16, 0:11"
    pace.see(Stage("audit", "the plan", 12, 12))
    assert pace.place == (12, 12)
    pace.forget()
    assert (pace.text(), pace.see(Stage("audit", "the plan", 12, 12))) == ("", True)


def test_a_single_comparison_says_in_which_stage_it_is():
    clock = Clock()
    pace = Pace(clock)
    pace.see(Stage("match", "a against b", 4, 4, StageNumber(3, 5, at_most=True)))
    assert pace.text() == "stage 3 of up to 5, 4/4, 0:00"
    clock.now = 9
    assert pace.see(Stage("match", "a against b", 0, 4, StageNumber(4, 5)))
    clock.now = 11
    assert not pace.see(Stage("match", "a against b", 1, 4, StageNumber(4, 5)))
    assert pace.text() == "stage 4 of 5, 1/4, 0:11, about 0:06 left"  # at the pace of this one
    pace.place = (2, 3)
    assert pace.text() == "2 of 3, 1/4, 0:11, about 0:06 left"


def test_one_action_on_one_subject_is_another_stage_where_its_number_is_shown():
    pace = Pace(Clock())

    def matching(number, done=0):
        return Stage("match", "a against b", done, 4, number and StageNumber(number, 5))

    assert pace.see(matching(3))
    assert not pace.see(matching(3, 1))
    assert pace.see(matching(4))  # the next part of the statistic
    assert not pace.see(matching(4, 2))
    assert not pace.see(matching(None))  # nobody knows its number
    assert pace.see(Stage("load", "a", number=StageNumber(5, 5)))
    assert pace.see(matching(5))
    pace.place = (1, 3)  # of many pairs each has one line for what is done to it
    assert not pace.see(matching(4))


def test_a_log_has_a_line_for_every_part_of_a_statistic(capsys, monkeypatch):
    monkeypatch.setenv("CI", "true")
    with progress() as told:
        for number, done in ((3, 0), (3, 4), (4, 4), (4, 8), (5, 8), (5, 12)):
            told(Stage("match", "a against b", done, 12, StageNumber(number, 5)))
    assert capsys.readouterr().err.splitlines() == [
        f"provenance: match a against b (stage {number} of 5)" for number in (3, 4, 5)
    ]


def test_a_log_says_in_which_stage_a_comparison_is(capsys, monkeypatch):
    monkeypatch.setenv("CI", "true")
    with progress() as told:
        told(Stage("load", "a", number=StageNumber(1, 3)))
        told(Stage("wait", "a and b"))
        told(Stage("audit", "b", 0, 2))
        told(Stage("load", "b", number=StageNumber(1, 3)))
    assert capsys.readouterr().err.splitlines() == [
        "provenance: load a (stage 1 of 3)",
        "provenance: wait a and b",
        "provenance: audit b",
        "provenance: load b",
    ]


def test_a_terminal_of_pytest_says_at_which_claim_it_is(pytestconfig, monkeypatch):
    shown, drawn = Progress(pytestconfig, NODES), []
    terminal = SimpleNamespace(
        isatty=True,
        ensure_newline=lambda: None,
        rewrite=lambda line, erase: drawn.append(line),
        flush=lambda: None,
        _tw=SimpleNamespace(fullwidth=60),
    )
    monkeypatch.setattr(shown, "_terminal", terminal)
    monkeypatch.setattr(shown, "_notes", None)  # as in a run without workers
    monkeypatch.setenv("PYTEST_CURRENT_TEST", f"{NODES[2]} (setup)")
    shown(Stage("match", "a against b", 1, 4))
    assert drawn == ["  provenance: 2 of 3, 1/4, 0:00: matching a against b"]
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "elsewhere.py::test_x (call)")
    shown(Stage("convert", "x.gguf"))
    assert drawn[-1].endswith(": converting x.gguf")


def test_every_action_has_a_verb():
    assert set(VERBS) == set(get_args(Action))


@pytest.mark.parametrize("module", ["tqdm.auto", "tqdm", "huggingface_hub.utils"])
@pytest.mark.parametrize("where", [{}, {"file": None}, {"disable": False}])
def test_a_library_draws_no_bar_while_it_loads(module, where, capfd):
    with quiet(), quiet():
        assert list(import_module(module).tqdm(range(3), desc="tensors", **where)) == [0, 1, 2]
    assert capfd.readouterr() == ("", "")
    own = io.StringIO()
    with quiet():
        list(tqdm(range(3), file=own, desc="tensors"))
    assert "tensors" in own.getvalue()  # such as what a download is told by
    list(tqdm(range(3), desc="tensors"))
    assert "tensors" in capfd.readouterr().err


def test_a_long_name_leaves_room_for_the_pace(terminal, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    with progress() as told:
        told(
            Stage("match", f"{'a' * 60} against {'b' * 60}", 1, 4, StageNumber(3, 5, at_most=True))
        )
        time.sleep(0.3)
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    lines = [line for line in re.split(r"[\r\n]+", drawn) if line.strip()]
    assert lines
    assert all("match a" in line and "stage 3 of up to 5, 1/4, 0:00" in line for line in lines)
    assert max(map(len, lines)) <= 60


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
    tell()
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["provenance: load path:[red]x", "provenance: match a against b"]


def test_a_pipe_has_nothing(capsys):
    tell()
    assert capsys.readouterr().err == ""
