"""Measures one pair: runs what the plan asks of either model, compares, and records what it found.

`provenance.comparison.executor` decides what is measured and keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from provenance.comparison.plan import captures, refusal, sampled
from provenance.comparison.records import (
    imitates,
    inputs_record,
    loss_details,
    model_record,
    sample_details,
    versions,
)
from provenance.errors import DegenerateError
from provenance.evidence.decide import aggregate
from provenance.evidence.records import Evidence, InputsRecord, Pairing
from provenance.statistics import PAIR_STATISTICS, REGISTRY
from provenance.vocabulary import ROLES, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provenance.capture.units import Shape
    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.comparison.blocks import Component, Units
    from provenance.comparison.per_model import PerModel
    from provenance.comparison.plan import Comparison
    from provenance.inputs.pairs import PairInputs
    from provenance.statistics import Basis
    from provenance.store.store import Entry
    from provenance.vocabulary import Role


@dataclass(frozen=True)
class Pair:
    """Two models that are to be compared, and what that is done with."""

    comparison: Comparison
    candidate: Checkpoint
    reference: Checkpoint
    work: PerModel

    def measure(self) -> Evidence:
        """The evidence.

        Raises
        ------
        ProvenanceError
            One line: what was wrong with which model, and what to do.
        """
        error = refusal(self.comparison, self.candidate, self.reference)
        if error is not None:
            raise error
        if self.candidate.bundle or self.reference.bundle:
            return self._measure_bundles()
        if self.comparison.statistic in PAIR_STATISTICS:
            return self._measure_models()
        return self._measure_blocks()

    def _measure_models(self) -> Evidence:
        from provenance.comparison.whole_models import WholeModels, measure_pair

        comparison, candidate, reference = self.comparison, self.candidate, self.reference
        inputs = self._inputs(same_ids=True)
        self.work.tell(Stage("match", self._name))
        seed = comparison.inputs.seed
        with self.work.leased() as device:
            given = WholeModels(
                candidate,
                reference,
                None if inputs is None else inputs.candidate,
                device,
                seed,
                comparison.permutations,
            )
            result = measure_pair(comparison.statistic, given)
        return Evidence(
            statistic=comparison.statistic,
            log10_p=result.log10_p,
            blocks=(),
            candidate=model_record(candidate, None),
            reference=model_record(reference, None),
            inputs=inputs_record(comparison.inputs, inputs),
            pairing="same-index",
            seed=seed,
            device=device.partition(":")[0],
            versions=versions(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            value=result.value,
            permutations=result.permutations,
            details=result.details,
        )

    def _measure_blocks(self) -> Evidence:
        comparison = self.comparison
        inputs = self._inputs()
        entries = self._entries(inputs)
        settings = self.work.distillation if imitates(comparison) else None
        details = {} if settings is None else settings.details()
        details |= loss_details(entries)
        fed = inputs_record(comparison.inputs, inputs, settings)
        with self.work.leased() as device:
            components = self._components(entries, inputs, device)
            return self._compared(components, fed, comparison.inputs.seed, device, details)

    def _measure_bundles(self) -> Evidence:
        from provenance.comparison.blocks import Component
        from provenance.comparison.fingerprints import BundlePair

        bundles = BundlePair.of(self.candidate, self.reference)
        entries = self._entries(None)
        statistic = REGISTRY[self.comparison.statistic]
        with self.work.leased() as device:
            candidate, reference = bundles.units(
                [entries.get(("activations", role)) for role in ROLES], device
            )
            prepare, signature = bundles.sketcher.prepare, statistic.load_signature()
            component = Component(
                statistic.name, statistic.load(), candidate, reference, prepare, signature
            )
            fed = bundles.inputs_record()
            details = bundles.details() | loss_details(entries)
            return self._compared([component], fed, fed.seed, device, details)

    def _inputs(self, *, same_ids: bool = False) -> PairInputs | None:
        """Token ids for both models, or None where no statistic of the comparison runs a model."""
        components = REGISTRY[self.comparison.statistic].components()
        if not any(component.runs_models for component in components):
            return None
        models = self.candidate, self.reference
        return self.work.encoded.choose(self.comparison.inputs, *models, same_ids=same_ids)

    def _entries(self, inputs: PairInputs | None) -> dict[tuple[Basis, Role], Entry]:
        """What the plan asks of either model, computed or found, by the basis and the role it serves."""
        by_spec = {model.spec: model for model in (self.candidate, self.reference)}
        entries: dict[tuple[Basis, Role], Entry] = {}
        for capture in dict.fromkeys(captures(self.comparison, self.candidate, self.reference)):
            model = by_spec[capture.model]
            partner = None if capture.partner is None else by_spec[capture.partner]
            fed = None
            if inputs is not None:
                fed = inputs.candidate if model.spec == self.candidate.spec else inputs.reference
            entry = self.work.capture(capture, model, partner, fed)
            for role, side in zip(ROLES, (self.candidate, self.reference), strict=True):
                if side.spec == capture.model and capture.role in {None, role}:
                    entries[capture.basis, role] = entry
        return entries

    def _components(
        self,
        entries: Mapping[tuple[Basis, Role], Entry],
        inputs: PairInputs | None,
        device: str,
    ) -> list[Component[Any]]:
        """Each statistic with the units that it is computed on; what was traced is reused."""
        from provenance.capture.proxies import ProxyUnits
        from provenance.capture.units import ActivationUnits, WeightUnits, find_without_weights
        from provenance.comparison.blocks import Component
        from provenance.loading.parameters import ModelTensors

        models = (self.candidate, self.reference)
        tensors = [
            ModelTensors(model) for model in models
        ]  # shared by bases: it keeps its last read
        compared = (inputs and inputs.positions) or (None, None)
        active = [
            ActivationUnits(entries["activations", role].path, own, device, positions)
            for role, own, positions in zip(ROLES, tensors, compared, strict=True)
            if ("activations", role) in entries
        ]
        components = []
        for statistic in REGISTRY[self.comparison.statistic].components():
            test = statistic.load()
            units: Sequence[Units[Any]] = active
            if statistic.basis == "weights":
                traces = [one.trace for one in active] or [find_without_weights(m) for m in models]
                units = [
                    WeightUnits(trace, own, device)
                    for trace, own in zip(traces, tensors, strict=True)
                ]
            elif statistic.basis == "functions":
                units = [
                    ProxyUnits(entries["functions", role].path, role, device) for role in ROLES
                ]
                # the registry's tests know no settings; that of imitations takes the least fit from them
                test = partial(test, settings=self.work.distillation)  # type: ignore[call-arg]
            candidate, reference = units
            prepare, signature = statistic.load_preparation(), statistic.load_signature()
            components.append(
                Component(statistic.name, test, candidate, reference, prepare, signature)
            )
        return components

    def _compared(
        self,
        components: Sequence[Component[Any]],
        fed: InputsRecord,
        seed: int,
        device: str,
        details: Mapping[str, float | int | str],
    ) -> Evidence:
        """Compare blocks."""
        from provenance.comparison.blocks import compare_blocks

        comparison = self.comparison
        shapes = (components[0].candidate.shape, components[0].reference.shape)
        pairing: Pairing = "cross" if comparison.cross else natural_pairing(*shapes)
        rows = self._sampled_rows(shapes, pairing)
        table = compare_blocks(
            components,
            pairing,
            seed,
            lambda i, n: self.work.tell(Stage("match", self._name, i, n)),
            self.work.memory.working // 2,
            rows,
        )
        if not any(block.log10_p is not None for block in table.blocks):
            reasons = (block.reason for block in table.blocks if block.reason)
            reason = next(reasons, "they have no block in common")
            raise DegenerateError(f"{self._name}: no block could be tested: {reason}")
        return Evidence(
            statistic=comparison.statistic,
            log10_p=aggregate(table.blocks),
            blocks=table.blocks,
            candidate=model_record(self.candidate, shapes[0]),
            reference=model_record(self.reference, shapes[1]),
            inputs=fed,
            pairing=pairing,
            seed=seed,
            device=device.partition(":")[0],
            versions=versions(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            cross=table.cross,
            alignment=table.alignment,
            details={**details, **sample_details(rows, shapes[0])},
        )

    def _sampled_rows(
        self, shapes: tuple[Shape, Shape], pairing: Pairing
    ) -> tuple[int, ...] | None:
        """The candidate's blocks that are tested: a sample of those that can be; None where all are."""
        comparison = self.comparison
        if comparison.sample is None:
            return None
        candidate, reference = (shape.mlps for shape in shapes)
        met = [i for i in sorted(candidate) if pairing != "same-index" or i in reference]
        return sampled(met, comparison.sample, comparison.inputs.seed)

    @property
    def _name(self) -> str:
        return f"{self.candidate.source} against {self.reference.source}"


def natural_pairing(candidate: Shape, reference: Shape) -> Pairing:
    """Blocks are compared by index where both models have the same number of them."""
    return "same-index" if candidate.blocks == reference.blocks else "best-of-reference"
