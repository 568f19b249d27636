"""`csh`: the constrained test of two models' hidden activations (paper, section 2.2.2, phi_H).

`csu` on what a block's MLP units put out instead of on their weights: match units by the cosine of their
activations over the same tokens and correlate the matching with the identity.

What defeats it: permuting the MLP's units after training, flipping the signs of up rows (with down's
columns), any change of width. Rotating the residual stream does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.statistics._constrained import ConstrainedResult, constrained

if TYPE_CHECKING:
    import torch

    from provenance.architecture.units import MLPActivations, MLPUnits
    from provenance.vocabulary import Role

__all__ = ["ConstrainedResult", "csh"]


def csh(candidate: torch.Tensor, reference: torch.Tensor, *, seed: int = 0) -> ConstrainedResult:
    """Test whether two blocks' MLP units were trained independently.

    Parameters
    ----------
    candidate, reference : Tensor
        (tokens, units) activations on the same tokens, of equal shape: the input of *down*. The paper's
        text leaves it open and its public code takes the output of *up*; either is equivariant, so
        either makes an exact test.
    seed : int
        Of the random orders that keep index order and ties from mattering.

    Returns
    -------
    ConstrainedResult
        One-sided: only a correlation towards the identity counts.

    Raises
    ------
    DegenerateError
        If shapes differ, an activation is not finite, or fewer than 8 units vary in both models.

    Notes
    -----
    Null hypothesis: the two models were trained from independent random initialisations. As for `csu`,
    the matching is then uniformly random if the *reference*'s initialisation has exchangeable units and
    its training is equivariant to their permutation [1]_, Theorem 2. Tokens may be any that were chosen
    without regard to the order of its units. Blocks are independent of each other (Theorem 3), so Fisher
    combines them; `csu` and `csh` of one block share one permutation, and Fisher must not.

    Units constant over the tokens in either model are dropped from both.

    References
    ----------
    .. [1] Zhu, Ahmed, Kuditipudi, Liang. Independence Tests for Language Models. ICML 2025,
       arXiv:2502.12292, sections 2.1 and 2.2.2, Algorithms 2 and 3.
    """
    sides = [x.T if x.dim() == 2 else x for x in (candidate, reference)]  # (units, tokens)
    return constrained("csh", *sides, live=_varying, seed=seed)


def _varying(rows: torch.Tensor) -> torch.Tensor:
    varying: torch.Tensor = (rows != rows[:, :1]).any(dim=1)
    return varying


def prepare(side: MLPUnits, _role: Role, _seed: int) -> MLPActivations:
    """The activations of one side, for a side that meets several others."""
    return side.dense()


def csh_of_mlps(candidate: MLPUnits, reference: MLPUnits, *, seed: int = 0) -> ConstrainedResult:
    """`csh` of two blocks as the registry's statistics take them."""
    return csh(candidate.dense().up, reference.dense().up, seed=seed)
