"""A sample of two models that are opened in part: the candidate's blocks, experts and units, and tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from provenance.architecture.find import with_mlps
from provenance.capture.embeddings import embed, embedding_rows, usable
from provenance.capture.in_part import Embedded, PartOfModel, some_runs
from provenance.capture.layout import layout_in_part
from provenance.comparison.plan import sampled
from provenance.errors import ArchitectureError, DegenerateError, InputError
from provenance.inputs.shared_tokens import LEAST_TOKENS, draw
from provenance.inputs.vocabulary import read_vocabulary
from provenance.loading.ranged_tensors import RangedTensors
from provenance.vocabulary import PROBE_TOKENS, ROLES, SAMPLED_UNITS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from provenance.architecture.records import MLPRecord
    from provenance.capture.units import Shape
    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.comparison.plan import Comparison
    from provenance.inputs.shared_tokens import SharedTokens
    from provenance.vocabulary import Role

RUNS = 8
"""Runs of neighbouring units that they are read in."""
SPARE = 1 / 8
"""Share of tokens that are read besides those that are wanted, before all that were drawn are."""


@dataclass
class Sample:
    """What of two checkpoints is compared.

    Attributes
    ----------
    candidate, reference : Checkpoint
        Opened in part.
    comparison : Comparison
        With the number of blocks and experts.
    seed : int
        Draws the sample.
    tell : callable
        Called before more is read.
    tokens : SharedTokens or None
        What MLPs are asked about, once it is known.
    """

    candidate: Checkpoint
    reference: Checkpoint
    comparison: Comparison
    seed: int
    tell: Callable[[], None]
    tokens: SharedTokens | None = field(default=None, init=False)

    @property
    def number(self) -> int:
        """How many blocks, and experts of each, are asked for."""
        assert self.comparison.sample is not None
        return self.comparison.sample

    @cached_property
    def parts(self) -> tuple[PartOfModel, PartOfModel]:
        """Where the MLPs of both lie.

        Raises
        ------
        ArchitectureError
            One has no gated MLP, or its names leave a choice.
        """
        candidate, reference = (
            PartOfModel(layout_in_part(model), RangedTensors(model))
            for model in (self.candidate, self.reference)
        )
        for model, part in ((self.candidate, candidate), (self.reference, reference)):
            try:
                with_mlps(part.layout.trace, gated=True)
            except ArchitectureError as error:
                raise ArchitectureError(f"{model.source}: {error}") from None
        return candidate, reference

    def part(self, role: Role) -> PartOfModel:
        """One of the two."""
        return self.parts[ROLES.index(role)]

    def shapes(self) -> tuple[Shape, Shape]:
        """What the two models are made of, all of them."""
        candidate, reference = self.parts
        return candidate.shape, reference.shape

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """The blocks of the candidate that are tested: a sample of those that have an MLP."""
        return sampled(sorted(self.part("candidate").shape.mlps), self.number, self.seed)

    @cached_property
    def places(self) -> Mapping[int, tuple[int, ...]]:
        """The MLPs of each of these blocks that are: a sample of its experts, and all others."""
        return {block: self._places(block) for block in self.rows}

    def _places(self, block: int) -> tuple[int, ...]:
        records = self.part("candidate").layout.trace.of_block(block)
        experts = self.part("candidate").experts(block)
        drawn = sampled(experts, self.number, self.seed + block)
        return tuple(at for at in range(len(records)) if at in drawn or at not in experts)

    def units(self, role: Role, block: int, place: int) -> list[range]:
        """The units of an MLP that are tested: some of the candidate's, all of the reference's."""
        number = self.part(role).record(block, place).units
        if role == "reference":
            return [range(number)]
        return some_runs(number, SAMPLED_UNITS, RUNS, f"{self.seed}:{block}:{place}")

    @cached_property
    def embedded(self) -> tuple[Embedded, Embedded] | DegenerateError:
        """What both are asked about: embeddings of tokens that they share; or why there are none."""
        try:
            return self._embedded()
        except InputError as error:  # weights need no tokenizer
            return DegenerateError(str(error))
        except DegenerateError as error:
            return error

    def _embedded(self) -> tuple[Embedded, Embedded]:
        sizes = [embedding_rows(part.layout.trace, part.tensors) for part in self.parts]
        first, second = (
            read_vocabulary(model, size)
            for model, size in zip((self.candidate, self.reference), sizes, strict=True)
        )
        most = min(max(self.comparison.inputs.tokens, LEAST_TOKENS), PROBE_TOKENS)
        drawn = draw(first, second, most, self.seed)
        every, enough = len(drawn.candidate), most + int(most * SPARE)
        for number in dict.fromkeys((min(enough, every), every)):
            self.tell()
            candidate, reference = (
                embed(part.layout.trace, part.tensors, ids[:number])
                for part, ids in zip(self.parts, (drawn.candidate, drawn.reference), strict=True)
            )
            places = usable(candidate, reference, most)
            if len(places) == most:
                break
        self.tokens = drawn.keep(places)
        ours, theirs = self.parts
        return Embedded(ours, candidate[places]), Embedded(theirs, reference[places])

    def fed(self, role: Role, record: MLPRecord) -> torch.Tensor:
        """What an MLP of one side is fed of every token, (tokens, hidden) float32.

        Raises
        ------
        DegenerateError
            If the two share too few tokens, or what they are to the MLP is not known.
        """
        if isinstance(self.embedded, DegenerateError):
            raise self.embedded
        return self.embedded[ROLES.index(role)].fed(record)
