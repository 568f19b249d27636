"""Who is kin to whom, and who descends from whom, from all the evidence of some results.

A p-value knows no direction: kinship is mutual. An edge is given one only where something besides the
p-value supports it, and says what: a shape that was reduced, a loss that cannot be had back
(`provenance.evidence.direction`), or nothing but a claim of descent that held. The first two are measured,
and so the third is marked.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import networkx as nx

from provenance.evidence.decide import shows
from provenance.evidence.direction import direction_of
from provenance.evidence.family_trees import Edge, block_distances, tree_edges
from provenance.evidence.results import cousins, descent
from provenance.evidence.wording import count, describe, listed
from provenance.statistics.pvalues import format_p
from provenance.vocabulary import ROLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from provenance.evidence.models import ModelRecord
    from provenance.evidence.records import Evidence
    from provenance.evidence.results import ClaimResult, Results
    from provenance.vocabulary import Expectation, Verdict

SCHEMA = 1


@dataclass(frozen=True)
class Model:
    """One checkpoint, by its digest; ``names`` are what suites call it, ``label`` is unique."""

    label: str
    names: tuple[str, ...]
    digest: str
    source: str
    architecture: str
    blocks: int
    parameters: int


@dataclass(frozen=True)
class Kinship:
    """Two models that were found dependent, by their places in `Lineage.models`.

    Attributes
    ----------
    a, b : int
        Where ``directed``, ``b`` descends from ``a``.
    log10_p : float
        The smallest of the p-values that say so.
    directed : bool
        Whether something supports a direction.
    relation : str or None
        The kind of descent that was claimed and held.
    claimed : bool
        Where ``directed``, whether a claim alone says so: nothing that was measured supports the direction.
    support : tuple of str
        What supports the direction, in sentences.
    claims : tuple of str
        Which claims, as ``path:line``.
    drawn : bool
        Whether it is part of the spanning structure: the strongest edges, declared parents first.
    steps : int
        How far apart a declared lineage has the two: 1 for a parent and its child.
    distances : mapping of int to float
        How far their weights are apart once one is mapped onto the other, by block; empty where that was
        not measured.
    agreeing : tuple of int, or None
        How many blocks would draw it by their own distances, of how many, among the kinships of the family
        that have distances; None where it has none, or no block is known of all that have.
    no_distance : bool
        Whether it has no distance though others of its family do, which are drawn before it.
    among_some : bool
        Whether it has one, and another of its family has none, which may be nearer.
    """

    a: int
    b: int
    log10_p: float
    directed: bool = False
    claimed: bool = False
    relation: Expectation | None = None
    support: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    drawn: bool = False
    steps: int = 1
    distances: Mapping[int, float] = field(default_factory=dict)
    agreeing: tuple[int, int] | None = None
    no_distance: bool = False
    among_some: bool = False


@dataclass(frozen=True)
class Lineage:
    """Models, kinship among them, and families: those that kinship connects, largest first.

    ``disagreements`` are sentences on what does not fit together, such as two models of one family
    that were found independent.
    """

    models: tuple[Model, ...]
    kinships: tuple[Kinship, ...]
    families: tuple[tuple[int, ...], ...]
    disagreements: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, ``schema`` first; models by their digests."""
        digests = [model.digest for model in self.models]
        return {
            "schema": SCHEMA,
            "models": [vars(model) | {"names": list(model.names)} for model in self.models],
            "families": [[digests[i] for i in family] for family in self.families],
            "kinships": [
                vars(kin)
                | {"a": digests[kin.a], "b": digests[kin.b]}
                | {"support": list(kin.support), "claims": list(kin.claims)}
                | {"distances": {str(block): far for block, far in kin.distances.items()}}
                for kin in self.kinships
            ],
            "disagreements": list(self.disagreements),
        }


@dataclass(frozen=True)
class _Sighting:
    """What one claim showed of two different models: its result, its evidence, its verdict.

    ``steps`` is what it claims of the reference: 1 where that is the candidate's parent. ``cousins`` says
    whether the suite declares the two to be no more than that.
    """

    result: ClaimResult
    evidence: Evidence
    verdict: Verdict
    steps: int | None
    cousins: bool

    @property
    def digests(self) -> tuple[str, str]:
        return self.evidence.candidate.digest, self.evidence.reference.digest

    def by(self) -> str:
        """What the verdict was reached by, in words."""
        indices = self.result.claim.blocks.indices
        of = f" on {listed(indices)}" if indices else ""
        log10_p = self.result.log10_p
        p = "" if log10_p is None else f", p = {format_p(log10_p)}"
        return f"{self.evidence.statistic}{of}{p}"


