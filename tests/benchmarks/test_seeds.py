"""Models that differ in their first weights alone, in small: who is called kin, and what is kept."""

import dataclasses
import itertools

import networkx as nx
import numpy as np
import pytest

from benchmarks import _judged, _seed_blocks, _seed_counts, _seed_page, _seed_tables, seeds
from benchmarks._counts import sources
from benchmarks._judged import THRESHOLDS, Judged, judge
from benchmarks._kept import Kept
from benchmarks._seed_kin import MERGES, fellow
from benchmarks._seed_runs import Found, Run
from benchmarks._zoo import SMALL, Zoo, twins
from provenance import Executor, InputsSpec, Store, compare, decide
from provenance.evidence.decide import judged_p
from provenance.evidence.models import PowerRecord

MODELS = 6
PAIRS = 15


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("seeds")


@pytest.fixture(scope="module")
def found(folder):
    run = Run(folder, MODELS, SMALL)
    run.measure(lambda _: None)
    return run.found()


@pytest.fixture(scope="module")
def paths(found, folder):
    zoo = Zoo(folder, SMALL)
    chosen = [zoo.member(member) for member in found.zoo]
    assert zoo.made == 0
    return chosen


@pytest.fixture(scope="module")
def executor(folder):
    return Executor(Store(folder / "store"), "cpu")


@pytest.fixture(scope="module")
def inputs(folder):
    return InputsSpec(text=Zoo(folder, SMALL).text("held-out").name, tokens=SMALL.tokens)


def judged(p=-0.1, nearness=0.0, **verdicts):
    said = dict.fromkeys((f"{t:g}" for t in THRESHOLDS), "independent") | verdicts
    return Judged(said, p, nearness, 9.0)


def kept(count=9, dependent=()):
    """Results of a run that was stopped before its copies and its blocks."""
    zoo = twins(count, SMALL)
    strangers = {
        pair: judged(-7.0, **{"1e-06": "dependent"}) if pair in dependent else judged()
        for pair in itertools.combinations(range(count), 2)
    }
    about = {"date": "2026-01-01", "machine": "a machine", "versions": "Python 3"}
    return Found(zoo, {}, strangers, {}, {}, 0.0, about)


# the models


def test_models_of_one_shape_differ_in_the_seed_of_their_first_weights_alone():
    zoo = twins(64, SMALL)
    shapes = {member.shape for member in zoo}
    assert len(shapes) == 3
    assert len({member.seed for member in zoo}) == len({member.name for member in zoo}) == 64
    alike = {dataclasses.replace(member, name="", seed=0) for member in zoo}
    assert len(alike) == 3
    assert sorted(sum(m.shape == shape for m in zoo) for shape in shapes) == [21, 21, 22]


@pytest.mark.slow
def test_models_are_trained(found):
    for member in found.zoo:
        trained = found.trained[member.name]
        assert trained.before == pytest.approx(np.log(SMALL.vocabulary), abs=0.7)
        assert trained.after < trained.before - 1


def test_the_stranger_of_a_merge_is_another_model_of_the_same_shape():
    zoo = twins(7, SMALL)
    for place, member in enumerate(zoo):
        other = fellow(member, zoo)
        assert other != place
        assert zoo[other].shape == member.shape


# verdicts


@pytest.mark.slow
def test_all_pairs_of_strangers_are_judged_and_none_is_dependent(found):
    assert set(found.strangers) == set(itertools.combinations(range(MODELS), 2))
    assert {one.at(1e-6) for one in found.strangers.values()} <= {"independent", "inconclusive"}


@pytest.mark.slow
def test_every_model_has_a_copy_of_each_kind_and_those_that_are_whole_are_found(found):
    assert all(set(of) == set(range(MODELS)) for of in found.kin.values())
    assert set(MERGES) < set(found.kin)
    for kind in found.kin.keys() - set(MERGES):
        assert {one.at(1e-6) for one in found.kin[kind].values()} == {"dependent"}


