"""Spreads jobs over the processor cores that this process may use.

Threads suffice: what takes time is done in torch and in hashlib, outside of the interpreter's lock.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from itertools import chain, islice
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from provenance.errors import release_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux says how much processor time a container may use."""

Arguments = ParamSpec("Arguments")
Job = TypeVar("Job")
Result = TypeVar("Result")

_turn = RLock()


def in_turn(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let one thread of this process at a time call a function, or any other that is so decorated.

    Work on a model uses all cores by itself, and changes what a process has one of: the number of torch's
    threads, warnings, half-imported libraries (transformers' lazy imports fail in two threads at once). So
    callers' threads take turns. The threads of `spread` call nothing that is decorated.
    """

    @wraps(function)
    def taking_turns(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        with _turn:
            return function(*arguments, **options)

    return taking_turns


def usable_cores() -> int:
    """How many threads this process should keep busy.

    What torch was told, where it is loaded, else ``OMP_NUM_THREADS``; without either, the cores that the
    process may run on. Workers of pytest-xdist share them. Never more than the cores, nor less than 1.
    """
    cores = _cores()
    wanted = _limit_torch(None) or _number(os.environ.get("OMP_NUM_THREADS", "")) or cores
    workers = _number(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "")) or 1
    return max(1, min(wanted, cores // workers))


def _cores() -> int:
    """Cores that the operating system, or the container's share of time, leaves to this process."""
    everywhere = os.cpu_count() or 1  # where the system knows no affinity: macOS, Windows
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else everywhere
    try:
        time, period = QUOTA.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores
    if not (time.isdigit() and period.isdigit() and int(period)):  # "max": all of it
        return cores
    return max(1, min(cores, -(-int(time) // int(period))))


def _number(text: str) -> int | None:
    """The first number of a list of them, as ``OMP_NUM_THREADS`` may be; None where it is none."""
    first = text.partition(",")[0].strip()
    return int(first) or None if first.isdecimal() else None


def spread(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    threads: int | None = None,
    *,
    too_much: Callable[[Exception], bool] | None = None,
) -> Iterator[Result]:
    """Do jobs side by side, and give their results in the order of the jobs.

    Parameters
    ----------
    function : callable
        Does one job. Several threads call it at once, and gradients are off or on in each by themselves.
    jobs : iterable
        Taken one by one, a few ahead of the results.
    threads : int, optional
        At most so many jobs run at once; `usable_cores` by default. 1: they run in this thread.
    too_much : callable, optional
        Whether an error may come of jobs that run at once. The job that met it is done again when the
        others have ended, and those behind it one by one.

    Yields
    ------
    object
        What `function` returned.

    Raises
    ------
    BaseException
        The error of the first job, in their order, that failed; or what interrupted this thread. Jobs that
        have not begun are dropped, and those that run are waited for.

    Notes
    -----
    Every job has one thread of torch, however many run at once and on whatever machine, so that its
    numbers are the same. A single job has all threads. At most twice `threads` jobs are taken whose
    results are not asked for yet.
    """
    workers = usable_cores() if threads is None else max(1, threads)
    rest = iter(jobs)
    first = list(islice(rest, 2))
    if len(first) < 2:
        yield from map(function, first)
    elif workers == 1:
        yield from (_on_one_thread(function, job) for job in chain(first, rest))
    else:
        yield from _pooled(function, chain(first, rest), workers, too_much)


def _on_one_thread(function: Callable[[Job], Result], job: Job) -> Result:
    before = _limit_torch(1)
    try:
        return function(job)
    finally:
        _limit_torch(before)


def _pooled(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    workers: int,
    too_much: Callable[[Exception], bool] | None,
) -> Iterator[Result]:
    before = _limit_torch(None)
    pool = ThreadPoolExecutor(workers, "provenance", _limit_torch, (1,))
    rest = iter(jobs)
    waiting: deque[tuple[Job, Future[Result]]] = deque()
    again: list[Job] = []
    try:
        while not again:
            free = 2 * workers - len(waiting)
            waiting.extend((job, pool.submit(function, job)) for job in islice(rest, free))
            if not waiting:
                break
            job, future = waiting.popleft()
            try:
                result = future.result()
            except Exception as error:
                if too_much is None or not too_much(error):
                    raise
                release_frames(error)
                again.append(job)
            else:
                yield result
            del future  # it keeps the error, or the result
    finally:  # an error, an interruption, or a caller who wants no more
        pool.shutdown(wait=True, cancel_futures=True)
        _limit_torch(before)  # what a thread sets, later threads inherit
    again += [job for job, _ in waiting]
    waiting.clear()
    yield from (_on_one_thread(function, job) for job in chain(again, rest))


def _limit_torch(threads: int | None) -> int | None:
    """Give torch so many threads in the thread that calls; how many it had. None: as many as it has."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "set_num_threads"):  # absent, or imported just now
        return None
    before: int = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    return before
