"""Judges evidence against a claim's threshold. Needs no model and no torch.

The threshold of a claim is fixed by its file alone (`provenance.suite.Claim.threshold`), so a test's
colour never depends on which other tests were run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from provenance.pvalues import fisher, format_p
from provenance.vocabulary import DESCENTS, SHAPE_KEEPING, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.evidence import BlockEvidence, Evidence
    from provenance.suite import Claim

SUSPICION = 1e-3
"""An aggregate p-value below this and not below the threshold is neither: inconclusive."""

State = Literal["holds", "fails", "not required", "report", "not applicable"]


@dataclass(frozen=True)
class Judgement:
    """What became of one claim, or of one block of it.

    ``measured`` and ``meaning`` are sentences for a person who has not read the documentation.
    """

    state: State
    verdict: Verdict
    measured: str
    meaning: str


def decide(log10_p: float | None, threshold: float) -> Verdict:
    """Dependent below the threshold, independent from `SUSPICION` up, else inconclusive.

    Parameters
    ----------
    log10_p : float or None
        Aggregate p-value; None where nothing could be tested.
    threshold : float
        A p-value, in (0, 1).
    """
    if log10_p is None:
        return "inconclusive"
    if log10_p < math.log10(threshold):
        return "dependent"
    return "independent" if log10_p >= math.log10(min(SUSPICION, 1.0)) else "inconclusive"


def shows(block: BlockEvidence, threshold: float) -> bool:
    """Whether the block shows kinship."""
    return block.log10_p is not None and block.log10_p < math.log10(threshold)


def claimed_blocks(claim: Claim, evidence: Evidence) -> tuple[BlockEvidence, ...]:
    """The blocks that the claim speaks of."""
    wanted = claim.blocks.indices
    return tuple(b for b in evidence.blocks if wanted is None or b.candidate_block in wanted)


def aggregate(blocks: Sequence[BlockEvidence]) -> float | None:
    """Fisher's combination of the blocks that have a p-value, log10; None where none has."""
    log10_ps = [b.log10_p for b in blocks if b.log10_p is not None]
    return fisher(log10_ps) if log10_ps else None


def judge_block(claim: Claim, evidence: Evidence, index: int) -> Judgement:
    """Judge the candidate's block ``index``."""
    block = evidence.block(index)
    overall = decide(aggregate(claimed_blocks(claim, evidence)), claim.threshold)
    if block is None:
        return _absent_block(claim, evidence, index, overall)
    if block.log10_p is None:
        return Judgement(
            _unless_report(claim, "fails"),
            "inconclusive",
            _measured_block(block, claim, evidence),
            "This block could not be tested, so the claim is neither supported nor refuted by it.",
        )
    kin = shows(block, claim.threshold)
    state, meaning = _block_state(claim, kin)
    own: Verdict = "dependent" if kin else decide(block.log10_p, claim.threshold)
    return Judgement(state, own, _measured_block(block, claim, evidence), meaning)


def judge_pair(claim: Claim, evidence: Evidence) -> Judgement:
    """Judge the whole claim by the aggregate over its blocks."""
    blocks = claimed_blocks(claim, evidence)
    log10_p = aggregate(blocks)
    overall = decide(log10_p, claim.threshold)
    measured = _measured_pair(blocks, log10_p, claim, evidence)
    if claim.expect == "unknown":
        return Judgement("report", overall, measured, "Nothing is claimed of this pair.")
    if log10_p is None:
        return Judgement(
            "fails", overall, measured, "No block could be compared, so nothing was checked."
        )
    if claim.expect == "independent":
        return Judgement(
            "holds" if overall == "independent" else "fails",
            overall,
            measured,
            _INDEPENDENCE[overall],
        )
    objection = _objection(claim, evidence, blocks)
    if overall != "dependent" or objection:
        return Judgement("fails", overall, measured, objection or _NO_KINSHIP[overall])
    return Judgement("holds", overall, measured, _KINSHIP)


_KINSHIP = (
    "One of the two models descends from the other, or both from one ancestor: independently "
    "trained models agree like this only by a chance of that size."
)
_INDEPENDENCE: dict[Verdict, str] = {
    "independent": "Nothing distinguishes the pair from two independently trained models.",
    "dependent": "The claim of independence is false. " + _KINSHIP,
    "inconclusive": (
        "The agreement is too strong for independent models to be believed and too weak to prove "
        "descent: more tokens would decide."
    ),
}
_NO_KINSHIP: dict[Verdict, str] = {
    "dependent": _KINSHIP,
    "independent": (
        "Nothing distinguishes the pair from two independently trained models: "
        "the claimed descent is not there."
    ),
    "inconclusive": "The agreement is too weak to prove the claimed descent: try more tokens.",
}


def _block_state(claim: Claim, kin: bool) -> tuple[State, str]:  # noqa: FBT001
    if claim.expect == "unknown":
        return "report", "Nothing is claimed of this pair."
    if claim.expect == "independent":
        if kin:
            return "fails", "The claim of independence is false. " + _KINSHIP
        return "holds", _INDEPENDENCE["independent"]
    if kin:
        return "holds", _KINSHIP
    meaning = (
        "This block shows no kinship that could not be chance: the claimed descent is not here."
    )
    if claim.blocks.at_least is not None:
        share = f"{claim.blocks.at_least:.0%}"
        return "not required", f"{meaning} The claim asks for {share} of the blocks."
    return "fails", meaning


