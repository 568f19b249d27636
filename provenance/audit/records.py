"""What an audit found, as plain data: models, pairs, and the run that they belong to."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from provenance._text import without_home
from provenance.audit.shown import ShownAudit
from provenance.evidence.meaning import meaning
from provenance.evidence.wording import control_of_power
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    from provenance.audit.registry import Registry
    from provenance.evidence.audits import Night
    from provenance.evidence.records import Evidence
    from provenance.vocabulary import InputsSpec, Role, StatisticName, Verdict

SCHEMA = 1
ChangeKind = Literal[
    "new-model",
    "model-gone",
    "moved",
    "changed-digest",
    "new-kin",
    "lost-kin",
    "verdict",
    "failing",
    "mended",
]
CHANGE_KINDS: tuple[ChangeKind, ...] = get_args(ChangeKind)


def shown_inputs(registry: Registry) -> InputsSpec:
    """The inputs of a registry for history and output: a home folder is written ``~``."""
    return replace(registry.inputs, text=without_home(registry.inputs.text))


@dataclass(frozen=True)
class AuditedModel:
    """A model as it was at a run; ``digest`` is None where ``error`` says why it cannot be had."""

    name: str
    source: str
    digest: str | None = None
    weights_digest: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class ScreenedBlock:
    """One comparison of a screen: a block of either model, and the log10 p-value."""

    candidate_block: int
    reference_block: int
    log10_p: float


@dataclass(frozen=True)
class AuditedPair:
    """A pair as it was judged at a run; ``verdict`` is None where ``error`` says why it was not.

    ``key`` is the digest of all that the evidence depends on. ``known`` says whether the history had the
    evidence before, or the reason why there can be none. ``screened`` holds the blocks that were compared
    where a screen alone called the pair independent.
    """

    candidate: str
    reference: str
    verdict: Verdict | None = None
    log10_p: float | None = None
    key: str | None = None
    error: str | None = None
    known: bool = False
    screened: tuple[ScreenedBlock, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """The names of both, without an order."""
        return frozenset((self.candidate, self.reference))

    @property
    def judged(self) -> bool:
        """Whether it has a verdict that something was measured for: kin by digest need no p-value."""
        return self.verdict == "dependent" or (
            self.verdict is not None and self.log10_p is not None
        )


@dataclass(frozen=True)
class Snapshot:
    """What the history holds of one complete run."""

    run: int
    created: str
    threshold: float
    models: tuple[AuditedModel, ...]
    pairs: tuple[AuditedPair, ...]


@dataclass(frozen=True)
class Change:
    """One thing that is not as it was; ``names`` are those of the model, or of the pair."""

    kind: ChangeKind
    names: tuple[str, ...]
    detail: str

    @property
    def line(self) -> str:
        """All of it in a line."""
        return f"{self.kind}: {' and '.join(self.names)}: {self.detail}"


@dataclass(frozen=True, repr=False)
class Audit(ShownAudit):
    """One run over a registry.

    ``since`` is the last complete run before it, with ``since_created``; None at the first, which has no
    changes. ``evidence`` is by `AuditedPair.key`. ``ignored`` lists pairs that were not judged, each as
    (name, name, reason). ``exhaustive`` says that no pair was screened. ``allowed`` names the models whose
    pairs need not be judged. ``families`` are the names that kinship connects, and ``before`` those of the
    last complete run, by the names of now. ``nights`` are the last complete runs, this one last.
    ``registry`` is what was judged, for the report on it.
    """

    name: str
    statistic: StatisticName
    inputs: InputsSpec
    alpha: float
    threshold: float
    run: int
    created: str
    models: tuple[AuditedModel, ...]
    pairs: tuple[AuditedPair, ...]
    ignored: tuple[tuple[str, str, str], ...]
    since: int | None
    since_created: str | None
    changes: tuple[Change, ...]
    evidence: dict[str, Evidence]
    exhaustive: bool = False
    allowed: tuple[str, ...] = ()
    families: tuple[tuple[str, ...], ...] = ()
    before: tuple[tuple[str, ...], ...] = ()
    nights: tuple[Night, ...] = ()
    registry: Registry | None = field(default=None, compare=False)

    @property
    def measured(self) -> int:
        """Pairs that were measured in this run."""
        return sum(not pair.known and pair.error is None for pair in self.pairs)

    @property
    def known(self) -> int:
        """Pairs whose evidence, or reason that there is none, was known before."""
        return sum(pair.known for pair in self.pairs)

    @property
    def screened(self) -> int:
        """Pairs that were called independent by a screen of some of their blocks."""
        return sum(bool(pair.screened) for pair in self.pairs)

    @property
    def failed(self) -> int:
        """Pairs that could not be judged."""
        return sum(not pair.judged for pair in self.pairs)

    @property
    def unjudged(self) -> tuple[AuditedPair, ...]:
        """Pairs that could not be judged, though no name allows that."""
        return tuple(
            pair for pair in self.pairs if not pair.judged and pair.names.isdisjoint(self.allowed)
        )

    @property
    def complete(self) -> bool:
        """Whether every pair was judged that must be, and at least one was."""
        return not self.unjudged and any(pair.judged for pair in self.pairs)

    def meaning(self, pair: AuditedPair) -> str | None:
        """What the verdict on one of the pairs means, in sentences; None of a pair without evidence."""
        evidence = self.evidence.get(pair.key or "")
        if evidence is None or pair.verdict is None:
            return None
        names: dict[Role, str] = {"candidate": pair.candidate, "reference": pair.reference}
        if pair.screened:
            control = control_of_power(evidence, names, self.threshold)
            return f"{_screened(pair)} {control}".rstrip()
        return meaning(evidence, pair.verdict, self.threshold, names)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the evidence."""
        return {
            "schema": SCHEMA,
            "registry": self.name,
            "run": self.run,
            "created": self.created,
            "statistic": self.statistic,
            "inputs": asdict(self.inputs),
            "alpha": self.alpha,
            "threshold": self.threshold,
            "measured": self.measured,
            "known": self.known,
            "failed": self.failed,
            "unjudged": [[pair.candidate, pair.reference] for pair in self.unjudged],
            "allowed": list(self.allowed),
            "complete": self.complete,
            "screened": self.screened,
            "exhaustive": self.exhaustive,
            "since": self.since,
            "families": [list(family) for family in self.families],
            "changes": [asdict(change) for change in self.changes],
            "nights": [asdict(night) for night in self.nights],
            "models": [asdict(model) for model in self.models],
            "pairs": [{**asdict(pair), "meaning": self.meaning(pair)} for pair in self.pairs],
            "ignored": [list(pair) for pair in self.ignored],
        }

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(self.to_dict(), allow_nan=False)


def _screened(pair: AuditedPair) -> str:
    blocks = (
        f"block {b.candidate_block} (p = {format_p(b.log10_p)})"
        for b in sorted(pair.screened, key=lambda block: block.candidate_block)
    )
    return (
        f"Screened: only {', '.join(blocks)} of {pair.candidate} were compared, and nothing was found in "
        "them. Kinship in other blocks would not have been seen; --exhaustive compares all."
    )
