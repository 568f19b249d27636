"""What two blocks showed: the tests of their MLPs, by every statistic that was measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provenance.comparison.sides import NO_UNITS
from provenance.statistics.universal import beyond_universal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from provenance.comparison.sides import Matchings, Place, Tested
    from provenance.evidence.blocks import BlockEvidence, PartEvidence

Members = tuple[tuple[int, ...], tuple[int, ...]]
"""The MLPs that the candidate's, and the reference's, is joined of; see `Tested`."""


@dataclass(frozen=True)
class OfMLPs:
    """What the parts showed of two MLPs, in their order."""

    parts: tuple[PartEvidence, ...]

    @property
    def least(self) -> float | None:
        """The least p-value of all."""
        return min((p.log10_p for p in self.parts if p.log10_p is not None), default=None)

    def strongest(self) -> PartEvidence:
        """The part with it."""
        return min((p for p in self.parts if p.log10_p is not None), key=strength_of)

    def strength(self) -> tuple[float, float]:
        """A key that sorts what was tested, the strongest evidence first."""
        return strength_of(self.strongest())


class Meeting:
    """What two blocks showed: the numbers of all tests of their MLPs, and the strongest test."""

    def __init__(self) -> None:
        self.tests: dict[str, dict[Place, PartEvidence]] = {}
        self.members: dict[Place, Members] = {}
        self.inapplicable: set[str] = set()
        self.strongest: Tested | None = None
        self._place: Place = (0, 0)

    def add(self, part: str, tested: Mapping[Place, Tested], *, keep_units: bool) -> None:
        """Take the tests of one part, by the places of the MLPs."""
        self.tests[part] = {place: test.evidence for place, test in tested.items()}
        self.members |= {place: test.members for place, test in tested.items() if any(test.members)}
        if tested and not any(test.applies for test in tested.values()):
            self.inapplicable.add(part)
        for place, test in tested.items():
            if test.evidence.log10_p is None:
                continue
            if self.strongest is None or strength_of(test.evidence) < strength_of(
                self.strongest.evidence
            ):
                kept = test if keep_units else replace(test, survivors=NO_UNITS)
                self.strongest, self._place = kept, place

    def all(self) -> list[PartEvidence]:
        """Every test of two MLPs by any part."""
        return [test for tests in self.tests.values() for test in tests.values()]

    def places(self) -> list[Place]:
        """The pairs of MLPs that any part tested."""
        return list(dict.fromkeys(place for tests in self.tests.values() for place in tests))

    def tested(self, which: int) -> set[int]:
        """Places of the MLPs of one side, 0 for the candidate, that any part tested, alone or joined."""
        found: set[int] = set()
        for tests in self.tests.values():
            for place, test in tests.items():
                if test.log10_p is not None:
                    found |= {place[which], *self.members.get(place, ((), ()))[which]}
        return found

    def together(self, which: int) -> set[int]:
        """Places of the MLPs of one side that were tested as one."""
        return {at for members in self.members.values() for at in members[which]}

    def survivors(self) -> NDArray[np.int64]:
        """The units in both, by the strongest test, where they were kept."""
        return NO_UNITS if self.strongest is None else self.strongest.survivors

    def matchings_of(self, part: str, place: Place) -> Matchings | None:
        """Those of the strongest test, if it is that one."""
        strongest = self.strongest
        if strongest is None or (strongest.evidence.statistic, self._place) != (part, place):
            return None
        return strongest.matchings


def deciding_p(tested: Tested) -> float:
    """The log10 p-value of a test that may decide a block: of more agreement than universal units make."""
    test = tested.evidence
    if test.log10_p is None or test.correlation is None:
        return test.log10_p or 0.0
    return beyond_universal(test.log10_p, test.correlation, test.live, tested.units)


def strength_of(block: BlockEvidence | PartEvidence) -> tuple[float, float]:
    """A key that sorts what was tested, the strongest evidence first."""
    assert block.log10_p is not None
    return block.log10_p, -(block.correlation or 0.0)
