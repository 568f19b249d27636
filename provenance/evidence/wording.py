"""Claims and measurements in words, for a person who has not read the documentation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from provenance.evidence.decide import aggregate, counted_groups, shows
from provenance.evidence.doubts import covered, doubts
from provenance.evidence.records import INDEXED
from provenance.statistics import REGISTRY
from provenance.statistics.pvalues import format_p
from provenance.vocabulary import NO_KIN, ROLES, SHAPE_KEEPING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from provenance.evidence.blocks import BlockEvidence
    from provenance.evidence.records import Evidence
    from provenance.suite.claims import Claim
    from provenance.vocabulary import Role


READINGS = (
    "one descends from the other, or both from one ancestor, or both began with one random draw "
    "(equal seeds)"
)
"""What dependence means: models that began with one random draw are no strangers by the null hypothesis."""

NAMED = 3
"""References that a claim of the nearest kin names; of more it says how many they are."""
NO_CONTROL = "No power control was run: it is turned off."


def describe(claim: Claim) -> str:
    """The claim as a sentence."""
    return _describe(claim) if claim.given is None else f"{_describe(claim)}, given {claim.given}"


def _describe(claim: Claim) -> str:
    if claim.expect == "independent":
        return f"{claim.candidate} is independent of {claim.reference}"
    if claim.expect == "unknown":
        return f"nothing is claimed of {claim.candidate} and {claim.reference}"
    if claim.expect == "nearest":
        many = f"among {among(claim)}"
        if claim.reference == NO_KIN:
            return f"{claim.candidate} has no kin {many}"
        return f"{claim.reference} is the nearest kin of {claim.candidate} {many}"
    kinds = {
        "finetune": "a fine-tune",
        "adapter": "an adapter",
        "quantized": "a quantized copy",
        "merge": "a merge",
        "pruned": "a pruned copy",
        "permuted": "a permuted copy",
        "identical": "an identical copy",
        "derived": "derived from",
    }
    if claim.parents:
        return f"{claim.candidate} is {kinds[claim.expect]} of {_parents(claim)}"
    link = "" if claim.expect == "derived" else " of"
    return f"{claim.candidate} is {kinds[claim.expect]}{link} {claim.reference}"


def among(claim: Claim) -> str:
    """The references of a claim of the nearest kin, in words."""
    names = [claim.among[0]] if len(claim.among) == 1 else []
    if len(claim.among) > 1:
        names = [f"{len(claim.among)} models"]
        if len(claim.among) <= NAMED:
            names = [", ".join(claim.among[:-1]), claim.among[-1]]
    if claim.library is not None:
        names.append(f"the library {claim.library}")
    return " and ".join(names)


def _parents(claim: Claim) -> str:
    """The parents of a merge, with the shares that are claimed of them."""
    named = [name if share is None else f"{name} ({share:g})" for name, share in claim.parents]
    return f"{', '.join(named[:-1])} and {named[-1]}"


def shape_objection(claim: Claim, evidence: Evidence) -> str | None:
    """Say why the shapes of the two speak against the claim; None where they do not."""
    candidate, reference = evidence.candidate, evidence.reference
    changed = _changed_shape(claim, evidence) if claim.expect in SHAPE_KEEPING else None
    if changed is not None:
        return (
            f"The two are kin, but {claim.expect!r} keeps a model's shape and {claim.candidate} has "
            f"{changed}: `pruned` or `derived` would hold."
        )
    wider = any(b.units[0] > b.units[1] for b in evidence.blocks)
    if claim.expect == "pruned" and (candidate.blocks > reference.blocks or wider):
        return (
            f"The two are kin, but {claim.candidate} is the larger: are candidate and reference "
            "exchanged?"
        )
    return None


def _changed_shape(claim: Claim, evidence: Evidence) -> str | None:
    """What the candidate has that the reference has not; None where their shapes are equal."""
    candidate, reference = evidence.candidate, evidence.reference
    if candidate.blocks != reference.blocks:
        return f"{count(candidate.blocks, 'block')} where {reference.blocks} were"
    for block in evidence.blocks:
        if block.units[0] != block.units[1]:
            return f"MLPs of {block.units[0]} units where {block.units[1]} were"
        if block.mlps is not None and len({name.startswith("expert") for name in block.mlps}) > 1:
            return f"as {block.mlps[0]} what was {block.mlps[1]} in block {block.candidate_block}"
    differ = candidate.skipped.keys() ^ reference.skipped.keys()
    if differ:
        first = min(differ, key=lambda index: (len(index), index))
        has = "no" if first in candidate.skipped else "an"
        return f"{has} MLP in block {first}, unlike {claim.reference}"
    return None


def measured_block(block: BlockEvidence, claim: Claim, evidence: Evidence) -> str:
    """Say what was measured of one block."""
    where = f"block {block.candidate_block}"
    if evidence.pairing not in INDEXED or block.reference_block != block.candidate_block:
        where += f" (best partner: block {block.reference_block} of {claim.reference})"
    if block.mlps is not None:
        where += f", {block.mlps[0]} against {block.mlps[1]}"
    if block.log10_p is None:
        return f"{where}: {evidence.statistic} is not defined: {block.reason}"
    alike = f"{block.agreeing} of {min(block.live)} units matched alike by gate and by up"
    if block.fits is not None:
        fits = " and ".join(f"{fit:.3f}" for fit in block.fits)
        alike = (
            f"{block.agreeing} of {min(block.live)} units of the imitations (fits {fits}) matched "
            "alike by gate and by down"
        )
    level = claim.thresholds.of(block.candidate_block)
    return (
        f"{where}: {evidence.statistic} correlation {block.correlation:+.3f}, "
        f"p = {format_p(block.log10_p)} (threshold {format_p(math.log10(level))}), {alike}"
    )


def measured_pair(blocks: Sequence[BlockEvidence], claim: Claim, evidence: Evidence) -> str:
    """Say what was measured of all the claimed blocks."""
    log10_p = aggregate(blocks)
    if log10_p is None:
        reasons = "; ".join(dict.fromkeys(b.reason for b in blocks if b.reason)) or "no block"
        return f"{evidence.statistic}: no block could be tested ({reasons})"
    tested = [b for b in blocks if b.log10_p is not None]
    kin = sum(shows(b, claim.thresholds) for b in blocks)
    once = counted_once(blocks)
    of_all = f" of {len(blocks)}" if len(tested) < len(blocks) else ""
    return (
        f"{evidence.statistic} over {len(tested)}{of_all} block{'s' * (len(blocks) != 1)}: "
        f"p = {format_p(log10_p)} by Fisher (threshold {format_p(math.log10(claim.threshold))}), "
        f"{kin} of {count(len(blocks), 'block')} {'shows' if kin == 1 else 'show'} kinship"
        + ("" if once is None else f"; {once}")
        + _strongest(tested, log10_p)
    )


def counted_once(blocks: Sequence[BlockEvidence]) -> str | None:
    """Say which blocks count once; None where each counts by itself."""
    groups = [[block.candidate_block for block in group] for group in counted_groups(blocks)]
    several = [group for group in groups if len(group) > 1]
    if not several:
        return None
    return f"{' and '.join(map(listed, several))} count once, as they or their partners repeat"


def _strongest(blocks: Sequence[BlockEvidence], log10_p: float) -> str:
    """Name the strongest block where it says more than all together."""
    best, block = min((b.log10_p or 0.0, b.candidate_block) for b in blocks)
    if len(blocks) == 1 or best >= log10_p:
        return ""
    return f"; the strongest is block {block}, p = {format_p(best)}"


def measured_models(claim: Claim, evidence: Evidence) -> str:
    """Say what a statistic of whole models measured."""
    value = "no value" if evidence.value is None else f"{evidence.value:.4g}"
    if evidence.log10_p is None:
        row = REGISTRY.get(evidence.statistic)
        nearer = "smaller" if row is not None and row.smaller_is_nearer else "larger"
        return f"{evidence.statistic} of the two models: {value} ({nearer} is nearer); no p-value"
    permuted = f" by {evidence.permutations} permutations" if evidence.permutations else ""
    return (
        f"{evidence.statistic} of the two models: {value}, p = {format_p(evidence.log10_p)}{permuted} "
        f"(threshold {format_p(math.log10(claim.threshold))})"
    )


def doubted(claim: Claim, evidence: Evidence, blocks: Sequence[BlockEvidence]) -> str | None:
    """Say why no independence is believed of some blocks; None where nothing speaks against it."""
    return " ".join(doubts(evidence, names_of(claim), blocks, claim.threshold)) or None


def names_of(claim: Claim) -> Mapping[Role, str]:
    """What a suite calls the two models of a claim."""
    return {"candidate": claim.candidate, "reference": claim.reference}


def not_compared(evidence: Evidence, names: Mapping[Role, str]) -> str:
    """Say how much of each side was compared, and what was left out; empty where nothing is known."""
    says = []
    for role, record in zip(ROLES, (evidence.candidate, evidence.reference), strict=True):
        share = covered(evidence, role)
        if record.claimed is not None:
            says.append(
                f"How much of {names[role]} was compared is not known: it is a fingerprint."
            )
        if share:
            says.append(f"Of {names[role]}, {share}.")
        blocks = ", ".join(record.skipped)
        if blocks:
            says.append(f"Not compared of {names[role]}: blocks {blocks}, for want of an MLP.")
        if record.elsewhere:
            says.append(f"Not compared of {names[role]}: {', '.join(record.elsewhere)}.")
    if evidence.inputs.kind == "random" and evidence.inputs.asked is None:
        says.append(
            "Both were fed random ids, to which a copy with a renumbered vocabulary looks like a stranger."
        )
    return " ".join(says)


def sample_of(evidence: Evidence, names: Mapping[Role, str]) -> str:
    """Say what of two models a sample is of; empty where they were read whole."""
    if evidence.scope != "sampled":
        return ""
    parts = [f"Of {names['candidate']}, {evidence.details['sample']} were compared"]
    if "sampled experts" in evidence.details:
        parts.append(f"experts: {evidence.details['sampled experts']}")
    read = " and ".join(
        f"{size(ranges.bytes)} of {size(ranges.of)} of {names[role]}"
        for role, ranges in evidence.ranges.items()
    )
    return f"{', '.join(parts)}; {read} were read."


def size(number: int) -> str:
    """A number of bytes as people write it."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if number >= 1 << power:
            return f"{number / (1 << power):.3g} {unit}"
    return count(number, "byte")


