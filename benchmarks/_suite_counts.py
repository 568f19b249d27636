"""The verdicts of a run of suites, counted by what the claims say of the pairs.

Left out are claims about some blocks alone, whose verdicts say nothing of two models, and claims that are
known to be false (``xfail``).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Literal

from benchmarks._counts import Counted, disjoint

if TYPE_CHECKING:
    from provenance.evidence.results import ClaimResult, Results
    from provenance.suite.claims import Claim

    Truth = Literal["kin", "strangers"]


def counted(results: Results, what: str) -> tuple[Counted, ...]:
    """Return the verdicts by truth, statistic and threshold; ``what`` says what the pairs are."""
    groups: dict[tuple[Truth, str, float], list[ClaimResult]] = defaultdict(list)
    for result in results.claims:
        truth, claim = _truth(result.claim), result.claim
        measured = result.judgement is not None or result.error is not None
        if truth is not None and measured and claim.blocks.indices is None:
            groups[truth, claim.statistic, claim.threshold].append(result)
    return tuple(
        Counted(
            population=what,
            truth=truth,
            disjoint=disjoint((r.claim.candidate, r.claim.reference) for r in found),
            statistic=statistic,
            threshold=threshold,
            verdicts=dict(Counter(map(_verdict, found))),
        )
        for (truth, statistic, threshold), found in groups.items()
    )


def _truth(claim: Claim) -> Truth | None:
    if claim.expect == "unknown" or claim.xfail is not None:
        return None
    return "strangers" if claim.expect == "independent" else "kin"


def _verdict(result: ClaimResult) -> str:
    return "refused" if result.judgement is None else result.judgement.verdict