@pytest.mark.slow
def test_a_verdict_is_that_of_the_package(found, paths, inputs, executor):
    evidence = compare(paths[0], paths[1], inputs=inputs, executor=executor)
    one = found.strangers[0, 1]
    assert one.log10_p == judged_p(evidence.blocks)
    assert {t: one.at(t) for t in THRESHOLDS} == {t: decide(evidence, t) for t in THRESHOLDS}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("doubt", "change"),
    [
        (_judged.NEAR, lambda e: {"blocks": (dataclasses.replace(e.blocks[0], nearness=0.11),)}),
        (_judged.RANK, lambda e: {"details": {**e.details, "reference_rank": 4.9}}),
        (
            _judged.IN_PART,
            lambda e: {"blocks": (dataclasses.replace(e.blocks[0], untested=("x",)),)},
        ),
        (_judged.POWER, lambda _: {"power": {"candidate": PowerRecord("match", (0,), -5.0)}}),
        (_judged.SMALL_P, lambda e: {"blocks": (dataclasses.replace(e.blocks[0], log10_p=-5.0),)}),
        (_judged.OTHER, lambda e: {"inputs": dataclasses.replace(e.inputs, distinct=(9, 9))}),
    ],
)
def test_what_makes_a_pair_inconclusive_is_named(
    paths, inputs, executor, monkeypatch, doubt, change
):
    evidence = compare(paths[0], paths[1], inputs=inputs, executor=executor)
    monkeypatch.setattr(_judged, "compare", lambda *_, **__: evidence)
    assert judge(paths[0], paths[1], inputs, executor).doubts == ()
    doubtful = dataclasses.replace(evidence, **change(evidence))
    monkeypatch.setattr(_judged, "compare", lambda *_, **__: doubtful)
    one = judge(paths[0], paths[1], inputs, executor)
    assert (one.at(1e-6), one.doubts) == ("inconclusive", (doubt,))
    assert Judged.of(one.as_json()) == one


def test_a_pair_that_cannot_be_compared_is_refused_with_the_reason(tmp_path):
    executor = Executor(Store(tmp_path / "store"), "cpu")
    one = judge(tmp_path / "nothing", tmp_path / "nothing", InputsSpec(), executor)
    assert set(one.verdicts.values()) == {"refused"}
    assert "nothing" in one.refusal


# blocks


@pytest.mark.slow
@pytest.mark.parametrize("pair", [(0, 3), (0, 1), (0, 2)])
def test_kinship_of_a_pair_of_blocks_is_that_of_the_package(found, paths, inputs, executor, pair):
    """Of one shape, of another width, and of another hidden size, where one part is not defined."""
    evidence = compare(
        *(paths[place] for place in pair),
        inputs=inputs,
        cross=True,
        exhaustive=True,
        control=False,
        executor=executor,
    )
    ours = {(i, j): p for a, b, i, j, p in found.blocks["kinship"] if (a, b) == pair}
    theirs = {(i, j): p for i, row in enumerate(evidence.cross) for j, p in enumerate(row)}
    assert ours == pytest.approx(theirs)


@pytest.mark.slow
def test_parts_are_counted_where_they_are_defined(found):
    def met(name):
        return {(a, b) for a, b, *_ in found.blocks[name]}

    assert len(met("kinship")) == len(met("match_tokens")) == len(met("match")) == PAIRS
    assert met("csu") == {(a, b) for a, b in met("match") if found.alike(a, b)}
    assert met("match_weights") == {
        (a, b) for a, b in met("match") if found.zoo[a].hidden == found.zoo[b].hidden
    }


def test_a_part_that_is_not_defined_is_paid_for():
    trials = _seed_blocks.trials(3, 5, {"match": [[-2.0, None]], "match_tokens": [[-1.0, -0.1]]})
    assert trials["kinship"] == [
        (3, 5, 0, 0, pytest.approx(-2 + np.log10(3))),
        (3, 5, 0, 1, 0.0),
    ]
    assert trials["match"] == [(3, 5, 0, 0, -2.0)]


# counts


@pytest.mark.parametrize("count", [6, 7, 8, 64])
def test_disjoint_pairs_are_as_many_as_a_matching_has(count):
    found = kept(count)
    for group in _seed_counts.GROUPS:
        graph = nx.Graph(list(_seed_counts.pairs_of(found, group)))
        best = len(nx.max_weight_matching(graph, maxcardinality=True))
        assert _seed_counts.disjoint(found, group) == best


