"""Exhibits of weights: the cosine of norm weights, and profiles of standard deviations along the depth.

Blocks of equal relative depth meet. Nothing is mapped: who argues with these numbers maps nothing either.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from provenance.errors import DegenerateError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch
    from numpy.typing import NDArray

    from provenance.differences.side import Side

__all__ = ["cosine", "likeness_of_profiles", "norm_cosine", "profile_likeness"]

LEAST_BLOCKS = 3
"""Points of a profile: the correlation of two points is 1 or -1 whatever they are."""
ELEMENTS = 1 << 20
"""Of a matrix, so many numbers or a few more in evenly spaced rows give its deviation to a thousandth."""
NORM = re.compile(r"(norm|(^|\.)ln)[^.]*\.weight$")


def norm_cosine(candidate: Side, reference: Side) -> tuple[float, int]:
    """Return the mean cosine of the norm weights that both models name alike, and of how many.

    A norm multiplies by its weight plus an offset, and so much is compared. Of norms of two widths the
    first coordinates of the wider are: those of strangers correspond to nothing in either case.

    Raises
    ------
    DegenerateError
        The two name no norm alike.
    """
    found = []
    for ours, theirs in _norms_met(candidate, reference):
        a, b = _gain(candidate, ours), _gain(reference, theirs)
        width = min(len(a), len(b))
        value = cosine(a[:width], b[:width])
        if value is not None:
            found.append(value)
    if not found:
        raise DegenerateError("the two have no norm weights under one name")
    return math.fsum(found) / len(found), len(found)


def cosine(a: torch.Tensor, b: torch.Tensor) -> float | None:
    """Return the cosine of two vectors; None where one of them is 0."""
    product = float(a.double() @ b.double())
    lengths = float(a.double().norm() * b.double().norm())
    return max(-1.0, min(1.0, product / lengths)) if lengths > 0 else None


def profile_likeness(candidate: Side, reference: Side) -> tuple[float, int]:
    """Return how alike the deviations of two models' matrices run along the depth, and of how many.

    Matrices outside of the MLPs that both models name alike, as HonestAGI compared those of attention
    (https://arxiv.org/abs/2507.03014): the mean over their names of `likeness_of_profiles`.

    Raises
    ------
    DegenerateError
        The two name no matrices alike in `LEAST_BLOCKS` blocks.
    """
    found = []
    count = 0
    for name in sorted(_locals(candidate) & _locals(reference)):
        ours, theirs = (_profile(side, name) for side in (candidate, reference))
        value = likeness_of_profiles(ours, theirs)
        if value is not None:
            found.append(value)
            count += len(ours) + len(theirs)
    if not found:
        raise DegenerateError(
            f"the two have no matrices outside of MLPs under one name in {LEAST_BLOCKS} blocks"
        )
    return math.fsum(found) / len(found), count


def likeness_of_profiles(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return Pearson's correlation of two curves along the depth, at as many points as the shorter has.

    None where either has fewer than `LEAST_BLOCKS` points or is constant.
    """
    points = min(len(a), len(b))
    if points < LEAST_BLOCKS:
        return None
    ours, theirs = (_at_points(curve, points) for curve in (a, b))
    ours, theirs = ours - ours.mean(), theirs - theirs.mean()
    sizes = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    scale = float(max(np.abs(a).max(), np.abs(b).max())) ** 2
    if sizes <= 1e-12 * scale * points:
        return None
    return max(-1.0, min(1.0, float(ours @ theirs) / sizes))


def _at_points(curve: Sequence[float], points: int) -> NDArray[np.float64]:
    """A curve at evenly spaced points, interpolated between its own."""
    places = np.linspace(0, len(curve) - 1, points)
    return np.interp(places, np.arange(len(curve)), np.asarray(curve, dtype=np.float64))


def _profile(side: Side, local: str) -> list[float]:
    """The deviation of one matrix in each block that has it, by depth."""
    blocks = sorted(block for block, name in side.names if name == local and block is not None)
    return [_deviation(side.read(side.names[block, local])) for block in blocks]


def _deviation(matrix: torch.Tensor) -> float:
    step = max(1, matrix.numel() // ELEMENTS)
    return float(matrix[::step].double().std())


def _locals(side: Side) -> set[str]:
    """Names of matrices within blocks."""
    return {
        local
        for (block, local), name in side.names.items()
        if block is not None and len(side.tensors.shape(name)) == 2
    }


def _norms_met(candidate: Side, reference: Side) -> Iterator[tuple[str, str]]:
    """Norm weights under one name, of blocks of equal relative depth, and of those outside of blocks."""
    depths = candidate.layout.trace.blocks, reference.layout.trace.blocks
    for (block, local), name in sorted(candidate.names.items(), key=lambda item: item[1]):
        if NORM.search(local) is None or len(candidate.tensors.shape(name)) != 1:
            continue
        theirs = reference.names.get((_facing(block, depths), local))
        if theirs is not None and len(reference.tensors.shape(theirs)) == 1:
            yield name, theirs


def _facing(block: int | None, depths: tuple[int, int]) -> int | None:
    """The reference's block at the relative depth of one of the candidate's."""
    if block is None or depths[0] == depths[1] or depths[0] < 2:
        return block
    return round(block * (depths[1] - 1) / (depths[0] - 1))


def _gain(side: Side, name: str) -> torch.Tensor:
    return side.read(name).float() + side.offset
