"""Measures the exhibits of two models beside the evidence on them; what cannot be had says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.comparison.aligned import side_of
from provenance.comparison.same_weights import settings_of
from provenance.errors import ArchitectureError, DegenerateError, InputError, SourceError
from provenance.evidence.exhibits import EXHIBIT_NAMES, Exhibit
from provenance.vocabulary import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.comparison.per_model import PerModel
    from provenance.evidence.exhibits import ExhibitName
    from provenance.evidence.records import Evidence

__all__ = ["measure_exhibits"]

Measured = tuple[float, int]

NO_WEIGHTS = "a fingerprint has no weights and no configuration to look at"


def measure_exhibits(
    candidate: Checkpoint, reference: Checkpoint, work: PerModel, evidence: Evidence
) -> tuple[Exhibit, ...]:
    """Measure all exhibits of two models, in the order of `EXHIBIT_NAMES`."""
    if candidate.bundle is not None or reference.bundle is not None:
        return tuple(Exhibit(name, None, 0, NO_WEIGHTS) for name in EXHIBIT_NAMES)
    measures = _measures(candidate, reference, work, evidence)
    subject = f"{candidate.source} against {reference.source}"
    found = []
    for done, name in enumerate(EXHIBIT_NAMES):
        work.tell(Stage("exhibit", subject, done, len(EXHIBIT_NAMES)))
        found.append(_exhibit(name, measures[name]))
    return tuple(found)


def _exhibit(name: ExhibitName, measure: Callable[[], Measured]) -> Exhibit:
    try:
        value, compared = measure()
    except (ArchitectureError, DegenerateError, InputError, SourceError) as error:
        return Exhibit(name, None, 0, str(error))
    return Exhibit(name, value, compared)


def _measures(
    candidate: Checkpoint, reference: Checkpoint, work: PerModel, evidence: Evidence
) -> Mapping[ExhibitName, Callable[[], Measured]]:
    from provenance.exhibits.overlaps import most_agreeing, setting_overlap, token_overlap
    from provenance.exhibits.weights import norm_cosine, profile_likeness

    return {
        "norms": lambda: norm_cosine(side_of(candidate, work), side_of(reference, work)),
        "deviations": lambda: profile_likeness(side_of(candidate, work), side_of(reference, work)),
        "tokenizer": lambda: token_overlap(_tokens(candidate), _tokens(reference)),
        "configuration": lambda: setting_overlap(settings_of(candidate), settings_of(reference)),
        "units": lambda: most_agreeing(evidence.blocks, evidence.statistic, "match_tokens"),
    }


def _tokens(model: Checkpoint) -> Collection[bytes]:
    """What a model's tokens stand for.

    Raises
    ------
    DegenerateError
        It has no tokenizer.
    """
    from provenance.inputs.vocabulary import read_vocabulary

    texts = read_vocabulary(model, model.vocabulary or _ANY_ID).texts
    if texts is None:
        raise DegenerateError(f"{model.source} has no tokenizer")
    return texts.keys()


_ANY_ID = 2**31
"""Above all ids: of a model whose configuration does not say how many tokens it has."""