def lineage_graph(results: Results) -> Lineage:
    """Find the families among all models that results have evidence on.

    Parameters
    ----------
    results : Results
        Of a run, or made of evidence (`provenance.evidence.read.read_results`).

    Returns
    -------
    Lineage
        Two models are kin where a claim's verdict on them is "dependent", whatever was claimed.
        Controls take no part.
    """
    sightings = [
        _Sighting(
            result,
            result.evidence,
            result.judgement.verdict,
            descent(results, result),
            cousins(results, result),
        )
        for result in results.claims
        if result.evidence is not None and result.judgement is not None
    ]
    models = _models(sightings)
    place = {model.digest: i for i, model in enumerate(models)}
    pairs: dict[frozenset[int], list[_Sighting]] = defaultdict(list)
    for sighting in sightings:
        ends = frozenset(place[digest] for digest in sighting.digests)
        if len(ends) == 2:
            pairs[ends].append(sighting)
    kinships = [
        _kinship(sightings, place)
        for sightings in pairs.values()
        if any(sighting.verdict == "dependent" for sighting in sightings)
    ]
    kinships = _drawn(kinships, len(models))
    families = _families(kinships, len(models))
    notes = (
        *_contradictions(pairs, models, place),
        *_circles(kinships, models),
        *_apart(pairs, kinships, families, models),
    )
    return Lineage(models, tuple(kinships), families, notes)


def _models(sightings: Iterable[_Sighting]) -> tuple[Model, ...]:
    names: dict[str, dict[str, None]] = defaultdict(dict)
    records: dict[str, ModelRecord] = {}
    for sighting in sightings:
        for _, name, record in sighting.result.sides:
            names[record.digest][name] = None
            records.setdefault(record.digest, record)
    labels = {digest: " = ".join(names[digest]) for digest in records}
    twice = {label for label in labels.values() if list(labels.values()).count(label) > 1}
    return tuple(
        Model(
            label=f"{label} ({digest.rpartition(':')[2][:8]})" if label in twice else label,
            names=tuple(names[digest]),
            digest=digest,
            source=records[digest].source,
            architecture=records[digest].architecture,
            blocks=records[digest].blocks,
            parameters=records[digest].parameters,
        )
        for digest, label in labels.items()
    )


def _kinship(sightings: Sequence[_Sighting], place: Mapping[str, int]) -> Kinship:
    """Kinship of two models, from all claims on them."""
    kin = [sighting for sighting in sightings if sighting.verdict == "dependent"]
    strongest = min((sighting.result.log10_p or 0.0 for sighting in kin), default=0.0)
    claims = tuple(dict.fromkeys(sighting.result.where for sighting in kin))
    declared, shapes = _votes(kin, place, _declared), _votes(kin, place, _reduced)
    losses = _votes(kin, place, _lost)
    votes = declared or losses or shapes
    is_open = any(edge not in votes for edge in losses)
    records = (block_distances(sighting.evidence.difference) for sighting in kin)
    distances = next(filter(None, records), {})
    if len(votes) != 1 or is_open:  # nothing supports a direction, or as much supports the other
        a, b = sorted(place[digest] for digest in kin[0].digests)
        return Kinship(a, b, strongest, claims=claims, distances=distances)
    ((a, b),) = votes
    support = tuple(said for votes in (declared, losses, shapes) for said in votes.get((a, b), ()))
    relations = [
        sighting.result.claim.expect for sighting in kin if _declared(sighting) is not None
    ]
    relation = relations[0] if declared else None
    steps = min((sighting.steps for sighting in kin if sighting.steps is not None), default=1)
    return Kinship(
        a,
        b,
        strongest,
        directed=True,
        claimed=(a, b) not in {*shapes, *losses},
        relation=relation,
        support=support,
        claims=claims,
        steps=steps,
        distances=distances,
    )


def _votes(
    kin: Iterable[_Sighting], place: Mapping[str, int], support_of: Any
) -> dict[Any, list[str]]:
    """What supports each direction, (parent, child)."""
    votes: dict[tuple[int, int], list[str]] = defaultdict(list)
    for sighting in kin:
        support = support_of(sighting)
        if support is not None:
            child, parent = (place[digest] for digest in sighting.digests)
            if support not in votes[parent, child]:
                votes[parent, child].append(support)
    return votes


def _declared(sighting: _Sighting) -> str | None:
    """Say that descent was claimed, and held; None where it was not, or did not."""
    claim, judgement = sighting.result.claim, sighting.result.judgement
    assert judgement is not None
    if sighting.steps is None or judgement.state != "holds":
        return None
    return f"Claimed, and held: {describe(claim)} ({sighting.result.where})."


def _lost(sighting: _Sighting) -> str | None:
    """Say what the candidate has lost of the reference's numbers; None where nothing tells."""
    record = sighting.evidence.difference
    found = None if record is None or sighting.cousins else direction_of(record)
    if found is None:
        return None
    claim = sighting.result.claim
    return f"{claim.candidate} against {claim.reference}: {found.words()}"


