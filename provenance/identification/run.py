"""Compares one model with many references: a few blocks first, and more only where these settle nothing.

A reference is looked at twice at most: at weight files of a few blocks, then at those of all blocks. Its
p-value is corrected for both looks, taken or not, and over all references by Holm's method.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from provenance._text import without_home
from provenance._threads import in_turn
from provenance.audit.screen import LEVEL, screen_of
from provenance.comparison.executor import Executor, as_spec
from provenance.comparison.kept_closeness import kept_closeness
from provenance.comparison.kept_lead import kept_lead
from provenance.comparison.one_of_many import of_one_of_many
from provenance.errors import DegenerateError, DeviceError, ProvenanceError, StoreError, one_line
from provenance.evidence.leads import LeadRecord
from provenance.evidence.relatives import (
    DIGEST,
    Identification,
    Relative,
    concluded,
    in_order,
    reference_p,
)
from provenance.evidence.wording import count
from provenance.identification.references import references_of
from provenance.inputs import corpus
from provenance.statistics import PAIR_STATISTICS
from provenance.vocabulary import DEFAULT_ALPHA, InputsSpec, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike

    from provenance.comparison.plan import Comparison
    from provenance.evidence.records import Evidence
    from provenance.evidence.relatives import Closeness
    from provenance.vocabulary import ModelSpec, StatisticName

NEXT = 3
"""Kin beside the nearest whose weights are compared with it, in their order."""


@in_turn
def identify(
    model: str | PathLike[str] | ModelSpec,
    references: Iterable[str | PathLike[str] | ModelSpec] | Mapping[str, ModelSpec],
    *,
    inputs: InputsSpec | None = None,
    statistic: StatisticName | None = None,
    alpha: float = DEFAULT_ALPHA,
    exhaustive: bool = False,
    executor: Executor | None = None,
) -> Identification:
    """Find the nearest kin of a model among many references.

    Parameters
    ----------
    model : str, path or ModelSpec
        As `provenance.compare` takes it.
    references : iterable or mapping
        Models, fingerprints and folders of them (`references_of`); or models by name.
    inputs : InputsSpec, optional
        What is asked; see `provenance.compare`.
    statistic : str, optional
        By default "kinship", or "match" for a fingerprint, which carries no more.
    alpha : float
        Kin are references whose corrected p-value is below it.
    exhaustive : bool
        Compare all blocks of each reference, by all parts of the statistic. Else only weight files are
        read, where a statistic of them is defined for the pair, and a few blocks first.
    executor : Executor, optional
        Where and with which store to run; all defaults otherwise.

    Returns
    -------
    Identification
        The nearest kin first. What is wrong with one reference is its ``error``, and loses no other.

    Raises
    ------
    ProvenanceError
        One line: what was wrong with the model, the inputs, the store or the device.

    Examples
    --------
    >>> found = identify("quickstart/finetuned", ["quickstart/base", "zoo/"])  # doctest: +SKIP
    >>> found.nearest.name, found.nearest.corrected < -100  # doctest: +SKIP
    ('quickstart/base', True)
    """
    run = executor or Executor()
    spec = as_spec(model)
    named = references if isinstance(references, dict) else references_of(references, spec)
    opened = run.checkpoint(spec)
    search = _Search(run, spec, inputs or InputsSpec(), statistic, alpha / len(named), exhaustive)
    if search.inputs.kind == "text":
        corpus.for_tokens(search.inputs.text, search.inputs.tokens, search.inputs.seed)
    measured = []
    for done, (name, reference) in enumerate(named.items()):
        if run.on_stage is not None:
            run.on_stage(Stage("identify", name, done, len(named)))
        measured.append(search.measure(name, reference))
    found = [
        replace(one, closeness=search.closeness(named[one.name])) if _is_ordered(one) else one
        for one in concluded(measured, alpha)
    ]
    source = without_home(opened.source)
    known = Identification(source, opened.digest, alpha, in_order(found))
    return replace(known, leads=search.leads(known, named))


def _is_ordered(one: Relative) -> bool:
    return one.finding == "kin" and not one.same


class _Search:
    """One model, and how each reference is looked at; ``threshold`` is that of a single reference."""

    def __init__(
        self,
        executor: Executor,
        model: ModelSpec,
        inputs: InputsSpec,
        statistic: StatisticName | None,
        threshold: float,
        exhaustive: bool,  # noqa: FBT001
    ) -> None:
        self.inputs = inputs
        self._executor = executor
        self._model = model
        self._statistic = statistic
        self._threshold = threshold
        self._exhaustive = exhaustive

    def measure(self, name: str, reference: ModelSpec) -> Relative:
        """Compare with one reference; never raises of what is wrong with it."""
        relative = Relative(name, without_home(reference.source))
        try:
            return self._measured(relative, reference)
        except (StoreError, DeviceError):
            raise
        except Exception as error:  # noqa: BLE001 - one reference's surprise must lose no other
            return replace(relative, error=_reason(error))

    def _measured(self, relative: Relative, reference: ModelSpec) -> Relative:
        ours, theirs = map(self._executor.checkpoint, (self._model, reference))
        if ours.digest == theirs.digest:
            return replace(relative, settled_by=DIGEST)
        best = relative
        looks = self._looks(reference)
        for look in looks:
            evidence = self._evidence(look)
            log10_p = reference_p(evidence, len(looks))
            if log10_p is None:
                raise DegenerateError(f"{evidence.statistic} has no p-value for the two")
            if best.log10_p is None or log10_p < best.log10_p:
                best = replace(best, log10_p=log10_p, evidence=evidence)
            best = replace(best, settled_by=_looked_at(evidence))
            if log10_p < math.log10(self._threshold) or (look.sample and _shows_nothing(evidence)):
                break
        return best

    def _looks(self, reference: ModelSpec) -> list[Comparison]:
        """What is measured of a reference, in this order, until it is settled."""
        whole = self._comparison(reference)
        if self._exhaustive or whole.statistic in PAIR_STATISTICS:
            return [whole]
        of_files = whole.of_files() or whole
        few = screen_of(of_files, self._executor.checkpoint(self._model).blocks)
        return [of_files] if few is None else [few, of_files]

    def _comparison(self, reference: ModelSpec) -> Comparison:
        return of_one_of_many(
            self._model, reference, self.inputs, self._statistic, exhaustive=self._exhaustive
        )

    def _evidence(self, look: Comparison) -> Evidence:
        """The evidence of a look; where weight files have nothing in common, the models are run."""
        try:
            return self._executor.evidence(look)
        except DegenerateError:
            if look.extent != "files":
                raise
        return self._executor.evidence(replace(look, extent="decided"))

    def closeness(self, reference: ModelSpec) -> Closeness | None:
        """How close the model's units are to those of one of its kin; None where that cannot be said."""
        try:
            return kept_closeness(self._executor, self._comparison(reference))
        except (StoreError, DeviceError):
            raise
        except ProvenanceError:  # kin it is all the same
            return None

    def leads(
        self, found: Identification, named: Mapping[str, ModelSpec]
    ) -> tuple[LeadRecord, ...]:
        """The leads of the nearest kin over the next ones, or why one is not known."""
        first, *others = found.kin or (None,)
        if first is None or first.same:
            return ()
        return tuple(self._lead(first, one, named) for one in others[:NEXT])

    def _lead(self, first: Relative, other: Relative, named: Mapping[str, ModelSpec]) -> LeadRecord:
        kin: list[tuple[Comparison, Evidence]] = []
        for one in (first, other):
            assert one.evidence is not None  # the very checkpoint comes first, and has no leads
            kin.append((self._comparison(named[one.name]), one.evidence))
        try:
            return kept_lead(self._executor, other.name, kin[0], kin[1])
        except (StoreError, DeviceError):
            raise
        except Exception as error:  # noqa: BLE001 - what was found of all references must not be lost
            return LeadRecord(other.name, reason=_reason(error))


def _reason(error: Exception) -> str:
    """What went wrong, in one line; of an error that nobody foresaw, its type as well."""
    if isinstance(error, ProvenanceError):
        return without_home(str(error))
    return without_home(f"unexpected {type(error).__name__}: {one_line(error)}")


def _shows_nothing(evidence: Evidence) -> bool:
    """Whether every block that was looked at was tested, and is as one of a stranger's."""
    return all(
        block.log10_p is not None and block.log10_p >= math.log10(LEVEL)
        for block in evidence.blocks
    )


def _looked_at(evidence: Evidence) -> str:
    if not evidence.blocks:
        return "whole models"
    number = len(evidence.blocks)
    total = evidence.candidate.blocks
    return f"{number} of {count(total, 'block')}" if evidence.sampled else count(number, "block")
