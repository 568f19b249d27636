"""Judges claims by evidence. Needs no model and no torch.

The threshold of a claim is fixed by its file alone (`provenance.suite.read.Claim.threshold`), so a test's
colour never depends on which other tests were run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from provenance.checkpoints.folder import CONFIG
from provenance.evidence.decide import (
    believed,
    beyond,
    decide,
    decide_blocks,
    decide_p,
    decide_some,
    found_nothing,
    is_below,
    shows,
)
from provenance.evidence.doubts import doubts_of_models
from provenance.evidence.given_claims import given_doubt, given_objection, given_of, given_seen
from provenance.evidence.kind_claims import kind_doubt, kind_objection, kind_seen
from provenance.evidence.meaning import (
    KINSHIP,
    STRANGERS,
    WITHOUT_P,
    between,
    few_units,
    few_units_at,
    meaning,
    more_of,
    not_found,
)
from provenance.evidence.permutations import at_bound
from provenance.evidence.weights import WeightsRecord
from provenance.evidence.wording import (
    control_of_power,
    count,
    doubted,
    listed,
    measured_block,
    measured_models,
    measured_pair,
    names_of,
    not_compared,
    sample_of,
    shape_objection,
    share,
)
from provenance.statistics import PAIR_STATISTICS
from provenance.statistics.pvalues import bonferroni
from provenance.vocabulary import DEFAULT_ALPHA, DESCENTS, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.evidence.blocks import BlockEvidence
    from provenance.evidence.records import Evidence
    from provenance.suite.claims import Claim


JudgementState = Literal["holds", "warns", "fails", "not required", "report", "not applicable"]
Shortfall = Literal["refuted", "other-kinship", "too-few-blocks", "inconclusive", "not-checked"]
"""In what way a claim does not hold: a refuted one is false, of the others that is not known."""


@dataclass(frozen=True)
class Judgement:
    """What became of one claim, or of one block of it.

    ``measured`` and ``meaning`` are sentences for a person who has not read the documentation.
    """

    state: JudgementState
    verdict: Verdict
    measured: str
    meaning: str


def claimed_blocks(claim: Claim, evidence: Evidence) -> tuple[BlockEvidence, ...]:
    """Evidence of the blocks that are claimed."""
    wanted = claim.blocks.indices
    return tuple(b for b in evidence.blocks if wanted is None or b.candidate_block in wanted)


def judged_blocks(claim: Claim, evidence: Evidence) -> tuple[BlockEvidence, ...]:
    """Evidence of the blocks that a claim is judged by.

    Independence is of models, so that whatever was tested of them counts. A list leaves out what could
    not be tested.
    """
    if claim.expect != "independent":
        return claimed_blocks(claim, evidence)
    wanted = {b.candidate_block for b in claimed_blocks(claim, evidence)}
    return tuple(b for b in evidence.blocks if b.candidate_block in wanted or b.log10_p is not None)


def judge_block(claim: Claim, evidence: Evidence, index: int) -> Judgement:
    """Judge the candidate's block ``index``; see `judge_pair` for what holds of all blocks."""
    block = evidence.block(index)
    if block is None:
        return _absent_block(claim, evidence, index)
    return _as_suite_says(claim, _judge_present(claim, evidence, block), evidence, (block,))


def _judge_present(claim: Claim, evidence: Evidence, block: BlockEvidence) -> Judgement:
    measured = measured_block(block, claim, evidence)
    verdict = _block_verdict(block, claim, evidence)
    if claim.expect == "unknown":
        return Judgement("report", verdict, measured, _UNKNOWN)
    if claim.expect == "independent" and claim.given is not None:
        return Judgement("report", verdict, measured, f"All is claimed given {claim.given}.")
    if claim.expect == "identical" and _identical(evidence):
        return Judgement("holds", "dependent", measured, _sameness(evidence))
    if claim.expect == "independent" and block.log10_p is not None:
        return _independence(verdict, measured, claim, evidence, (block,))
    if verdict == "dependent":
        return Judgement("holds", verdict, measured, KINSHIP)
    meaning = _UNTESTED if block.log10_p is None else _no_kinship_in_block(claim, block)
    return Judgement(_required(claim), verdict, measured, meaning)


