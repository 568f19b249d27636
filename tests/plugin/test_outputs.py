"""The gate under pytest: JUnit XML, GitHub, SARIF and the lock file, with and without workers."""

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest
import xmlschema
from junitparser import JUnitXml, Properties

from provenance.gate.lock import load
from tests.support.places import DATA

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm_python")]

SUITE = """\
version: 1
inputs: {{tokens: 512, sequence_length: 64}}
defaults: {{statistic: match, alpha: 1e-6}}
models:
  base: {{path: {base}}}
  kin: {{path: ./kin}}
  other: {{path: {other}}}
pairs:
  - {{candidate: kin, reference: base, expect: {expect}}}
  - {{candidate: other, reference: base, expect: independent}}
"""
BOTH = pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["here", "workers"])


@pytest.fixture
def gate(pytester, family, shared_store):
    """Run a suite of two claims, the first of them false unless said otherwise."""
    pytester.makeini("[pytest]")
    root = pytester.path
    shutil.copytree(family.kin, root / "kin")

    def gate(*arguments, expect="independent", folder="."):
        (root / folder).mkdir(exist_ok=True)
        text = SUITE.format(base=family.base, other=family.other, expect=expect)
        (root / folder / "a.suite.yaml").write_text(text.replace("./kin", str(root / "kin")))
        return pytester.runpytest(
            f"{folder}/a.suite.yaml", "--provenance-store", shared_store, *arguments
        )

    gate.root = root
    gate.family = family
    return gate


@pytest.fixture
def github(gate, monkeypatch):
    """The variables of a step of GitHub Actions; the file of its summary."""
    summary = gate.root / "summary.md"
    for name, value in {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(summary),
        "GITHUB_WORKSPACE": str(gate.root.parent),
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "acme/models",
        "GITHUB_SHA": "1f2e3d",
        "GITHUB_RUN_ID": "77",
    }.items():
        monkeypatch.setenv(name, value)
    return summary


# JUnit XML


def properties(element):
    return {one.name: one.value for box in element.iterchildren(Properties) for one in box}


@BOTH
@pytest.mark.parametrize("family_name", ["xunit2", "legacy"])
def test_junit_has_the_evidence_as_properties(gate, workers, family_name):
    gate(
        "--junitxml",
        "j.xml",
        "-o",
        f"junit_family={family_name}",
        "--provenance-evidence",
        "ev",
        *workers,
    )
    (suite,) = JUnitXml.fromfile(str(gate.root / "j.xml"))
    whole = properties(suite)
    assert whole["provenance.state"] == "fail"
    assert whole["provenance.suite.a.suite.yaml"].startswith("sha256:")
    assert whole["provenance.versions.provenance"] == "0.1.0"
    cases = {case.name: properties(case) for case in suite}
    assert not [name for name in cases["kin-vs-base[block0]"] if name.startswith("provenance.")]
    found = cases["kin-vs-base[verdict]"]
    assert json.loads(found["provenance"])["id"] == "kin-vs-base"
    assert found["provenance.claim"] == "kin is independent of base"
    assert (found["provenance.file"], found["provenance.line"]) == ("a.suite.yaml", "9")
    assert (found["provenance.verdict"], found["provenance.judgement"]) == (
        "dependent",
        "fails",
    )
    assert float(found["provenance.log10_p"]) < -50
    assert float(found["provenance.threshold"]) == 5e-7
    digests = {found[f"provenance.{role}.digest"] for role in ("candidate", "reference")}
    assert len(digests) == 2
    assert found["provenance.reference.source"] == f"path:{gate.family.base}"
    assert (
        Path(found["provenance.evidence"]) == gate.root / "ev" / "a.suite.yaml" / "kin-vs-base.json"
    )
    assert "provenance.evidence" in cases["other-vs-base[verdict]"]


def test_junit_is_what_jenkins_reads_but_for_the_properties_of_tests(gate):
    """The schema has no properties of a test; Jenkins's own reader, and others, know them."""
    gate("--junitxml", "j.xml")
    schema = xmlschema.XMLSchema(DATA / "junit-10.xsd")
    tree = ET.parse(gate.root / "j.xml")
    reasons = {error.reason for error in schema.iter_errors(tree.getroot())}
    assert all("'properties'" in reason for reason in reasons)
    for case in tree.iter("testcase"):
        for inner in case.findall("properties"):
            case.remove(inner)
    schema.validate(tree.getroot())


