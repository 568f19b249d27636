"""From two models to what each statistic is computed on: weights, answers to tokens, captures."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from provenance.architecture.find import with_mlps
from provenance.comparison.plan import pair_seed
from provenance.comparison.sides import Component
from provenance.errors import ArchitectureError, DegenerateError, InputError
from provenance.statistics import REGISTRY
from provenance.vocabulary import PROBE_TOKENS, ROLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provenance.architecture.records import Trace
    from provenance.capture.embeddings import TokenUnits
    from provenance.capture.layout import Layout
    from provenance.capture.units import ActivationUnits, Shape
    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.comparison.per_model import PerModel
    from provenance.comparison.plan import Comparison
    from provenance.inputs.pairs import PairInputs
    from provenance.inputs.shared_tokens import SharedTokens
    from provenance.loading.parameters import ModelTensors
    from provenance.statistics import Basis, Statistic
    from provenance.store.store import Entry
    from provenance.vocabulary import Role


@dataclass
class Components:
    """Makes the components of a comparison; what has been opened for one serves the others.

    ``tokens`` are the shared tokens, once MLPs were asked about them. ``fed_as`` is a model whose tokens
    count in the candidate's place, which is then a copy of the reference.
    """

    candidate: Checkpoint
    reference: Checkpoint
    comparison: Comparison
    work: PerModel
    fed_as: Checkpoint | None = None
    tokens: SharedTokens | None = field(default=None, init=False)
    _active: list[ActivationUnits] = field(default_factory=list, init=False)

    def shapes(self) -> tuple[Shape, Shape]:
        """What the two models are made of, by their configurations.

        Raises
        ------
        SourceError
            If the files hold what is compared in another shape.
        """
        from provenance.capture.units import Shape

        candidate, reference = (
            Shape.of(trace, "as stored", layout.heads, layout.by_names)
            for trace, layout in zip(self._traces, self._layouts, strict=True)
        )
        return candidate, reference

    def of_files(self, statistic: Statistic, device: str) -> Component[Any]:
        """A statistic that reads weight files.

        Raises
        ------
        DegenerateError
            If the two have nothing in common that it could be computed on.
        """
        if statistic.basis == "embeddings":
            return Component.of(statistic, *self._on_tokens(device))
        from provenance.capture.units import WeightUnits

        sizes = [sorted({record.hidden for record in trace.mlps}) for trace in self._traces]
        if statistic.gated and not set(sizes[0]) & set(sizes[1]):
            raise DegenerateError(
                f"weights of hidden size {sizes[0][0]} and {sizes[1][0]} cannot be compared row by row"
            )
        candidate, reference = (
            WeightUnits(trace, own, device)
            for trace, own in zip(self._traces, self._tensors, strict=True)
        )
        return Component.of(statistic, candidate, reference)

    def of_captures(
        self,
        statistic: Statistic,
        entries: Mapping[tuple[Basis, Role], Entry],
        inputs: PairInputs | None,
        device: str,
    ) -> Component[Any]:
        """A statistic of what was computed of each model alone: activations, or imitations."""
        if statistic.basis == "functions":
            from provenance.capture.proxies import ProxyUnits

            proxies = [ProxyUnits(entries["functions", role].path, role, device) for role in ROLES]
            # the registry's tests know no settings; that of imitations takes the least fit from them
            test = partial(statistic.load(), settings=self.work.distillation)  # type: ignore[call-arg]
            return replace(Component.of(statistic, proxies[0], proxies[1]), test=test)
        from provenance.capture.units import ActivationUnits

        if not self._active:
            compared = (inputs and inputs.positions) or (None, None)
            self._active = [
                ActivationUnits(entries["activations", role].path, own, device, positions)
                for role, own, positions in zip(ROLES, self._tensors, compared, strict=True)
            ]
        candidate, reference = self._active
        return Component.of(statistic, candidate, reference)

    def _on_tokens(self, device: str) -> tuple[TokenUnits, TokenUnits]:
        """The units of both models on the embeddings of tokens that they share."""
        from provenance.capture.embeddings import TokenUnits, embed, embedding_rows, usable
        from provenance.inputs.shared_tokens import LEAST_TOKENS, draw
        from provenance.inputs.vocabulary import read_vocabulary

        inputs = self.comparison.inputs
        sides = list(zip(self._traces, self._tensors, strict=True))
        try:
            sizes = [embedding_rows(*side) for side in sides]
            first = read_vocabulary(self.reference, sizes[1])
            alike = self.candidate.tokenizer_digest == self.reference.tokenizer_digest
            if alike and sizes[0] == sizes[1]:
                second = replace(first, name=self.candidate.source)
            else:
                second = read_vocabulary(self.candidate, sizes[0])
            if self.fed_as is not None:
                second = read_vocabulary(self.fed_as, self.fed_as.vocabulary or sizes[0])
        except InputError as error:  # other parts may need no tokenizer: on random ids none does
            raise DegenerateError(str(error)) from error
        most = min(max(inputs.tokens, LEAST_TOKENS), PROBE_TOKENS)
        seed = pair_seed(inputs.seed, self.candidate, self.reference)
        drawn = draw(second, first, most, seed)
        if self.fed_as is not None:
            drawn = replace(drawn, candidate=drawn.reference)
        candidate, reference = (
            embed(*side, ids)
            for side, ids in zip(sides, (drawn.candidate, drawn.reference), strict=True)
        )
        places = usable(candidate, reference, most)
        self.tokens = drawn.keep(places)
        return (
            TokenUnits(self._layouts[0], self._tensors[0], candidate[places], device),
            TokenUnits(self._layouts[1], self._tensors[1], reference[places], device),
        )

    @cached_property
    def _tensors(self) -> tuple[ModelTensors, ModelTensors]:
        """The models' parameters; shared by statistics, since each keeps its last read."""
        from provenance.loading.parameters import ModelTensors

        candidate, reference = self._layouts
        return (
            ModelTensors(self.candidate, stored=candidate.stored),
            ModelTensors(self.reference, stored=reference.stored),
        )

    @cached_property
    def _layouts(self) -> tuple[Layout, Layout]:
        return self.work.layout(self.candidate), self.work.layout(self.reference)

    @cached_property
    def _traces(self) -> tuple[Trace, Trace]:
        """Where the MLPs are, gated where the statistic needs that."""
        gated = REGISTRY[self.comparison.statistic].gated
        for model, layout in zip((self.candidate, self.reference), self._layouts, strict=True):
            try:
                with_mlps(layout.trace, gated=gated)
            except ArchitectureError as error:
                raise ArchitectureError(f"{model.source}: {error}") from None
        return self._layouts[0].trace, self._layouts[1].trace
