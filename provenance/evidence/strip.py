"""The blocks of a claim as a strip of marks: which show kinship, at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.evidence.decide import shows

if TYPE_CHECKING:
    from provenance.evidence.results import ClaimResult

WIDTH = 12
"""Marks of a strip: where there are more blocks, a mark stands for several."""


@dataclass(frozen=True)
class Marks:
    """What stands for blocks all of which show kinship, some, none, and that have no test."""

    kin: str
    some: str
    free: str
    none: str


BLOCK_MARKS = Marks("■", "◧", "□", "·")
PLAIN_MARKS = Marks("#", "+", "-", ".")
"""For a terminal whose encoding has no squares."""


def strip(result: ClaimResult, marks: Marks = BLOCK_MARKS, width: int = WIDTH) -> str:
    """Draw the blocks that a claim is judged by, in the order of the candidate's.

    Returns
    -------
    str
        At most ``width`` marks; "" where no block was compared.

    Examples
    --------
    Of four blocks, the last of which shows no kinship: ``■■■□``.
    """
    found = [
        None if block.log10_p is None else shows(block, result.claim.thresholds)
        for block in sorted(result.blocks, key=lambda block: block.candidate_block)
    ]
    count = min(width, len(found))
    groups = (found[i * len(found) // count : (i + 1) * len(found) // count] for i in range(count))
    return "".join(_mark(group, marks) for group in groups)


def _mark(group: list[bool | None], marks: Marks) -> str:
    tested = [shown for shown in group if shown is not None]
    if not tested:
        return marks.none
    if all(tested):
        return marks.kin
    return marks.some if any(tested) else marks.free
