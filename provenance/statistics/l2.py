"""`l2`: minus the Euclidean distance of two models' parameters (paper, section 2.2.1, phi_l2).

A distance has no null distribution of its own: `provenance.statistics.permtest` gives it a p-value.

What defeats it: any disguise that permutes, rotates or rescales (all distances are then those of
strangers), and enough training. It needs equal architectures.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from provenance.statistics._paired_parameters import distance, map_paired

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

__all__ = ["l2"]


def l2(candidate: Mapping[str, torch.Tensor], reference: Mapping[str, torch.Tensor]) -> float:
    r"""Return :math:`-\sum_l \lVert \theta_l - \theta'_l \rVert_2` over the parameters.

    It is at most 0; larger is more alike.

    Parameters
    ----------
    candidate, reference : mapping of str to Tensor
        Parameters by name, equal names and shapes, any dtype; the sums are in float64. Values may be
        loaded on access: each is asked for once, and no more than one pair is held.

    Raises
    ------
    ArchitectureError
        If names or shapes differ; the message lists up to three that do.
    DegenerateError
        If a parameter holds NaN or infinity.

    Notes
    -----
    Null hypothesis and assumptions are those of the permutation test [1]_, Algorithm 1. The sum is of
    distances, not of squares, as in the paper.

    References
    ----------
    .. [1] Zhu, Ahmed, Kuditipudi, Liang. Independence Tests for Language Models. ICML 2025,
       arXiv:2502.12292, section 2.2.1.
    """
    distances = map_paired(distance, candidate, reference)
    return 0.0 - math.fsum(distances.values())
