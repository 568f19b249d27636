"""The examples of a nightly audit do what they say: they are run as they are written."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml

from tests.support.places import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "nightly-audit.yml.example"
SCRIPT = ROOT / "docs" / "examples" / "nightly.sh"
PAGE = ROOT / "docs" / "audit.md"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("bash") is None, reason="the examples need bash"),
]


@pytest.fixture
def models(tmp_path, family):
    """A registry of two kin and a stranger, in the folder that a workflow would have checked out."""
    for name, source in (("a", "base"), ("b", "kin"), ("c", "other")):
        shutil.copytree(getattr(family, source), tmp_path / "models" / name)
    text = "version: 1\ninputs: {tokens: 512, sequence_length: 64}\nfolder: models\n"
    (tmp_path / "models.registry.yaml").write_text(text)
    return tmp_path / "models"


@pytest.fixture
def environment(tmp_path, shared_store, warm_python):
    """Programs of these names that run this source, and a pip that notes what it is asked for."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, line in (
        ("provenance", f'exec {sys.executable} -m provenance "$@"'),
        ("pip", f'echo "$@" >> {tmp_path}/pip.txt'),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    return os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PROVENANCE_STORE": str(shared_store),
        "HF_HUB_OFFLINE": "1",
        "CI": "1",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }


def replace(folder, source):
    shutil.rmtree(folder)
    shutil.copytree(source, folder)


def night(folder, environment):
    """Run the steps of the workflow in order, as a runner does; (exit codes by name, what was said)."""
    (job,) = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    codes, said = {}, ""
    for step in job["steps"]:
        if "run" in step:
            command = ["bash", "-e", "-c", step["run"]]
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment | job["env"],
                check=False,
                capture_output=True,
                text=True,
            )
            codes[step["name"]] = done.returncode
            said += done.stdout
    return codes, said


def test_the_workflow_is_silent_on_a_quiet_night_and_fails_on_a_change(
    tmp_path, models, environment, family
):
    well = {"Install": 0, "Look at the machine": 0, "Audit": 0}
    codes, said = night(tmp_path, environment)
    assert codes == well
    assert "run 1 is the first complete one" in said
    codes, said = night(tmp_path, environment)
    assert codes == well
    assert "no change since run 1" in said
    replace(models / "c", family.short)
    codes, said = night(tmp_path, environment)
    assert codes == well | {"Audit": 1}
    assert "new-kin: c and a" in said
    summary = (tmp_path / "summary.md").read_text()
    assert summary.count("```text\n") == 3
    assert "changed-digest: c" in summary
    assert (tmp_path / "audit.json").exists()

    installs_what_there_is(tmp_path / "pip.txt")


def installs_what_there_is(asked_of_pip):
    (asked,) = set(asked_of_pip.read_text().splitlines())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    name, extra = re.fullmatch(r"install ([\w-]+)\[(\w+)\]", asked).groups()
    assert name == project["name"]
    assert extra in project["optional-dependencies"]


def test_what_the_workflow_keeps_is_what_it_brings_back():
    (job,) = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    restore, save = (
        next(s for s in job["steps"] if s.get("uses", "").startswith(f"actions/cache/{what}"))
        for what in ("restore", "save")
    )
    assert restore["with"]["path"] == save["with"]["path"]
    assert save["with"]["path"] == job["env"]["PROVENANCE_HISTORY"] + "*"
    assert restore["with"]["key"] == save["with"]["key"]
    assert save["with"]["key"].startswith(restore["with"]["restore-keys"])
    assert save["if"] == "always()"


def cron_line():
    (line,) = re.findall(r"^#\s+((?:\S+\s+){5}/srv.*)$", SCRIPT.read_text(), re.MULTILINE)
    return line


def test_cron_hears_of_changes_alone(tmp_path, models, environment, family):
    *when, command = cron_line().split(maxsplit=5)
    assert len(when) == 5
    shutil.copy(SCRIPT, tmp_path / "nightly.sh")
    (tmp_path / "models.registry.yaml").rename(tmp_path / "registry.yaml")
    command = command.replace("/srv/models", str(tmp_path))

    def run():
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            check=False,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, done.stdout

    assert run() == (0, "")
    assert run() == (0, "")
    replace(models / "c", family.short)
    code, said = run()
    assert code == 1
    assert "changed-digest: c" in said
    (tmp_path / "registry.yaml").write_text("version: 7\n")
    code, said = run()
    assert code == 2
    assert "version 7" in said
    with (tmp_path / "audit" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, said = run()
    assert code == 0
    assert "still at work" in said


def test_the_page_shows_the_line_of_the_script():
    assert cron_line() in PAGE.read_text()