def _absent_block(claim: Claim, evidence: Evidence, index: int, overall: Verdict) -> Judgement:
    held = evidence.candidate.skipped.get(str(index))
    if held is not None and claim.blocks.indices is None:
        return Judgement(
            "not applicable", overall, f"block {index} has no gated MLP ({held})", "Not compared."
        )
    what = (
        f"it has no gated MLP ({held})"
        if held is not None
        else f"{claim.candidate} has {evidence.candidate.blocks} blocks, counted from 0"
    )
    return Judgement(
        "fails", overall, f"there is no block {index} to compare: {what}", "Nothing was checked."
    )


def _objection(claim: Claim, evidence: Evidence, blocks: Sequence[BlockEvidence]) -> str | None:
    """Why kinship alone does not make the claim true; None where it does."""
    if claim.expect == "identical" and evidence.candidate.digest != evidence.reference.digest:
        return "The two are kin, but their digests differ: they are not the same checkpoint."
    shape = _shape_objection(claim, evidence)
    if shape is not None:
        return shape
    wanted = claim.blocks.indices or ()
    missing = sorted(set(wanted) - {b.candidate_block for b in blocks})
    if missing:
        return f"The claim names blocks that could not be compared: {missing}."
    kin = sum(shows(b, claim.threshold) for b in blocks)
    needed = math.ceil((claim.blocks.at_least or 1.0) * len(blocks) - 1e-9)
    if kin < needed:
        return (
            f"The pair shares weights, but only {kin} of {len(blocks)} blocks show it and the claim "
            f"needs {needed}; `blocks:` says which must."
        )
    return None


def _shape_objection(claim: Claim, evidence: Evidence) -> str | None:
    candidate, reference = evidence.candidate, evidence.reference
    widths = [b for b in evidence.blocks if b.units[0] != b.units[1]]
    if claim.expect in SHAPE_KEEPING and (candidate.blocks != reference.blocks or widths):
        what = (
            f"{candidate.blocks} blocks where {reference.blocks} were"
            if candidate.blocks != reference.blocks
            else f"MLPs of {widths[0].units[0]} units where {widths[0].units[1]} were"
        )
        return (
            f"The two are kin, but {claim.expect!r} keeps a model's shape and {claim.candidate} has "
            f"{what}: `pruned` or `derived` would hold."
        )
    grown = candidate.blocks > reference.blocks or any(b.units[0] > b.units[1] for b in widths)
    if claim.expect == "pruned" and grown:
        return (
            f"The two are kin, but {claim.candidate} is the larger: are candidate and reference "
            "exchanged?"
        )
    return None


def _unless_report(claim: Claim, state: State) -> State:
    return "report" if claim.expect == "unknown" else state


def _measured_block(block: BlockEvidence, claim: Claim, evidence: Evidence) -> str:
    where = f"block {block.candidate_block}"
    if evidence.alignment != "same-index" or block.reference_block != block.candidate_block:
        where += f" (best partner: block {block.reference_block} of {claim.reference})"
    if block.log10_p is None:
        return f"{where}: {evidence.statistic} is not defined: {block.reason}"
    return (
        f"{where}: {evidence.statistic} correlation {block.correlation:+.3f}, "
        f"p = {format_p(block.log10_p)} (threshold {format_p(math.log10(claim.threshold))}), "
        f"{block.agreeing} of {min(block.live)} units matched alike by gate and by up"
    )


def _measured_pair(
    blocks: Sequence[BlockEvidence], log10_p: float | None, claim: Claim, evidence: Evidence
) -> str:
    kin = sum(shows(b, claim.threshold) for b in blocks)
    if log10_p is None:
        reasons = "; ".join(dict.fromkeys(b.reason for b in blocks if b.reason)) or "no block"
        return f"{evidence.statistic}: no block could be tested ({reasons})"
    return (
        f"{evidence.statistic} over {len(blocks)} blocks: p = {format_p(log10_p)} by Fisher "
        f"(threshold {format_p(math.log10(claim.threshold))}), {kin} of {len(blocks)} blocks show "
        "kinship"
    )


def describe(claim: Claim) -> str:
    """The claim as a sentence."""
    if claim.expect == "independent":
        return f"{claim.candidate} is independent of {claim.reference}"
    if claim.expect == "unknown":
        return f"nothing is claimed of {claim.candidate} and {claim.reference}"
    words = {
        "finetune": "a fine-tune",
        "adapter": "an adapter",
        "quantized": "a quantized copy",
        "merge": "a merge",
        "pruned": "a pruned copy",
        "permuted": "a permuted copy",
        "identical": "an identical copy",
        "derived": "derived from",
    }[claim.expect]
    link = "" if claim.expect in {"derived"} else " of"
    assert claim.expect in DESCENTS
    return f"{claim.candidate} is {words}{link} {claim.reference}"
