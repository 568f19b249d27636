"""The plan: which comparisons a test needs, and what a comparison needs of each model. Pure data.

`needs` goes from a part of a claim to comparisons, and `captures` from a comparison to captures. Tests, the
run before them, clusters and audits all ask these two.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING

from provenance.errors import ArchitectureError, InputError, SourceError
from provenance.statistics import PAIR_STATISTICS, REGISTRY
from provenance.vocabulary import (
    DECIDED,
    NEAREST,
    PERMUTATIONS,
    ROLES,
    SAMPLED,
    InputsSpec,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.errors import ProvenanceError
    from provenance.statistics import Basis, Statistic
    from provenance.suite.claims import Claim, Suite
    from provenance.vocabulary import Extent, ModelSpec, Role, StatisticName

VERDICT, ALL_BLOCKS = "verdict", "blocks"
"""Parts of a claim that a test checks: the pair as a whole, and all its blocks at once."""
POSITIVE, NULL = "positive", "null"
"""Parts that are controls: a disguised copy of the reference, and blocks that do not correspond."""


@dataclass(frozen=True)
class Comparison:
    """What one piece of evidence is on: two models, what they are fed, one statistic.

    ``sample`` is the number of the candidate's blocks that are tested, see `sampled`; None tests all.
    ``extent`` says how much of the pair is measured, see `provenance.vocabulary.Extent`. ``fed_as`` is a
    model in the candidate's place where inputs are chosen: a control is fed what a claim's reference is.
    ``control`` says whether the power control is run where nothing is found, see
    `provenance.comparison.power`. ``difference`` says whether the weights of kin are compared number by
    number, see `provenance.comparison.difference`. ``parents`` are those of a merge, the reference among
    them, whose shares are measured, see `provenance.comparison.parents`. ``given`` is a base of both:
    what they share beyond it is measured, see `provenance.comparison.given`. ``exhibits`` says whether
    those are measured.
    """

    candidate: ModelSpec
    reference: ModelSpec
    inputs: InputsSpec
    statistic: StatisticName
    cross: bool = False
    permutations: int = PERMUTATIONS
    sample: int | None = None
    extent: Extent = "decided"
    fed_as: ModelSpec | None = None
    control: bool = True
    difference: bool = False
    parents: tuple[ModelSpec, ...] = ()
    exhibits: bool = False
    given: ModelSpec | None = None

    @classmethod
    def of(
        cls,
        candidate: ModelSpec,
        reference: ModelSpec,
        inputs: InputsSpec,
        statistic: StatisticName,
        *,
        cross: bool = False,
        permutations: int = PERMUTATIONS,
        extent: Extent = "decided",
        control: bool = True,
        sample: int | None = None,
        difference: bool = False,
        exhibits: bool = False,
    ) -> Comparison:
        """A comparison; on inputs "hidden" and "tokens" a statistic of weights replaces its own.

        Where a statistic has one part, all parts are what is measured anyhow. With a ``sample``, so many
        blocks and experts are read in part: the extent is "sampled", and there are no exhibits.
        """
        statistic = REGISTRY[statistic].on(inputs.kind)
        if sample is not None:
            return cls(
                candidate,
                reference,
                inputs,
                statistic,
                sample=sample,
                extent="sampled",
                control=control,
            )
        if statistic in PAIR_STATISTICS or (extent == "parts" and not REGISTRY[statistic].parts):
            extent = "decided"
        return cls(
            candidate,
            reference,
            inputs,
            statistic,
            cross,
            permutations,
            extent=extent,
            control=control,
            difference=difference,
            exhibits=exhibits,
        )

    def of_files(self) -> Comparison | None:
        """The same by the parts that read weight files alone, which may decide all; None where none may."""
        components = REGISTRY[self.statistic].components()
        reads = {component.reads_files for component in components}
        if self.extent != "decided" or len(reads) < 2:
            return None
        return replace(
            self, extent="files", difference=False, parents=(), exhibits=False, given=None
        )

    def of_parents(self) -> tuple[Comparison, ...]:
        """The comparisons of the candidate with each parent, in their order, that shares rest on."""
        own = replace(self, parents=(), exhibits=False, given=None)
        return tuple(
            own
            if parent == self.reference
            else replace(own, reference=parent, difference=False, cross=False)
            for parent in self.parents
        )

    def of_base(self) -> tuple[Comparison, ...]:
        """The comparison of the candidate with the base that is given, that what they share rests on."""
        if self.given is None:
            return ()
        own = replace(self, parents=(), exhibits=False, given=None, difference=False, cross=False)
        return (replace(own, reference=self.given, extent="decided"),)


@dataclass(frozen=True)
class Plan:
    """Comparisons without repeats, in the order in which they were asked for."""

    comparisons: tuple[Comparison, ...]

    @classmethod
    def of(cls, comparisons: Iterable[Comparison]) -> Plan:
        """Keep the first of equal comparisons."""
        return cls(tuple(dict.fromkeys(comparisons)))

    def of_whole_models(self) -> Plan:
        """Without samples, which are read where they are asked for: a cluster's nodes open whole models."""
        return Plan(tuple(one for one in self.comparisons if one.extent != "sampled"))

    def models(self) -> tuple[ModelSpec, ...]:
        """Every model that takes part, once."""
        pairs = (
            (c.candidate, c.reference, *c.parents, *([] if c.given is None else [c.given]))
            for c in self.comparisons
        )
        return tuple(dict.fromkeys(spec for pair in pairs for spec in pair))