def judge_pair(claim: Claim, evidence: Evidence) -> Judgement:
    """Judge the whole claim over its blocks, and by what the two models are.

    A claim of independence holds only where every claimed block was tested and the verdict is
    independent; a claim of descent only where the verdict is dependent, enough blocks show it, and
    shapes and digests allow it. What is inconclusive fails, or warns where the claim says so.
    """
    if claim.expect == "independent" and claim.given is not None:
        return _as_suite_says(claim, _judge_beyond(claim, evidence), evidence)
    if evidence.statistic in PAIR_STATISTICS:
        return _as_suite_says(claim, _judge_models(claim, evidence), evidence)
    blocks = judged_blocks(claim, evidence)
    if _is_less_than_claimed(claim, evidence):
        verdict = decide_some(evidence, blocks, claim.thresholds)
        return Judgement("fails", verdict, measured_pair(blocks, claim, evidence), _SAMPLED)
    missing = _missing_blocks(claim, blocks)
    if missing:
        meaning = f"The claim names {listed(missing)}, which could not be compared."
        verdict = decide_some(evidence, blocks, claim.thresholds)
        return Judgement("fails", verdict, measured_pair(blocks, claim, evidence), meaning)
    return _as_suite_says(claim, _judge_over_blocks(claim, evidence, blocks), evidence, blocks)


def shortfall(claim: Claim, evidence: Evidence, verdict: Verdict) -> Shortfall:
    """Say in what way a claim that was judged with this verdict does not hold."""
    if claim.expect == "independent" and verdict == "dependent":
        return "refuted"
    if not _was_checked(claim, evidence):
        return "not-checked"
    if verdict == "dependent":
        objection = _objection_to_models(claim, evidence)
        return "too-few-blocks" if objection is None else "other-kinship"
    return "refuted" if verdict == "independent" else "inconclusive"


def _was_checked(claim: Claim, evidence: Evidence) -> bool:
    """Whether all was compared that the claim speaks of, or could be."""
    if evidence.statistic in PAIR_STATISTICS:
        return evidence.log10_p is not None
    blocks = judged_blocks(claim, evidence)
    return (
        not _is_less_than_claimed(claim, evidence)
        and any(b.log10_p is not None for b in blocks)
        and not _missing_blocks(claim, blocks)
    )


def _is_less_than_claimed(claim: Claim, evidence: Evidence) -> bool:
    """Whether a sample was compared where the claim speaks of all blocks, or of some by number."""
    if evidence.scope == "sampled":
        return claim.sample is None
    return evidence.sampled and claim.blocks.indices is None


def _as_suite_says(
    claim: Claim,
    judgement: Judgement,
    evidence: Evidence,
    blocks: Sequence[BlockEvidence] = (),
) -> Judgement:
    """Only warn of what is inconclusive, where the claim wants that and is not expected to fail.

    A claim of descent that nothing speaks for fails, though the statistic shows no independence either. A
    claim of independence is no less false for an alpha that hardly any kinship stays below.
    """
    lenient = claim.inconclusive == "warn" and claim.xfail is None
    if not lenient or judgement.state != "fails" or judgement.verdict != "inconclusive":
        return judgement
    nothing = found_nothing(evidence, blocks, claim.thresholds) and not (
        at_bound(evidence, claim.threshold) or doubts_of_models(evidence, threshold=claim.threshold)
    )
    if claim.expect in DESCENTS and nothing:
        return judgement
    usual = claim.threshold * max(1.0, DEFAULT_ALPHA / claim.alpha)
    if claim.expect == "independent" and decide(evidence, usual) == "dependent":
        meaning = f"{judgement.meaning} At alpha {DEFAULT_ALPHA:g} the models are kin."
        return replace(judgement, meaning=meaning)
    return replace(judgement, state="warns")


def _judge_over_blocks(
    claim: Claim, evidence: Evidence, blocks: Sequence[BlockEvidence]
) -> Judgement:
    verdict = decide_some(evidence, blocks, claim.thresholds)
    measured = measured_pair(blocks, claim, evidence)
    if not any(b.log10_p is not None for b in blocks):
        return Judgement("fails", verdict, measured, _UNCHECKED)
    if claim.expect == "unknown":
        return Judgement("report", verdict, measured, _unclaimed(verdict, claim, evidence, blocks))
    if claim.expect == "independent":
        return _judge_independence(claim, evidence, blocks, measured)
    if claim.expect == "identical" and _identical(evidence):
        return Judgement("holds", "dependent", measured, _sameness(evidence))
    if verdict != "dependent" or decide(evidence, claim.thresholds) != "dependent":
        return _no_kinship(verdict, measured, claim, evidence, blocks)
    return _as_claimed(claim, evidence, measured, _objection(claim, evidence, blocks))


