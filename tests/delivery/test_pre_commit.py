"""The pre-commit hook: pre-commit runs it from its manifest, on suites that are right and wrong."""

import os
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.support.places import DOCS, ROOT

MANIFEST = ROOT / ".pre-commit-hooks.yaml"
GOOD = (ROOT / "suites" / "quickstart.suite.yaml").read_text("utf-8")


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


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("git") is None, reason="pre-commit needs git")
def test_pre_commit_runs_the_hook_on_suites_alone(hooks, user, tmp_path, warm_python):
    pytest.importorskip("pre_commit", reason="pre-commit is not installed")
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "provenance"
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m provenance.cli "$@"\n'
    )
    program.chmod(0o755)

    def commit():
        git(user, "add", ".")
        (hook,) = yaml.safe_load(MANIFEST.read_text())
        return subprocess.run(
            [sys.executable, "-m", "pre_commit", "try-repo", str(hooks), hook["id"], "--all-files"],
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

    done = commit()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Passed" in done.stdout
    (user / "bad.suite.yaml").write_text(GOOD.replace("expect:", "expects:", 1))
    done = commit()
    assert done.returncode == 1
    assert "bad.suite.yaml:" in done.stdout
    assert "did you mean 'expect'?" in done.stdout
    assert "other.yaml" not in done.stdout


def test_the_documentation_names_the_hook():
    (hook,) = yaml.safe_load(MANIFEST.read_text())
    assert f"id: {hook['id']}" in (DOCS / "ci.md").read_text("utf-8")
