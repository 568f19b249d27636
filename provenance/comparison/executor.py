"""Runs what a plan asks for: opens models, captures their activations, compares their blocks.

Every result is kept in the store, under a key of all that it depends on. So workers share their work and a
second run computes nothing. A run that finds all its evidence in the store
imports no torch: what needs torch is in `provenance.capture`, imported when there is work for it.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from provenance import recipes
from provenance._text import without_home
from provenance._threads import in_turn
from provenance.checkpoints.checkpoint import parse
from provenance.checkpoints.ranged.reader import Meter
from provenance.comparison.course import Course
from provenance.comparison.given import measure_given
from provenance.comparison.in_notebook import notebook_progress
from provenance.comparison.models import Models
from provenance.comparison.pair import Pair
from provenance.comparison.parents import measure_merge
from provenance.comparison.per_model import PerModel
from provenance.comparison.plan import Comparison, captures
from provenance.comparison.records import comparison_fields, imitates
from provenance.errors import (
    ArchitectureError,
    DegenerateError,
    InputError,
    ProvenanceError,
    release_frames,
)
from provenance.evidence.decide import is_decided
from provenance.evidence.records import Evidence, EvidenceError
from provenance.inputs import corpus
from provenance.statistics import default_statistic
from provenance.store.store import Store
from provenance.vocabulary import (
    PERMUTATIONS,
    DistillSettings,
    InputsSpec,
    Memory,
    ModelSpec,
    Stage,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike
    from pathlib import Path

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.comparison.plan import Capture
    from provenance.store.store import JSON
    from provenance.vocabulary import StatisticName

MEASURE_VERSION = 8
"""Raised whenever the same request would give other evidence, statistic and capture apart."""

EVIDENCE = "evidence.json"


class Executor:
    """Gets evidence, computing only what the store does not hold.

    Threads may share one, or have one each: they take turns, since one comparison uses all cores.

    Parameters
    ----------
    store : Store
        Shared by all processes that should share work.
    device : str
        "auto", "cpu", "cuda" or "cuda:N".
    on_stage : callable, optional
        Told of progress; must not raise.
    distillation : DistillSettings, optional
        How `generalized` imitates MLPs; what is drawn for it comes from the seed of the inputs.
    memory : Memory, optional
        How much may be used; it decides how large batches are, and which models run from disk.
    budget : int, optional
        Most bytes that may be moved from elsewhere for samples, of all models together.
    """

    def __init__(
        self,
        store: Store | None = None,
        device: str = "auto",
        on_stage: Callable[[Stage], None] | None = None,
        distillation: DistillSettings | None = None,
        memory: Memory | None = None,
        budget: int | None = None,
    ) -> None:
        self.store = Store() if store is None else store
        self.device = device
        self.on_stage = on_stage
        self.distillation = distillation or DistillSettings()
        self.memory = memory or Memory()
        self._course = Course()
        self.work = PerModel(self.store, device, self._tell, self.memory, self.distillation)
        self.meter = Meter(budget)
        self._models = Models(self.store, self._tell, device, self.meter)
        self._evidence: dict[Comparison, Evidence | ProvenanceError] = {}
        self._texts: dict[InputsSpec, str] = {}

    @in_turn
    def checkpoint(self, spec: ModelSpec) -> Checkpoint:
        """Verified local files of a model: made, downloaded or found.

        Raises
        ------
        SourceError
            If they cannot be had or cannot be trusted.
        """
        return self._models.checkpoint(spec)

    @in_turn
    def in_part(self, spec: ModelSpec) -> Checkpoint:
        """A model of which parts are read where they lie: its headers, and no weight.

        Raises
        ------
        SourceError
            If it cannot be had in part, or cannot be trusted.
        """
        return self._models.in_part(spec)

    def evidence(self, comparison: Comparison) -> Evidence:
        """Evidence on a pair, from this run, from the store, or measured now.

        Raises
        ------
        ProvenanceError
            One line: what was wrong with which model, and what to do.
        """
        if comparison not in self._evidence:
            self._get(comparison)
        evidence = self._evidence[comparison]
        if isinstance(evidence, ProvenanceError):
            raise evidence
        return evidence

    @in_turn
    def _get(self, comparison: Comparison) -> None:
        if comparison in self._evidence:  # another thread had its turn
            return
        try:
            self._evidence[comparison] = self._stored_evidence(comparison)
        except ProvenanceError as error:
            # a pair's many tests ask for the same evidence: what cannot be had is tried once
            release_frames(error)
            self._evidence[comparison] = error
        except KeyboardInterrupt as error:
            release_frames(error)  # a notebook keeps it
            raise

    @in_turn
    def has(self, comparison: Comparison) -> bool:
        """Whether the store holds the evidence; opens both models, and runs none."""
        fields = self._fields(comparison, *self._pair(comparison))
        return self.store.get("evidence", fields) is not None

    @in_turn
    def ensure(self, comparison: Comparison) -> None:
        """Compute evidence into the store, and keep none of it in this process; raises as `evidence`."""
        self._stored_evidence(comparison)

    def remember(self, comparison: Comparison, error: ProvenanceError) -> None:
        """Take over the error that another process met: `evidence` raises it, and does not try again."""
        self._evidence.setdefault(comparison, error)

    @in_turn
    def captures(self, comparison: Comparison) -> tuple[Capture, ...]:
        """What must be computed of either model before the two are compared; opens them, runs none.

        Nothing, where the store has what their files say and that decides every block.
        """
        files = comparison.of_files()
        if files is not None and self.has(files) and is_decided(self.evidence(files)):
            return ()
        return captures(comparison, *self._pair(comparison))

    @in_turn
    def capture(self, capture: Capture) -> None:
        """Compute into the store what a comparison needs of one model.

        Raises
        ------
        ProvenanceError
            As `evidence`, where this model is what is wrong.
        """
        partner = None if capture.partner is None else self.checkpoint(capture.partner)
        self.work.capture(capture, self.checkpoint(capture.model), partner)

    def _pair(self, comparison: Comparison) -> tuple[Checkpoint, Checkpoint]:
        return (
            self._opened(comparison, comparison.candidate),
            self._opened(comparison, comparison.reference),
        )

    def _opened(self, comparison: Comparison, spec: ModelSpec) -> Checkpoint:
        """A model as a comparison needs it: whole, or in part."""
        if comparison.extent == "sampled":
            return self._models.in_part(spec)
        return self.checkpoint(spec)

    @in_turn
    def dependencies(self, comparison: Comparison) -> dict[str, JSON]:
        """All that evidence depends on, save where the models lie and the device.

        The two models are in the order of their digests, whichever is the candidate.

        Raises
        ------
        ProvenanceError
            If a model cannot be had.
        """
        models = self._pair(comparison)
        fields = self._fields(comparison, *models)
        digests = sorted(
            [model.digest, model.tokenizer_digest or "", model.spec.dtype or ""] for model in models
        )
        return {**fields, "models": digests, "device": None}

    def _tell(self, stage: Stage) -> None:
        if self.on_stage is not None:
            stage = replace(stage, subject=without_home(stage.subject))
            self.on_stage(self._course.numbered(stage))

    def _stored_evidence(self, comparison: Comparison) -> Evidence:
        beside = () if comparison.fed_as is None else (comparison.fed_as,)
        parents = [spec for spec in comparison.parents if spec != comparison.reference]
        parents += [] if comparison.given is None else [comparison.given]
        models = (comparison.candidate, comparison.reference, *beside, *parents)
        with self._course.of(comparison, len(models)) as course:
            for number, spec in enumerate(models, 1):
                course.open(number)
                self._opened(comparison, spec)
            return self._measured(comparison)

    def _measured(self, comparison: Comparison) -> Evidence:
        """The evidence, of models that are open."""
        candidate, reference = self._pair(comparison)
        fields = self._fields(comparison, candidate, reference)

        def measure(folder: Path) -> None:
            if comparison.given is not None:
                evidence = self._with_base(comparison, (candidate, reference), comparison.given)
            elif comparison.parents:
                evidence = self._with_parents(comparison, candidate)
            else:
                fed_as = self._fed_as(comparison, reference)
                pair = Pair(comparison, candidate, reference, self.work, self._course, fed_as)
                evidence = pair.measure()
            (folder / EVIDENCE).write_text(evidence.to_json())

        names = f"{candidate.source} and {reference.source}"
        entry = self.store.get_or_create(
            "evidence", fields, measure, lambda: self._tell(Stage("wait", names))
        )
        try:
            return Evidence.from_json(entry.read_text(EVIDENCE))
        except EvidenceError as error:
            shared = f", and its like below {self.store.url}," if self.store.url else ""
            raise EvidenceError(
                f"{entry.path}: {error}; remove that folder{shared} and run again"
            ) from None

    def _with_parents(self, comparison: Comparison, candidate: Checkpoint) -> Evidence:
        """The evidence on the pair, with the shares of all parents of a merge."""
        found: list[tuple[Checkpoint, Evidence | ProvenanceError]] = []
        for spec, alone in zip(comparison.parents, comparison.of_parents(), strict=True):
            parent = self.checkpoint(spec)
            try:
                found.append((parent, self.evidence(alone)))
            except (ArchitectureError, DegenerateError, InputError) as error:
                found.append((parent, error))
        own = self.evidence(replace(comparison, parents=()))
        return replace(
            own, merge=measure_merge(candidate, found, self.work, comparison.inputs.seed)
        )

    def _with_base(
        self, comparison: Comparison, models: tuple[Checkpoint, Checkpoint], given: ModelSpec
    ) -> Evidence:
        """The evidence on the pair, with what the two share beyond a base."""
        base, (alone,) = self.checkpoint(given), comparison.of_base()
        found: Evidence | ProvenanceError
        try:
            found = self.evidence(alone)
        except (ArchitectureError, DegenerateError, InputError) as error:
            found = error
        own = self.evidence(replace(comparison, given=None))
        seed = comparison.inputs.seed
        return replace(own, given=measure_given(models, own, (base, found), self.work, seed))

    def _fields(
        self, comparison: Comparison, candidate: Checkpoint, reference: Checkpoint
    ) -> dict[str, JSON]:
        """All that the evidence depends on, known without torch and without running a model."""
        inputs = comparison.inputs
        text = self._text_digest(inputs) if inputs.kind == "text" else None
        distilled = {"distillation": asdict(self.distillation)} if imitates(comparison) else {}
        fed_as = self._fed_as(comparison, reference)
        parents = [self.checkpoint(spec) for spec in comparison.parents]
        given = None if comparison.given is None else self.checkpoint(comparison.given)
        beside: dict[str, JSON] = {}
        if fed_as is not None:
            beside = {"fed as": [fed_as.digest, fed_as.tokenizer_digest]}
        return {
            **beside,
            **distilled,
            **comparison_fields(comparison, candidate, reference, parents, given),
            "measure": MEASURE_VERSION,
            "text": text,
            "device": self.device,
        }

    def _fed_as(self, comparison: Comparison, reference: Checkpoint) -> Checkpoint | None:
        """The model beside which the reference is fed, where that makes a difference."""
        if comparison.fed_as is None:
            return None
        model = self.checkpoint(comparison.fed_as)
        ours, theirs = (
            (one.tokenizer_digest, one.vocabulary, one.positions) for one in (model, reference)
        )
        return None if model.bundle is not None or ours == theirs else model

    def _text_digest(self, inputs: InputsSpec) -> str:
        """Digest of the text that will be read, once for all pairs."""
        if inputs not in self._texts:
            text = corpus.for_tokens(inputs.text, inputs.tokens, inputs.seed)
            self._texts[inputs] = sha256(text.encode()).hexdigest()
        return self._texts[inputs]


def compare(
    candidate: str | PathLike[str] | ModelSpec,
    reference: str | PathLike[str] | ModelSpec,
    *,
    inputs: InputsSpec | None = None,
    statistic: StatisticName | None = None,
    cross: bool = False,
    permutations: int = PERMUTATIONS,
    exhaustive: bool = False,
    control: bool = True,
    sample: int | None = None,
    exhibits: bool = False,
    executor: Executor | None = None,
) -> Evidence:
    """Measure one pair of models.

    Parameters
    ----------
    candidate, reference : str, path or ModelSpec
        A folder, a hub id (``org/name@revision``), or a recipe (``quickstart/base``). The reference is
        the model whose training the null hypothesis speaks of.
    inputs : InputsSpec, optional
        What both are fed; 4096 tokens of the standard library's sources by default.
    statistic : str, optional
        A name of `provenance.statistics.REGISTRY`; by default "kinship", or "match" where a side is a
        fingerprint, which carries no more.
    cross : bool
        Let blocks of one meet blocks of the other (the paper's localized test), keep the table of what was
        tested, and find the best one-to-one map of blocks. ``exhaustive`` tests every cell.
    permutations : int
        PERMTEST's T, for the statistics that need it (`l2`, `mode_connectivity`).
    exhaustive : bool
        Measure every part of the statistic on every pair of blocks that may meet. Else what a cheap part
        decides is not measured by a dearer one, and only the likeliest partners of a block are tested;
        the correction is for all of them in either case.
    control : bool
        Where nothing is found, test some blocks of either model against disguised copies of themselves
        (`Evidence.power`): a test that does not find them could not have found a copy.
    sample : int, optional
        Read so many blocks of the candidate in part, of mixtures so many experts of each, and what of the
        reference is likest to them, from wherever the files lie; nothing is downloaded whole. Such evidence
        shows kinship, and never independence.
    exhibits : bool
        Measure what people argue with in public besides (`Evidence.exhibits`), which decides nothing; not
        of a sample.
    executor : Executor, optional
        Where and with which store to run; all defaults otherwise, and in a notebook a line that says how
        far it is.

    Returns
    -------
    Evidence
        Judge it with `provenance.evidence.verdict.decide`.

    Raises
    ------
    ProvenanceError
        One line: what was wrong with which model, and what to do.

    Examples
    --------
    >>> evidence = compare("quickstart/finetuned", "quickstart/base")  # doctest: +SKIP
    >>> evidence.log10_p < -100  # doctest: +SKIP
    True
    """
    specs = as_spec(candidate), as_spec(reference)
    comparison = Comparison.of(
        *specs,
        inputs or InputsSpec(),
        statistic or default_statistic(*specs),
        cross=cross,
        permutations=permutations,
        extent="all" if exhaustive else "decided",
        control=control,
        sample=sample,
        exhibits=exhibits,
    )
    if executor is not None:
        return executor.evidence(comparison)
    with notebook_progress() as shows:
        return Executor(on_stage=shows).evidence(comparison)


def as_spec(model: str | PathLike[str] | ModelSpec) -> ModelSpec:
    """What a person writes for a model, as a `ModelSpec`; see `provenance.checkpoints.checkpoint.parse`."""
    if isinstance(model, ModelSpec):
        return model
    if isinstance(model, str):
        return parse(model, recipes.RECIPES)
    return ModelSpec(path=str(model))
