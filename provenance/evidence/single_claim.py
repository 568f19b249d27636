"""One claim on one pair, judged as a suite of this one pair would be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.evidence.doubts import NAMES
from provenance.evidence.results import ClaimResult
from provenance.evidence.verdict import judge_pair
from provenance.suite.claims import Blocks, Claim
from provenance.suite.yaml12 import Mark

if TYPE_CHECKING:
    from provenance.evidence.records import Evidence
    from provenance.vocabulary import Relationship, StatisticName


def claim_of(
    expect: Relationship,
    statistic: StatisticName,
    alpha: float,
    *,
    cross: bool = False,
    exhaustive: bool = False,
    sample: int | None = None,
) -> Claim:
    """The claim that a suite of this one pair would make."""
    return Claim(
        id="compare",
        candidate=NAMES["candidate"],
        reference=NAMES["reference"],
        expect=expect,
        statistic=statistic,
        alpha=alpha,
        threshold=alpha,
        blocks=Blocks(cross=cross),
        tags=(),
        xfail=None,
        skip=None,
        mark=Mark(1, 1, 1, 1),
        exhaustive=exhaustive,
        sample=sample,
        kind="measured",
    )


def claim_on(
    evidence: Evidence, expect: Relationship, alpha: float, name: str, line: int = 1
) -> Claim:
    """A claim on the pair of some evidence that no suite holds, of any kind of kinship."""
    return Claim(
        id=name,
        candidate=evidence.candidate.source,
        reference=evidence.reference.source,
        expect=expect,
        statistic=evidence.statistic,  # type: ignore[arg-type]
        alpha=alpha,
        threshold=alpha,
        blocks=Blocks(cross=bool(evidence.cross)),
        tags=(),
        xfail=None,
        skip=None,
        mark=Mark(line, 1, line, 1),
    )


def judged(claim: Claim, evidence: Evidence) -> ClaimResult:
    """What the evidence says of the claim."""
    return ClaimResult("", claim, judge_pair(claim, evidence), evidence)


def holds(result: ClaimResult) -> bool:
    """Whether the claim holds: it neither fails nor is in doubt."""
    return result.judgement is not None and result.judgement.state == "holds"