def told_by_names(evidence: Evidence, names: Mapping[Role, str]) -> Iterator[str]:
    """Say what was taken for what, of sides whose code told nothing."""
    for role, record in zip(ROLES, (evidence.candidate, evidence.reference), strict=True):
        if record.by_names:
            yield f"By names and shapes alone, of {names[role]}: {'; '.join(record.by_names)}."


def control_of_power(evidence: Evidence, names: Mapping[Role, str], threshold: float) -> str:
    """Say which copies of either side are found at a threshold; empty where no power control was run."""
    if evidence.uncontrolled:
        return NO_CONTROL
    told = [
        f"one of {names[role]} (p = {format_p(control.log10_p)} by {control.statistic})"
        for role, control in evidence.power.items()
        if control.found_at(threshold)
    ]
    return f"Power control: copies in disguise are found, {' and '.join(told)}." if told else ""


def blocks_by_alpha(claim: Claim) -> Iterator[tuple[float, list[int]]]:
    """The blocks with an alpha of their own, those together that share one, the lowest alpha first."""
    for level in sorted({level for _, level in claim.block_alphas}):
        yield level, [index for index, own in claim.block_alphas if own == level]


def count(number: int, what: str) -> str:
    """Return a number of things, in words."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def listed(indices: Sequence[int]) -> str:
    """Name blocks."""
    return f"block{'s' * (len(indices) > 1)} {', '.join(map(str, indices))}"


def share(share: float) -> str:
    """Return a share in per cent."""
    return f"{100 * share:.4g}%"