def _as_claimed(
    claim: Claim, evidence: Evidence, measured: str, objection: str | None
) -> Judgement:
    """Judge a claim of two that are kin, by what speaks against this kind of kinship."""
    if objection is not None:
        return Judgement("fails", "dependent", measured, objection)
    doubt = kind_doubt(claim, evidence) or given_doubt(claim, evidence)
    if doubt is not None:
        return Judgement("fails", "inconclusive", measured, doubt)
    seen = kind_seen(claim, evidence), given_seen(claim, evidence)
    meaning = " ".join(filter(None, (KINSHIP, *seen)))
    return Judgement("holds", "dependent", measured, meaning)


def _judge_beyond(claim: Claim, evidence: Evidence) -> Judgement:
    """Judge a claim that two models are independent but for a base of both.

    They are kin by the base, so that their kinship refutes nothing.
    """
    blocks = claimed_blocks(claim, evidence)
    measured = (
        measured_pair(blocks, claim, evidence) if blocks else measured_models(claim, evidence)
    )
    sameness = _sameness(evidence)
    if sameness:
        return Judgement(
            "fails", "dependent", measured, f"The claim of independence is false. {sameness}"
        )
    found = given_of(claim, evidence).found
    seen = given_seen(claim, evidence)
    if decide(evidence, claim.thresholds) != "dependent":
        return Judgement("fails", "inconclusive", measured, _NOT_KIN)
    if found == "as siblings":
        return Judgement("holds", "dependent", measured, f"{seen} {_BY_BASE}")
    if found == "more":
        return Judgement("fails", "dependent", measured, f"The claim is false. {seen}")
    return Judgement("fails", "inconclusive", measured, given_doubt(claim, evidence) or seen)


def _judge_models(claim: Claim, evidence: Evidence) -> Judgement:
    """Judge a claim by a statistic of the whole models."""
    verdict = decide(evidence, claim.thresholds)
    measured = measured_models(claim, evidence)
    if claim.expect == "unknown":
        return Judgement("report", verdict, measured, _unclaimed(verdict, claim, evidence, ()))
    if claim.expect == "identical" and _identical(evidence):
        return Judgement("holds", "dependent", measured, _sameness(evidence))
    if evidence.log10_p is None:
        return Judgement("fails", verdict, measured, WITHOUT_P)
    if claim.expect == "independent":
        return _independence(verdict, measured, claim, evidence)
    if verdict != "dependent":
        return _no_kinship(verdict, measured, claim, evidence)
    return _as_claimed(claim, evidence, measured, _objection_to_models(claim, evidence))


_AGAINST: tuple[Verdict, ...] = ("independent", "not found", "inconclusive", "dependent")
"""The verdicts, the one that speaks most against independence last."""
_CHOSEN = (
    "Among as many blocks as were tested, one or another looks like that by chance: over all of them the "
    "agreement is too weak to prove the claimed descent."
)
_BY_BASE = "They are kin by the base, and no descent of one from the other is seen."
_NOT_KIN = (
    "The two are not found kin, so that there is nothing to share beyond a base. Without `given` their "
    "independence is claimed."
)
_UNKNOWN = "Nothing is claimed of this pair."
_IDENTICAL = "The two have one digest: they are the same checkpoint."
_UNTESTED = "This block could not be tested, so it neither supports nor refutes the claim."
_UNCHECKED = "No block could be compared, so nothing was checked."
_SAMPLED = (
    "Only a sample of the blocks was compared, as an audit's screen does, and the claim speaks of all "
    "of them."
)
_INDEPENDENCE: dict[Verdict, str] = {
    "independent": STRANGERS,
    "not found": "Nothing distinguishes the sample from one of two independently trained models.",
    "dependent": "The claim of independence is false. " + KINSHIP,
}
_NO_DESCENT = (
    "Nothing distinguishes the pair from two independently trained models: "
    "the claimed descent is not there."
)
_NOTHING_IN_BLOCK = (
    "This block shows no kinship that could not be chance: the claimed descent is not here."
)
_WEAK = "The agreement is too weak to prove the claimed descent"


def _unclaimed(
    verdict: Verdict, claim: Claim, evidence: Evidence, blocks: Sequence[BlockEvidence]
) -> str:
    """What the verdict means, and why it is no clearer, though nothing was claimed."""
    means = meaning(evidence, verdict, claim.thresholds, names_of(claim), blocks)
    return f"{_UNKNOWN} {means}"


def _same_checkpoint(evidence: Evidence) -> bool:
    candidate, reference = evidence.candidate, evidence.reference
    # of fingerprints no weights were seen
    return candidate.digest == reference.digest and candidate.claimed is None


def _identical(evidence: Evidence) -> bool:
    weights = evidence.weights
    return _same_checkpoint(evidence) or (weights is not None and weights.identical)


