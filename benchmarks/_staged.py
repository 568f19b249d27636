"""A comparison of two checkpoints from their files to evidence, with the seconds of its stages."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import provenance

if TYPE_CHECKING:
    from pathlib import Path

    from provenance.vocabulary import ModelSpec, Stage


class StagedRun:
    """`provenance.compare` by `match`, each time with an empty store, which lies in ``scratch``."""

    def __init__(
        self,
        candidate: Path | ModelSpec,
        reference: Path | ModelSpec,
        inputs: provenance.InputsSpec,
        scratch: Path,
        *,
        cross: bool = False,
        device: str = "cpu",
    ) -> None:
        self._pair = candidate, reference
        self._inputs = inputs
        self._scratch = scratch
        self._cross = cross
        self._device = device
        self._marks: list[tuple[float, str]] = []

    def __call__(self) -> provenance.Evidence:
        """Compare the two."""
        self._marks = [(time.perf_counter(), "open")]
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            executor = provenance.Executor(provenance.Store(folder), self._device, self._tell)
            evidence = provenance.compare(
                *self._pair,
                inputs=self._inputs,
                statistic="match",
                cross=self._cross,
                exhaustive=self._cross,
                executor=executor,
            )
        self._marks.append((time.perf_counter(), "end"))
        return evidence

    def _tell(self, stage: Stage) -> None:
        self._marks.append((time.perf_counter(), stage.action))

    def stages(self) -> dict[str, float]:
        """Seconds of the last run by what was done."""
        spent: dict[str, float] = defaultdict(float)
        for (start, action), (end, _) in zip(self._marks, self._marks[1:], strict=False):
            spent[action] += end - start
        return dict(spent)
