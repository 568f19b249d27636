"""Measures one pair: has what the statistic needs of either model made, compares, and says what it found.

`provenance.comparison.executor` decides what is measured and keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from provenance.comparison.records import (
    imitates,
    inputs_record,
    natural_pairing,
    parts,
    record,
    rows_of,
    sample_record,
    shared_inputs,
    versions,
)
from provenance.errors import ArchitectureError, DegenerateError
from provenance.evidence.records import Evidence, InputsRecord, Pairing
from provenance.evidence.verdict import aggregate
from provenance.statistics import BUNDLED, PAIR_STATISTICS, REGISTRY
from provenance.vocabulary import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provenance.capture.units import Encoded
    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.comparison.blocks import Part
    from provenance.comparison.per_model import PerModel
    from provenance.comparison.plan import Comparison
    from provenance.vocabulary import DistillSettings


@dataclass(frozen=True)
class Pair:
    """Two models that are to be compared, and what that is done with."""

    comparison: Comparison
    candidate: Checkpoint
    reference: Checkpoint
    work: PerModel
    encoded: Encoded
    distillation: DistillSettings

    def measure(self) -> Evidence:
        """The evidence.

        Raises
        ------
        ProvenanceError
            One line: what was wrong with which model, and what to do.
        """
        if self.candidate.bundle or self.reference.bundle:
            return self._measure_bundles()
        if self.comparison.statistic in PAIR_STATISTICS:
            return self._measure_models()
        return self._measure_blocks()

    def _measure_models(self) -> Evidence:
        from provenance.comparison.whole_models import PairInputs, measure_pair
        from provenance.loading.devices import lease

        comparison, candidate, reference = self.comparison, self.candidate, self.reference
        inputs = shared_inputs(self.encoded, comparison, candidate, reference)
        self.work.tell(Stage("match", f"{candidate.source} against {reference.source}"))
        seed = comparison.inputs.seed
        with lease(self.work.device, self.work.store.root / "locks") as device:
            given = PairInputs(candidate, reference, inputs, device, seed, comparison.permutations)
            result = measure_pair(comparison.statistic, given)
        return Evidence(
            statistic=comparison.statistic,
            log10_p=result.log10_p,
            blocks=(),
            candidate=record(candidate, None),
            reference=record(reference, None),
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
        from provenance.loading.devices import lease

        comparison = self.comparison
        statistic = REGISTRY[comparison.statistic]
        models = (self.candidate, self.reference)
        inputs = shared_inputs(self.encoded, comparison, *models)
        settings = self.distillation if imitates(comparison) else None
        seed = comparison.inputs.seed
        entries = self.work.of_pair(models, inputs, settings, seed, gated=statistic.gated)
        with lease(self.work.device, self.work.store.root / "locks") as device:
            units = parts(statistic.components(), models, entries, device, settings)
            details = {} if settings is None else settings.details()
            fed = inputs_record(comparison.inputs, inputs, settings)
            return self._compared(units, fed, seed, device, details)

    def _measure_bundles(self) -> Evidence:
        from provenance.comparison.blocks import Part
        from provenance.comparison.fingerprints import Meeting
        from provenance.loading.devices import lease

        comparison = self.comparison
        if comparison.statistic not in BUNDLED:
            bundle = self.candidate if self.candidate.bundle else self.reference
            raise ArchitectureError(
                f"{bundle.source} is a fingerprint, which {comparison.statistic} cannot be computed on: "
                f"use the statistic {' or '.join(sorted(BUNDLED))}"
            )
        meeting = Meeting.of(self.candidate, self.reference)
        entries = meeting.captured(self.work, self.encoded, comparison.inputs)
        statistic = REGISTRY[comparison.statistic]
        with lease(self.work.device, self.work.store.root / "locks") as device:
            sides = meeting.units(entries, device)
            ready = meeting.sketcher.prepare, statistic.load_signature()
            part = Part(statistic.name, statistic.load(), *sides, *ready)
            fed = meeting.inputs_record()
            return self._compared([part], fed, fed.seed, device, meeting.details())

    def _compared(
        self,
        units: list[Part[Any]],
        fed: InputsRecord,
        seed: int,
        device: str,
        details: Mapping[str, float | int | str],
    ) -> Evidence:
        """Compare blocks."""
        from provenance.comparison.blocks import compare_blocks

        comparison = self.comparison
        pair = f"{self.candidate.source} against {self.reference.source}"
        shapes = (units[0].candidate.shape, units[0].reference.shape)
        pairing: Pairing = "cross" if comparison.cross else natural_pairing(*shapes)
        rows = rows_of(comparison, shapes, pairing)
        table = compare_blocks(
            units,
            pairing,
            seed,
            lambda i, n: self.work.tell(Stage("match", pair, i, n)),
            self.work.memory.working // 2,
            rows,
        )
        if not any(block.log10_p is not None for block in table.blocks):
            reasons = (block.reason for block in table.blocks if block.reason)
            reason = next(reasons, "they have no block in common")
            raise DegenerateError(f"{pair}: no block could be tested: {reason}")
        return Evidence(
            statistic=comparison.statistic,
            log10_p=aggregate(table.blocks),
            blocks=table.blocks,
            candidate=record(self.candidate, shapes[0]),
            reference=record(self.reference, shapes[1]),
            inputs=fed,
            pairing=pairing,
            seed=seed,
            device=device.partition(":")[0],
            versions=versions(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            cross=table.cross,
            alignment=table.alignment,
            details={**details, **sample_record(rows, shapes[0])},
        )
