"""A pytest plugin that records, after each claim, what its process holds: memory, hooks, files, threads.

Load with ``-p benchmarks._probe`` in workers of xdist; ``SOAK_SAMPLES`` names the folder of the samples.
"""

from __future__ import annotations

import gc
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from torch import nn
from torch.nn.modules import module as every

if TYPE_CHECKING:
    import pytest

FOLDER = "SOAK_SAMPLES"
LAST_PART = "[verdict]"


class Probe:
    """Takes a sample after each claim of a worker, and one when the worker ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process = psutil.Process()
        self._claims = 0

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Take a sample between tests, when a test has closed all that it opened."""
        if nodeid.endswith(LAST_PART):
            self._claims += 1
            self._write()

    def pytest_sessionfinish(self) -> None:
        """Take the last sample after a collection of garbage."""
        gc.collect()
        self._write(end=True)

    def _write(self, *, end: bool = False) -> None:
        sample = {
            "pid": self._process.pid,
            "claims": self._claims,
            "end": end,
            "rss": self._process.memory_info().rss,
            "descriptors": self._process.num_fds(),
            "threads": self._process.num_threads(),
            "temporary": sum(1 for _ in Path(tempfile.gettempdir()).rglob("*")),
            **_modules(),
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(sample) + "\n")


def _modules() -> dict[str, int]:
    """Count the modules that are alive, garbage included, and their hooks."""
    # by its type: isinstance would ask proxies, which may import what they stand for
    alive = [found for found in gc.get_objects() if issubclass(type(found), nn.Module)]
    hooks = sum(
        len(found.__dict__.get(name, ()))
        for found in alive
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    )
    everywhere = len(every._global_forward_hooks) + len(every._global_forward_pre_hooks)  # noqa: SLF001
    return {"modules": len(alive), "hooks": hooks + everywhere}


def pytest_configure(config: pytest.Config) -> None:
    """Watch the workers alone: the controller runs no model."""
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker is not None:
        path = Path(os.environ[FOLDER]) / f"{worker['workerid']}.jsonl"
        config.pluginmanager.register(Probe(path))
