"""Kinship beyond universal units, which models share that never met.

Models that were trained independently have some units that do the same, such as detectors of one token.
Gate and up match such units alike, and k of n of them raise the rank correlation by k / n. In a wide MLP
the same share makes the p-value of strangers as small as one likes.
"""

from __future__ import annotations

import math
from functools import lru_cache

from provenance.statistics.pvalues import ENUMERATED, log10_p_of_correlation

UNIVERSAL = 0.1
"""Share of an MLP's units that strangers may have in common.

Of GPT-2 models that differ by their seed, 1 to 5 % of the neurons are [1]_. Of four pretrained models of
three makers, at most 3.5 % of a block's units are matched alike, and 6.9 % between two sizes of one maker
(docs/calibration-real.md).

.. [1] Gurnee et al. Universal Neurons in GPT2 Language Models. arXiv:2401.12181.
"""

LEAST_PART = 0.25
"""A set of the strongest units (`match.SHARES`) has this share of the narrower side's, at the least.

Universal units are among the strongest. Half of what an MLP of 1,536 units does was done by 45, of which 19
were shared: they raised the correlation by 2.8 of its standard deviations, where all its units had 1.35. Of
a quarter of the units 19 make one deviation."""

_MOST_RANKED = 10**9
"""No MLP has more units; the t law is not evaluated for more."""


@lru_cache(maxsize=2**16)  # a verdict, its words and its report ask for the same
def beyond_universal(
    log10_p: float,
    correlation: float,
    live: tuple[int, int],
    units: tuple[int, int] | None = None,
) -> float:
    """Return the p-value of more agreement than universal units make.

    Parameters
    ----------
    log10_p : float
        log10 p of the test for any agreement, with all its prices (Bonferroni).
    correlation : float
        The rank correlation that was tested, in [-1, 1].
    live : tuple of int
        Units of the candidate and the reference that took part; the smaller number was ranked.
    units : tuple of int, optional
        Hidden units of both MLPs. Where their numbers differ, the ranked units may be the strongest ones
        (`match.SHARES`), and all universal units may be among them.

    Returns
    -------
    float
        log10 p, at least `log10_p` and at most 0, at the same prices. The null hypothesis is that
        `UNIVERSAL` of the units agree, and the others only by chance. The rank correlation is then
        distributed around that share instead of 0.
    """
    ranked = min(*live, _MOST_RANKED)
    if ranked <= 0:
        return log10_p
    most = ranked
    if units is not None and units[0] != units[1]:
        most = max(ranked, min(*units, math.floor(ranked / LEAST_PART)))
    shift = math.floor(UNIVERSAL * most) / ranked
    if not shift or ranked <= ENUMERATED:
        return log10_p
    shifted, plain = (
        log10_p_of_correlation(value, ranked)
        for value in (max(-1.0, correlation - shift), correlation)
    )
    price = max(0.0, log10_p - plain)
    return min(0.0, max(log10_p, shifted + price))
