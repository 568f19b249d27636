"""What speaks against believing that nothing was found: what was not compared, and what could tell nothing.

A doubt never touches kinship that was found. A claim of independence with one is inconclusive.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from provenance.evidence.permutations import at_bound
from provenance.evidence.power import shortfall
from provenance.statistics.pvalues import format_p
from provenance.vocabulary import DEFAULT_ALPHA, ROLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from provenance.evidence.blocks import BlockEvidence
    from provenance.evidence.models import InputsRecord
    from provenance.evidence.records import Evidence
    from provenance.vocabulary import Role

LEAST_COVERAGE = 0.1
"""Least share of a model that is compared; three real pretrained models have 0.5 to 0.8."""

LEAST_RANK = 5.0
"""Least effective rank of what MLPs are fed: 40 and more of real models on a text, 1 to 3 of two tokens."""

BETTER = 0.5
"""A borrowed tokenizer fits where a text is read better than by guessing, by so many nats a token."""

MOST_NEARNESS = 0.1
"""Units of strangers are seldom nearer to each other, and those of copies that hid were: docs/statistics.md
has what was counted."""

LEAST_DISTINCT = 16
"""Fewest different tokens that tell units apart."""

NAMES: Mapping[Role, str] = {"candidate": "the candidate", "reference": "the reference"}


def doubts(
    evidence: Evidence,
    names: Mapping[Role, str] = NAMES,
    blocks: Sequence[BlockEvidence] | None = None,
    threshold: float = DEFAULT_ALPHA,
) -> tuple[str, ...]:
    """Return why no independence is believed, in sentences; empty where nothing speaks against it.

    Parameters
    ----------
    evidence : Evidence
        Of any statistic.
    names : mapping
        What each side is called.
    blocks : sequence of BlockEvidence, optional
        Those that are judged; all of them by default.
    threshold : float
        p-value below which a copy of either model would have been found.
    """
    lacking = at_bound(evidence, threshold) or shortfall(
        evidence, evidence.blocks if blocks is None else blocks
    )
    of_models = doubts_of_models(evidence, names, threshold)
    return of_models if lacking is None else (*of_models, lacking)


def doubts_of_models(
    evidence: Evidence, names: Mapping[Role, str] = NAMES, threshold: float = DEFAULT_ALPHA
) -> tuple[str, ...]:
    """Return those that are about the models and what they were fed, whatever was computed of them."""
    return (
        *_out_of_element(evidence, names),
        *_uncovered(evidence, names),
        *_powerless(evidence, names),
        *_unfound(evidence, names, threshold),
        *_near(evidence, names),
        *_named(evidence, names),
        *_without_text(evidence.inputs),
        *_misread(evidence, names),
    )


def _out_of_element(evidence: Evidence, names: Mapping[Role, str]) -> Iterator[str]:
    says = [
        f"{names[role]} reads the text worse than guessing would: its loss is "
        f"{evidence.details[f'{role}_loss']:.1f} nats a token, where guessing has "
        f"{math.log(float(evidence.details[f'{role}_vocabulary'])):.1f}."
        for role in evidence.out_of_element()
    ]
    if says:
        yield (
            " ".join(says)
            + " So what its units answer shows no independence. Look whether its tokenizer is "
            "the one that it was trained with, or give a text of its kind."
        )


def _uncovered(evidence: Evidence, names: Mapping[Role, str]) -> Iterator[str]:
    for role in ROLES:
        coverage = evidence.coverage.get(role)
        if coverage is None:
            continue
        if coverage.reason is not None:
            yield (
                f"How much of {names[role]} was compared could not be measured ({coverage.reason}), so "
                "nothing that was found shows independence."
            )
        elif min(share for share in (coverage.share, coverage.effect, 1.0) if share is not None) < (
            LEAST_COVERAGE
        ):
            yield (
                f"Most of {names[role]} was not compared: {covered(evidence, role)}. At least "
                f"{LEAST_COVERAGE:.0%} of each is needed: what does the rest was not looked at."
            )


def covered(evidence: Evidence, role: Role) -> str:
    """Say what share of a side the compared MLPs are; empty where that was not measured."""
    coverage = evidence.coverage.get(role)
    if coverage is None or coverage.share is None:
        return ""
    says = f"the compared MLPs make {coverage.share:.0%} of what its blocks change"
    if coverage.effect is not None:
        says += f" and {coverage.effect:.0%} of their effect on its predictions"
    return says


def _powerless(evidence: Evidence, names: Mapping[Role, str]) -> Iterator[str]:
    distinct = evidence.inputs.distinct or (LEAST_DISTINCT, LEAST_DISTINCT)
    for role, number in zip(ROLES, distinct, strict=True):
        rank = evidence.details.get(f"{role}_rank")
        if number < LEAST_DISTINCT:
            what = f"{number} different token{'s' * (number != 1)}"
            yield _POWERLESS.format(what=what, name=names[role], least=LEAST_DISTINCT)
        elif isinstance(rank, float) and rank < LEAST_RANK:
            what = f"inputs of effective rank {rank:.1f}"
            yield _POWERLESS.format(what=what, name=names[role], least=f"{LEAST_RANK:.0f}")


_POWERLESS = (
    "{name} was fed {what}, which cannot tell its units apart, so nothing could be found: at least {least} "
    "are needed. Give a text of more kinds of words, and more tokens."
)


def _unfound(evidence: Evidence, names: Mapping[Role, str], threshold: float) -> Iterator[str]:
    for role, control in evidence.power.items():
        if not control.found_at(threshold):
            why = "" if control.reason is None else f" ({control.reason})"
            yield (
                f"A copy of {names[role]} in disguise would not have been found at {threshold:.2g}: p = "
                f"{format_p(control.log10_p)} by {control.statistic} over {len(control.blocks)} of its "
                f"blocks{why}. So that nothing was found shows no independence. Few units, or units that "
                "are alike, cannot show more; more tokens may."
            )


def _near(evidence: Evidence, names: Mapping[Role, str]) -> Iterator[str]:
    near = [block for block in evidence.blocks if (block.nearness or 0.0) > MOST_NEARNESS]
    if near:
        most = max(near, key=lambda block: block.nearness or 0.0)
        others = f", and in {len(near) - 1} more" if len(near) > 1 else ""
        yield (
            f"In block {most.candidate_block}{others}, units of {names['candidate']} have their like among "
            f"those of {names['reference']} by gate or by up alone (nearness {most.nearness:.3f}, where "
            f"strangers seldom have more than {MOST_NEARNESS:.2f}), though no matching finds them: a copy "
            "among decoys looks like that. So this shows no independence."
        )


def _named(evidence: Evidence, names: Mapping[Role, str]) -> Iterator[str]:
    for role, record in zip(ROLES, (evidence.candidate, evidence.reference), strict=True):
        if record.by_names:
            yield (
                f"Where the MLPs of {names[role]} lie was told by the names of its tensors alone. Whoever "
                "saved it chose these: a copy whose gate is called up looks like a stranger. So this shows "
                "no independence. It takes the model's code, or a transformers that knows its type."
            )


def _without_text(inputs: InputsRecord) -> Iterator[str]:
    if inputs.kind == "random" and inputs.asked == "text":
        yield (
            f"The two were not fed one text ({inputs.note}): to random ids a copy whose vocabulary was "
            "renumbered answers like a stranger. Give each model its tokenizer, or ask for random ids."
        )


def _misread(evidence: Evidence, names: Mapping[Role, str]) -> Iterator[str]:
    loss = evidence.details.get("candidate_loss")
    vocabulary = evidence.details.get("candidate_vocabulary")
    guessing = math.log(vocabulary) if isinstance(vocabulary, int) and vocabulary >= 1 else 0.0
    fits = isinstance(loss, float) and loss < guessing - BETTER
    if evidence.inputs.borrowed and not fits:
        yield (
            f"{names['candidate']} has no tokenizer, and by that of {names['reference']} it reads the "
            "text no better than by guessing: its vocabulary may be another one. Give it its tokenizer."
        )
