"""One pair of models judged as a user has it judged: the verdict at several thresholds, and the doubts."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from provenance import compare, decide
from provenance.errors import ProvenanceError
from provenance.evidence.decide import decide_blocks, judged_p
from provenance.evidence.doubts import LEAST_RANK, MOST_NEARNESS
from provenance.evidence.power import shortfall
from provenance.vocabulary import DEFAULT_ALPHA, ROLES

if TYPE_CHECKING:
    from pathlib import Path

    from provenance import Evidence, Executor, InputsSpec

THRESHOLDS = (DEFAULT_ALPHA, 0.001, 0.01, 0.05)
"""The default of `compare`, and those of the calibration."""

SMALL_P = "the p-value is between the threshold and 0.001, or a block's is below the threshold"
NEAR = f"nearness above {MOST_NEARNESS:g}"
RANK = f"inputs of effective rank below {LEAST_RANK:g}"
POWER = "the power control does not find a copy"
IN_PART = "a block could be tested in part only"
OTHER = "another doubt"


@dataclass(frozen=True)
class Judged:
    """What came of one pair.

    Attributes
    ----------
    verdicts
        The verdict by threshold, `f"{threshold:g}"`; "refused" where the pair was not compared.
    log10_p
        Of the p-value that the threshold is compared with; None where there is none.
    nearness, rank
        The greatest nearness of a block, the least effective rank of the inputs of a side.
    doubts
        Why the verdict at the default threshold is inconclusive, as named here.
    refusal
        The error of a pair that was refused.
    seconds
        Processor time.
    """

    verdicts: dict[str, str]
    log10_p: float | None = None
    nearness: float | None = None
    rank: float | None = None
    doubts: tuple[str, ...] = ()
    refusal: str | None = None
    seconds: float = 0.0

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Judged:
        """Read what `as_json` wrote."""
        return cls(**{**kept, "doubts": tuple(kept["doubts"])})

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    def at(self, threshold: float) -> str:
        """Return the verdict at one of `THRESHOLDS`."""
        return self.verdicts[f"{threshold:g}"]


def judge(candidate: Path, reference: Path, inputs: InputsSpec, executor: Executor) -> Judged:
    """Compare two checkpoints by the default statistic with the power control, as `compare` does."""
    begun = time.process_time()
    try:
        evidence = compare(candidate, reference, inputs=inputs, executor=executor)
    except ProvenanceError as error:
        refused = {f"{threshold:g}": "refused" for threshold in THRESHOLDS}
        return Judged(refused, refusal=str(error), seconds=time.process_time() - begun)
    return Judged(
        {f"{threshold:g}": decide(evidence, threshold) for threshold in THRESHOLDS},
        judged_p(evidence.blocks),
        max((b.nearness for b in evidence.blocks if b.nearness is not None), default=None),
        min(_ranks(evidence), default=None),
        _doubts(evidence),
        seconds=time.process_time() - begun,
    )


def _ranks(evidence: Evidence) -> list[float]:
    ranks = (evidence.details.get(f"{role}_rank") for role in ROLES)
    return [rank for rank in ranks if isinstance(rank, float)]


def _doubts(evidence: Evidence) -> tuple[str, ...]:
    """Name what makes the verdict at the default threshold inconclusive; nothing where it is not."""
    if decide(evidence, DEFAULT_ALPHA) != "inconclusive":
        return ()
    if decide_blocks(evidence.blocks, DEFAULT_ALPHA) == "inconclusive":
        return (SMALL_P,)
    found = {
        NEAR: any((b.nearness or 0.0) > MOST_NEARNESS for b in evidence.blocks),
        RANK: min(_ranks(evidence), default=math.inf) < LEAST_RANK,
        IN_PART: shortfall(evidence, evidence.blocks) is not None,
        POWER: any(not copy.found_at(DEFAULT_ALPHA) for copy in evidence.power.values()),
    }
    return tuple(name for name, holds in found.items() if holds) or (OTHER,)