@dataclass(frozen=True)
class Needs:
    """The comparisons of one test: the claim's own pair, and its controls; None where not needed."""

    pair: Comparison | None = None
    null: Comparison | None = None
    positive: Comparison | None = None

    def comparisons(self) -> tuple[Comparison, ...]:
        """All of them, in the order in which the test asks for them; what they rest on comes first."""
        asked = [one for one in (self.pair, self.null, self.positive) if one is not None]
        return tuple(each for one in asked for each in (*one.of_parents(), *one.of_base(), one))


def block_part(index: int) -> str:
    """The part of a claim that is about one block."""
    return f"block{index}"


def block_of(part: str) -> int | None:
    """The block that a part is about; None for every other part."""
    index = part.removeprefix("block")
    return int(index) if index.isdecimal() else None


def needs(suite: Suite, claim: Claim, part: str) -> Needs:
    """The comparisons that the test of one part of a claim needs.

    None where the claim is skipped, and none of a claim of the nearest kin: see `one_of_many.looks`.
    """
    if claim.skip is not None or claim.expect == NEAREST:
        return Needs()  # which looks at many references there are depends on what each shows
    if part == POSITIVE:
        return Needs(positive=positive_control(suite, claim))
    independent = claim.expect == "independent" and claim.sample is None
    with_control = part == VERDICT and suite.controls == "all" and independent
    return Needs(
        comparison(suite, claim),
        negative_control(suite, claim) if part == NULL else None,
        positive_control(suite, claim) if with_control else None,
    )


@dataclass(frozen=True)
class Capture:
    """One thing to be computed of a model alone, for all the comparisons that it serves.

    Without a ``role`` it is the model's activations on the inputs, with one it is imitations of its MLPs,
    which differ by role. ``gated`` says whether a statistic needs gates. A model that has a tokenizer is
    fed a text in its own tokens, whoever its partner is. Random ids are below ``vocabulary``. ``partner``
    is another model that says what this one is fed: a bundle, or one whose tokenizer is borrowed. Captures
    whose partners say the same (``says``) are equal.
    """

    model: ModelSpec
    inputs: InputsSpec
    gated: bool = False
    role: Role | None = None
    vocabulary: int | None = None
    partner: ModelSpec | None = field(default=None, compare=False)
    says: str | None = None

    @property
    def basis(self) -> Basis:
        """What is computed."""
        return "activations" if self.role is None else "functions"


