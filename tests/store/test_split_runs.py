"""A suite split over runs that share a store: each entry is computed once, and the whole run finds it."""

import os
from collections import Counter

import pytest

from tests.support.suite_runs import finish, found, journal, start, write_suite

pytestmark = pytest.mark.slow

PARTS = [("--splits", "3", "--group", str(group)) for group in (1, 2, 3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_suite(tmp_path_factory.mktemp("suite"), 3)


@pytest.fixture(scope="module")
def alone(folder, tmp_path_factory, warm):
    """What one run finds without a split, and how many entries of each kind it computes."""
    out = tmp_path_factory.mktemp("alone")
    run(folder, out, python=warm / "python")
    return found(out), kinds(out)


def run(folder, out, *arguments, **how):
    running = start(folder, out, *arguments, **how)
    text = finish(running)
    assert running.returncode == 0, text


def kinds(out):
    return Counter(kind for kind, _ in journal(out))


def test_parts_at_once_compute_everything_once_and_the_whole_run_nothing(
    folder, alone, tmp_path, monkeypatch, warm
):
    pytest.importorskip("pytest_split", reason="pip install pytest-split")
    running = [start(folder, tmp_path, *part, python=warm / "python") for part in PARTS]
    texts = [finish(each) for each in running]
    assert [each.returncode for each in running] == [0] * len(PARTS), texts
    computed = journal(tmp_path)
    assert kinds(tmp_path) == alone[1]
    assert max(computed.values()) == 1
    without_torch = tmp_path / "hidden"
    without_torch.mkdir()
    (without_torch / "torch.py").write_text("raise ImportError('stored evidence needs none')\n")
    monkeypatch.setenv("PYTHONPATH", str(without_torch), prepend=os.pathsep)
    run(folder, tmp_path, "-n", "2")
    assert journal(tmp_path) == computed
    assert found(tmp_path) == alone[0]
