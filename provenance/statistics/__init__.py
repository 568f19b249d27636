"""The statistics, one a file, and the registry that finds them by name.

Importing this package imports no torch: a `Statistic` loads its module when it is first computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provenance.statistics.match import MatchResult, MLPActivations


class BlockTest(Protocol):
    """A test of one block of the candidate against one block of the reference."""

    def __call__(
        self, candidate: MLPActivations, reference: MLPActivations, *, seed: int = 0
    ) -> MatchResult:
        """Return the result, or raise `DegenerateError` where no test is defined."""


@dataclass(frozen=True)
class Statistic:
    """One entry of the registry.

    ``version`` is raised whenever the same input would give another number: stored evidence of an
    older version is computed again.
    """

    name: str
    version: int
    summary: str

    def load(self) -> BlockTest:
        """Import the module of this name and return its function of this name."""
        module = import_module(f"{__name__}.{self.name}")
        test: BlockTest = getattr(module, self.name)
        return test


REGISTRY: Mapping[str, Statistic] = {
    "match": Statistic(
        "match",
        version=1,
        summary="gate matching against up matching on activations (paper, 2.3.1)",
    ),
}