def captures(
    comparison: Comparison, candidate: Checkpoint, reference: Checkpoint
) -> tuple[Capture, ...]:
    """What must be computed of either model before the two are compared, of the candidate first.

    Nothing, where the two cannot be compared, as `refusal` says, or cannot be run. Where a comparison may
    be decided by files alone (`Comparison.of_files`), it is what is needed if that decides too little.
    """
    if (
        comparison.extent in {"files", "sampled"}
        or refusal(comparison, candidate, reference) is not None
    ):
        return ()
    statistic = REGISTRY[comparison.statistic]
    bases = {component.basis for component in statistic.components()}
    planned: list[Capture] = []
    if "activations" in bases and unrunnable(candidate, reference) is not None:
        return ()
    if "activations" in bases:
        planned += [
            _activations(model, partner, comparison.inputs, gated=statistic.gated, lends=reference)
            for model, partner in ((candidate, reference), (reference, candidate))
            if model.bundle is None
        ]
    if "functions" in bases:
        # imitations read no text: only the seed of the inputs counts
        seed = replace(InputsSpec(), seed=comparison.inputs.seed)
        planned += [
            Capture(model.spec, seed, role=role)
            for role, model in zip(ROLES, (candidate, reference), strict=True)
        ]
    return tuple(planned)


def _activations(
    model: Checkpoint,
    partner: Checkpoint,
    inputs: InputsSpec,
    *,
    gated: bool,
    lends: Checkpoint,
) -> Capture:
    """The capture of a model's activations, as far as it is known before a text is read.

    Two tokenizers may turn out to have too little in common, which only the comparison finds: it then
    captures both models on random ids. ``lends`` is the model whose tokenizer the other may borrow.
    """
    if partner.bundle is not None:
        return Capture(model.spec, inputs, gated, partner=partner.spec, says=partner.digest)
    fitted = inputs.within(model.positions, partner.positions)
    have = [one.tokenizer_digest for one in (model, partner) if one.tokenizer_digest is not None]
    lent = lends.tokenizer_digest is not None and _sizes_agree(model, partner)
    if fitted.kind == "text" and (len(have) == 2 or lent):
        if model.tokenizer_digest is not None:
            return Capture(model.spec, fitted, gated)
        return Capture(model.spec, fitted, gated, partner=partner.spec, says=have[0])
    sizes = [one.vocabulary for one in (model, partner) if one.vocabulary is not None]
    random = replace(fitted, kind="random")
    return Capture(model.spec, random, gated, vocabulary=min(sizes, default=None))


def _sizes_agree(model: Checkpoint, partner: Checkpoint) -> bool:
    return model.vocabulary == partner.vocabulary


def refusal(
    comparison: Comparison, candidate: Checkpoint, reference: Checkpoint
) -> ProvenanceError | None:
    """Why these models, or these inputs, cannot give the statistic; None where they can."""
    for model in (candidate, reference):
        if model.bundle is not None and comparison.statistic != model.bundle.statistic:
            return ArchitectureError(
                f"{model.source} is a fingerprint, which {comparison.statistic} cannot be computed on: "
                f"use the statistic {model.bundle.statistic}"
            )
    statistic = REGISTRY[comparison.statistic]
    if comparison.extent == "sampled":
        return _refusal_of_sample(statistic)
    runs_models = any(component.runs_models for component in statistic.components())
    if not any(map(can_do_without, statistic.components())):
        reason = unrunnable(candidate, reference)
        if reason is not None:
            return SourceError(
                f"{reason}, or use {' or '.join(WITHOUT_RUN.values())}, which run no model"
            )
    kind = comparison.inputs.kind
    if runs_models and kind in WITHOUT_RUN:
        return InputError(
            f"{comparison.statistic} runs the models, which inputs of kind {kind!r} do not: "
            f"use kind 'text' or 'random', or the statistic {WITHOUT_RUN[kind]}"
        )
    return None


def _refusal_of_sample(statistic: Statistic) -> ProvenanceError | None:
    """Why a statistic is not computed on a sample; None where it is."""
    if statistic.name in SAMPLED:
        return None
    return InputError(
        f"{statistic.name} reads the whole of both models: a sample is compared by {', '.join(SAMPLED)}"
    )


def can_do_without(statistic: Statistic) -> bool:
    """Whether a statistic is computed without a model that runs: of files alone."""
    return (
        statistic.reads_files
        or statistic.basis == "functions"
        or (statistic.basis == "models" and not statistic.runs_models)
    )


def unrunnable(candidate: Checkpoint, reference: Checkpoint) -> str | None:
    """Why one of two models cannot be run, whatever is asked of it; None where both can."""
    from provenance.loading.families import why_not_run

    reasons = (why_not_run(model) for model in (candidate, reference))
    return next((reason for reason in reasons if reason is not None), None)


