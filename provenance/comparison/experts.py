"""Chooses the experts that are worth a test, where testing all pairs of them would take hours.

The reported p-value is corrected for all pairs, tested or not. The least of those tested is no smaller than
the least of all, so the choice costs no validity. A wrong choice costs power. So it is made by what idle
units cannot steer: see `provenance.comparison.likeness`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.comparison.likeness import likeliest
from provenance.comparison.limits import PARTNERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.statistics import Glimpse


def partners(
    candidate: Sequence[Glimpse | None], reference: Sequence[Glimpse | None]
) -> list[tuple[int, int]]:
    """Choose the pairs whose units are most alike, by gate and up together.

    Parameters
    ----------
    candidate, reference : sequence of Glimpse or None
        One for each MLP; None where there is none.

    Returns
    -------
    list of (int, int)
        Places of the candidate's and of the reference's MLP: first each of the candidate's with its
        likeliest partner, then each with its second, and so on. An MLP without a glimpse has partners too,
        so that a test says why it has none.
    """
    ours, theirs = (
        [[] if one is None else [one] for one in side] for side in (candidate, reference)
    )
    ranked = likeliest(ours, theirs, threads=1)  # blocks are tested side by side already
    return [
        (place, order[rank])
        for rank in range(min(PARTNERS, len(theirs)))
        for place, order in enumerate(ranked)
    ]
