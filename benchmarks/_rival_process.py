"""Run a command of another tool under limits of time and memory, and measure what it cost. Linux only."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_EVERY = 0.2
"""Seconds between two looks at a command."""

_KEPT = 1 << 20
"""Bytes of each output that are read: a tool may print without end."""

_RESIDENT = 0.01
"""Share of the files that other processes may keep in memory, where what a command reads can be told."""


Ended = Literal["exited", "time", "memory", "idle"]


@dataclass(frozen=True)
class Limits:
    """When a command is ended: by what its processes used, so that a busy machine ends nothing.

    Parameters
    ----------
    seconds
        Of the processor.
    memory
        Resident bytes.
    idle
        Seconds by the clock in which it used less than a hundredth of them: it hangs.
    """

    seconds: float
    memory: int
    idle: float = 300.0


@dataclass(frozen=True)
class Run:
    """What a command printed and cost.

    Parameters
    ----------
    ended
        ``exited``, or the limit that ended it.
    code
        The exit code; the negative number of a signal that ended it.
    seconds
        Of the processor, in the command and the children that it waited for.
    peak
        Most bytes resident at once in all of its processes; pages of mapped files count.
    read
        Bytes of the watched files that came into memory, with what the kernel read ahead; None where other
        processes kept them in memory, or the kernel does not tell.
    """

    ended: Ended
    code: int
    out: str
    err: str
    seconds: float
    peak: int
    read: int | None


def run(
    command: Sequence[str],
    limits: Limits,
    *,
    variables: Mapping[str, str],
    folder: Path,
    watched: Sequence[Path] = (),
) -> Run:
    """Run a command in a folder, as the leader of a process group that ends with it.

    Raises
    ------
    OSError
        If the command cannot be started.
    """
    evicted = _evict(watched)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with _started(command, variables, folder, out, err) as process:
            ended, peak = _watch(process.pid, limits)
            if ended != "exited":
                os.killpg(process.pid, signal.SIGKILL)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        read = _resident(watched) if evicted else None
        return Run(
            ended,
            process.returncode,
            _text(out),
            _text(err),
            used.ru_utime + used.ru_stime,
            peak,
            read,
        )


@contextmanager
def _started(
    command: Sequence[str],
    variables: Mapping[str, str],
    folder: Path,
    out: IO[bytes],
    err: IO[bytes],
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command, and leave nothing of its process group behind."""
    process = subprocess.Popen(  # noqa: S603 - a command of this module's callers
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        env=dict(variables),
        cwd=folder,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _watch(pid: int, limits: Limits) -> tuple[Ended, int]:
    """Return what ended a command, which is not waited for yet, and the peak of its memory."""
    peak, busy, since = 0, 0.0, time.monotonic()
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        resident, used = _using(pid)
        peak = max(peak, resident, _own_peak(pid))
        if peak > limits.memory:
            return "memory", peak
        if used > limits.seconds:
            return "time", peak
        now = time.monotonic()
        if used - busy > _AWAKE * limits.idle:
            busy, since = used, now
        elif now - since > limits.idle:
            return "idle", peak
        time.sleep(_EVERY)
    return "exited", peak


_AWAKE = 0.01


def _using(pid: int) -> tuple[int, float]:
    """Return the resident bytes and the processor seconds of a process and its descendants."""
    memory, seconds = 0, 0.0
    with suppress(psutil.Error):
        leader = psutil.Process(pid)
        for process in (leader, *leader.children(recursive=True)):
            with suppress(psutil.Error):
                memory += process.memory_info().rss
                seconds += sum(process.cpu_times()[:4])
    return memory, seconds


def _own_peak(pid: int) -> int:
    """Return the most bytes that were resident in the process itself, between two looks as well."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(x.split()[1]) << 10 for x in lines if x.startswith("VmHWM")), 0)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_KEPT).decode("utf-8", "replace")


def _evict(files: Sequence[Path]) -> bool:
    """Drop files from the kernel's cache; return whether that is where they were, and are no longer."""
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    left = _resident(files)
    return left is not None and left <= _RESIDENT * sum(file.stat().st_size for file in files)


def _resident(files: Sequence[Path]) -> int | None:
    """Return how many bytes of the files the kernel's cache holds, as ``fincore`` of util-linux counts."""
    command = ["fincore", "--bytes", "--noheadings", "--output", "RES", *map(str, files)]
    if not files:
        return None
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    return sum(map(int, found.stdout.split()))
