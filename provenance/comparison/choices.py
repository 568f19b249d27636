"""How many tests a p-value is corrected for: what might be tested counts, whether it was or not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provenance.statistics.pvalues import bonferroni

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from provenance.architecture.units import MLPShape
    from provenance.comparison.meeting import Members
    from provenance.evidence.blocks import BlockEvidence
    from provenance.evidence.records import Pairing


@dataclass(frozen=True)
class Choices:
    """What is chosen among, for the best to be kept.

    Attributes
    ----------
    candidate, reference : mapping of int to sequence of MLPShape
        The MLPs of each block of either model.
    pairing : str
        See `provenance.comparison.blocks.Scope`.
    """

    candidate: Mapping[int, Sequence[MLPShape]]
    reference: Mapping[int, Sequence[MLPShape]]
    pairing: Pairing

    def of_mlps(self, i: int, j: int, members: Iterable[Members]) -> int:
        """How many pairs of MLPs two blocks have, joined ones included where any test had such."""
        joined = list(members)
        candidate = len(self.candidate[i]) + any(ours for ours, _ in joined)
        reference = len(self.reference[j]) + any(theirs for _, theirs in joined)
        return candidate * reference

    def of_blocks(self, i: int, j: int) -> int:
        """What a pair of blocks costs; over all partners of a block the reciprocals add up to 1."""
        count = len(self.reference)
        if self.pairing == "same-index" or count == 1:
            return 1
        if self.pairing == "index-first" and i in self.reference:
            return 2 if i == j else 2 * (count - 1)
        return count


def corrected(block: BlockEvidence, tests: int) -> BlockEvidence:
    """Evidence of the best of so many tests."""
    assert block.log10_p is not None
    return replace(block, log10_p=bonferroni(block.log10_p, tests))
