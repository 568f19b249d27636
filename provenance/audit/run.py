"""Runs an audit: each pair is known from the history, or measured now and kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provenance._text import without_home
from provenance.audit.changes import changes, kin_before
from provenance.audit.finding import families_of
from provenance.audit.history import HistoryError
from provenance.audit.plan import Screens, comparison_of, keys_of, precompute
from provenance.audit.records import Audit, AuditedModel, AuditedPair, Snapshot, shown_inputs
from provenance.audit.screen import screened_blocks, strangers
from provenance.cluster import LOCAL, open_models
from provenance.errors import (
    ArchitectureError,
    DegenerateError,
    DeviceError,
    InputError,
    ProvenanceError,
    StoreError,
    one_line,
)
from provenance.evidence.decide import decide
from provenance.evidence.records import Evidence
from provenance.inputs import corpus
from provenance.vocabulary import Stage

if TYPE_CHECKING:
    from provenance.audit.history import History
    from provenance.audit.registry import Registry
    from provenance.comparison.executor import Executor
    from provenance.comparison.plan import Comparison
    from provenance.vocabulary import ModelSpec, Verdict

LASTING = (ArchitectureError, DegenerateError, InputError)
"""What is wrong with the weights themselves, and so will be tomorrow."""


@dataclass(frozen=True)
class Outlook:
    """What a run would do: pairs as (candidate, reference), and models that cannot be read.

    ``to_screen`` holds those of ``to_measure`` of which a few blocks are measured first.
    """

    to_measure: tuple[tuple[str, str], ...]
    to_screen: tuple[tuple[str, str], ...]
    known: tuple[tuple[str, str], ...]
    models: tuple[AuditedModel, ...]


def audit_registry(
    registry: Registry,
    executor: Executor,
    history: History,
    *,
    name: str | None = None,
    backend: str = LOCAL,
) -> Audit:
    """Judge every pair of a registry; what the history knows is not measured again.

    Parameters
    ----------
    registry : Registry
        The models.
    executor : Executor
        Opens and measures them; told of each pair as a stage "audit".
    history : History
        Read and written, pair by pair.
    name : str, optional
        What the registry is called in the history; its absolute path, with ``~`` for the home folder,
        where nothing is said.
    backend : str
        ``local`` measures each pair in this process when it is its turn; an address of a Ray cluster, as
        `provenance.cluster.run_plan` takes it, has all of them measured there first.

    Returns
    -------
    Audit
        With what changed since the last complete run over the registry of this name.

    Raises
    ------
    ProvenanceError
        If the history, the store, the device or the text to be read cannot be used. A model or a pair
        that cannot be read or compared is no error: it is recorded with its reason.
    """
    name = name or _text(str(registry.path))
    _check_inputs(registry)
    # what is wrong with a model shows when it is opened here
    open_models(tuple(registry.models.values()), executor, backend, executor.on_stage)
    models = opened(registry, executor)
    before = history.last_complete(name)
    screens = Screens(registry, executor, history, models, before)
    if backend != LOCAL:
        precompute(registry, executor, screens, backend)
    run = history.begin(name, registry, models)
    judge = _Judge(registry, executor, history, screens)
    pairs = []
    for pair in registry.pairs():
        judged = judge.pair(*pair)
        history.record(run, judged)
        pairs.append(judged)
    created = history.finish(run)
    now = Snapshot(run, created, registry.threshold, models, tuple(pairs))
    return Audit(
        name=name,
        statistic=registry.statistic,
        inputs=shown_inputs(registry),
        alpha=registry.alpha,
        threshold=registry.threshold,
        run=run,
        created=created,
        models=models,
        pairs=tuple(pairs),
        ignored=ignored_pairs(registry),
        since=None if before is None else before.run,
        since_created=None if before is None else before.created,
        changes=() if before is None else changes(before, now),
        evidence=judge.evidence,
        exhaustive=registry.exhaustive,
        allowed=tuple(sorted(registry.allowed)),
        families=families_of(
            (pair.candidate, pair.reference) for pair in pairs if pair.verdict == "dependent"
        ),
        before=() if before is None else families_of(kin_before(before, models)),
        nights=history.nights(name),
        registry=registry,
    )


def foresee(
    registry: Registry, executor: Executor, history: History, *, name: str | None = None
) -> Outlook:
    """Say what `audit_registry` would measure; opens the models, runs none, and writes nothing."""
    name = name or _text(str(registry.path))
    _check_inputs(registry)
    models = opened(registry, executor)
    screens = Screens(registry, executor, history, models, history.last_complete(name))
    first = screens.first_measurements()
    return Outlook(
        to_measure=tuple(pair for pair, needed in first.items() if needed is not None),
        to_screen=tuple(pair for pair, needed in first.items() if needed and needed.sample),
        known=tuple(pair for pair, needed in first.items() if needed is None),
        models=models,
    )


def _check_inputs(registry: Registry) -> None:
    """Raise where the text that all pairs need cannot be had: that is no pair's fault."""
    inputs = registry.inputs
    if inputs.kind == "text":
        corpus.for_tokens(inputs.text, inputs.tokens, inputs.seed)