def test_junit_of_a_claim_that_could_not_be_checked_says_why(gate):
    shutil.rmtree(gate.root / "kin")
    gate("--junitxml", "j.xml")
    (suite,) = JUnitXml.fromfile(str(gate.root / "j.xml"))
    (case,) = [case for case in suite if case.name == "kin-vs-base[verdict]"]
    found = properties(case)
    assert found["provenance.verdict"] == "not checked"
    assert "is not there" in found["provenance.error"]


# GitHub


@pytest.mark.parametrize("how", [(), ("-q",), ("-qq",), ("-n", "2")], ids=str)
def test_a_false_claim_is_annotated_on_its_line(gate, github, how):
    run = gate(*how)
    assert run.ret == 1
    (line,) = [line for line in run.outlines if line.startswith("::")]
    assert line.startswith(
        f"::error file={gate.root.name}/a.suite.yaml,line=9,col=47,endColumn=57,"
        "title=provenance%3A false-independence::claimed: kin is independent of base%0Amatch over 3 blocks"
    )


def test_annotations_need_no_terminal(gate, github, pytester, monkeypatch):
    monkeypatch.setattr(pytester, "_method", "subprocess")
    run = gate("-p", "no:terminal")
    assert [line[:8] for line in run.outlines] == ["::error "]


def test_the_summary_is_appended_with_links_to_the_line(gate, github):
    github.write_text("# of another command\n")
    gate()
    text = github.read_text()
    assert text.startswith("# of another command\n## Lineage: the gate is closed\n")
    row = next(line for line in text.splitlines() if line.startswith("| :x:"))
    url = f"https://github.com/acme/models/blob/1f2e3d/{gate.root.name}/a.suite.yaml#L9"
    assert row.startswith(
        "| :x: false | kin is independent of base<br>by match<br>512 tokens | dependent |"
    )
    assert f"[a.suite.yaml:9]({url})" in row
    assert (
        "| :white_check_mark: holds | other is independent of base<br>by match<br>512 tokens |"
        in text
    )


def test_what_the_step_wrote_before_counts_towards_the_limit(gate, github):
    github.write_text("x" * (1024 * 1024 - 1200))
    gate()
    assert github.stat().st_size <= 1024 * 1024
    assert "are left out, for want of room" in github.read_text()


@pytest.mark.parametrize(
    ("when", "actions", "told"), [("on", "", True), ("off", "true", False), ("auto", "", False)]
)
def test_github_is_told_or_not_as_asked(gate, github, monkeypatch, when, actions, told):
    monkeypatch.setenv("GITHUB_ACTIONS", actions)
    run = gate("--provenance-github", when)
    assert any(line.startswith("::error") for line in run.outlines) is told
    assert github.exists() is told


def test_a_true_run_has_no_annotation(gate, github):
    run = gate(expect="finetune")
    assert run.ret == 0
    assert not any(line.startswith("::") for line in run.outlines)
    assert "every claim that was checked holds" in github.read_text()


def test_a_summary_that_cannot_be_written_is_one_line(gate, github):
    github.mkdir()
    run = gate(expect="finetune")
    assert run.ret == 1
    run.stdout.fnmatch_lines(["provenance: the job's summary * cannot be written: Is a directory"])


# SARIF