def _sameness(evidence: Evidence) -> str:
    """That the two have the same weights, in a sentence; empty where they have not."""
    if _same_checkpoint(evidence):
        return _IDENTICAL
    if evidence.weights is not None:
        return evidence.weights.words()
    ours, theirs = evidence.candidate.weights_digest, evidence.reference.weights_digest
    is_same = ours is not None and ours == theirs  # evidence of older versions has no more
    return WeightsRecord("same", settings=(CONFIG,)).words() if is_same else ""


def _is_narrowed(claim: Claim, evidence: Evidence) -> bool:
    """Whether weights were rounded to fewer bits, which a quantized copy may be."""
    weights = evidence.weights
    return claim.expect == "quantized" and weights is not None and weights.relation == "rounded"


def _required(claim: Claim) -> JudgementState:
    """What it is for one block not to show a claim."""
    descent = claim.expect in DESCENTS
    return "not required" if descent and claim.blocks.at_least is not None else "fails"


def _block_verdict(block: BlockEvidence, claim: Claim, evidence: Evidence) -> Verdict:
    if block.log10_p is None:
        return "inconclusive"
    if shows(block, claim.thresholds):
        return "dependent"
    if is_below(block, claim.thresholds.of(block.candidate_block)):  # by universal units
        return "inconclusive"
    # a suspicion is shared among the blocks: of many independent ones, some look a little alike
    tested = sum(b.log10_p is not None for b in judged_blocks(claim, evidence))
    corrected = bonferroni(block.log10_p, 2 * max(tested, 1))  # as decide_blocks
    verdict = decide_p(corrected, claim.thresholds.of(block.candidate_block))
    return believed(verdict, evidence, (block,), claim.thresholds)


def _missing_blocks(claim: Claim, blocks: Sequence[BlockEvidence]) -> list[int]:
    """Blocks that the claim names and that were not compared."""
    if not any(b.log10_p is not None for b in blocks):
        return []  # none could be: that is what there is to say
    named = {*(claim.blocks.indices or ()), *(index for index, _ in claim.block_alphas)}
    return sorted(named - {b.candidate_block for b in blocks})


def _judge_independence(
    claim: Claim, evidence: Evidence, blocks: Sequence[BlockEvidence], measured: str
) -> Judgement:
    claimed = claimed_blocks(claim, evidence)
    named = decide_some(evidence, claimed, claim.thresholds)
    verdict = max(decide_blocks(blocks, claim.thresholds), named, key=_AGAINST.index)
    sameness = _sameness(evidence)
    if sameness:
        meaning = f"The claim of independence is false. {sameness}"
        return Judgement("fails", "dependent", measured, meaning)
    if verdict == "dependent" and named != "dependent":
        kin = [b.candidate_block for b in blocks if shows(b, claim.thresholds)]
        what = (
            f"{listed(kin)} show{'s' * (len(kin) == 1)} kinship" if kin else "others show kinship"
        )
        meaning = f"The claim names {_only(claim)}, but {what}. {_INDEPENDENCE[verdict]}"
        return Judgement("fails", verdict, measured, meaning)
    untested = [b.candidate_block for b in blocks if b.log10_p is None]
    if verdict == "independent" and untested:
        meaning = (
            f"Nothing was found, but {listed(untested)} could not be tested; a list under "
            "`blocks:` leaves blocks out."
        )
        return Judgement("fails", "inconclusive", measured, meaning)
    return _independence(verdict, measured, claim, evidence, claimed)


def _only(claim: Claim) -> str:
    """The blocks that a claim names, in words."""
    return f"{listed(sorted(claim.blocks.indices or ()))} alone"


def _independence(
    verdict: Verdict,
    measured: str,
    claim: Claim,
    evidence: Evidence,
    blocks: Sequence[BlockEvidence] = (),
) -> Judgement:
    state: JudgementState = "holds" if verdict == "independent" else "fails"
    meaning = _doubt(verdict, claim, evidence, blocks)
    if verdict == "not found":
        return _independence_of_sample(measured, claim, evidence)
    if verdict == "independent":
        names = names_of(claim)
        beside = (control_of_power(evidence, names, claim.threshold), not_compared(evidence, names))
        meaning = " ".join(filter(None, (_INDEPENDENCE[verdict], *beside)))
    if verdict == "inconclusive" and meaning is None:
        meaning = between(evidence)
    return Judgement(state, verdict, measured, meaning or _INDEPENDENCE[verdict])


