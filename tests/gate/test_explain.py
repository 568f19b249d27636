"""`provenance explain`: what a test claims, what was measured last, what it means, what to do."""

import json
import os
from dataclasses import replace

import pytest

from provenance.cli import main
from provenance.evidence.exhibits import Exhibit
from provenance.gate.explain import NodeId, UnknownNodeError, explain
from tests.support.gate_results import KIN, SUITE, claims, result, results, small, without_run

TEXT = """\
version: 1
inputs: {{tokens: 512, sequence_length: 64}}
defaults: {{statistic: match}}
models:
  base: {{path: {base}}}
  kin: {{path: {kin}}}
pairs:
  - {{candidate: kin, reference: base, expect: {expect}}}
  - {{candidate: base, reference: kin, expect: derived}}
"""


@pytest.fixture
def ran(pytester, family, shared_store):
    """Run a suite of two claims, the first of them false."""
    pytester.makeini("[pytest]")
    file = pytester.path / "a.suite.yaml"
    file.write_text(TEXT.format(base=family.base, kin=family.kin, expect="independent"))

    def ran(*arguments):
        return pytester.runpytest("a.suite.yaml", "--provenance-store", shared_store, *arguments)

    ran.file = file
    return ran


@pytest.fixture
def run(capfd):
    """Run the command in this process; (exit code, stdout, stderr)."""

    def run(*arguments):
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(["explain", *map(str, arguments)])
        out, err = capfd.readouterr()
        return stop.value.code, out, err

    return run


def told(run, *arguments):
    code, out, err = run(*arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_an_id_is_taken_apart():
    node = NodeId.of("suites/a.suite.yaml::chat-vs-base[block2]")
    assert (node.suite, node.claim, node.part) == ("suites/a.suite.yaml", "chat-vs-base", "block2")
    assert str(node) == "suites/a.suite.yaml::chat-vs-base[block2]"
    assert NodeId.of("a.yaml::b").part is None


@pytest.mark.parametrize("text", ["", "a.yaml", "a.yaml::", "::b", "a.yaml::b[]", "a.yaml::b[c"])
def test_another_text_is_no_id(text):
    with pytest.raises(UnknownNodeError, match="is no test of a suite"):
        NodeId.of(text)


@pytest.mark.slow
def test_a_run_is_explained_from_pytests_cache(ran, run):
    ran()
    code, out, err = run("a.suite.yaml::kin-vs-base[block1]")
    assert (code, err) == (0, "")
    assert "a.suite.yaml::kin-vs-base[block1]: false\n" in out
    assert "claimed    kin is independent of base (a.suite.yaml:8)\n" in out
    assert ">    8 |   - {candidate: kin, reference: base, expect: independent}\n" in out
    assert "tests      block 1 of kin alone\n" in out
    assert "measured   block 1: match correlation +1.000" in out
    assert "meaning    The claim of independence is false." in out
    assert "outcome    failed\n" in out
    assert "threshold  5e-07: alpha 1e-06 divided by the 2 claims of the file (Bonferroni)" in out
    assert out.count("shows kinship") == 3
    assert "next       Do not release the candidate" in out


@pytest.mark.slow
def test_json_holds_the_same(ran, run):
    ran()
    found = told(run, "a.suite.yaml::kin-vs-base[verdict]")
    assert (found["state"], found["outcome"], found["line"]) == ("false", "failed", 8)
    assert [row["block"] for row in found["blocks"]] == [0, 1, 2]
    assert all(row["kin"] for row in found["blocks"])
    found = told(run, "a.suite.yaml::base-vs-kin")
    assert (found["state"], found["outcome"]) == ("holds", "passed")
    assert found["next_steps"][0].startswith("Nothing: the claim holds, p = ")


@pytest.mark.slow
def test_what_did_not_run_says_what_would_be_run(ran, run, family):
    before = told(run, "a.suite.yaml::kin-vs-base[verdict]")
    ran("-k", "base-vs-kin")
    after = told(run, "a.suite.yaml::kin-vs-base[verdict]")
    for found in (before, after):
        assert (found["state"], found["measured"], found["outcome"]) == ("not run", [], None)
        assert found["plan"] == [
            f"models: kin (path:{family.kin}) and base (path:{family.base})",
            "inputs: 512 tokens of stdlib, in sequences of 64",
            "statistic: match, on every block",
            "command: pytest 'a.suite.yaml::kin-vs-base[verdict]'",
        ]


@pytest.mark.slow
def test_a_suite_that_changed_since_is_noted(ran, run):
    ran()
    ran.file.write_text(ran.file.read_text().replace("independent", "finetune"))
    notes = told(run, "a.suite.yaml::kin-vs-base")["notes"]
    assert "The suite has changed since then: run it again." in notes
    assert "Then the claim was independent; now it is finetune." in notes


def ran_in(folder, created):
    """A run of elsewhere: its folder keeps results that know no suite but its own."""
    cache = folder / ".pytest_cache/d/provenance"
    cache.mkdir(parents=True)
    (cache / "results.json").write_text(replace(small(), created=created).to_json())


@pytest.mark.parametrize(
    ("configured", "invoked", "here", "typed"),
    [
        ("pytest.ini", ".", ".", "sub/a.suite.yaml"),
        ("pytest.ini", ".", "below", "sub/a.suite.yaml"),  # as pytest printed it
        ("pytest.ini", ".", "sub", "a.suite.yaml"),  # as pytest would take it
        ("sub/pytest.ini", ".", ".", "sub/a.suite.yaml"),
        (None, ".", ".", "sub/a.suite.yaml"),
        (None, ".", "below", "sub/a.suite.yaml"),
        (None, "sub", "sub", "a.suite.yaml"),
        (None, "below", "below", "../sub/a.suite.yaml"),
    ],
)
def test_the_last_run_is_of_the_root_that_pytest_has_for_the_file(
    pytester, run, monkeypatch, configured, invoked, here, typed
):
    top = pytester.path / "top"
    for name in ("sub", "below"):
        (top / name).mkdir(parents=True)
    if configured:
        (top / configured).write_text("[pytest]\n")
    (top / "sub/a.suite.yaml").write_text(TEXT.format(base="gone", kin="away", expect="finetune"))
    ran_in(pytester.path, "2026-01-01T00:00:00+00:00")  # as in the home folder, or in /
    monkeypatch.chdir(top / invoked)
    suite = os.path.relpath(top / "sub/a.suite.yaml")
    assert told(run, f"{suite}::kin-vs-base")["state"] == "not run"
    pytester.runpytest(suite)
    monkeypatch.chdir(top / here)
    found = told(run, f"{typed}::kin-vs-base[verdict]")
    assert (found["outcome"], found["line"], len(found["excerpt"])) == ("failed", 8, 3)
    (top / "sub/a.suite.yaml").unlink()
    if here == invoked:
        assert told(run, f"{typed}::kin-vs-base[verdict]")["outcome"] == "failed"


def test_results_of_elsewhere_need_no_suite(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results.json").write_text(small().to_json())
    found = told(run, f"{SUITE}::f-vs-b[verdict]", "--results", "results.json")
    assert (found["state"], found["excerpt"]) == ("not checked", [])
    assert found["measured"] == ["could not be checked: the folder is not there"]


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ("a.suite.yaml::kin-vs-bas", "did you mean 'kin-vs-base'?"),
        ("a.suite.yaml::x", "it claims kin-vs-base, base-vs-kin"),
        ("b.suite.yaml::x", "there is no suite b.suite.yaml"),
        ("a.suite.yaml", "is no test of a suite"),
    ],
)
def test_an_unknown_id_is_one_line_and_exit_code_2(ran, run, node, words):
    code, out, err = run(node)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_a_control_is_explained():
    found = explain(f"{SUITE}::control-b[positive]", small(), None)
    assert found.tests == "a control: a disguised copy of b must be found dependent on it"
    assert found.measured == ("this control was not run, or could not be checked",)
    null = explain(f"{SUITE}::a-vs-b[null]", small(), None)
    assert null.tests.startswith("a control: the p-values of blocks that do not correspond")


