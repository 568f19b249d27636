"""Assignments that other processes solve are those that this one would find, or it finds them itself."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
import torch

from provenance.assignment import apart, solver
from provenance.assignment.apart import solving_apart
from provenance.assignment.solve import assign

pytestmark = pytest.mark.slow

SLOW = """
import pathlib, runpy, sys, time
while not pathlib.Path({there!r}).exists():
    time.sleep(0.01)
runpy.run_path({solver!r}, run_name="__main__")
"""


def similarity(m, n, seed=0):
    """Too large for the dense solver, and no two rows' best partners are surely different."""
    values = torch.randn(m, n, generator=torch.Generator().manual_seed(seed))
    return (values * 4).round() / 4 if seed % 2 else values  # ties, of every other one


MATRICES = [similarity(m, n, s) for s, (m, n) in enumerate([(300, 300), (300, 300), (280, 400)])]


@pytest.fixture
def here(monkeypatch):
    """Counts what this process solves itself."""
    solved = []

    def least(problem):
        solved.append(problem)
        return least_of_scipy(problem)

    least_of_scipy = solver.least
    monkeypatch.setattr(solver, "least", least)
    return solved


def stands(monkeypatch, text):
    """Let another program stand where the solver does."""
    monkeypatch.setattr(apart, "COMMAND", (sys.executable, "-c", text))


def children():
    return psutil.Process().children()


@pytest.mark.parametrize("processes", [1, 3])
def test_other_processes_find_the_same_to_the_bit(here, processes):
    alone = [assign(matrix) for matrix in MATRICES]
    solved = len(here)
    assert solved >= len(MATRICES)
    with solving_apart(processes), ThreadPoolExecutor(processes) as pool:
        found = list(pool.map(assign, MATRICES))
    assert len(here) == solved
    for one, other in zip(alone, found, strict=True):
        assert one.certificate.method == other.certificate.method == "sparse"
        for name in ("rows", "columns"):
            assert (getattr(one, name) == getattr(other, name)).all()
        for name in ("row_prices", "column_prices"):
            a, b = (getattr(x.certificate, name) for x in (one, other))
            assert (a == b).all()
        assert one.total == other.total


def test_a_process_starts_when_it_is_needed_serves_again_and_ends_with_the_context():
    before = set(children())
    with solving_apart(2):
        assert set(children()) == before
        assign(MATRICES[0])
        (process,) = set(children()) - before
        assign(MATRICES[2])
        assert set(children()) - before == {process}
    assert not process.is_running()


def test_no_more_processes_work_than_were_asked_for_and_the_rest_is_solved_here(
    here, monkeypatch, tmp_path
):
    there = tmp_path / "now"
    stands(monkeypatch, SLOW.format(there=str(there), solver=solver.__file__))
    before = set(children())
    with solving_apart(1), ThreadPoolExecutor(1) as pool:
        waits = pool.submit(assign, MATRICES[0])
        while not set(children()) - before:
            assert not waits.done()
        found = assign(MATRICES[2])
        assert here
        assert len(set(children()) - before) == 1
        there.touch()
        assert waits.result().total == assign(MATRICES[0]).total
    assert found.certificate.violation <= 1e-9


def test_this_process_goes_on_while_another_solves(here, monkeypatch, tmp_path):
    there = tmp_path / "now"
    stands(monkeypatch, SLOW.format(there=str(there), solver=solver.__file__))
    with solving_apart(1), ThreadPoolExecutor(1) as pool:
        waits = pool.submit(assign, MATRICES[0])
        there.touch()  # what the process waits for is done by a thread beside the one that asked it
        assert waits.result(timeout=120).certificate.method == "sparse"
    assert not here


@pytest.mark.parametrize(
    "text",
    [
        "raise SystemExit(1)",
        "print('welcome to this machine')",
        "import sys; sys.stdin.buffer.read(24); sys.stdout.buffer.write(bytes(16))",
        "import sys; sys.stdout.buffer.write(b'matching' + (300).to_bytes(8, 'little') + bytes(99))",
        "import nothing_of_this_name",
    ],
)
def test_what_fails_elsewhere_is_solved_here(here, monkeypatch, text):
    stands(monkeypatch, text)
    before = set(children())
    expected = assign(MATRICES[0])
    with solving_apart(1):
        found = assign(MATRICES[0])
        assert set(children()) == before
        solved = len(here)
        assign(MATRICES[0])  # and it is not tried again
        assert len(here) > solved
    assert (found.columns == expected.columns).all()


def test_where_no_process_can_be_started_it_is_solved_here(here, monkeypatch, tmp_path):
    monkeypatch.setattr(apart, "COMMAND", (str(tmp_path / "missing"),))
    with solving_apart(1):
        assert assign(MATRICES[0]).certificate.method == "sparse"
    assert here


def test_a_process_that_is_killed_between_two_problems_is_done_without(here):
    before = set(children())
    with solving_apart(1):
        first = assign(MATRICES[0])
        (process,) = set(children()) - before
        process.kill()
        psutil.wait_procs([process])
        assert not here
        again = assign(MATRICES[0])
        assert here
    assert (first.columns == again.columns).all()


def test_an_error_of_the_solver_is_the_same_in_either_process():
    impossible = solver.Problem(
        np.ones(2), np.zeros(2, np.int32), np.arange(3, dtype=np.int32), 3
    )  # two rows want one column
    with pytest.raises(ValueError, match="matching") as alone:
        solver.least(impossible)
    with solving_apart(1), pytest.raises(ValueError, match="matching") as elsewhere:
        apart.least(impossible)
    assert str(alone.value) == str(elsewhere.value)


def test_contexts_of_several_threads_end_in_any_order():
    before = set(children())
    begun, ended = threading.Event(), threading.Event()

    def first():
        with solving_apart(1):
            begun.set()
            assert ended.wait(120)
            return assign(MATRICES[0]).total

    with ThreadPoolExecutor(1) as pool:
        total = pool.submit(first)
        assert begun.wait(120)
        with solving_apart(1):
            mine = assign(MATRICES[0]).total
        ended.set()
        assert total.result() == mine
    assert set(children()) == before
