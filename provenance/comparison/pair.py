"""Measures one pair: runs what the plan asks of either model, compares, and records what it found.

`provenance.comparison.executor` decides what is measured and keeps it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from provenance.comparison.aligned import kin_blocks, measure_difference
from provenance.comparison.exhibits import measure_exhibits
from provenance.comparison.plan import captures, pair_seed, refusal, sampled, unrunnable
from provenance.comparison.records import (
    capture_details,
    control_details,
    coverage_records,
    imitates,
    inputs_record,
    model_record,
    ranges_record,
    sample_details,
    versions,
)
from provenance.comparison.same_weights import compare_weights
from provenance.errors import DegenerateError
from provenance.evidence.decide import aggregate
from provenance.evidence.records import SCHEMA, Evidence, Pairing
from provenance.statistics import PAIR_STATISTICS, REGISTRY
from provenance.vocabulary import ROLES, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provenance.capture.units import Shape
    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.comparison.blocks import BlockTests
    from provenance.comparison.course import Course
    from provenance.comparison.fingerprints import BundlePair
    from provenance.comparison.per_model import PerModel
    from provenance.comparison.plan import Comparison
    from provenance.evidence.models import InputsRecord
    from provenance.inputs.pairs import PairInputs
    from provenance.statistics import Basis
    from provenance.store.store import Entry
    from provenance.vocabulary import Role

SAMPLE_BYTES = 1 << 28
"""How much memory prepared MLPs of a sample may take: most of them meet one other."""


@dataclass(frozen=True)
class Pair:
    """Two models that are to be compared, and what that is done with; see `Comparison` for ``fed_as``."""

    comparison: Comparison
    candidate: Checkpoint
    reference: Checkpoint
    work: PerModel
    course: Course
    fed_as: Checkpoint | None = None

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
        carried = {
            side.bundle.statistic for side in (self.candidate, self.reference) if side.bundle
        }
        if carried:
            tokens = "match_tokens" in carried
            found = self._measure_tokens() if tokens else self._measure_bundles()
            return self._with_exhibits(replace(found, schema=SCHEMA))
        if self.comparison.extent == "sampled":
            return replace(self._measure_sampled(), schema=SCHEMA)
        if self.comparison.statistic in PAIR_STATISTICS:
            found = self._measure_models()
        else:
            found = self._measure_blocks()
        weights = compare_weights(self.candidate, self.reference)
        found = self._with_exhibits(replace(found, weights=weights, schema=SCHEMA))
        if not self.comparison.difference or not kin_blocks(found):
            return found
        models = self.candidate, self.reference
        return replace(found, difference=measure_difference(*models, self.work, found, self._seed))

    def _with_exhibits(self, found: Evidence) -> Evidence:
        """The evidence with the exhibits, where they were asked for."""
        if not self.comparison.exhibits:
            return found
        exhibits = measure_exhibits(self.candidate, self.reference, self.work, found)
        return replace(found, exhibits=exhibits)

    def _measure_models(self) -> Evidence:
        from provenance.comparison.whole_models import WholeModels, measure_pair

        comparison, candidate, reference = self.comparison, self.candidate, self.reference
        self.course.measure(comparison.statistic)
        inputs = self._inputs(same_ids=True)
        self.work.tell(Stage("match", self._name))
        seed = self._seed
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
            details={**result.details, **control_details(comparison, {})},
        )

    def _measure_blocks(self) -> Evidence:
        """Measure the parts that read files, then the others on the blocks that are left in doubt."""
        from provenance.comparison.components import Components

        comparison, work = self.comparison, self.work
        statistics = REGISTRY[comparison.statistic].components()
        made = Components(self.candidate, self.reference, comparison, work, self.fed_as)
        tests: BlockTests | None = None
        inputs: PairInputs | None = None
        entries: dict[tuple[Basis, Role], Entry] = {}
        with self._device() as device:
            for statistic in (one for one in statistics if one.reads_files):
                self.course.measure(statistic.name)
                tests = tests or self._tests(made.shapes(), device)
                try:
                    component = made.of_files(statistic, device)
                except DegenerateError as error:
                    tests.skip(statistic.name, str(error))
                else:
                    tests.measure(component)
        shapes = None if tests is None else made.shapes()
        dear = [one for one in statistics if not one.reads_files]
        reason = self._files_alone(tests) if dear and tests is not None else None
        if tests is not None and reason is not None:
            for statistic in dear:
                tests.skip(statistic.name, reason)
        elif dear and (tests is None or tests.wanted()):
            self.course.measure(dear[0].name)
            inputs = self._inputs()
            entries = self._entries(inputs)
            with self._device() as device:
                for statistic in dear:
                    self.course.measure(statistic.name)
                    component = made.of_captures(statistic, entries, inputs, device)
                    shapes = component.shapes
                    tests = tests or self._tests(shapes, device)
                    tests.measure(component)
        assert tests is not None
        assert shapes is not None
        settings = work.distillation if imitates(comparison) else None
        fed = inputs_record(comparison.inputs, inputs, settings, made.tokens)
        details = {
            **tests.details(),
            **({} if settings is None else settings.details()),
            **capture_details(entries),
        }
        if inputs is not None and made.tokens is not None:
            details["token embeddings"] = made.tokens.words()
        found = self._evidence(tests, shapes, fed, device, details)
        return replace(found, coverage=coverage_records(entries))

    def _measure_sampled(self) -> Evidence:
        """Measure the parts that read files, on what is read of a sample."""
        from provenance.comparison.sample import Sample
        from provenance.comparison.sampled import SampledPair
        from provenance.loading.streaming import return_freed_memory

        return_freed_memory()  # pieces of a few MiB come and go in many threads
        sample = Sample(
            self.candidate,
            self.reference,
            self.comparison,
            self._seed,
            lambda: self.work.tell(Stage("download", self._name)),
        )
        statistics = REGISTRY[self.comparison.statistic].components()
        with self._device() as device:
            tests = self._tests(sample.shapes(), device)
            pair = SampledPair(sample)
            pair.fetch()
            for statistic in statistics:
                if not statistic.reads_files:
                    tests.skip(statistic.name, "only a sample of the weights was read")
                    continue
                self.course.measure(statistic.name)
                try:
                    component = pair.component(statistic)
                except DegenerateError as error:
                    tests.skip(statistic.name, str(error))
                else:
                    tests.measure_on(component, pair.chosen.partners)
        fed = inputs_record(self.comparison.inputs, None, None, sample.tokens)
        details = {**tests.details(), **pair.details()}
        found = self._evidence(tests, sample.shapes(), fed, device, details)
        ranges = {
            role: record
            for role, model in zip(ROLES, (self.candidate, self.reference), strict=True)
            if (record := ranges_record(model)) is not None
        }
        return replace(found, scope="sampled", ranges=ranges)

    def _files_alone(self, tests: BlockTests) -> str | None:
        """Say why no model is run beside what is read of files; None where they are, if need be."""
        if self.comparison.extent == "files":
            return "only weight files were read"
        lame = unrunnable(self.candidate, self.reference) if tests.wanted() else None
        return None if lame is None else f"a model cannot be run: {lame}"

    def _measure_bundles(self) -> Evidence:
        bundles, entries = self.bundled()
        with self._device() as device:
            component = bundles.component(self.comparison.statistic, entries, device)
            tests = self._tests(component.shapes, device)
            tests.measure(component)
        fed = bundles.inputs_record()
        details = bundles.details() | capture_details(entries)
        found = self._evidence(tests, component.shapes, fed, device, details)
        return replace(found, coverage=coverage_records(entries))

    def _measure_tokens(self) -> Evidence:
        from provenance.comparison.token_fingerprints import TokenPair

        self.course.measure(self.comparison.statistic)
        pair = TokenPair.of(self.candidate, self.reference, self.work)
        with self._device() as device:
            component = pair.component(device)
            tests = self._tests(component.shapes, device)
            tests.measure(component)
        fed = inputs_record(self.comparison.inputs, None, shared=pair.tokens())
        return self._evidence(tests, component.shapes, fed, device, pair.details())

    def bundled(self) -> tuple[BundlePair, dict[tuple[Basis, Role], Entry]]:
        """Two sides of which one or both are bundles, and what was captured of one that is none.

        Raises
        ------
        ProvenanceError
            If the two cannot be compared, or the model not be run.
        """
        from provenance.comparison.fingerprints import BundlePair

        bundles = BundlePair.of(self.candidate, self.reference)
        self.course.measure(self.comparison.statistic)
        return bundles, self._entries(None)

    @contextmanager
    def _device(self) -> Iterator[str]:
        """A device to test blocks on, this process's own until the ``with`` ends."""
        from provenance.comparison.side_by_side import beside

        with self.work.leased() as device, beside(device):
            yield device

    def _inputs(self, *, same_ids: bool = False) -> PairInputs | None:
        """Token ids for both models, or None where no statistic of the comparison runs a model."""
        components = REGISTRY[self.comparison.statistic].components()
        if not any(component.runs_models for component in components):
            return None
        models = self.fed_as or self.candidate, self.reference
        chosen = self.work.encoded.choose(self.comparison.inputs, *models, same_ids=same_ids)
        return chosen if self.fed_as is None else chosen.of_reference()

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

    def _tests(self, shapes: tuple[Shape, Shape], device: str) -> BlockTests:
        """The tests of the blocks of two models of these shapes, none of them run yet."""
        from provenance.comparison.blocks import BlockTests, Scope
        from provenance.comparison.side_by_side import pairs_at_once

        comparison = self.comparison
        kept = self.work.memory.working // 2
        components = REGISTRY[comparison.statistic].components()
        chosen = all(one.load_glimpse() is not None for one in components)
        pairing: Pairing = "cross" if comparison.cross else natural_pairing(*shapes, chosen=chosen)
        scope = Scope(
            pairing,
            self._seed,
            comparison.extent,
            self._sampled_rows(shapes, pairing),
            min(kept, SAMPLE_BYTES) if comparison.extent == "sampled" else kept,
            pairs_at_once(device),
            comparison.control and comparison.extent != "files",
        )
        return BlockTests(
            [one.name for one in components],
            shapes,
            scope,
            lambda i, n: self.work.tell(Stage("match", self._name, i, n)),
        )

    def _evidence(
        self,
        tests: BlockTests,
        shapes: tuple[Shape, Shape],
        fed: InputsRecord,
        device: str,
        details: Mapping[str, float | int | str],
    ) -> Evidence:
        """The evidence of tests that were run.

        Raises
        ------
        DegenerateError
            If no block could be tested.
        """
        table = tests.table()
        if not any(block.log10_p is not None for block in table.blocks):
            reasons = (block.reason for block in table.blocks if block.reason)
            reason = next(reasons, "they have no block in common")
            raise DegenerateError(f"{self._name}: no block could be tested: {reason}")
        rows = self._sampled_rows(shapes, tests.scope.pairing)
        return Evidence(
            statistic=self.comparison.statistic,
            log10_p=aggregate(table.blocks),
            blocks=table.blocks,
            candidate=model_record(self.candidate, shapes[0]),
            reference=model_record(self.reference, shapes[1]),
            inputs=fed,
            pairing=tests.scope.pairing,
            seed=tests.scope.seed,
            device=device.partition(":")[0],
            versions=versions(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            cross=table.cross,
            alignment=table.alignment,
            details={
                **details,
                **sample_details(rows, shapes[0]),
                **control_details(self.comparison, tests.power),
            },
            power=tests.power,
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
        return sampled(met, comparison.sample, self._seed)

    @property
    def _seed(self) -> int:
        return pair_seed(self.comparison.inputs.seed, self.candidate, self.reference)

    @property
    def _name(self) -> str:
        return f"{self.candidate.source} against {self.reference.source}"


def natural_pairing(candidate: Shape, reference: Shape, *, chosen: bool) -> Pairing:
    """How the blocks of two models meet where nothing else is asked for.

    Blocks of equal index meet where both models have the same number of them; ``chosen`` says whether
    other partners can be chosen for a block that shows nothing there.
    """
    if candidate.blocks != reference.blocks:
        return "best-of-reference"
    return "index-first" if chosen else "same-index"
