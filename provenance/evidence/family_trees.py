"""Which kinships a family's tree is made of: by distances where there are any, else by p-values.

A distance is how far the weights of two are apart once one is mapped onto the other. A p-value says that
two are kin, and hardly how near: most are at their floor.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

import networkx as nx

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from provenance.evidence.difference import DifferenceRecord

__all__ = ["Edge", "Edges", "block_distances", "tree_edges"]

DECLARED = 1e9
"""What a declared parent weighs more than one that was measured."""
Edges = frozenset[tuple[int, int]]


@dataclass(frozen=True)
class Edge:
    """A kinship of two models of a family, by their places.

    Attributes
    ----------
    a, b : int
        Where ``directed``, ``b`` descends from ``a``.
    log10_p : float
        Of the pair.
    distances : mapping of int to float
        How far their weights are apart, block by block; empty where that was not measured.
    declared : int or None
        How far apart a claim has the two, 1 for a parent and its child; None where none does.
    """

    a: int
    b: int
    log10_p: float
    directed: bool
    distances: Mapping[int, float] = field(hash=False)
    declared: int | None = None

    @property
    def ends(self) -> frozenset[int]:
        """The two models."""
        return frozenset({self.a, self.b})


def block_distances(record: DifferenceRecord | None) -> dict[int, float]:
    """How far the matrices of each block are from their counterparts: the middle of them, relative to size.

    Empty where nothing was measured, or where blocks met others than those of their own number.
    """
    if record is None or any(one.candidate_block != one.reference_block for one in record.blocks):
        return {}
    sizes: dict[int, list[float]] = defaultdict(list)
    for one in record.matrices:
        if one.block is not None and len(one.shape) > 1 and not one.fitted:
            sizes[one.block].append(one.relative)
    return {block: median(found) for block, found in sizes.items()}


def tree_edges(
    edges: Sequence[Edge], models: int
) -> tuple[Edges, dict[frozenset[int], tuple[int, int]]]:
    """Choose the edges of the trees that span families, at most one parent for each model.

    The nearest are taken, then those of the least p-values among kinships without a distance. Declared
    parents come before others, and what has a direction before what has none.

    Returns
    -------
    frozenset of (int, int)
        The edges, each as it was given.
    dict
        For each edge with a distance, by its ends: how many blocks agree on it, of how many. A block agrees
        where the minimum spanning tree of its own distances, whatever was declared, has it.
    """
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(models))
    graph.add_edges_from((edge.a, edge.b) for edge in edges)
    chosen: set[tuple[int, int]] = set()
    agreeing: dict[frozenset[int], tuple[int, int]] = {}
    for family in nx.connected_components(graph):
        own = [edge for edge in edges if edge.a in family]
        chosen |= _spanning({edge: _nearness(edge) for edge in own}, family)
        agreeing |= _agreeing([edge for edge in own if edge.distances])
    return frozenset(chosen), agreeing


def _nearness(edge: Edge) -> float:
    """From 1 to 2 by distance; below 1 by p-value alone, so that what was measured comes before."""
    if edge.distances:
        return 1 + 1 / (1 + median(edge.distances.values()))
    return 1 - 1 / (2 - edge.log10_p)


def _spanning(near: Mapping[Edge, float], family: Iterable[int]) -> set[tuple[int, int]]:
    """At most one parent each, then the nearest kinship between those."""
    directed: nx.DiGraph[int] = nx.DiGraph()
    for edge, nearness in near.items():
        if edge.directed:
            first = 0.0 if edge.declared is None else DECLARED / edge.declared
            directed.add_edge(edge.a, edge.b, weight=nearness + first)
    branching = nx.maximum_branching(directed, attr="weight") if directed else directed
    trees = nx.utils.UnionFind(family)
    for parent, child in branching.edges:
        trees.union(parent, child)
    chosen = set(branching.edges)
    for edge in sorted(near, key=lambda edge: (not edge.directed, -near[edge])):
        if trees[edge.a] != trees[edge.b]:
            trees.union(edge.a, edge.b)
            chosen.add((edge.a, edge.b))
    return chosen


def _agreeing(edges: Sequence[Edge]) -> dict[frozenset[int], tuple[int, int]]:
    blocks = sorted(set.intersection(*(set(edge.distances) for edge in edges))) if edges else []
    if not blocks:
        return {}
    counts = dict.fromkeys((edge.ends for edge in edges), 0)
    for block in blocks:
        graph: nx.Graph[int] = nx.Graph()
        graph.add_weighted_edges_from((edge.a, edge.b, edge.distances[block]) for edge in edges)
        for a, b in nx.minimum_spanning_edges(graph, data=False):
            counts[frozenset({a, b})] += 1
    return {ends: (count, len(blocks)) for ends, count in counts.items()}