def test_verdicts_are_counted_by_whether_the_shapes_are_one():
    found = kept(9, dependent={(0, 3), (0, 1), (1, 2)})
    rows = {group: _seed_counts.strangers(found, group) for group in _seed_counts.GROUPS}
    assert [row.pairs for row in rows.values()] == [9, 27, 36]
    assert [row.verdicts["dependent"] for row in rows.values()] == [1, 2, 3]
    assert {row.truth for row in _seed_counts.counts(found)} == {"strangers"}


def test_merges_share_models_and_other_copies_do_not():
    of = dict.fromkeys(range(9), judged())
    found = dataclasses.replace(kept(9), kin={next(iter(MERGES)): of, "another": of})
    assert [_seed_counts.kin(found, kind).disjoint for kind in found.kin] == [4, 9]


# what is kept, and the page


def test_a_value_is_measured_once_and_a_torn_line_again(tmp_path):
    file = tmp_path / "kept.jsonl"
    first = Kept(file, "these")
    assert first.get(["a", "b"], lambda: 1) == first.get(["a", "b"], lambda: 2) == 1
    first.get(["c"], lambda: 3)
    file.write_bytes(file.read_bytes()[:-3])
    again = Kept(file, "these")
    assert (again.find(["a", "b"]), again.find(["c"])) == (1, None)
    assert again.get(["c"], lambda: 4) == Kept(file, "these").find(["c"]) == 4


def test_results_of_other_settings_are_refused(tmp_path):
    Kept(tmp_path / "kept.jsonl", "these")
    with pytest.raises(ValueError, match=r"other settings \(these\)"):
        Kept(tmp_path / "kept.jsonl", "those")


@pytest.mark.slow
def test_a_second_run_measures_nothing_and_the_page_keeps_what_is_written(
    found, folder, tmp_path, monkeypatch
):
    before = {file.name: file.read_bytes() for file in folder.glob("*.jsonl")}
    output = tmp_path / "page.md"
    asked = ["--small", "--models", str(MODELS), "--folder", str(folder)]
    asked += ["--output", str(output), "--counts", str(tmp_path / "counts")]
    seeds.main(asked)
    assert {file.name: file.read_bytes() for file in folder.glob("*.jsonl")} == before
    output.write_text(output.read_text().replace("Nothing has been written", "All is well"))
    seeds.main([*asked, "--render"])
    text = output.read_text()
    assert text.count("All is well") == 1
    assert f"{PAIRS} of {PAIRS} pairs were judged" in text
    (source,) = sources(tmp_path / "counts")
    assert [row.truth for row in source.counted] == ["strangers"] * 2 + ["kin"] * len(found.kin)
    assert sum(row.pairs for row in source.counted[:2]) == PAIRS


def test_the_page_of_a_run_that_was_stopped_says_how_much_there_is():
    found = kept(9, dependent={(0, 3)})
    del found.strangers[7, 8]
    text = _seed_page.page(found, SMALL, "command", "A reading.")
    assert "35 of 36 pairs were judged" in text
    assert text.count(_seed_tables.NOTHING) == 2
    row = next(line for line in text.splitlines() if line.startswith("| all | 35 | 1e-06"))
    assert "1 (2.9%)" in row


def test_a_reason_says_how_many_of_its_pairs_have_one_model():
    found = kept(9)
    for pair in ((0, 1), (0, 2), (0, 5), (3, 4)):
        found.strangers[pair] = dataclasses.replace(judged(), doubts=(_judged.NEAR,))
    text = _seed_page.page(found, SMALL, "command", "A reading.")
    row = next(line for line in text.splitlines() if line.startswith(f"| {_judged.NEAR} |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert (cells[1], cells[3]) == ("4", "3")


def test_too_few_models_and_other_settings_are_mistakes_in_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit):
        seeds.main(["--folder", str(tmp_path), "--models", "5"])
    assert "6 or more" in capsys.readouterr().err
    (tmp_path / "models.jsonl").write_text('[["settings"], "others"]\n')
    with pytest.raises(SystemExit):
        seeds.main(["--folder", str(tmp_path), "--small", "--render"])
    assert "another folder" in capsys.readouterr().err.replace("\n", " ")
