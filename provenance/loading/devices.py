"""Which device to run on, and a lease on it that other processes respect.

A GPU is leased by a lock on a file, which the operating system releases when its holder dies. Worker
numbers would not do: pytest-xdist replaces a crashed ``gw1`` by a ``gw2``.
"""

from __future__ import annotations

import gc
import os
import re
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch
from filelock import FileLock, Timeout

from provenance.errors import DeviceError, ProvenanceError, release_frames
from provenance.store.files import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

POLL_SECONDS = 0.2
CGROUP = Path("/sys/fs/cgroup")
"""Where Linux says how much memory a container may use."""


def devices_for(requested: str) -> tuple[str, ...]:
    """Devices that satisfy a request: "auto", "cpu", "cuda" or "cuda:N".

    Raises
    ------
    DeviceError
        If the request is none of these, or names a GPU that is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = tuple(f"cuda:{index}" for index in range(count))
    if requested == "cpu" or (requested == "auto" and not gpus):
        return ("cpu",)
    if requested in {"auto", "cuda"} and gpus:
        return gpus
    if requested in gpus:
        return (requested,)
    name, _, index = requested.partition(":")
    if name != "cuda" or (index and not index.isdigit()):
        raise DeviceError(f"there is no device {requested!r}: use auto, cpu, cuda or cuda:N")
    have = f"only {count}" if count else "no"
    raise DeviceError(f"device {requested!r} was asked for and this machine has {have} usable GPU")


def free_bytes(device: str) -> int:
    """Memory that is free on a device: of a GPU its own, of the CPU the machine's, or the container's."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    limit, used = (_number(CGROUP / name) for name in ("memory.max", "memory.current"))
    return free if limit is None or used is None else min(free, limit - used)


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory, of a GPU or of the machine; libraries say so in words alone."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(text in str(error) for text in _NO_MEMORY)


_NO_MEMORY = ("DefaultCPUAllocator", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


@contextmanager
def lease(requested: str, locks: Path) -> Iterator[str]:
    """A device of the request, locked against other processes while the ``with`` lasts.

    The CPU is shared; of GPUs the first free one is taken, waiting where none is. Nothing is left on it
    by an interrupt, or by an error of ours.

    Raises
    ------
    DeviceError
        If there is no such device, or its memory was too small.
    """
    names = devices_for(requested)
    if names == ("cpu",):
        with _cleared("cpu"):
            yield "cpu"
        return
    lock, name = _first_free(names, locks)
    try:
        with _cleared(name):
            yield name
    finally:
        try:
            torch.cuda.empty_cache()
        finally:
            lock.release()


@contextmanager
def _cleared(device: str) -> Iterator[None]:
    """Free what an error holds on to; those that are no user's to mend keep it, for who debugs them."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, ProvenanceError) and not is_out_of_memory(error):
            raise
        _free(error)
        if isinstance(error, ProvenanceError):
            raise
        raise DeviceError(
            f"the memory of {device} is too small for this: let less be used at once (--memory, "
            "--provenance-memory), or use another device"
        ) from None
    except KeyboardInterrupt as error:
        _free(error)
        raise


def _free(error: BaseException) -> None:
    release_frames(error)
    gc.collect()  # the hooks of a model that is run from disk know it


def lock_name(device: str) -> str:
    """What the lock of a GPU is called: machines may share a folder, and processes see some GPUs alone."""
    host = re.sub(r"[^A-Za-z0-9.-]+", "-", socket.gethostname())
    index = int(device.partition(":")[2])
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    own = visible[index].strip() if visible != [""] and index < len(visible) else str(index)
    return f"device-{host}-cuda-{re.sub(r'[^A-Za-z0-9.-]+', '-', own)}.lock"


def _first_free(names: Sequence[str], locks: Path) -> tuple[FileLock, str]:
    make_folder(locks)
    while True:
        for name in names:
            lock = FileLock(locks / lock_name(name))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            return lock, name
        time.sleep(POLL_SECONDS)
