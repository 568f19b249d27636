"""What two descendants of one base have in common beyond it: how alike their differences from the base are.

The base and the reference are mapped onto the candidate, and the base is subtracted from both. What is left
was learned since. Its strongest directions are much alike in models that learned the same text, and say
little of descent. So they are taken out of both, and the cosine of what is left is looked at: the many weak
directions in which only the order of the training's batches moves a matrix. A copy has them; a sibling
does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from provenance.differences.merge import settle
from provenance.differences.spectrum import part_of
from provenance.differences.together import Together
from provenance.errors import DegenerateError
from provenance.evidence.given import GivenDifference
from provenance.vocabulary import BLOCKS_OF_DIFFERENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provenance.differences.side import Side

__all__ = ["beyond_base", "in_weak_directions"]

STRONG = 4
"""One of so many directions of either difference counts as strong, and is taken out of both."""
WEAK = 1e-3
"""Share of its size that a difference must keep without them: one of low rank keeps nothing."""
LOW = 0.1
"""The quantile of the matrices that is told beside their median."""


def beyond_base(
    candidate: Side,
    reference: tuple[Side, Mapping[int, int]],
    base: tuple[Side, Mapping[int, int]],
    *,
    most: int | None = BLOCKS_OF_DIFFERENCE,
    seed: int = 0,
    on_block: Callable[[int, int], None] | None = None,
) -> GivenDifference:
    """Compare the differences of two models from a base that both descend from.

    Parameters
    ----------
    candidate : Side
        One of the two.
    reference, base : (Side, mapping of int to int)
        The other, and the base, each with its block that each block of the candidate is kin to.
    most, seed, on_block
        As for `provenance.differences.measure.measure`.

    Raises
    ------
    DegenerateError
        If nothing can be mapped, or one of the two differs from the base in no matrix by full rank.
    """
    together = Together(candidate, [base, reference], most=most, seed=seed)
    generator = torch.Generator().manual_seed(seed % 2**63)
    settle(together)
    cosines: list[float] = []
    weak: list[tuple[float, float]] = []
    sums = np.zeros(4)
    for done, block in enumerate(together.blocks):
        if on_block is not None:
            on_block(done, len(together.blocks))
        for one in together.matrices(block):
            root, theirs = (other.double() for other in one.others)
            own, other = one.ours.double() - root, theirs - root
            products = _products(own, other)
            sums += [*products, float(root.square().sum())]
            if min(products[0], products[1]) <= 0:
                continue
            found = in_weak_directions(own, other, generator)
            if found is not None:
                weak.append(found)
                cosines.append(products[2] / (products[0] * products[1]) ** 0.5)
    if not weak:
        raise DegenerateError(
            "one of the two differs from the base in nothing that was looked at, or by a low rank alone"
        )
    return GivenDifference(
        cosine=float(np.median(cosines)),
        weak=float(np.median([cosine for cosine, _ in weak])),
        low=float(np.quantile([cosine for cosine, _ in weak], LOW)),
        kept=float(np.median([share for _, share in weak])),
        share=float(sums[2] / sums[1]),
        sizes=(float((sums[0] / sums[3]) ** 0.5), float((sums[1] / sums[3]) ** 0.5)),
        matrices=len(weak),
    )


def _products(own: torch.Tensor, other: torch.Tensor) -> tuple[float, float, float]:
    return float(own.square().sum()), float(other.square().sum()), float((own * other).sum())


def in_weak_directions(
    own: torch.Tensor, other: torch.Tensor, generator: torch.Generator
) -> tuple[float, float] | None:
    """Give the cosine of two matrices without the strong directions of either, and the share of the second.

    None where one of them keeps nothing.

    Parameters
    ----------
    own, other : Tensor
        (rows, columns), float64.
    generator : torch.Generator
        Chooses the rows and columns of a matrix that is too large.
    """
    own, other = part_of(torch.stack([own, other]), generator)
    strong = min(own.shape) // STRONG
    if strong < 1:
        return None
    left, right = [], []
    for one in (own, other):
        u, _, v = torch.linalg.svd(one, full_matrices=False)
        left.append(u[:, :strong])
        right.append(v[:strong].T)
    rows, columns = (torch.linalg.qr(torch.cat(both, dim=1))[0] for both in (left, right))
    kept = []
    for one in (own, other):
        rest = one - rows @ (rows.T @ one)
        rest = rest - (rest @ columns) @ columns.T
        if float(rest.norm()) <= WEAK * float(one.norm()):
            return None
        kept.append(rest)
    product, size = float((kept[0] * kept[1]).sum()), float(kept[1].norm())
    return product / (float(kept[0].norm()) * size), product / size**2
