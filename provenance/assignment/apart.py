"""Lets processes of their own solve sparse problems, so that other threads of this one go on.

scipy's solver keeps the interpreter's lock while it works. A thread that feeds a GPU would wait for it, and
the GPU with the thread. Nothing else is gained: the processes run the very same code on the same numbers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from provenance.assignment import solver

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

COMMAND = (sys.executable or "", "-P", solver.__file__)
"""Starts a solver. Without ``-P`` its imports would look among the files of this folder first."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""A solver works on one thread, and numpy would make ready one for each core."""


class Solvers:
    """Processes that solve, each started when one is first needed.

    Parameters
    ----------
    most : int
        So many at most. A thread that finds all of them at work solves by itself.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: list[subprocess.Popen[bytes]] = []
        self._lock = Lock()

    def solve(self, problem: solver.Problem) -> NDArray[np.int64] | None:
        """Return what `provenance.assignment.solver.least` does; None where no process has done it."""
        process = self._take()
        if process is None:
            return None
        partners = None
        try:
            partners = _ask(process, problem)
        finally:
            self._give_back(process, is_well=partners is not None)
        return partners

    def close(self) -> None:
        """End the processes that are idle, and each of the others when it has solved its problem."""
        with self._lock:
            self._most = 0
            idle, self._idle = self._idle, []
        for process in idle:
            _end(process)

    def _take(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            if not self._most:
                return None
            self._most -= 1
        try:
            return subprocess.Popen(  # noqa: S603 - ours
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **ONE_THREAD},
            )
        except OSError:  # no more processes, or no interpreter of its own: not worth another try
            return None

    def _give_back(self, process: subprocess.Popen[bytes], *, is_well: bool) -> None:
        with self._lock:
            kept = is_well and self in _open
            if kept:
                self._idle.append(process)
        if not kept:
            process.kill()
            _end(process)


_open: list[Solvers] = []


@contextmanager
def solving_apart(most: int) -> Iterator[None]:
    """Let at most so many processes solve the sparse problems of this one while the ``with`` lasts.

    They are started when they are needed, and ended with the context. Where one cannot be started, or
    fails, its problem is solved in the thread that has it, whose error is then the solver's own.
    """
    solvers = Solvers(most)
    _open.append(solvers)
    try:
        yield
    finally:
        _open.remove(solvers)
        solvers.close()


def least(problem: solver.Problem) -> NDArray[np.int64]:
    """Solve a problem in another process where one may be asked, else in this thread.

    Returns and raises what `provenance.assignment.solver.least` does.
    """
    for solvers in _open[-1:]:
        partners = solvers.solve(problem)
        if partners is not None:
            return partners
    return solver.least(problem)


def _ask(process: subprocess.Popen[bytes], problem: solver.Problem) -> NDArray[np.int64] | None:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        solver.write_problem(problem, process.stdin)
        return solver.read_answer(process.stdout, len(problem.starts) - 1)
    except OSError:  # it has died
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close a process's input, at which it ends, and wait for it."""
    process.communicate()
