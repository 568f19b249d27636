"""The solver of sparse problems, here or as a process of its own that `assignment.apart` asks.

It imports nothing of this package, and no torch, so that such a process starts in a moment. It reads
problems from its standard input and writes matchings to its standard output, until there are no more.
"""

from __future__ import annotations

import signal
import struct
import sys
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MARK = b"matching"
"""What an answer begins with: whatever else writes to a process's output is told from it."""

_PROBLEM, _ANSWER = struct.Struct("<QQQ"), struct.Struct("<8sQ")


class Problem(NamedTuple):
    """A sparse matrix of costs, row by row, in which every row is to have a column of its own.

    Attributes
    ----------
    costs : numpy.ndarray of float64, shape (k,)
        None of them 0, which would be no pair.
    columns : numpy.ndarray of int32, shape (k,)
    starts : numpy.ndarray of int32, shape (m + 1,)
        Where each row's pairs begin, and their number.
    width : int
        Number of columns.
    """

    costs: NDArray[np.float64]
    columns: NDArray[np.int32]
    starts: NDArray[np.int32]
    width: int


def least(problem: Problem) -> NDArray[np.int64]:
    """Return every row's column in an assignment of least cost, (m,) int64.

    Raises
    ------
    ValueError
        If there is no assignment of all rows.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    graph = csr_array(
        (problem.costs, problem.columns, problem.starts),
        shape=(len(problem.starts) - 1, problem.width),
    )
    _, partners = min_weight_full_bipartite_matching(graph)
    return partners.astype(np.int64)


def write_problem(problem: Problem, stream: IO[bytes]) -> None:
    """Send a problem to a process."""
    stream.write(_PROBLEM.pack(len(problem.costs), len(problem.starts), problem.width))
    arrays = (problem.costs, problem.columns, problem.starts)
    stream.writelines(np.ascontiguousarray(values).data for values in arrays)
    stream.flush()


def read_answer(stream: IO[bytes], rows: int) -> NDArray[np.int64] | None:
    """Take a matching of so many rows from a process; None if it gave something else, or nothing."""
    head = stream.read(_ANSWER.size)
    if head != _ANSWER.pack(MARK, rows):
        return None
    data = stream.read(8 * rows)
    return np.frombuffer(data, np.int64) if len(data) == 8 * rows else None


def _read_problem(stream: IO[bytes]) -> Problem | None:
    head = stream.read(_PROBLEM.size)
    if len(head) < _PROBLEM.size:
        return None
    pairs, starts, width = _PROBLEM.unpack(head)
    costs = np.frombuffer(bytearray(stream.read(8 * pairs)), np.float64)
    columns, begins = (
        np.frombuffer(bytearray(stream.read(4 * size)), np.int32) for size in (pairs, starts)
    )
    return Problem(costs, columns, begins, width)


def _serve() -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # whoever asks is interrupted, and ends this process
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while (problem := _read_problem(source)) is not None:
        partners = least(problem)
        sink.write(_ANSWER.pack(MARK, len(partners)))
        sink.write(partners.data)
        sink.flush()


if __name__ == "__main__":
    _serve()
