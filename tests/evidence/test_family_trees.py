"""The edges of families' trees: by distances where all are known, and how many blocks agree on each."""

from dataclasses import replace

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provenance.evidence.difference import BlockMap, DifferenceRecord
from provenance.evidence.families import lineage_graph
from provenance.evidence.family_formats import format_lineage
from provenance.evidence.family_trees import Edge, block_distances, tree_edges
from provenance.report.family_tree import view_lineage
from tests.support import synthetic
from tests.support.synthetic import claimed, kin, results

FLOOR = -3000.0


def near(a, b, *distances, **changes):
    edge = Edge(a, b, FLOOR, directed=False, distances=dict(enumerate(distances)))
    return replace(edge, **changes)


def ends(edges):
    return {frozenset(edge) for edge in edges}


def test_the_nearest_kinships_are_drawn_and_blocks_agree_or_not():
    # 0 - 1 - 2 by two blocks of three; the third has 0 - 2 nearer than 1 - 2
    edges = [near(0, 1, 0.1, 0.1, 0.1), near(1, 2, 0.2, 0.2, 0.5), near(0, 2, 0.3, 0.3, 0.3)]
    chosen, agreeing = tree_edges(edges, 3)
    assert chosen == {(0, 1), (1, 2)}
    assert agreeing == {
        frozenset({0, 1}): (3, 3),
        frozenset({1, 2}): (2, 3),
        frozenset({0, 2}): (1, 3),
    }


def test_a_direction_gives_at_most_one_parent_the_nearest():
    edges = [
        near(0, 2, 0.3, directed=True),
        near(1, 2, 0.1, directed=True),
        near(0, 1, 0.2, directed=True),
    ]
    assert tree_edges(edges, 3)[0] == {(0, 1), (1, 2)}


def test_a_declared_parent_comes_before_a_nearer_one_and_blocks_agree_on_their_own():
    edges = [
        near(0, 2, 0.3, directed=True, declared=1),
        near(1, 2, 0.1, directed=True, declared=2),
        near(0, 1, 0.2, directed=True, declared=1),
    ]
    chosen, agreeing = tree_edges(edges, 3)
    assert chosen == {(0, 1), (0, 2)}
    assert agreeing[frozenset({0, 2})] == (0, 1)


def test_what_has_a_distance_comes_before_what_has_a_p_value_alone():
    edges = [
        near(0, 1, 0.1, log10_p=-10.0),
        near(1, 2, log10_p=-30.0),
        near(0, 2, 0.9, log10_p=-20.0),
        near(3, 4, 0.5),
    ]
    chosen, agreeing = tree_edges(edges, 6)
    assert chosen == {(0, 1), (0, 2), (3, 4)}
    assert agreeing == {frozenset(pair): (1, 1) for pair in ((0, 1), (0, 2), (3, 4))}


def test_among_kinships_without_a_distance_the_least_p_value_is_drawn():
    edges = [
        near(0, 1, 0.1),
        near(0, 2, log10_p=-10.0),
        near(1, 2, log10_p=-30.0),
        near(1, 3, log10_p=-5.0),
    ]
    chosen, agreeing = tree_edges(edges, 4)
    assert chosen == {(0, 1), (1, 2), (1, 3)}
    assert agreeing == {frozenset({0, 1}): (1, 1)}
    directed = [replace(edge, directed=True) for edge in edges]
    assert tree_edges(directed, 4)[0] == {(0, 1), (1, 2), (1, 3)}


def test_blocks_that_not_all_have_do_not_vote():
    edges = [
        near(0, 1, distances={0: 0.1, 5: 0.1}),
        near(1, 2, distances={0: 0.2, 3: 0.1}),
        near(0, 2, distances={0: 0.3}),
    ]
    assert tree_edges(edges, 3)[1][frozenset({0, 1})] == (1, 1)
    edges[2] = near(0, 2, distances={7: 0.3})
    assert tree_edges(edges, 3)[1] == {}


