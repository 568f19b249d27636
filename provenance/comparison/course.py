"""Which stage of how many a comparison is in: its models are opened, then each part is measured."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from provenance.statistics import REGISTRY
from provenance.vocabulary import StageNumber

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.comparison.plan import Comparison
    from provenance.vocabulary import Stage


class Course:
    """The stages of one comparison at a time, all known before it begins.

    Parts that weight files decide are not measured: then the number of stages is the most there can be.
    """

    def __init__(self) -> None:
        self._number: StageNumber | None = None
        self._parts: tuple[str, ...] = ()

    @contextmanager
    def of(self, comparison: Comparison, models: int) -> Iterator[Course]:
        """Follow a comparison of so many models inside the context, and afterwards the one before."""
        before = self._number, self._parts
        parts = sorted(
            REGISTRY[comparison.statistic].components(), key=lambda one: not one.reads_files
        )
        self._parts = tuple(
            one.name for one in parts if comparison.extent != "files" or one.reads_files
        )
        at_most = comparison.extent == "decided" and len(self._parts) > 1
        self._number = StageNumber(1, models + len(self._parts), at_most)
        try:
            yield self
        finally:
            self._number, self._parts = before

    def open(self, number: int) -> None:
        """Say that the model of this number is opened, from 1."""
        if self._number is not None:
            self._number = replace(self._number, number=number)

    def measure(self, part: str) -> None:
        """Say that a part of the statistic is measured."""
        if self._number is not None and part in self._parts:
            before = self._number.total - len(self._parts)
            number = before + self._parts.index(part) + 1
            self._number = replace(self._number, number=number)

    def numbered(self, stage: Stage) -> Stage:
        """A stage with its number; who waits for another process knows none."""
        return stage if stage.action == "wait" else replace(stage, number=self._number)