def test_one_claim_alone_keeps_its_alpha():
    (claim,) = claims("- {candidate: a, reference: b, expect: derived}\n")
    found = explain(f"{SUITE}::a-vs-b", results(result(claim, KIN)), None)
    assert found.threshold == "1e-06: alpha 1e-06, and the file makes one claim"
    idle = explain(f"{SUITE}::a-vs-b", without_run(results(result(claim, KIN)), 0), None)
    assert idle.state == "not run"


EXHIBITS = (Exhibit("norms", 0.9994, 9), Exhibit("units", None, 0, "no test of tokens was made"))


@pytest.mark.parametrize(
    ("part", "shown"),
    [("", EXHIBITS), ("[verdict]", EXHIBITS), ("[block0]", ()), ("[null]", ())],
)
def test_exhibits_are_shown_where_the_whole_claim_is_asked_about(part, shown):
    one = result(*claims("- {candidate: a, reference: b, expect: derived}\n"), KIN)
    found = results(replace(one, evidence=replace(one.evidence, exhibits=EXHIBITS)))
    assert explain(f"{SUITE}::a-vs-b{part}", found, None).exhibits == shown
    assert explain(f"{SUITE}::a-vs-b", results(one), None).exhibits == ()


def test_an_exhibit_stands_beside_what_strangers_have_and_says_why_it_decides_nothing(
    run, tmp_path, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "200")
    one = result(*claims("- {candidate: a, reference: b, expect: derived}\n"), KIN)
    found = results(replace(one, evidence=replace(one.evidence, exhibits=EXHIBITS)))
    file = tmp_path / "results.json"
    file.write_text(found.to_json())
    code, out, _ = run(f"{SUITE}::a-vs-b", "--results", file)
    assert code == 0
    assert "What people argue with in public, and what strangers have: none of it decides" in out
    (row,) = (line for line in out.splitlines() if "0.9994 (9 norms)" in line)
    assert "0.9993 to 0.9995" in row
    assert "none: no test of tokens was made" in out
    assert "exhibit    cosine of norm weights: Norm weights start at 1, so those of any two" in out
    fields = told(run, f"{SUITE}::a-vs-b", "--results", file)["exhibits"]
    assert [(one["name"], one["value"]) for one in fields] == [("norms", 0.9994), ("units", None)]
