"""Chooses partners for the blocks and experts of a sample by a likeness that costs little to read.

Of a block of the reference a few units are looked at, or the router of its experts. What is chosen so is
tested on all the reference's units. The p-value is corrected for all blocks and experts that could have
been chosen, so the choice costs no validity. A wrong choice costs power.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.functional import normalize

from provenance.statistics._directions import Glimpse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from provenance.architecture.units import LinearMap

SKETCHED = 128
"""Units of a block of the reference that are looked at, before it is chosen as a partner."""
SKETCHED_OF_EXPERT = 8
"""Units of an expert that are, where no router tells which experts are alike."""
HITS = 8
"""A likeness is the mean of so many units that are most alike."""
SURE = 0.5
"""Likeness from which no other partner is looked for. Strangers have 0.1 to 0.3, copies 0.9."""
PARTNERS = 2
"""Experts of the reference that are tested with one of the candidate's."""


def glimpse_of(gate: LinearMap, up: LinearMap, inputs: torch.Tensor | None) -> Glimpse:
    """Units by what they answer to inputs, or by their weights where there are none, of length 1 each.

    Parameters
    ----------
    gate, up : LinearMap
        Of some units.
    inputs : Tensor or None
        (tokens, hidden) float32, of mean 0.
    """
    rows = [
        one.weight.float() if inputs is None else one.weight.float() @ inputs.T
        for one in (gate, up)
    ]
    return Glimpse(normalize(rows[0], dim=1), normalize(rows[1], dim=1))


def hits(candidate: Glimpse, reference: Glimpse) -> float:
    """How like the most alike units of two MLPs are, by gate and by up at once: 0 to 1.

    A unit's nearest is the one that its gate *and* its up point at, as in
    `provenance.comparison.likeness`. Few of the units of either side are here, so that most units of a copy
    have no counterpart: the best few tell.
    """
    sizes = candidate.gate.shape, reference.gate.shape
    if not all(size[0] for size in sizes) or sizes[0][1] != sizes[1][1]:
        return 0.0
    gate = (reference.gate @ candidate.gate.T).abs_()
    up = (reference.up @ candidate.up.T).abs_()
    nearest = gate.mul_(up).amax(dim=1)
    best = nearest.nan_to_num().topk(min(HITS, max(1, len(nearest) // 4))).values
    return float(best.mean())


def routers_alike(candidate: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """How alike experts are by what their routers answer: correlations, (candidate, reference) float32.

    Parameters
    ----------
    candidate, reference : Tensor
        (experts, inputs) float32: what the routers answer to the same inputs.
    """
    rows = []
    for answers in (candidate, reference):
        # what all experts have in common chooses none of them
        apart = answers - answers.mean(dim=0)
        rows.append(normalize(apart - apart.mean(dim=1, keepdim=True), dim=1))
    return (rows[0] @ rows[1].T).nan_to_num()


def best_partner(likeness: Mapping[int, float], at: int | None) -> int:
    """The likeliest partner of a block; the one at its own index unless another is twice as like."""
    best = max(likeness, key=lambda block: (likeness[block], -block))
    if at is None or at not in likeness:
        return best
    return best if likeness[best] > 2 * likeness[at] else at


def best_experts(alike: Sequence[float], most: int = PARTNERS) -> list[int]:
    """The places of the likeliest experts, the likeliest first."""
    return sorted(range(len(alike)), key=lambda place: (-alike[place], place))[:most]