WITHOUT_RUN: Mapping[str, StatisticName] = {"hidden": "match_weights", "tokens": "match_tokens"}
"""Kinds of inputs on which no model is run, and the statistic that each is made for."""


def pair_seed(seed: int, candidate: Checkpoint, reference: Checkpoint) -> int:
    """The seed of all that is drawn at random for one pair, of 48 bits: of both digests and ``seed``.

    So who makes the candidate cannot arrange it for a draw that is known before: another byte in its files
    gives another one, and a ``seed`` that is kept back leaves all of them unknown. What a model is fed is
    drawn by ``seed`` alone, since a model is run once for all its partners.
    """
    digest = sha256(f"{seed}:{candidate.digest}:{reference.digest}".encode()).digest()
    return int.from_bytes(digest[:6], "big")  # every reader of JSON has it exactly


def sampled(blocks: Sequence[int], number: int, seed: int) -> tuple[int, ...]:
    """One block of each of ``number`` equal stretches of the depth, drawn by the seed.

    Without the seed nobody can tell which. Where there are no more blocks than that, it is all of them.
    """
    if number >= len(blocks):
        return tuple(blocks)
    ends = [k * len(blocks) // number for k in range(number + 1)]
    drawn = (
        start + int(sha256(f"{seed}:{k}".encode()).hexdigest(), 16) % (end - start)
        for k, (start, end) in enumerate(pairwise(ends))
    )
    return tuple(blocks[place] for place in drawn)


def comparison(suite: Suite, claim: Claim) -> Comparison:
    """The comparison that decides a claim."""
    pair = Comparison.of(
        suite.models[claim.candidate],
        suite.models[claim.reference],
        suite.inputs,
        claim.statistic,
        cross=claim.blocks.cross,
        permutations=claim.permutations,
        extent=extent(claim),
        control=suite.controls != "none",
        sample=claim.sample,
        difference=suite.distances
        or (suite.models[claim.candidate], suite.models[claim.reference]) in suite.kinds_of,
        exhibits=suite.exhibits,
    )
    return replace(
        pair,
        parents=tuple(suite.models[name] for name, _ in claim.parents),
        given=None if claim.given is None else suite.models[claim.given],
    )


def extent(claim: Claim) -> Extent:
    """How much a claim wants measured.

    All parts, for independence, and for a threshold below what decides a block (`DECIDED`).
    """
    if claim.exhaustive:
        return "all"
    strict = claim.thresholds.least < 10.0**DECIDED
    return "parts" if claim.expect == "independent" or strict else "decided"


def controlled(claims: Iterable[Claim]) -> dict[str, Claim]:
    """The claim that stands for the controls of each reference: the first that is not skipped.

    Claims about a sample have none: their references are not read as a whole. Nor have claims of the
    nearest kin, which show no independence.
    """
    run = [
        claim
        for claim in claims
        if claim.skip is None and claim.sample is None and claim.expect != NEAREST
    ]
    return {claim.reference: claim for claim in reversed(run)}


def positive_control(suite: Suite, claim: Claim) -> Comparison:
    """The comparison that shows whether the claim's statistic sees a disguised copy of its reference.

    Both are fed what the reference is fed beside the claim's candidate.
    """
    reference = suite.models[claim.reference]
    disguised = replace(reference, disguised=REGISTRY[claim.statistic].control)
    control = Comparison.of(
        disguised, reference, suite.inputs, claim.statistic, permutations=claim.permutations
    )
    return replace(control, fed_as=suite.models[claim.candidate])


def negative_control(suite: Suite, claim: Claim) -> Comparison:
    """The comparison of all blocks with all, whose p-values off the alignment must look uniform."""
    candidate, reference = suite.models[claim.candidate], suite.models[claim.reference]
    # a combination of statistics has p-values that are no smaller than uniform, but not uniform; of its
    # parts the last is defined for any two models, whose tokens and hidden sizes may differ
    statistic = REGISTRY[claim.statistic].components()[-1].name
    return Comparison.of(
        candidate, reference, suite.inputs, statistic, cross=True, extent="all", control=False
    )
