"""Which experts are worth a test, of blocks that have so many that all pairs would take hours.

The p-value that is reported is corrected for all pairs, tested or not: however the tested ones were chosen,
their least is no smaller than the least of all, so that the choice costs no validity, only, where it is
wrong, power.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

ALL = 16
"""Up to so many MLPs in the reference's block, each is tested against each."""

PARTNERS = 8
"""Of more, so many are tested for each MLP of the candidate, and for each statistic."""


def partners(
    ours: Sequence[torch.Tensor | None], theirs: Sequence[torch.Tensor | None]
) -> set[tuple[int, int]]:
    """Choose the pairs whose signatures are most alike.

    Parameters
    ----------
    ours, theirs : sequence of Tensor or None
        One signature an MLP, (s,) float32, all of one length; None where there is none.

    Returns
    -------
    set of (int, int)
        Places of the candidate's and of the reference's MLP. An MLP without a signature meets the
        first of the others, for its reason to be told.
    """
    a, b = (_standardised(side) for side in (ours, theirs))
    likeness = a @ b.T  # (ours, theirs)
    best = likeness.topk(min(PARTNERS, len(theirs)), dim=1).indices.tolist()
    return {(place, partner) for place, row in enumerate(best) for partner in row}


def _standardised(signatures: Sequence[torch.Tensor | None]) -> torch.Tensor:
    """Signatures less what all of a block have in common, each of length 1; zero where there is none."""
    known = [signature for signature in signatures if signature is not None]
    if not known:
        return torch.zeros(len(signatures), 1)
    mean = torch.stack(known).mean(dim=0)
    rows = [mean if signature is None else signature for signature in signatures]
    return torch.nn.functional.normalize(torch.stack(rows) - mean, dim=1).cpu()
