"""Seconds of what a device and the solver do, and a limit on all of it."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

import torch

from provenance.assignment import solve as assignment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Found = TypeVar("Found")

PARTS = ("solve", "settle", "settle_dense")
"""What of an assignment runs on the CPU, by its names in `provenance.assignment.solve`."""


def timed(run: Callable[[], Found], device: str) -> tuple[float, Found]:
    """Seconds of one run, the device's work included, and what it gave."""
    wait_for(device)
    start = time.perf_counter()
    found = run()
    wait_for(device)
    return time.perf_counter() - start, found


def wait_for(device: str) -> None:
    """Wait until a device has done all that it was given."""
    if device != "cpu":
        torch.cuda.synchronize(device)


class Solving:
    """How long assignments were solved, over all threads: ``seconds``, and ``count`` of what was solved."""

    def __init__(self) -> None:
        self.seconds, self.count = 0.0, 0
        self._lock = Lock()

    @contextmanager
    def watched(self) -> Iterator[Solving]:
        """Count while the ``with`` lasts."""
        originals = {name: getattr(assignment, name) for name in PARTS}
        for name, original in originals.items():
            setattr(assignment, name, self._counting(original, solves=name == "solve"))
        try:
            yield self
        finally:
            for name, original in originals.items():
                setattr(assignment, name, original)

    def _counting(self, part: Callable[..., Found], *, solves: bool) -> Callable[..., Found]:
        def counted(*arguments: object, **options: object) -> Found:
            start = time.perf_counter()
            try:
                return part(*arguments, **options)
            finally:
                spent = time.perf_counter() - start
                with self._lock:
                    self.seconds += spent
                    self.count += solves

        return counted


class OutOfTimeError(Exception):
    """A step was stopped because the time for all steps is over."""


class Budget:
    """Seconds for several steps, counted from when it is made; the last is stopped at their end."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left, at least 0."""
        return max(0.0, self._end - time.monotonic())

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Stop what runs in the context when the time is over; for the main thread, on POSIX.

        Raises
        ------
        OutOfTimeError
            When it is.
        """

        def stop(_number: int, _frame: object) -> None:
            raise OutOfTimeError

        before = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, max(self.left, 1e-3))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