@BOTH
def test_sarif_points_at_the_value_in_the_file(gate, workers, github):
    gate("--provenance-sarif", "out/gate.sarif", *workers)
    log = json.loads((gate.root / "out" / "gate.sarif").read_text())
    jsonschema.Draft4Validator(json.loads((DATA / "sarif-2.1.0-rtm.5.json").read_text())).validate(
        log
    )
    (told,) = log["runs"][0]["results"]
    place = told["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == f"{gate.root.name}/a.suite.yaml"
    region = place["region"]
    line = (gate.root / "a.suite.yaml").read_text().splitlines()[region["startLine"] - 1]
    assert line[region["startColumn"] - 1 : region["endColumn"] - 1] == "independent"


def test_sarif_that_cannot_be_written_fails_the_run_in_one_line(gate):
    (gate.root / "file").write_text("")
    run = gate("--provenance-sarif", "file/gate.sarif", expect="finetune")
    assert run.ret == 1
    run.stdout.fnmatch_lines(["provenance: *gate.sarif cannot be written: *"])


# the lock file

LOCK = ("--provenance-lock", "my.lock")


def pinned(gate, name="my.lock"):
    return load((gate.root / name).read_bytes()).by_key()


@BOTH
def test_a_run_that_finds_the_same_does_not_drift(gate, workers):
    assert gate(*LOCK, "--update-lock", *workers, expect="finetune").ret == 0
    text = (gate.root / "my.lock").read_text()
    assert gate(*LOCK, *workers, expect="finetune").ret == 0
    assert gate(*LOCK, "--update-lock", expect="finetune").ret == 0
    assert (gate.root / "my.lock").read_text() == text
    assert {claim.verdict for claim in pinned(gate).values()} == {"dependent", "independent"}


def swap(gate, other):
    """Put another model behind the path of kin."""
    shutil.rmtree(gate.root / "kin")
    shutil.copytree(other, gate.root / "kin")


@BOTH
def test_another_model_behind_a_path_is_drift_though_the_claim_holds(gate, workers):
    gate(*LOCK, "--update-lock", expect="finetune")
    swap(gate, gate.family.short)
    run = gate(*LOCK, *workers, expect="derived")
    assert run.ret == 1
    out = run.stdout.str()
    assert (
        "provenance lock: a.suite.yaml::kin-vs-base has another candidate behind the name kin: sha"
        in out
    )
    assert (
        "provenance lock: a.suite.yaml::kin-vs-base has expect derived, pinned finetune; to accept"
        in out
    )
    assert "--provenance-lock my.lock --update-lock" in out
    assert not run.parseoutcomes().get("failed")
    assert "other-vs-base has" not in out


def test_an_update_of_a_selection_accepts_that_alone(gate):
    gate(*LOCK, "--update-lock", expect="finetune")
    before = pinned(gate)
    swap(gate, gate.family.short)
    assert gate(*LOCK, "--update-lock", "-k", "kin", expect="derived").ret == 0
    after = pinned(gate)
    changed = ("a.suite.yaml", "kin-vs-base")
    assert list(after) == list(before)
    assert {key for key in after if after[key] != before[key]} == {changed}
    assert gate(*LOCK, expect="derived").ret == 0


def test_a_suite_whose_file_is_no_more_is_reported_and_dropped(gate):
    gate(*LOCK, "--update-lock", expect="finetune", folder="old")
    (gate.root / "old" / "a.suite.yaml").unlink()
    run = gate(*LOCK, expect="finetune")
    assert run.ret == 1
    run.stdout.fnmatch_lines(
        ["provenance lock: old/a.suite.yaml::kin-vs-base is pinned, but the suite's file *"]
    )
    gate(*LOCK, "--update-lock", expect="finetune")
    assert {suite for suite, _ in pinned(gate)} == {"a.suite.yaml"}


def test_update_lock_alone_writes_the_default_file(gate):
    gate("--update-lock", expect="finetune", folder="suites")
    assert len(pinned(gate, "provenance.lock")) == 2


def test_the_ini_value_names_the_file_of_every_run(gate, pytester):
    pytester.makeini("[pytest]\nprovenance_lock = locks/it.lock")
    assert gate(expect="finetune").ret == pytest.ExitCode.USAGE_ERROR
    assert gate("--update-lock", expect="finetune").ret == 0
    assert len(pinned(gate, "locks/it.lock")) == 2
    assert gate(expect="finetune").ret == 0
    run = gate(expect="derived")
    assert run.ret == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "there is no such file; --update-lock makes it"),
        ("{", "it is not TOML"),
        ("version = 1", "no lock file"),
    ],
)
def test_a_lock_file_that_cannot_be_read_is_a_usage_error_before_anything_runs(gate, text, words):
    if text is not None:
        (gate.root / "my.lock").write_text(text)
    run = gate(*LOCK, expect="finetune")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in run.errlines if line]
    assert line.startswith("ERROR: provenance lock ")
    assert words in line
    assert "collected" not in run.stdout.str()


def test_a_damaged_lock_file_is_not_overwritten(gate):
    (gate.root / "my.lock").write_text("<<<<<<< HEAD")
    assert gate(*LOCK, "--update-lock").ret == pytest.ExitCode.USAGE_ERROR
    assert (gate.root / "my.lock").read_text() == "<<<<<<< HEAD"


def test_runs_without_suites_leave_the_lock_alone(gate, pytester):
    gate(*LOCK, "--update-lock", expect="finetune")
    text = (gate.root / "my.lock").read_text()
    pytester.makepyfile("def test_it():\n    pass")
    assert pytester.runpytest("-k", "test_it", *LOCK).ret == 0
    assert (gate.root / "my.lock").read_text() == text
    assert not [path for path in gate.root.iterdir() if re.search(r"\.tmp$", path.name)]
