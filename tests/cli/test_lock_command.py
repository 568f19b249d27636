"""`provenance lock check`: what a lock file pins beside what its suites say, and no model."""

import json

import pytest

from provenance.cli import main
from provenance.gate.lock import dump, merge
from tests.support.gate_results import KIN, STRANGERS, SUITE, claims, result, results

PAIRS = """\
- {candidate: a, reference: b, expect: derived}
- {candidate: c, reference: b, expect: independent}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a suite and its lock file, and the work in it."""
    (tmp_path / "suites").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    models = "".join(f"  {name}: {{repo: x/{name}}}\n" for name in "abcdefgh")
    (tmp_path / SUITE).write_text(f"version: 1\nmodels:\n{models}pairs:\n{PAIRS}")
    first, second = claims(PAIRS)
    found = results(result(first, KIN), result(second, STRANGERS))
    (tmp_path / "provenance.lock").write_text(dump(merge(None, found)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def check(capsys):
    def check(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["lock", "check", *map(str, arguments)])
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return check


def edit(path, was, is_):
    text = path.read_text()
    assert was in text
    path.write_text(text.replace(was, is_))


def test_a_lock_file_that_agrees_is_one_line(project, check):
    said = "provenance.lock: 2 claims, as the suites have them\n"
    assert check("provenance.lock") == (0, said, "")


def test_it_is_found_from_another_folder(project, check, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(project / "suites")
    assert check("../provenance.lock")[0] == 0
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert check(project / "provenance.lock")[0] == 0


def test_what_the_suite_says_otherwise_is_a_line_that_says_how_to_accept_it(project, check):
    edit(project / SUITE, "expect: derived", "expect: finetune")
    line = (
        "provenance lock: suites/a.suite.yaml::a-vs-b has expect finetune, pinned derived; to accept it: "
        "pytest suites/a.suite.yaml::a-vs-b --provenance-lock provenance.lock --update-lock\n"
    )
    assert check("provenance.lock") == (1, "", line)
    code, said, _ = check("provenance.lock", "--json")
    (found,) = json.loads(said)["locks"]
    assert (code, found["claims"], len(found["drift"]), found["problems"]) == (1, 2, 1, [])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is TOML, but no lock file"),
        ("<<<<<<< ours\n", "it is not TOML"),
        ("schema = 9\nclaim = []\n", "it is of schema 9"),
        ("schema = 1\n[[claim]]\nsuite = 1\n", "it is damaged at claims"),
    ],
)
def test_what_is_no_lock_file_is_one_line(project, check, text, why):
    (project / "provenance.lock").write_text(text)
    code, out, err = check("provenance.lock")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("provenance lock provenance.lock: ")
    assert why in err


def test_what_cannot_be_read_is_one_line_each_and_the_rest_is_checked(project, check):
    code, out, err = check("absent.lock", "suites", "provenance.lock")
    assert code == 2
    assert out == "provenance.lock: 2 claims, as the suites have them\n"
    lines = err.splitlines()
    assert "there is no such file; pytest --provenance-lock absent.lock --update-lock" in lines[0]
    assert "suites: it cannot be read" in lines[1]
    assert len(lines) == 2


def test_a_suite_with_a_mistake_is_named_with_its_line(project, check):
    edit(project / SUITE, "expect: derived", "expects: derived")
    code, _, err = check("provenance.lock")
    assert code == 2
    assert "a.suite.yaml:12:" in err
    assert "did you mean 'expect'?" in err


def test_where_no_suite_is_the_folder_is_named(project, check):
    (project / SUITE).unlink()
    code, _, err = check("provenance.lock")
    assert code == 2
    assert f"none of the suites that it pins is in {project}" in err
