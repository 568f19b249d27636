"""Judges what a model's card says of its origin: each base that it names, by the relation that it names."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from provenance._text import without_home
from provenance._threads import in_turn
from provenance.comparison.executor import Executor, as_spec
from provenance.comparison.plan import Comparison, extent
from provenance.errors import DeviceError, ProvenanceError, SourceError, StoreError
from provenance.evidence.failures import shortfall_of
from provenance.evidence.single_claim import claim_of, holds, judged
from provenance.statistics import default_statistic
from provenance.suite.draft import expected_of
from provenance.suite.model_cards import read_card
from provenance.vocabulary import DEFAULT_ALPHA, InputsSpec, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from provenance.evidence.records import Evidence
    from provenance.evidence.results import ClaimResult
    from provenance.suite.model_cards import Base
    from provenance.vocabulary import Relationship

SCHEMA = 1
CardState = Literal["consistent", "contradicted", "not known"]
CONTRADICTING = frozenset({"false", "other-kinship"})
"""Outcomes of a claim that show it to be wrong; others leave it open."""


@dataclass(frozen=True)
class JudgedBase:
    """One base that a card names, and what became of that.

    Attributes
    ----------
    base : str
        The hub id that the card names.
    where : str
        Where it stands: ``README.md:4``.
    expect : str
        What the card says of it, as a suite would claim it.
    state : str
        "consistent", "contradicted" or "not known".
    why : str
        The reason, in one or two sentences.
    evidence : Evidence or None
        What it was judged by; None where the base could not be had or compared.
    """

    base: str
    where: str
    expect: Relationship
    state: CardState
    why: str
    evidence: Evidence | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the evidence last."""
        return {
            "base": self.base,
            "where": self.where,
            "expect": self.expect,
            "state": self.state,
            "why": self.why,
            "evidence": None if self.evidence is None else self.evidence.to_dict(),
        }


@dataclass(frozen=True)
class CardJudgement:
    """What a model's card says of its bases, judged; ``notes`` say what of it could not be read."""

    model: str
    relation: str | None
    bases: tuple[JudgedBase, ...]
    notes: tuple[str, ...] = ()

    @property
    def state(self) -> CardState:
        """Contradicted where any base is; consistent where all are, and there is one; else not known."""
        states = {base.state for base in self.bases}
        if "contradicted" in states:
            return "contradicted"
        return "consistent" if states == {"consistent"} else "not known"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "state": self.state,
            "relation": self.relation,
            "bases": [base.to_dict() for base in self.bases],
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(self.to_dict(), allow_nan=False)


@in_turn
def judge_card(
    model: str | PathLike[str] | ModelSpec,
    *,
    places: Mapping[str, str | PathLike[str] | ModelSpec] | None = None,
    inputs: InputsSpec | None = None,
    alpha: float = DEFAULT_ALPHA,
    executor: Executor | None = None,
    endpoint: str | None = None,
) -> CardJudgement:
    """Judge whether a model is made from the bases that its card names, in the way that it says.

    Parameters
    ----------
    model : str, path or ModelSpec
        A folder or a hub id: nothing else has a card.
    places : mapping, optional
        Where bases are that are not to be had from the hub: a model, or its fingerprint, by the id that
        the card names.
    inputs, alpha, executor
        As `provenance.compare`, and the level of each base.
    endpoint : str, optional
        The hub's address; default: that of the environment.

    Raises
    ------
    ProvenanceError
        If the model or its card cannot be read, or ``places`` names what the card does not. A base that
        cannot be had is not known.
    """
    run = executor or Executor()
    spec = as_spec(model)
    if spec.repo is None and spec.path is None:
        raise SourceError(f"{spec.source}: only a hub id or a folder has a card")
    card = read_card(spec, endpoint)
    known = {base: as_spec(place) for base, place in (places or {}).items()}
    strange = sorted(known.keys() - {base.repo for base in card.bases})
    if strange:
        named = ", ".join(base.repo for base in card.bases) or "no base"
        raise SourceError(f"{spec.source}: its card does not name {strange[0]!r}: it names {named}")
    if card.bases:
        run.checkpoint(spec)
    fed, expect = inputs or InputsSpec(), expected_of(card.relation)
    bases = []
    for base in card.bases:
        reference = known.get(base.repo, ModelSpec(repo=base.repo))
        statistic = default_statistic(spec, reference)
        claim = claim_of(expect, statistic, alpha)
        comparison = Comparison.of(
            spec,
            reference,
            fed,
            statistic,
            extent=extent(claim),
            difference=claim.wants_difference,
        )
        try:
            result = judged(claim, run.evidence(comparison))
        except (StoreError, DeviceError):
            raise
        except ProvenanceError as error:
            why = without_home(str(error))
            bases.append(JudgedBase(base.repo, base.where, expect, "not known", why))
        else:
            bases.append(_as_base(base, expect, result))
    return CardJudgement(without_home(spec.source), card.relation, tuple(bases), card.notes)


def _as_base(base: Base, expect: Relationship, result: ClaimResult) -> JudgedBase:
    judgement = result.judgement
    assert judgement is not None
    why = f"{judgement.measured} {judgement.meaning}".strip()
    return JudgedBase(base.repo, base.where, expect, _state(result), why, result.evidence)


def _state(result: ClaimResult) -> CardState:
    if holds(result):
        return "consistent"
    return "contradicted" if shortfall_of(result).outcome in CONTRADICTING else "not known"
