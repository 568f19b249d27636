"""One suite, its tests split among processes that share a store: the store makes them one run."""

import os
from collections import Counter

import pytest

from tests.support.suite_runs import finish, found, journal, start, write_suite

HALVES = ("m2-vs-m1 or control", "not (m2-vs-m1 or control)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_suite(tmp_path_factory.mktemp("suite"), 3)


@pytest.fixture(scope="module")
def alone(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone")
    running = start(folder, out)
    text = finish(running)
    assert running.returncode == 0, text
    return found(out), Counter(kind for kind, _ in journal(out))


def test_split_tests_run_no_model_twice_and_the_whole_then_computes_nothing(
    folder, alone, tmp_path, monkeypatch
):
    halves = [start(folder, tmp_path, "-k", half) for half in HALVES]
    texts = [finish(running) for running in halves]
    assert [running.returncode for running in halves] == [0, 0], texts
    computed = journal(tmp_path)
    assert Counter(kind for kind, _ in computed) == alone[1]
    assert max(computed.values()) == 1
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "torch.py").write_text(
        "raise ImportError('stored evidence needs none')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hidden"), prepend=os.pathsep)
    whole = start(folder, tmp_path, "-n", "2")
    text = finish(whole)
    assert whole.returncode == 0, text
    assert found(tmp_path) == alone[0]
    assert journal(tmp_path) == computed
