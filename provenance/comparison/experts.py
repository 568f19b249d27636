"""Chooses the experts that are worth a test, where testing all pairs of them would take hours.

The reported p-value is corrected for all pairs, tested or not. The least of those tested is no smaller than
the least of all, so the choice costs no validity. A wrong choice costs power.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

ALL = 16
"""Most MLPs in the reference's block of which each is tested against each."""

PARTNERS = 8
"""Partners that are tested for each MLP of the candidate, and for each statistic, where there are more."""


def partners(
    candidate: Sequence[torch.Tensor | None], reference: Sequence[torch.Tensor | None]
) -> set[tuple[int, int]]:
    """Choose the pairs whose signatures are most alike.

    Parameters
    ----------
    candidate, reference : sequence of Tensor or None
        One signature an MLP, (s,) float32, all of one length; None where there is none.

    Returns
    -------
    set of (int, int)
        Places of the candidate's and of the reference's MLP. An MLP without a signature meets the
        first ones of the reference, so that a test says why it has none.
    """
    a, b = (_standardised(side) for side in (candidate, reference))
    likeness = a @ b.T  # (candidate, reference)
    best = likeness.topk(min(PARTNERS, len(reference)), dim=1).indices.tolist()
    return {(place, partner) for place, row in enumerate(best) for partner in row}


def _standardised(signatures: Sequence[torch.Tensor | None]) -> torch.Tensor:
    """Signatures less their mean over the block, each of length 1; zero where there is none."""
    known = [signature for signature in signatures if signature is not None]
    if not known:
        return torch.zeros(len(signatures), 1)
    mean = torch.stack(known).mean(dim=0)
    rows = [mean if signature is None else signature for signature in signatures]
    return torch.nn.functional.normalize(torch.stack(rows) - mean, dim=1).cpu()