def _reduced(sighting: _Sighting) -> str | None:
    """Say what the candidate has less of that maps into the reference; None where it has not."""
    if sighting.cousins:
        return None  # both have it from their ancestor
    candidate, reference = sighting.evidence.candidate, sighting.evidence.reference
    kin = [b for b in sighting.evidence.blocks if shows(b, sighting.result.claim.thresholds)]
    sizes = {(candidate.blocks, reference.blocks), *(block.units for block in kin)}
    if not kin or any(size > reference_size for size, reference_size in sizes):
        return None
    name, other = map(sighting.result.name_of, ROLES)
    if candidate.blocks < reference.blocks:
        what = f"{count(candidate.blocks, 'block')} where {other} has {reference.blocks}"
    elif any(block.units[0] < block.units[1] for block in kin):
        narrow = next(block for block in kin if block.units[0] < block.units[1])
        what = f"MLPs of {narrow.units[0]} units where {other} has {narrow.units[1]}"
    else:
        return None
    return f"Its shape is a reduced one: {name} has {what}."


def _drawn(kinships: Sequence[Kinship], models: int) -> list[Kinship]:
    """Mark a spanning structure, and say how many blocks agree on it."""
    edges = [
        Edge(
            kin.a,
            kin.b,
            kin.log10_p,
            kin.directed,
            kin.distances,
            kin.steps if kin.directed and kin.relation is not None else None,
        )
        for kin in kinships
    ]
    chosen, agreeing = tree_edges(edges, models)
    families = _families(kinships, models)
    family_of = {model: number for number, family in enumerate(families) for model in family}
    by_distance, incomplete = (
        {family_of[kin.a] for kin in kinships if bool(kin.distances) is has}
        for has in (True, False)
    )
    return [
        replace(
            kin,
            drawn=(kin.a, kin.b) in chosen,
            agreeing=agreeing.get(frozenset({kin.a, kin.b})),
            no_distance=not kin.distances and family_of[kin.a] in by_distance,
            among_some=bool(kin.distances) and family_of[kin.a] in incomplete,
        )
        for kin in kinships
    ]


def _families(kinships: Iterable[Kinship], models: int) -> tuple[tuple[int, ...], ...]:
    graph = _graph(kinships)
    graph.add_nodes_from(range(models))
    families = [tuple(sorted(family)) for family in nx.connected_components(graph)]
    return tuple(sorted(families, key=lambda family: (-len(family), family)))


def _graph(kinships: Iterable[Kinship]) -> nx.Graph[int]:
    graph: nx.Graph[int] = nx.Graph()
    graph.add_edges_from((kin.a, kin.b) for kin in kinships)
    return graph


def _contradictions(
    pairs: Mapping[frozenset[int], Sequence[_Sighting]],
    models: Sequence[Model],
    place: Mapping[str, int],
) -> Iterable[str]:
    """Pairs on which two verdicts differ, or on which two claims of descent point both ways."""
    for ends, sightings in pairs.items():
        a, b = (models[i].label for i in sorted(ends))
        kin = [sighting for sighting in sightings if sighting.verdict == "dependent"]
        free = [sighting for sighting in sightings if sighting.verdict == "independent"]
        if kin and free:
            yield (
                f"{a} and {b} are dependent by {_reached_by(kin)}, yet independent by "
                f"{_reached_by(free)}."
            )
        if len(_votes(kin, place, _declared)) == 2:
            yield f"{a} and {b}: each was claimed to descend from the other, and both claims held."
        declared, losses = _votes(kin, place, _declared), _votes(kin, place, _lost)
        for edge in losses:
            if declared and edge not in declared:
                yield f"{a} and {b}: a claim of descent held, and what was lost says the other direction."


def _circles(kinships: Sequence[Kinship], models: Sequence[Model]) -> Iterable[str]:
    """Models whose directions of descent lead from each of them back to itself."""
    directed: nx.DiGraph[int] = nx.DiGraph()
    directed.add_edges_from((kin.a, kin.b) for kin in kinships if kin.directed)
    for circle in nx.strongly_connected_components(directed):
        if len(circle) > 1:
            *first, last = (models[i].label for i in sorted(circle))
            yield (
                f"{', '.join(first)} and {last} would each descend from itself by the directions among "
                "them: one of these is wrong, and a tree leaves one out."
            )


def _reached_by(sightings: Iterable[_Sighting]) -> str:
    return "; ".join(sighting.by() for sighting in sightings)


def _apart(
    pairs: Mapping[frozenset[int], Sequence[_Sighting]],
    kinships: Sequence[Kinship],
    families: Iterable[Sequence[int]],
    models: Sequence[Model],
) -> Iterable[str]:
    """Pairs of one family that were found independent, with the kin that connect them."""
    graph = _graph(kinships)
    for family in families:
        for a, b in combinations(family, 2):
            sightings = pairs.get(frozenset({a, b}), ())
            if sightings and not graph.has_edge(a, b):
                verdicts = sorted({sighting.verdict for sighting in sightings})
                path = [models[i].label for i in nx.shortest_path(graph, a, b)]
                link = (
                    f"{path[1]} is kin to both."
                    if len(path) == 3
                    else f"a chain of kin connects them: {', '.join(path)}."
                )
                yield (
                    f"{path[0]} and {path[-1]} were found {' and '.join(verdicts)} of each other "
                    f"({_reached_by(sightings)}), yet {link}"
                )
