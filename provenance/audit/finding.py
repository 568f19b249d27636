"""The finding of an audit: families, what is new and what is lost, in a sentence."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import networkx as nx

from provenance.evidence.audits import families_in_words
from provenance.evidence.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from provenance.audit.records import Audit

Family = tuple[str, ...]


def families_of(kin: Iterable[tuple[str, str]]) -> tuple[Family, ...]:
    """The names that pairs of kin connect, the largest family first, names in order."""
    graph: nx.Graph[str] = nx.Graph()
    graph.add_edges_from(kin)
    families = [tuple(sorted(family)) for family in nx.connected_components(graph)]
    return tuple(sorted(families, key=lambda family: (-len(family), family)))


def finding(audit: Audit) -> str:
    """Say what an audit found: ``6 families among 29 models, 2 new since run 12; nothing lost``."""
    now = audit.families
    said = f"{families_in_words(len(now))} among {count(len(audit.models), 'model')}"
    if audit.since is not None:
        new, lost = len(_without(now, audit.before)), len(_without(audit.before, now))
        since = f" since run {audit.since}"
        said += f", {new} new{since}" if new else f", none new{since}"
        said += f"; {families_in_words(lost)} lost" if lost else "; nothing lost"
    undecided = sum(pair.verdict == "inconclusive" for pair in audit.pairs)
    if undecided:
        said += f"; {count(undecided, 'pair')} undecided"
    if audit.failed:
        said += f"; {count(audit.failed, 'pair')} could not be judged"
    return said


def _without(families: Sequence[Family], others: Sequence[Family]) -> list[Family]:
    """The families of which no two models are in one family of the others."""
    pairs = {frozenset(pair) for other in others for pair in combinations(other, 2)}
    return [
        family
        for family in families
        if not any(frozenset(pair) in pairs for pair in combinations(family, 2))
    ]