def ignored_pairs(registry: Registry) -> tuple[tuple[str, str, str], ...]:
    """Pairs that are not judged, as (name, name, reason)."""
    return tuple(
        (first, second, reason)
        for (first, second), reason in sorted(
            (sorted(names), reason) for names, reason in registry.ignored.items()
        )
    )


def opened(registry: Registry, executor: Executor) -> tuple[AuditedModel, ...]:
    """Every model with its digests, or with why it cannot be had."""
    return tuple(_opened(name, spec, executor) for name, spec in registry.models.items())


def _opened(name: str, spec: ModelSpec, executor: Executor) -> AuditedModel:
    source = _text(spec.source)
    try:
        checkpoint = executor.checkpoint(spec)
    except StoreError:
        raise
    except Exception as error:  # noqa: BLE001 - one model's surprise must not stop the night
        return AuditedModel(name, source, error=_reason(error))
    source = _text(checkpoint.source)
    return AuditedModel(name, source, checkpoint.digest, checkpoint.weights_digest)


def _reason(error: Exception) -> str:
    if isinstance(error, ProvenanceError):
        return _text(str(error))
    return _text(f"unexpected {type(error).__name__}: {one_line(error)}")


def _text(text: str) -> str:
    """A text that every database takes, as a file's name may be no UTF-8; a home folder is ``~``."""
    return without_home(text).encode("utf-8", "backslashreplace").decode("utf-8")


class _Judge:
    """Judges pairs, and keeps the evidence of each."""

    def __init__(
        self,
        registry: Registry,
        executor: Executor,
        history: History,
        screens: Screens,
    ) -> None:
        self.evidence: dict[str, Evidence] = {}
        self._registry = registry
        self._executor = executor
        self._history = history
        self._screens = screens
        self._total = len(registry.pairs())
        self._done = 0

    def pair(self, candidate: str, reference: str) -> AuditedPair:
        """Judge a pair; never raises of what is wrong with it."""
        self._done += 1
        judged = AuditedPair(candidate, reference)
        for name in (candidate, reference):
            error = self._screens.errors[name]
            if error is not None:
                return replace(judged, error=f"{name} cannot be read: {error}")
        try:
            return self._judged(judged)
        except (HistoryError, StoreError):
            raise
        except DeviceError as error:
            self._check_device()
            return replace(judged, error=_text(str(error)))
        except Exception as error:  # noqa: BLE001 - one pair's surprise must not stop the night
            return replace(judged, error=_reason(error))

    def _check_device(self) -> None:
        """Raise where the device that was asked for is not there: that is no pair's fault."""
        from provenance.loading.devices import devices_for

        devices_for(self._executor.device)

    def _judged(self, pair: AuditedPair) -> AuditedPair:
        comparison = comparison_of(self._registry, pair.candidate, pair.reference)
        key, failure = keys_of(self._executor, comparison)
        reason = self._history.known(failure)
        evidence = reason if reason is not None else self._history.known(key)
        known = evidence is not None
        if evidence is None:
            screened = self._screened(pair, comparison)
            if screened is not None:
                return screened
            try:
                evidence = self._measured(pair, comparison, key)
            except LASTING as error:
                evidence = _text(str(error))
                self._history.keep_failure(failure, self._registry.statistic, evidence)
        if isinstance(evidence, str):
            return replace(pair, error=evidence, known=known)
        self.evidence[key] = evidence
        verdict = self._verdict(evidence)
        return replace(pair, verdict=verdict, log10_p=evidence.log10_p, key=key, known=known)

    def _screened(self, pair: AuditedPair, comparison: Comparison) -> AuditedPair | None:
        """Judge a pair by a few of its blocks; None where all must be compared."""
        screen = self._screens.of(comparison, pair.names)
        if screen is None:
            return None
        key, _ = keys_of(self._executor, screen)
        evidence = self._history.known(key)
        known = isinstance(evidence, Evidence)
        if not isinstance(evidence, Evidence):
            try:
                evidence = self._measured(pair, screen, key)
            except LASTING:
                return None  # all blocks will say as much, or more
        if not strangers(evidence, self._registry.threshold):
            return None
        self.evidence[key] = evidence
        judged = replace(pair, verdict="independent", log10_p=evidence.log10_p, known=known)
        return replace(judged, key=key, screened=screened_blocks(evidence))

    def _measured(self, pair: AuditedPair, comparison: Comparison, key: str) -> Evidence:
        if self._executor.on_stage is not None:
            subject = f"{pair.candidate} and {pair.reference}"
            self._executor.on_stage(Stage("audit", subject, self._done, self._total))
        evidence = self._executor.evidence(comparison)
        self._history.keep(key, evidence)
        return evidence

    def _verdict(self, evidence: Evidence) -> Verdict:
        if evidence.candidate.digest == evidence.reference.digest:
            return "dependent"  # one checkpoint under two names
        return decide(evidence, self._registry.threshold)
