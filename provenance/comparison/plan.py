"""What a suite, or a command, needs computed: each thing once. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from provenance.statistics import REGISTRY
from provenance.vocabulary import PERMUTATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from provenance.suite.read import Claim, Suite
    from provenance.vocabulary import InputsSpec, ModelSpec, StatisticName


@dataclass(frozen=True)
class Comparison:
    """One piece of evidence to be had: two models, what they are fed, one statistic.

    ``sample`` is how many of the candidate's blocks are tested, see `sampled`; all where it is None.
    """

    candidate: ModelSpec
    reference: ModelSpec
    inputs: InputsSpec
    statistic: StatisticName
    cross: bool = False
    permutations: int = PERMUTATIONS
    sample: int | None = None

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
    ) -> Comparison:
        """A comparison with what its inputs imply: "hidden" is isotropic, and so means weights."""
        if inputs.kind == "hidden":
            statistic = REGISTRY[statistic].on_hidden or statistic
        return cls(candidate, reference, inputs, statistic, cross, permutations)


@dataclass(frozen=True)
class Plan:
    """Comparisons without repeats, in the order in which they were asked for."""

    comparisons: tuple[Comparison, ...]

    @classmethod
    def of(cls, comparisons: Iterable[Comparison]) -> Plan:
        """Keep the first of equal comparisons."""
        return cls(tuple(dict.fromkeys(comparisons)))

    def models(self) -> tuple[ModelSpec, ...]:
        """Every model that takes part, once."""
        pairs = ((c.candidate, c.reference) for c in self.comparisons)
        return tuple(dict.fromkeys(spec for pair in pairs for spec in pair))


@dataclass(frozen=True)
class Capture:
    """One thing to be computed of a model alone, for all the comparisons that it serves.

    With ``role`` None that are its activations on the inputs that it has in common with ``partner``, which
    is the model itself where its own tokenizer decides; else imitations of its MLPs, which differ by role.
    ``gated`` says whether a statistic needs gates.
    """

    model: ModelSpec
    partner: ModelSpec
    inputs: InputsSpec
    gated: bool
    role: Literal["candidate", "reference"] | None = None


def sampled(blocks: Sequence[int], number: int, seed: int) -> tuple[int, ...]:
    """One block of each of ``number`` equal stretches of the depth, drawn by the seed.

    Who does not know the seed does not know which; all of the blocks, where there are no more.
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
    """The evidence that a claim needs."""
    return Comparison.of(
        suite.models[claim.candidate],
        suite.models[claim.reference],
        suite.inputs,
        claim.statistic,
        cross=claim.blocks.cross,
        permutations=claim.permutations,
    )


def controlled(claims: Iterable[Claim]) -> dict[str, Claim]:
    """The claim that stands for the controls of each reference: the first that is not skipped."""
    run = [claim for claim in claims if claim.skip is None]
    return {claim.reference: claim for claim in reversed(run)}


def positive_control(suite: Suite, claim: Claim) -> Comparison:
    """The evidence that the claim's test has the power to see kinship with its reference."""
    reference = suite.models[claim.reference]
    disguised = replace(reference, disguised=REGISTRY[claim.statistic].control)
    return Comparison.of(
        disguised, reference, suite.inputs, claim.statistic, permutations=claim.permutations
    )


def negative_control(suite: Suite, claim: Claim) -> Comparison:
    """The table of blocks against blocks whose p-values off the alignment must look uniform."""
    candidate, reference = suite.models[claim.candidate], suite.models[claim.reference]
    # a combination of statistics has p-values that are no smaller than uniform, but not uniform
    statistic = REGISTRY[claim.statistic].components()[0].name
    return Comparison.of(candidate, reference, suite.inputs, statistic, cross=True)
