"""`match`: the unconstrained test of two gated MLPs (paper, section 2.3.1, phi_MATCH).

Match the gate activations of two models, match their up activations, independently of each other. If
the models share no ancestor, the one matching says nothing of the other; if they do, both find the
same partner for a unit, wherever it has been moved. The one-sided Spearman correlation between the
two matchings gives the p-value.

Departures from the paper's public code, each of which mends a fault that it has:

* similarity is the cosine (the paper's Algorithm 2), not a squared Euclidean distance;
* *up* is matched by ``|cosine|``: ``up -> c up, down -> down / c`` with c < 0 leaves the function as it
  is. The gate has no such freedom, since SiLU and GELU are not odd;
* units that are dead (constant on these inputs) in gate or up are dropped: matched to each other they
  would agree by construction;
* both sides' units are renumbered at random first, gate and up alike, so that no solver's preference
  for an index order can look like kinship;
* with unequal widths every unit of the narrower side is matched, and gate and up are joined on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from provenance.assignment import assign
from provenance.errors import DegenerateError
from provenance.pvalues import spearman

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_UNITS = 8
"""Below this many live units a permutation has too little to say (8! = 40320)."""


@dataclass(frozen=True)
class MatchResult:
    """Evidence of kinship between two gated MLPs.

    Attributes
    ----------
    statistic : str
        "match".
    log10_p : float
        log10 of the one-sided p-value, at least ``-log10(n!)`` with n = ``min(live)``.
    correlation : float
        Spearman correlation between the two matchings.
    units, live : tuple of int
        Hidden units of the candidate and of the reference; those of them that took part.
    gate_matching, up_matching : ndarray
        (k, 2) int64: the pairs (candidate unit, reference unit) that each projection's optimal
        assignment makes, k = ``min(live)``, in the models' own numbering and in one row order.
    """

    statistic: str
    log10_p: float
    correlation: float
    units: tuple[int, int]
    live: tuple[int, int]
    gate_matching: NDArray[np.int64] = field(repr=False)
    up_matching: NDArray[np.int64] = field(repr=False)

    def agreeing(self) -> int:
        """Units that gate and up match to the same partner."""
        return len(self.survivors())

    def survivors(self) -> NDArray[np.int64]:
        """Units of the one block that are units of the other, by gate and up alike.

        Returns
        -------
        ndarray
            (k, 2) int64: pairs (candidate unit, reference unit), in the candidate's order, so that
            the second column says which units of a wider reference were kept and in which order.
        """
        same = (self.gate_matching == self.up_matching).all(axis=1)
        alike: NDArray[np.int64] = self.gate_matching[same]
        return alike[np.argsort(alike[:, 0])]


@dataclass(frozen=True)
class MLPActivations:
    """What one block's gate and up projections put out, each (tokens, units), one dtype and device."""

    gate: torch.Tensor
    up: torch.Tensor

    def live(self) -> torch.Tensor:
        """Indices of units that vary over the tokens in gate and in up, (k,) int64."""
        varies = [(x.amax(dim=0) > x.amin(dim=0)) for x in (self.gate, self.up)]
        return (varies[0] & varies[1]).nonzero().squeeze(1)


def match(candidate: MLPActivations, reference: MLPActivations, *, seed: int = 0) -> MatchResult:
    """Test whether two gated MLPs are independent.

    Parameters
    ----------
    candidate, reference : MLPActivations
        Activations on the same tokens; the widths may differ.
    seed : int
        Of the random renumbering of the units.

    Raises
    ------
    DegenerateError
        If activations are not finite, or fewer than `LEAST_UNITS` units are live on a side.

    Notes
    -----
    Null hypothesis: the two models were trained from independent random initialisations. Under it the
    p-value is uniform if the matchings of gate and of up are independent, which is the paper's
    conjecture for this statistic and not a theorem; docs/statistics.md says how it was measured.
    """
    _validate(candidate, reference)
    rng = np.random.default_rng(seed)
    chosen = [_renumbered(side, rng) for side in (candidate, reference)]
    gate = assign(cosine(candidate.gate[:, chosen[0]], reference.gate[:, chosen[1]]))
    up = assign(cosine(candidate.up[:, chosen[0]], reference.up[:, chosen[1]]).abs_())
    result = spearman(gate.partners, up.partners)
    ours, theirs = (indices.cpu().numpy() for indices in chosen)
    gate_pairs, up_pairs = (np.stack([ours[a.rows], theirs[a.columns]], axis=1) for a in (gate, up))
    return MatchResult(
        statistic="match",
        log10_p=result.log10_p,
        correlation=result.correlation,
        units=(candidate.gate.shape[1], reference.gate.shape[1]),
        live=(len(chosen[0]), len(chosen[1])),
        gate_matching=gate_pairs,
        up_matching=up_pairs,
    )


def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Cosines between the columns of two matrices, in float32.

    Parameters
    ----------
    a, b : Tensor
        (tokens, m) and (tokens, n), no zero column.

    Returns
    -------
    Tensor
        (m, n) float32.
    """
    return _unit_columns(a).T @ _unit_columns(b)  # (m, tokens) @ (tokens, n)


def _unit_columns(x: torch.Tensor) -> torch.Tensor:
    values = x.float()
    # the largest entry first: squares of fp16-sized activations neither overflow nor vanish
    values = values / values.abs().amax(dim=0).clamp_min(torch.finfo(torch.float32).tiny)
    unit: torch.Tensor = values / values.norm(dim=0)
    return unit


def _renumbered(side: MLPActivations, rng: np.random.Generator) -> torch.Tensor:
    live = side.live()
    order = torch.from_numpy(rng.permutation(len(live))).to(live.device)
    return live[order]


def _validate(candidate: MLPActivations, reference: MLPActivations) -> None:
    tokens = {x.shape[0] for side in (candidate, reference) for x in (side.gate, side.up)}
    if len(tokens) != 1:
        raise ValueError(f"activations must be on the same tokens, but have {sorted(tokens)} rows")
    for role, side in (("candidate", candidate), ("reference", reference)):
        if side.gate.shape != side.up.shape:
            raise ValueError(
                f"{role}: gate {tuple(side.gate.shape)} and up {tuple(side.up.shape)} must be equal"
            )
        for name in ("gate", "up"):
            if not bool(torch.isfinite(getattr(side, name)).all()):
                raise DegenerateError(f"the {role}'s {name} activations hold NaN or infinity")
    live = (len(candidate.live()), len(reference.live()))
    if min(live) < LEAST_UNITS:
        role, side = ("candidate", candidate) if live[0] < LEAST_UNITS else ("reference", reference)
        raise DegenerateError(
            f"{min(live)} of the {role}'s {side.gate.shape[1]} units vary over the inputs; "
            f"a test needs {LEAST_UNITS}",
            live,
        )
