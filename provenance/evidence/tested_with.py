"""Says what is not usual about the test of a claim, which may be weaker than the claim reads.

Every output that says whether a claim holds says this beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.evidence.kind_claims import lacks_difference
from provenance.evidence.models import ADAPTER
from provenance.evidence.wording import blocks_by_alpha, listed, share
from provenance.statistics import DISTANCES, REGISTRY
from provenance.vocabulary import (
    DEFAULT_ALPHA,
    DEFAULT_STATISTIC,
    MEASURED,
    NO_KIN,
    PERMUTATIONS,
    InputsSpec,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.evidence.records import Evidence
    from provenance.evidence.results import ClaimResult, Results
    from provenance.suite.claims import Claim

KIND_NOT_MEASURED = "its kind not measured"

_FED = {
    "random": "on random token ids",
    "hidden": "by the weights alone (inputs of kind hidden)",
    "tokens": "on token embeddings, no model run (inputs of kind tokens)",
}


def tested_with(results: Results, result: ClaimResult) -> tuple[str, ...]:
    """What a claim of a run was tested with, in a few words each; empty where all is as usual."""
    inputs = next((s.inputs for s in results.suites if s.path == result.suite), InputsSpec())
    return qualifiers(result.claim, inputs, result.evidence)


def qualifiers(claim: Claim, inputs: InputsSpec, evidence: Evidence | None) -> tuple[str, ...]:
    """As `tested_with`, of one claim; without evidence, what the suite says."""
    return tuple(_qualifiers(claim, inputs, evidence))


def _qualifiers(claim: Claim, inputs: InputsSpec, evidence: Evidence | None) -> Iterator[str]:
    used = evidence.statistic if evidence is not None else REGISTRY[claim.statistic].on(inputs.kind)
    if used != DEFAULT_STATISTIC:
        yield f"by {used}"
    if used in DISTANCES and claim.permutations != PERMUTATIONS:
        yield f"{claim.permutations} permutations"
    yield from _blocks(claim)
    yield from _inputs(inputs)
    yield from _alphas(claim)
    yield from _choices(claim, evidence)
    told = claim.expect in {"independent", "unknown"}
    if evidence is not None and told and evidence.uncontrolled:
        yield "without a power control"
    if evidence is not None:
        yield from _models(claim, evidence)


def _choices(claim: Claim, evidence: Evidence | None) -> Iterator[str]:
    if claim.kind == "any" and claim.expect in MEASURED:
        yield "of any kind"
    in_part = claim.sample is not None and claim.wants_difference
    if in_part or (evidence is not None and lacks_difference(claim, evidence)):
        yield KIND_NOT_MEASURED
    if claim.exhaustive:
        yield "exhaustive"
    if claim.inconclusive == "warn":
        yield "warns where inconclusive"
    if claim.xfail is not None:
        yield f"known failure: {claim.xfail}"


def _blocks(claim: Claim) -> Iterator[str]:
    if claim.sample is not None:
        yield f"on a sample of {claim.sample}"
    if claim.blocks.indices is not None:
        yield f"on {listed(sorted(claim.blocks.indices))} alone"
    if claim.blocks.at_least is not None and claim.expect not in {"independent", "unknown"}:
        yield f"on {share(claim.blocks.at_least)} of the blocks"


def _alphas(claim: Claim) -> Iterator[str]:
    if claim.alpha != DEFAULT_ALPHA:
        yield f"alpha {claim.alpha:g}"
    for level, blocks in blocks_by_alpha(claim):
        yield f"alpha {level:g} on {listed(blocks)}"


def _inputs(inputs: InputsSpec) -> Iterator[str]:
    usual = InputsSpec()
    if inputs.kind != usual.kind:
        yield _FED[inputs.kind]
    elif inputs.text != usual.text:
        yield f"on the text {inputs.text}"
    if inputs.tokens < usual.tokens and inputs.kind != "hidden":
        yield f"{inputs.tokens} tokens"


def _models(claim: Claim, evidence: Evidence) -> Iterator[str]:
    sides = ((claim.candidate, evidence.candidate), (claim.reference, evidence.reference))
    for name, record in sides:
        if name == NO_KIN:  # the evidence is on one of many
            continue
        if record.claimed is not None:
            yield f"{name} is a fingerprint: no weights were seen"
        if record.conversion is not None and record.conversion.startswith(ADAPTER):
            yield f"{name} is an adapter on {record.conversion.removeprefix(ADAPTER)}"
