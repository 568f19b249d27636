"""Families from evidence: kinship without direction, save where something supports one."""

import json
import shutil
import subprocess
from dataclasses import replace

import pytest

from provenance.evidence.difference import Grid
from provenance.evidence.families import lineage_graph
from provenance.evidence.family_formats import format_lineage
from provenance.report.family_tree import view_lineage
from provenance.statistics.pvalues import format_p
from tests.support import synthetic
from tests.support.synthetic import claimed, kin, results, strangers


def drawn(lineage):
    labels = [model.label for model in lineage.models]
    return {(labels[k.a], labels[k.b], k.directed) for k in lineage.kinships if k.drawn}


def test_declared_parents_are_drawn_and_transitive_kinship_is_listed():
    lineage = lineage_graph(
        results(
            claimed(kin("chat", "base"), "finetune"),
            claimed(kin("copy", "chat", 8), "permuted"),
            claimed(kin("copy", "base"), "derived"),
            claimed(strangers("other", "base"), "independent"),
        )
    )
    assert drawn(lineage) == {("base", "chat", True), ("chat", "copy", True)}
    assert len(lineage.kinships) == 3
    assert [len(family) for family in lineage.families] == [3, 1]
    assert lineage.disagreements == ()


def in_trees(found, *edges):
    """The results, of suites that declare these (name, parent)."""
    return replace(found, suites=tuple(replace(s, lineage=edges) for s in found.suites))


def test_a_declared_lineage_gives_parents_and_leaves_cousins_without_direction():
    small = synthetic.model("small", blocks=3)
    found = results(
        claimed(kin("chat", "base"), "derived"),
        claimed(kin("copy", "base", 8), "derived"),
        claimed(kin("copy", "chat"), "derived"),
        claimed(kin(small, "base", 3), "derived"),
        claimed(kin(small, "copy", 3), "derived"),
    )
    trees = (("base", None), ("chat", "base"), ("copy", "chat"), ("small", "base"))
    lineage = lineage_graph(in_trees(found, *trees))
    parents = {("base", "chat", True), ("chat", "copy", True), ("base", "small", True)}
    assert drawn(lineage) == parents
    labels = [model.label for model in lineage.models]
    cousins = [k for k in lineage.kinships if {labels[k.a], labels[k.b]} == {"small", "copy"}]
    assert [(k.directed, k.support) for k in cousins] == [(False, ())]
    steps = {(labels[k.a], labels[k.b]): k.steps for k in lineage.kinships if k.directed}
    assert steps["base", "copy"] == 2


def test_a_p_value_alone_has_no_direction():
    (found,) = lineage_graph(results(claimed(kin("a", "b"), "independent"))).kinships
    assert (found.directed, found.relation, found.support) == (False, None, ())


def test_a_reduced_shape_supports_a_direction():
    small = synthetic.model("small", blocks=3)
    evidence = kin(small, synthetic.model("big", blocks=4), 3)
    lineage = lineage_graph(results(claimed(evidence, "unknown")))
    (found,) = lineage.kinships
    assert lineage.models[found.a].label == "big"
    assert found.support == ("Its shape is a reduced one: small has 3 blocks where big has 4.",)


ROUNDED = synthetic.difference(grid=Grid("even", 4, 32, 1.0, 1.0, 0.5), rank=0)


def test_what_was_lost_supports_a_direction():
    evidence = kin("small", "big", difference=ROUNDED)
    for expect in ("unknown", "derived", "quantized"):
        lineage = lineage_graph(results(claimed(evidence, expect)))
        (found,) = lineage.kinships
        assert (found.directed, found.claimed) == (True, False)
        assert lineage.models[found.a].label == "big"
        assert found.support[-1].startswith("small against big: The reference came first: ")
        assert drawn(lineage) == {("big", "small", True)}
    cousins = in_trees(results(claimed(evidence, "derived")), *ROOTED)
    assert [one.directed for one in lineage_graph(cousins).kinships] == [False]


ROOTED = (("root", None), ("small", "root"), ("big", "root"))


def test_what_was_lost_against_a_claim_is_told_and_draws_no_arrow():
    lineage = lineage_graph(
        results(
            claimed(kin("big", "small"), "finetune"),
            claimed(kin("small", "big", difference=ROUNDED), "unknown"),
        )
    )
    assert [one.directed for one in lineage.kinships] == [False]
    assert any("what was lost says the other direction" in one for one in lineage.disagreements)


SMALL, BIG = synthetic.model("small", blocks=3), synthetic.model("big", blocks=4)


