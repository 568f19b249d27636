"""The pre-commit hooks: pre-commit runs them from their manifest, on what is right and wrong."""

import os
import shutil
import subprocess
import sys

import pytest
import yaml

from provenance import load_suite
from provenance.gate.lock import dump, merge
from tests.support.gate_results import KIN, result, results
from tests.support.places import DOCS, ROOT

MANIFEST = ROOT / ".pre-commit-hooks.yaml"
GOOD = (ROOT / "suites" / "quickstart.suite.yaml").read_text("utf-8")
PINNED = """\
version: 1
models: {a: {repo: x/a}, b: {repo: x/b}}
pairs:
- {candidate: a, reference: b, expect: derived}
"""


def git(folder, *arguments):
    names = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def hooks(tmp_path):
    """A repository that offers the hooks of this one."""
    folder = tmp_path / "hooks"
    folder.mkdir()
    shutil.copy(MANIFEST, folder)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "hooks")
    return folder


@pytest.fixture
def user(tmp_path):
    """A repository of someone who writes suites."""
    folder = tmp_path / "user"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "good.suite.yaml").write_text(GOOD)
    (folder / "other.yaml").write_text("claims: none\n")
    return folder


@pytest.fixture
def commit(hooks, user, tmp_path, warm_python):
    """Run one of the hooks on all files of the user's repository."""
    pytest.importorskip("pre_commit", reason="pre-commit is not installed")
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "provenance"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m provenance "$@"\n')
    program.chmod(0o755)

    def commit(hook):
        git(user, "add", ".")
        return subprocess.run(
            [sys.executable, "-m", "pre_commit", "try-repo", str(hooks), hook, "--all-files"],
            cwd=user,
            env=os.environ
            | {
                "PATH": f"{programs}:{os.environ['PATH']}",
                "PRE_COMMIT_HOME": str(tmp_path / "home"),
            },
            check=False,
            capture_output=True,
            text=True,
        )

    return commit


needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="pre-commit needs git")


@pytest.mark.slow
@needs_git
def test_pre_commit_runs_the_hook_on_suites_alone(user, commit):
    done = commit("provenance-suite-check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Passed" in done.stdout
    (user / "bad.suite.yaml").write_text(GOOD.replace("expect:", "expects:", 1))
    done = commit("provenance-suite-check")
    assert done.returncode == 1
    assert "bad.suite.yaml:" in done.stdout
    assert "did you mean 'expect'?" in done.stdout
    assert "other.yaml" not in done.stdout


@pytest.mark.slow
@needs_git
def test_pre_commit_checks_the_lock_file_where_it_or_a_suite_changes(user, commit):
    (user / "good.suite.yaml").write_text(PINNED)
    (claim,) = load_suite(user / "good.suite.yaml").claims
    found = result(claim, KIN, suite="good.suite.yaml")
    pinned = merge(None, results(found, suites=["good.suite.yaml"]))
    (user / "provenance.lock").write_text(dump(pinned))
    done = commit("provenance-lock-check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Passed" in done.stdout
    (user / "good.suite.yaml").write_text(PINNED.replace("derived", "finetune"))
    done = commit("provenance-lock-check")
    assert done.returncode == 1
    assert "has expect finetune, pinned derived; to accept it: pytest " in done.stdout
    git(user, "rm", "-q", "-f", "--cached", "good.suite.yaml", "provenance.lock")
    (user / "good.suite.yaml").rename(user / "ours.yaml")
    (user / "provenance.lock").unlink()
    assert "(no files to check)Skipped" in commit("provenance-lock-check").stdout


def test_the_documentation_names_the_hooks():
    hooks = yaml.safe_load(MANIFEST.read_text())
    assert len(hooks) == 2
    for hook in hooks:
        assert f"id: {hook['id']}" in (DOCS / "ci.md").read_text("utf-8")
