"""Where a run takes place, by CI systems and by git."""

import subprocess

import pytest

from provenance.evidence.results import RunRecord
from provenance.gate.circumstances import run_record

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "org/name",
    "GITHUB_SHA": "abc",
    "GITHUB_RUN_ID": "7",
    "GITHUB_REF_NAME": "12/merge",
    "GITHUB_HEAD_REF": "topic",
}
GITLAB = {
    "CI_COMMIT_SHA": "def",
    "CI_COMMIT_REF_NAME": "main",
    "CI_JOB_URL": "https://gitlab.example/org/name/-/jobs/3",
}
JENKINS = {
    "GIT_COMMIT": "123",
    "GIT_BRANCH": "origin/main",
    "BUILD_URL": "https://ci.example/job/1/",
}


@pytest.mark.parametrize(
    ("environment", "record"),
    [
        (GITHUB, RunRecord("abc", "topic", "https://github.com/org/name/actions/runs/7", 1.5)),
        (GITLAB, RunRecord("def", "main", "https://gitlab.example/org/name/-/jobs/3", 1.5)),
        (JENKINS, RunRecord("123", "origin/main", "https://ci.example/job/1/", 1.5)),
        ({}, RunRecord(seconds=1.5)),
    ],
)
def test_a_ci_system_says_where_a_run_is(environment, record, tmp_path):
    assert run_record(environment, tmp_path, 1.5) == record


def test_git_says_it_where_no_ci_system_does(tmp_path):
    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *words], check=True, capture_output=True
        )
        return done.stdout.decode().strip()

    git("init", "--initial-branch", "topic")
    git("commit", "--allow-empty", "--message", "first")
    assert run_record({}, tmp_path) == RunRecord(git("rev-parse", "HEAD"), "topic")


def test_without_git_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_record({}, tmp_path) == RunRecord()
