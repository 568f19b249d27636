"""A sampled comparison: what its tests are given, read as few ranges.

::

    tokens   rows of both embeddings                        what MLPs are asked about
    ours     some units of the sampled blocks and experts   read first
    likeness a few units, or the router, of blocks of the reference
    theirs   all units of the partners that are chosen      read last, and tested

Each step reads its ranges side by side. Nothing else of the weights is read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from provenance.architecture.units import MLPActivations, MLPFactors
from provenance.comparison.choosing import Choosing
from provenance.comparison.sides import Component
from provenance.errors import DegenerateError
from provenance.vocabulary import ROLES, SAMPLED_UNITS

if TYPE_CHECKING:
    from provenance.comparison.choosing import Chosen
    from provenance.comparison.sample import Sample
    from provenance.statistics import Statistic
    from provenance.vocabulary import Role


@dataclass
class SampledPair:
    """A sample, the partners that were chosen for it, and what of both is tested."""

    sample: Sample

    @cached_property
    def chosen(self) -> Chosen:
        """The partners of the sample; what is read to choose them is brought."""
        return Choosing(self.sample).chosen()

    def fetch(self) -> None:
        """Bring all that the tests read."""
        sample, theirs = self.sample, self.sample.part("reference")
        places = dict.fromkeys(
            (j, b) for (_, j), pairs in self.chosen.pairs.items() for _, b in pairs
        )
        sample.tell()
        theirs.tensors.fetch(
            span
            for j, b in places
            for span in theirs.spans(theirs.record(j, b), sample.units("reference", j, b))
        )

    def component(self, statistic: Statistic) -> Component[Any]:
        """A statistic on the sample.

        Raises
        ------
        DegenerateError
            If the two have nothing in common that it could be computed on.
        """
        on_tokens = statistic.basis == "embeddings"
        if on_tokens and isinstance(self.sample.embedded, DegenerateError):
            raise self.sample.embedded
        sizes = [
            sorted({record.hidden for record in part.layout.trace.mlps})
            for part in self.sample.parts
        ]
        if not on_tokens and not set(sizes[0]) & set(sizes[1]):
            raise DegenerateError(
                f"weights of hidden size {sizes[0][0]} and {sizes[1][0]} cannot be compared row by row"
            )
        kind = OnTokens if on_tokens else OfWeights
        candidate, reference = (kind(self.sample, role) for role in ROLES)
        made: Component[Any] = Component.of(statistic, candidate, reference)
        # experts are not joined: those that would be are not all here
        return replace(made, size=None, pairs=self.chosen.pairs)

    def details(self) -> dict[str, str]:
        """What evidence says of the sample, besides its blocks."""
        said = {"sampled units": f"at most {SAMPLED_UNITS} of each MLP of the candidate"}
        ours = self.sample.part("candidate")
        counts = {
            block: (len({*ours.experts(block)} & {*places}), len(ours.experts(block)))
            for block, places in self.sample.places.items()
        }
        if any(every for _, every in counts.values()):
            said["sampled experts"] = ", ".join(
                f"{some} of {every} in block {block}"
                for block, (some, every) in counts.items()
                if every
            )
        return said


class _Units:
    """The MLPs of one side, some units or all of each; satisfies `comparison.sides.Units`."""

    def __init__(self, sample: Sample, role: Role) -> None:
        self._sample, self._role = sample, role
        self._part = sample.part(role)
        self.shape = self._part.shape


class OnTokens(_Units):
    """What the units answer to embeddings of tokens; their way out is not read."""

    def block(self, index: int, place: int = 0) -> MLPFactors:
        """What one MLP is fed of every token, and its projections, float32."""
        record = self._part.record(index, place)
        units = self._sample.units(self._role, index, place)
        fed = self._sample.fed(self._role, record)
        gate = None if record.gate is None else self._part.linear(record.gate, units)
        return MLPFactors(fed, gate, self._part.linear(record.up, units), None, record.activation)


class OfWeights(_Units):
    """The weights of the units; their way out is not read."""

    def block(self, index: int, place: int = 0) -> MLPActivations:
        """Transposed weights of gate and up of one MLP, (hidden, units) float32."""
        record = self._part.record(index, place)
        units = self._sample.units(self._role, index, place)
        gate = None if record.gate is None else self._part.linear(record.gate, units).weight.T
        up = self._part.linear(record.up, units).weight.T
        return MLPActivations(gate, up, None, record.activation)
