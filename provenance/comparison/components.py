"""From two models to what each statistic is computed on: weights, answers to tokens, captures."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from provenance.comparison.blocks import Component
from provenance.errors import DegenerateError, InputError
from provenance.statistics import REGISTRY
from provenance.vocabulary import PROBE_TOKENS, ROLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from provenance.architecture.records import Trace
    from provenance.capture.embeddings import TokenUnits
    from provenance.capture.units import ActivationUnits, Shape
    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.comparison.plan import Comparison
    from provenance.inputs.shared_tokens import SharedTokens
    from provenance.loading.parameters import ModelTensors
    from provenance.statistics import Basis, Statistic
    from provenance.store.store import Entry
    from provenance.vocabulary import DistillSettings, Role


@dataclass
class Components:
    """Makes the components of a comparison; what has been opened for one serves the others.

    ``tokens`` are the shared tokens, once MLPs were asked about them.
    """

    candidate: Checkpoint
    reference: Checkpoint
    comparison: Comparison
    distillation: DistillSettings
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

        self._refuse_other_shapes()
        candidate, reference = (Shape.of(trace, "as stored") for trace in self._traces)
        return candidate, reference

    def of_files(self, statistic: Statistic, device: str) -> Component[Any]:
        """A statistic that reads weight files.

        Raises
        ------
        DegenerateError
            If the two have nothing in common that it could be computed on.
        """
        if statistic.basis == "embeddings":
            return self._component(statistic, *self._on_tokens(device))
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
        return self._component(statistic, candidate, reference)

    def of_captures(
        self, statistic: Statistic, entries: Mapping[tuple[Basis, Role], Entry], device: str
    ) -> Component[Any]:
        """A statistic of what was computed of each model alone: activations, or imitations."""
        if statistic.basis == "functions":
            from provenance.capture.proxies import ProxyUnits

            proxies = [ProxyUnits(entries["functions", role].path, role, device) for role in ROLES]
            # the registry's tests know no settings; that of imitations takes the least fit from them
            test = partial(statistic.load(), settings=self.distillation)  # type: ignore[call-arg]
            prepare, signature = statistic.load_preparation(), statistic.load_signature()
            return Component(statistic.name, test, proxies[0], proxies[1], prepare, signature)
        from provenance.capture.units import ActivationUnits

        if not self._active:
            self._active = [
                ActivationUnits(entries["activations", role].path, own, device)
                for role, own in zip(ROLES, self._tensors, strict=True)
            ]
        return self._component(statistic, *self._active)

    def _component(self, statistic: Statistic, candidate: Any, reference: Any) -> Component[Any]:
        return Component(
            statistic.name,
            statistic.load(),
            candidate,
            reference,
            statistic.load_preparation(),
            statistic.load_signature(),
            statistic.load_glimpse(),
        )

    def _on_tokens(self, device: str) -> tuple[TokenUnits, TokenUnits]:
        """The units of both models on the embeddings of tokens that they share."""
        from provenance.capture.embeddings import TokenUnits, embed, embedding_rows, usable
        from provenance.inputs.shared_tokens import LEAST_TOKENS, draw
        from provenance.inputs.vocabulary import read_vocabulary

        inputs = self.comparison.inputs
        models = (self.candidate, self.reference)
        sides = list(zip(self._traces, self._tensors, strict=True))
        try:
            vocabularies = [
                read_vocabulary(model, embedding_rows(*side))
                for model, side in zip(models, sides, strict=True)
            ]
        except InputError as error:  # other parts may need no tokenizer: on random ids none does
            raise DegenerateError(str(error)) from error
        most = min(max(inputs.tokens, LEAST_TOKENS), PROBE_TOKENS)
        drawn = draw(vocabularies[0], vocabularies[1], most, inputs.seed)
        candidate, reference = (
            embed(*side, ids)
            for side, ids in zip(sides, (drawn.candidate, drawn.reference), strict=True)
        )
        places = usable(candidate, reference, most)
        self.tokens = drawn.keep(places)
        units = [
            TokenUnits(*side, skeleton, embedded[places], device)
            for side, skeleton, embedded in zip(
                sides, self._skeletons, (candidate, reference), strict=True
            )
        ]
        return units[0], units[1]

    def _refuse_other_shapes(self) -> None:
        """Refuse it in the words in which loading a model does."""
        from provenance.loading.model import refuse_gaps

        models = (self.candidate, self.reference)
        for model, skeleton, traced, tensors in zip(
            models, self._skeletons, self._traces, self._tensors, strict=True
        ):
            wanted = {
                name: tuple(skeleton.get_parameter(name).shape) for name in traced.parameters()
            }
            gaps = {"missing_keys": (), "error_msgs": ()}
            refuse_gaps(model.source, {**gaps, "mismatched_keys": tensors.other_shapes(wanted)})

    @cached_property
    def _tensors(self) -> tuple[ModelTensors, ModelTensors]:
        """The models' parameters; shared by statistics, since each keeps its last read."""
        from provenance.loading.parameters import ModelTensors

        return ModelTensors(self.candidate), ModelTensors(self.reference)

    @cached_property
    def _skeletons(self) -> tuple[nn.Module, nn.Module]:
        from provenance.loading.model import load_skeleton

        first = load_skeleton(self.reference)
        if _alike(self.candidate, self.reference):
            return first, first
        return load_skeleton(self.candidate), first

    @cached_property
    def _traces(self) -> tuple[Trace, Trace]:
        from provenance.capture.units import find_in_skeleton

        gated = REGISTRY[self.comparison.statistic].gated
        candidate, reference = self._skeletons
        first = find_in_skeleton(self.reference, reference, gated=gated)
        if candidate is reference:
            return first, first
        return find_in_skeleton(self.candidate, candidate, gated=gated), first


def _alike(one: Checkpoint, other: Checkpoint) -> bool:
    """Whether two models have one structure for certain: one configuration, and no code of their own."""
    return not (one.remote_code or other.remote_code) and dict(one.config) == dict(other.config)