@given(st.lists(st.floats(0.001, 10), min_size=10, max_size=10, unique=True))
def test_without_directions_it_is_the_minimum_spanning_tree(lengths):
    pairs = [(a, b) for b in range(5) for a in range(b)]
    edges = [near(*pair, length) for pair, length in zip(pairs, lengths, strict=True)]
    graph = nx.Graph()
    graph.add_weighted_edges_from((e.a, e.b, e.distances[0]) for e in edges)
    told = ends(nx.minimum_spanning_tree(graph).edges)
    chosen, agreeing = tree_edges(edges, 5)
    assert ends(chosen) == told
    assert {pair for pair, (agree, _) in agreeing.items() if agree} == told


def test_a_distance_of_a_block_is_the_middle_of_its_matrices():
    record = synthetic.difference(2)
    sizes = sorted(one.relative for one in record.matrices if one.block == 1)
    assert block_distances(record) == {0: sizes[3], 1: sizes[3]}
    moved = replace(record, blocks=(BlockMap(0, 1, (64, 64)), *record.blocks[1:]))
    for other in (moved, DifferenceRecord(reason="x"), None):
        assert block_distances(other) == {}


def apart(candidate, reference, size):
    """Kin whose every matrix differs by a size."""
    return claimed(
        kin(candidate, reference, difference=synthetic.difference(relative=size)), "derived"
    )


def test_a_family_says_how_many_blocks_agree_wherever_it_is_drawn():
    found = results(apart("b", "a", 0.1), apart("c", "b", 0.1), apart("c", "a", 0.2))
    lineage = lineage_graph(found)
    labels = [model.label for model in lineage.models]
    drawn = {frozenset((labels[k.a], labels[k.b])) for k in lineage.kinships if k.drawn}
    assert drawn == {frozenset("ab"), frozenset("bc")}
    assert {k.agreeing for k in lineage.kinships if k.drawn} == {(8, 8)}
    dot = format_lineage(lineage, "dot")
    assert dot.count("8 of 8 blocks agree") == 2
    assert '"distances": {' in format_lineage(lineage, "json")
    view = view_lineage(lineage)
    assert str(view.families[0].figure.drawing).count("8 of 8 blocks agree") >= 2
    assert [row[6] for row in view.kinships.rows] == ["8 of 8", "8 of 8", "0 of 8"]
    bare = lineage_graph(results(claimed(kin("b", "a"), "derived")))
    assert "agree" not in format_lineage(bare, "dot")
    assert "distance" not in format_lineage(bare, "dot")


def test_an_edge_without_a_distance_says_so_where_others_of_its_family_have_one():
    found = results(
        apart("b", "a", 0.1), claimed(kin("c", "a"), "derived"), claimed(kin("e", "d"), "derived")
    )
    lineage = lineage_graph(found)
    assert [kin.no_distance for kin in lineage.kinships] == [False, True, False]
    dot = format_lineage(lineage, "dot")
    assert dot.count("8 of 8 blocks agree, among the pairs with a distance") == 1
    assert dot.count("by p-value, without a distance") == 1
    assert [row[6] for row in view_lineage(lineage).kinships.rows] == ["8 of 8", "no distance", "–"]


@pytest.mark.parametrize("text", ["distances: true\n", ""])
def test_an_audit_measures_distances_where_its_registry_says_so(text, tmp_path):
    from provenance.audit.plan import comparison_of
    from provenance.audit.registry import load_registry
    from provenance.audit.screen import screen_of

    path = tmp_path / "models.yaml"
    path.write_text(f"version: 1\n{text}models: {{a: {{path: ./a}}, b: {{path: ./b}}}}\n")
    registry = load_registry(path)
    whole = comparison_of(registry, "b", "a")
    assert whole.difference is bool(text)
    assert screen_of(whole, 32).difference is False
