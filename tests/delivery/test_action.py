"""The GitHub action: its steps are run as they are written, with what a runner would give them."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.support.places import DOCS, ROOT

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the action needs bash")

TEXT = (ROOT / "action.yml").read_text("utf-8")
ACTION = yaml.safe_load(TEXT)
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"] if "name" in step}
SCRIPTS = {name: step for name, step in STEPS.items() if "run" in step}
EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")

SUITE = """\
version: 1
inputs: {{tokens: 512, sequence_length: 64}}
models: {{base: {{path: {base}}}, kin: {{path: {kin}}}}}
pairs:
- {{candidate: kin, reference: base, expect: {expect}, kind: any}}
"""


@pytest.fixture
def runner(tmp_path):
    """Run one step of the action in a checkout; (exit code, what it said, its outputs)."""
    checkout, programs = tmp_path / "checkout", tmp_path / "bin"
    checkout.mkdir()
    programs.mkdir()

    def runner(name, **inputs):
        given = {key: str(each["default"]) for key, each in ACTION["inputs"].items()} | {
            key.replace("_", "-"): value for key, value in inputs.items()
        }
        known = {f"inputs.{key}": value for key, value in given.items()} | {
            "github.workspace": str(checkout),
            "github.action_path": "/action",
        }
        step = SCRIPTS[name]
        environment = {
            key: EXPRESSION.sub(lambda found: known[found[1]], value)
            for key, value in step["env"].items()
        }
        output = tmp_path / "output"
        output.write_text("")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=checkout,
            env=os.environ
            | environment
            | {"PATH": f"{programs}:{os.environ['PATH']}", "GITHUB_OUTPUT": str(output)},
            check=False,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr, output.read_text()

    runner.checkout, runner.programs = checkout, programs
    return runner


def program(folder, name, *lines):
    (folder / name).write_text("\n".join(["#!/bin/bash", *lines, ""]))
    (folder / name).chmod(0o755)


def noting(runner, name, code=0):
    """A program that notes each of its arguments on a line, and the token that it was given."""
    noted = runner.checkout / f"{name}.txt"
    program(
        runner.programs,
        name,
        f'printf "%s\\n" "$@" >> {noted}',
        f'echo "token ${{HF_TOKEN-none}}" >> {noted}',
        f"exit {code}",
    )
    return noted


def suites(runner, *names):
    (runner.checkout / "suites").mkdir(exist_ok=True)
    for name in names:
        (runner.checkout / "suites" / name).write_text("version: 1\n")


# what is run


def test_torch_comes_from_its_index_and_the_package_from_the_action(runner):
    asked = noting(runner, "python")
    assert runner("Install", extras="gguf,peft")[0] == 0
    lines = [line for line in asked.read_text().splitlines() if not line.startswith("token")]
    pip = ["-m", "pip", "install", "--quiet"]
    index = ACTION["inputs"]["torch-index"]["default"]
    assert lines == [*pip, "torch", "--index-url", index, *pip, "/action[gguf,peft]"]


def test_without_an_index_torch_is_whatever_the_package_needs(runner):
    asked = noting(runner, "python")
    assert runner("Install", torch_index="")[0] == 0
    assert "torch" not in asked.read_text().split()
    assert "/action" in asked.read_text().split()


def test_patterns_and_arguments_reach_pytest_as_they_are_meant(runner):
    suites(runner, "a.suite.yaml", "b c.suite.yaml")
    checked, tested = noting(runner, "provenance"), noting(runner, "pytest")
    code, _, outputs = runner(
        "Test the claims", arguments="-m 'release and not slow' -x", hf_token="t"
    )
    assert (code, outputs) == (0, "exit-code=0\n")
    files = ["suites/a.suite.yaml", "suites/b c.suite.yaml"]
    assert checked.read_text().splitlines() == ["suite", "check", *files, "token t"]
    told = tested.read_text().splitlines()
    assert told[:2] == files
    assert told[-4:] == ["-m", "release and not slow", "-x", "token t"]


def test_no_token_is_no_empty_token(runner):
    suites(runner, "a.suite.yaml")
    noting(runner, "provenance")
    tested = noting(runner, "pytest")
    assert runner("Test the claims")[0] == 0
    assert tested.read_text().splitlines()[-1] == "token none"


def test_a_mistake_in_a_suite_ends_it_before_any_model_is_read(runner):
    suites(runner, "a.suite.yaml")
    noting(runner, "provenance", code=2)
    tested = noting(runner, "pytest")
    code, _, outputs = runner("Test the claims")
    assert (code, outputs) == (2, "exit-code=2\n")
    assert not tested.exists()


def test_a_pattern_of_nothing_is_an_error(runner):
    code, said, outputs = runner("Test the claims", suites="lineage/*.suite.yaml")
    assert (code, outputs) == (4, "exit-code=4\n")
    assert "::error::no suite is named lineage/*.suite.yaml" in said


@pytest.mark.slow
@pytest.mark.parametrize(("expect", "exit_code"), [("derived", 0), ("independent", 1)])
def test_claims_are_tested_and_what_was_found_is_there(
    runner, family, warm_python, expect, exit_code
):
    suites(runner, "a.suite.yaml")
    text = SUITE.format(base=family.base, kin=family.kin, expect=expect)
    (runner.checkout / "suites" / "a.suite.yaml").write_text(text)
    for name, module in (("provenance", "provenance"), ("pytest", "pytest")):
        program(
            runner.programs, name, f"export PYTHONPATH={ROOT}", f'{sys.executable} -m {module} "$@"'
        )
    code, said, outputs = runner("Test the claims")
    assert (code, outputs) == (exit_code, f"exit-code={exit_code}\n"), said
    found = runner.checkout / ".provenance" / "found"
    assert {path.name for path in found.iterdir()} == {
        "evidence",
        "junit.xml",
        "lineage.sarif",
        "report.html",
    }
    assert (runner.checkout / ".provenance" / "store").is_dir()


# what is written


def test_a_script_holds_no_expression_and_so_runs_nothing_that_an_input_says():
    assert SCRIPTS.keys() == {"Install", "Test the claims"}
    assert [name for name, step in SCRIPTS.items() if EXPRESSION.search(step["run"])] == []


def test_every_input_is_used_and_documented():
    used = set(re.findall(r"inputs\.([\w-]+)", TEXT))
    assert used == ACTION["inputs"].keys()
    page = (DOCS / "ci.md").read_text("utf-8")
    for name, given in ACTION["inputs"].items():
        shown = f"`{given['default']}`" if given["default"] else "none"
        assert re.search(rf"^\| `{name}` \| {re.escape(shown)} \|", page, re.MULTILINE), name


def test_it_runs_actions_by_commit_with_their_tags_beside_them():
    lines = re.findall(r"uses: (\S+)(.*)", TEXT)
    assert len(lines) == 5
    for action, comment in lines:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment)


def test_what_is_kept_is_what_is_brought_back_and_is_kept_of_false_claims_too():
    restore, save = (
        next(step for step in STEPS.values() if f"actions/cache/{what}@" in step.get("uses", ""))
        for what in ("restore", "save")
    )
    assert restore["with"]["path"] == save["with"]["path"] == ".provenance"
    assert restore["with"]["key"] == save["with"]["key"]
    assert save["with"]["key"].startswith(restore["with"]["restore-keys"])
    assert save["if"] == "always()"
    kept = SCRIPTS["Test the claims"]["env"]
    assert {kept["HF_HOME"], kept["PROVENANCE_STORE"]} == {
        "${{ github.workspace }}/.provenance/hub",
        "${{ github.workspace }}/.provenance/store",
    }
