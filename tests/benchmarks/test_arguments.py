"""A wrong argument of a benchmark is one line, and nothing is measured or written."""

import argparse

import pytest

from benchmarks import curves, direction, kinds, merges, real, rivals, strangers
from benchmarks._arguments import at_least


def test_numbers_have_a_least():
    assert at_least(2)("2") == 2
    with pytest.raises(argparse.ArgumentTypeError, match="1 is less than 2"):
        at_least(2)("1")


@pytest.mark.parametrize(
    ("main", "asked", "says"),
    [
        (kinds.main, ["--folder", "models", "--bases", "0"], "0 is less than 1"),
        (merges.main, ["--folder", "models", "--bases", "-3"], "-3 is less than 1"),
        (curves.main, ["--output", "page.md", "--longest", "0"], "0 is less than 1"),
        (kinds.main, ["--folder", "models", "--bases", "two"], "invalid whole number value: 'two'"),
        (kinds.main, ["--folder", "models", "--large", "nowhere"], "nowhere holds no checkpoint"),
        (direction.main, ["--folder", "models", "--large", "."], "holds no checkpoint"),
        (real.main, ["kin", "nowhere"], "nowhere holds no smollm2: make it with"),
        (real.main, ["null", "nowhere"], "nowhere holds no smollm2 or gemma or"),
        (rivals.main, ["nowhere", "--folder", "work"], "nowhere holds no smollm2: make it with"),
        (strangers.main, ["nowhere"], "nowhere holds no smollm2 or gemma or"),
    ],
)
def test_a_wrong_argument_is_one_line(main, asked, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(asked)
    assert stopped.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert says in last
    assert not list(tmp_path.iterdir())