@pytest.mark.parametrize(
    ("made", "edge", "dot", "mermaid"),
    [
        (  # a claim alone
            [claimed(kin("chat", "base"), "finetune")],
            ("base", "chat", True, True),
            '"claimed finetune, p = {p}", style=dashed];',
            '-.->|"claimed finetune, p = {p}"|',
        ),
        (  # a shape alone
            [claimed(kin(SMALL, BIG, 3), "unknown")],
            ("big", "small", True, False),
            '"kin, p = {p}"];',
            '-->|"kin, p = {p}"|',
        ),
        (  # both
            [claimed(kin(SMALL, BIG, 3), "pruned")],
            ("big", "small", True, False),
            '"pruned, p = {p}"];',
            '-->|"pruned, p = {p}"|',
        ),
        (  # a common ancestor, where the shapes do not speak: what is wider may have been widened
            [claimed(kin(BIG, SMALL, 3), "derived")],
            ("big", "small", False, False),
            '"kin, p = {p}", dir=none, style=dashed];',
            '-.-|"kin, p = {p}"|',
        ),
        (  # a common ancestor, which is all that `derived` asks for
            [claimed(kin("rebrand", "base"), "derived")],
            ("rebrand", "base", False, False),
            '"kin, p = {p}", dir=none, style=dashed];',
            '-.-|"kin, p = {p}"|',
        ),
        (  # the same, where a shape speaks
            [claimed(kin(SMALL, BIG, 3), "derived")],
            ("big", "small", True, False),
            '"kin, p = {p}"];',
            '-->|"kin, p = {p}"|',
        ),
        (  # a copy
            [claimed(kin("copy", "base"), "identical")],
            ("copy", "base", False, False),
            '"kin, p = {p}", dir=none, style=dashed];',
            '-.-|"kin, p = {p}"|',
        ),
        (  # claims of both directions
            [claimed(kin("a", "b"), "finetune"), claimed(kin("b", "a"), "finetune", 2)],
            ("a", "b", False, False),
            '"kin, p = {p}", dir=none, style=dashed];',
            '-.-|"kin, p = {p}"|',
        ),
    ],
)
def test_a_direction_that_nothing_measured_is_marked_as_claimed(made, edge, dot, mermaid):
    lineage = lineage_graph(results(*made))
    labels = [model.label for model in lineage.models]
    (found,) = lineage.kinships
    assert (labels[found.a], labels[found.b], found.directed, found.claimed) == edge
    (kinship,) = json.loads(format_lineage(lineage, "json"))["kinships"]
    assert (kinship["directed"], kinship["claimed"]) == edge[2:]
    p = format_p(found.log10_p)
    edge = format_lineage(lineage, "dot").splitlines()[-2]
    assert edge.endswith(f"[label={dot}".replace("{p}", p))
    assert mermaid.replace("{p}", p) in format_lineage(lineage, "mermaid")
    (family,) = view_lineage(lineage).families
    assert ("as claimed" in family.figure.drawing) == found.claimed
    kind = "claimed" if found.claimed else "arrow" if found.directed else "dashed"
    assert family.figure.marks == {kind}
    assert f'class="link {kind}"' in family.figure.drawing
    assert ('class="head"' in family.figure.drawing) == found.directed


def test_kin_of_kin_that_are_strangers_are_told():
    lineage = lineage_graph(
        results(
            claimed(kin("a", "b"), "derived"),
            claimed(kin("b", "c"), "derived"),
            claimed(strangers("a", "c"), "independent"),
        )
    )
    (note,) = lineage.disagreements
    assert note.startswith("a and c were found independent of each other")
    assert note.endswith("yet b is kin to both.")


@pytest.mark.parametrize("last", ["a", "b"])
def test_descents_that_lead_back_to_a_model_are_told(last):
    lineage = lineage_graph(
        results(
            claimed(kin("b", "a"), "finetune"),
            claimed(kin("c", "b"), "finetune"),
            claimed(kin("d", "c"), "finetune"),
            claimed(kin(last, "d"), "finetune"),
        )
    )
    (note,) = lineage.disagreements
    names = "b, c and d" if last == "b" else "b, a, c and d"
    assert note.startswith(f"{names} would each descend from itself")
    assert sum(k.drawn for k in lineage.kinships) == 3
    assert note in view_lineage(lineage).disagreements


@pytest.fixture
def hostile():
    return lineage_graph(synthetic.every_kind())


def test_json_names_models_by_digest(hostile):
    fields = json.loads(format_lineage(hostile, "json"))
    assert (fields["schema"], len(fields["models"])) == (1, 6)
    assert {"a", "b", "log10_p", "directed", "support"} <= fields["kinships"][0].keys()


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz's dot is not installed")
def test_graphviz_reads_the_dot(hostile):
    text = format_lineage(hostile, "dot")
    command = ["dot", "-Tsvg"]
    svg = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in svg
    assert "U+202E" in svg


def test_mermaid_escapes_what_it_would_read(hostile):
    text = format_lineage(hostile, "mermaid")
    assert "#60;script#62;alert(1)#60;/script#62;" in text
    assert "<" not in text.replace("-.-", "")