def _independence_of_sample(measured: str, claim: Claim, evidence: Evidence) -> Judgement:
    """Judge a claim of independence by a sample in which nothing was found: it has to ask for no more."""
    names = names_of(claim)
    doubted = doubts_of_models(evidence, names, claim.threshold)
    if claim.scope != "sampled" or doubted:
        meaning = not_found(evidence, names, claim.threshold)
        return Judgement("fails", "not found", measured, meaning)
    says = (
        _INDEPENDENCE["not found"],
        sample_of(evidence, names),
        control_of_power(evidence, names, claim.threshold),
    )
    return Judgement("holds", "not found", measured, " ".join(filter(None, says)))


def _no_kinship(
    verdict: Verdict,
    measured: str,
    claim: Claim,
    evidence: Evidence,
    blocks: Sequence[BlockEvidence] = (),
) -> Judgement:
    if verdict == "dependent":  # of the blocks that the claim names, and not of all
        meaning = f"The claim names {_only(claim)}. {_CHOSEN}"
        return Judgement("fails", "inconclusive", measured, meaning)
    if verdict == "independent":
        return Judgement("fails", verdict, measured, _NO_DESCENT)
    if verdict == "not found":
        meaning = not_found(evidence, names_of(claim), claim.threshold)
        return Judgement("fails", verdict, measured, meaning)
    more = more_of(evidence)
    weak = f"{_WEAK}: try more {more}." if more else f"{_WEAK}."
    doubt = _doubt(verdict, claim, evidence, blocks)
    return Judgement("fails", verdict, measured, doubt or weak)


def _doubt(
    verdict: Verdict, claim: Claim, evidence: Evidence, blocks: Sequence[BlockEvidence]
) -> str | None:
    """Why what was found decides nothing; None where the numbers alone are inconclusive."""
    if verdict != "inconclusive":
        return None
    if found_nothing(evidence, blocks, claim.thresholds):
        return doubted(claim, evidence, blocks)
    return at_bound(evidence, claim.threshold) or few_units(blocks, claim.thresholds)


def _no_kinship_in_block(claim: Claim, block: BlockEvidence) -> str:
    meaning = _NOTHING_IN_BLOCK
    if is_below(block, claim.thresholds.of(block.candidate_block)):
        meaning = few_units_at(beyond((block,))[0].log10_p)
    if claim.blocks.at_least is None:
        return meaning
    return f"{meaning} The claim asks for {share(claim.blocks.at_least)} of the blocks."


def _absent_block(claim: Claim, evidence: Evidence, index: int) -> Judgement:
    where = f"block {index}"
    what = _without_mlp(claim, evidence).get(str(index))
    if what is not None and claim.blocks.indices is None:
        return Judgement("not applicable", "inconclusive", f"{where}: {what}", "Not compared.")
    there = evidence.candidate.blocks
    if what is None and index < there:
        what = "it was not compared"
    elif what is None:
        what = f"{claim.candidate} has {count(there, 'block')}, counted from 0"
    measured = f"there is no {where} to compare: {what}"
    return Judgement("fails", "inconclusive", measured, "Nothing was checked.")


def _without_mlp(claim: Claim, evidence: Evidence) -> dict[str, str]:
    """Blocks of the candidate that cannot be compared, for want of an MLP, and why."""
    sides = [(claim.candidate, evidence.candidate)]
    if evidence.pairing == "same-index":
        sides.insert(0, (claim.reference, evidence.reference))
    return {
        index: f"{name} has no MLP there ({what})"
        for name, record in sides
        for index, what in record.skipped.items()
    }


def _objection(claim: Claim, evidence: Evidence, blocks: Sequence[BlockEvidence]) -> str | None:
    """Why kinship alone does not make the claim true; None where it does."""
    objection = _objection_to_models(claim, evidence)
    if objection is not None:
        return objection
    kin = sum(shows(b, claim.thresholds) for b in blocks)
    needed = max(1, math.ceil((claim.blocks.at_least or 1.0) * len(blocks) - 1e-9))
    if kin < needed:
        return (
            f"The two are kin, but only {kin} of {count(len(blocks), 'block')} "
            f"{'shows' if kin == 1 else 'show'} it and the claim needs {needed}; "
            "`blocks:` says which must."
        )
    return None


def _objection_to_models(claim: Claim, evidence: Evidence) -> str | None:
    """Why what the models are speaks against the claim: their digests, their shapes."""
    sameness = _sameness(evidence)
    if claim.expect == "identical":
        why = sameness or "The two are kin, but their weights differ."
        return f"{why} They are not the same model."
    if claim.expect != "derived" and sameness and not _is_narrowed(claim, evidence):
        holds = "`identical` or `derived`" if _identical(evidence) else "`derived`"
        return f"{sameness} {holds} would hold, {claim.expect!r} does not."
    return (
        shape_objection(claim, evidence)
        or kind_objection(claim, evidence)
        or given_objection(claim, evidence)
    )
