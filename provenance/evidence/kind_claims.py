"""Holds a claim of a kind of descent against the kind that was found in the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.evidence.decide import shows
from provenance.evidence.kinds import KINDS, ROUNDED, found_kind
from provenance.evidence.merge_claims import reading_of
from provenance.evidence.records import OLDER
from provenance.vocabulary import DEFAULT_ALPHA

if TYPE_CHECKING:
    from provenance.evidence.difference import DifferenceRecord
    from provenance.evidence.kinds import FoundKind
    from provenance.evidence.records import Evidence
    from provenance.suite.claims import Claim

__all__ = ["is_kind_measured", "kind_doubt", "kind_objection", "kind_seen", "lacks_difference"]

_CLAIMED = {
    "permuted": "a permuted copy",
    "pruned": "a pruned copy",
    "quantized": "a quantized copy",
    "adapter": "an adapter",
    "merge": "a merge",
    "finetune": "a fine-tune",
}


def is_kind_measured(claim: Claim, evidence: Evidence) -> bool:
    """Whether the claim asks for a kind, and what it is read off was measured."""
    seen = evidence.difference is not None and not _is_rounded(claim, evidence)
    return claim.wants_difference and seen


def lacks_difference(claim: Claim, evidence: Evidence) -> bool:
    """Whether the claim asks for a kind of two whose blocks are kin, and nothing has it to be read off.

    So it is of fingerprints and of samples. In the first versions nothing measured it.
    """
    if not claim.wants_difference or evidence.difference is not None or evidence.schema <= OLDER:
        return False
    return any(shows(block, DEFAULT_ALPHA) for block in evidence.blocks)


def kind_objection(claim: Claim, evidence: Evidence) -> str | None:
    """Say which other kind was found; None where none was, or it is not known."""
    if claim.wants_parents:
        read = reading_of(claim, evidence)
        return f"The two are kin, but {read.why}." if read.says == "other" else None
    found = _found(claim, evidence)
    if found is None or found.kind in {claim.expect, "same", "unsure"}:
        return None
    if _open_merge(claim, found.kind):
        return None
    return f"The two are kin, but {found.why}: {KINDS[found.kind]}, not {_CLAIMED[claim.expect]}."


def kind_doubt(claim: Claim, evidence: Evidence) -> str | None:
    """Say why the kind that is claimed can be neither seen nor refuted; None where it can."""
    if claim.wants_parents:
        read = reading_of(claim, evidence)
        return _open(claim, read.why) if read.says == "unsure" else None
    found = _found(claim, evidence)
    if found is None:
        return None
    if claim.expect == "finetune" and found.kind == "unsure" and _moved(evidence.difference):
        return None  # kin, moved, and none of the sharper kinds: few steps leave some ranks low
    if _open_merge(claim, found.kind):
        why = f"{found.why}, as a fine-tune's is, and one parent shows no merge (`parents:` names all)"
    elif found.kind in {"same", "unsure"}:
        why = found.why
    else:
        return None
    return _open(claim, why)


def _open(claim: Claim, why: str) -> str:
    """That the kind is not known, and what is claimed without it."""
    claimed, without = _CLAIMED[claim.expect], "`kind: any`"
    if claim.wants_parents:
        claimed, without = f"{claimed} as claimed", f"{without} without `parents`"
    open_ = f"The two are kin, but whether this is {claimed} is not known: {why}."
    return f"{open_} {without} claims kinship alone."


def kind_seen(claim: Claim, evidence: Evidence) -> str:
    """The kind that was found, as a sentence; empty where the claim asks for none, or none was measured."""
    if claim.wants_parents:
        return f"A merge: {reading_of(claim, evidence).why}."
    found = _found(claim, evidence)
    return "" if found is None else found.words()


def _found(claim: Claim, evidence: Evidence) -> FoundKind | None:
    """The kind that is read off the weights; None where `is_kind_measured` is false."""
    if evidence.difference is None or not is_kind_measured(claim, evidence):
        return None
    return found_kind(evidence.difference)


def _moved(record: DifferenceRecord | None) -> bool:
    """Whether any matrix differs by more than storing it would change."""
    matrices = () if record is None else record.matrices
    return any(one.relative > ROUNDED * one.tolerance for one in matrices)


def _open_merge(claim: Claim, kind: str) -> bool:
    return claim.expect == "merge" and kind == "finetune"


def _is_rounded(claim: Claim, evidence: Evidence) -> bool:
    """Whether the candidate is the reference in a narrower type, which is a quantization."""
    weights = evidence.weights
    return claim.expect == "quantized" and weights is not None and weights.relation == "rounded"
