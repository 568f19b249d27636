"""What this process has taken: memory and processor time. Linux only."""

from __future__ import annotations

import resource
from pathlib import Path


def peak_bytes() -> int:
    """Return the most memory that this process has had.

    What `resource` says counts that of the process that started this one too.
    """
    status = Path("/proc/self/status").read_text("ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def processor_seconds() -> float:
    """Return the processor time of all threads, those of the system's calls included."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
