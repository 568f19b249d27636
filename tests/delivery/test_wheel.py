"""What is published: the wheel works where nothing of this repository is, and both say what is true."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest
import yaml

from tests.support.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
SUITE = """\
version: 1
models: {a: {recipe: quickstart/base}, b: {recipe: quickstart/other-seed}}
pairs:
- {candidate: b, reference: a, expect: independent}
"""
RENDER = """\
from pathlib import Path
import provenance
from provenance.evidence.exhibits import table
from provenance.inputs.listed_tokens import listed_texts
from provenance.evidence.results import Results
print(Path(provenance.__file__).parents[1])
assert "<h1" in provenance.render_report(Results((), (), {}, "2026-01-01T00:00:00+00:00"))
assert table(())[0][0] == "exhibit"
assert len(listed_texts()) > 100
"""


def tracked(*folders):
    listed = subprocess.run(
        ["git", "ls-files", *folders], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(listed.stdout.split())


def test_the_version_has_its_section_of_the_changelog():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    first = re.search(r"^## \[(.+?)\] - (Unreleased|\d{4}-\d\d-\d\d)$", text, re.MULTILINE)
    assert first is not None
    assert first[1] == PROJECT["version"]


def test_the_classifiers_are_what_is_tested():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    tested = workflow["jobs"]["run"]["strategy"]["matrix"]["python"]
    head = "Programming Language :: Python :: "
    named = [line.removeprefix(head) for line in PROJECT["classifiers"] if line.startswith(head)]
    assert [version for version in named if version != "3 :: Only"] == tested
    assert PROJECT["requires-python"] == f">={tested[0]}"
    systems = [line for line in PROJECT["classifiers"] if line.startswith("Operating System")]
    assert systems == ["Operating System :: POSIX :: Linux"]
    for page in ("README.md", "CHANGELOG.md", "docs/index.md"):
        assert "Windows" in (ROOT / page).read_text("utf-8")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    hatchling = pytest.importorskip("hatchling.builders.sdist", reason="pip install hatchling")
    folder = tmp_path_factory.mktemp("sdist")
    (made,) = hatchling.SdistBuilder(str(ROOT)).build(directory=str(folder))
    return made


@pytest.mark.extended
def test_the_source_distribution_has_every_file_of_the_repository(sdist):
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert names - {"PKG-INFO"} == tracked()


@pytest.mark.extended
def test_twine_would_upload_both(wheel, sdist):
    pytest.importorskip("twine", reason="pip install twine")
    command = [sys.executable, "-m", "twine", "check", "--strict", wheel, sdist]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    hatchling = pytest.importorskip("hatchling.builders.wheel", reason="pip install hatchling")
    folder = tmp_path_factory.mktemp("dist")
    (made,) = hatchling.WheelBuilder(str(ROOT)).build(directory=str(folder))
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """An environment of its own that has the wheel, and borrows the other packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*pip, wheel], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    packages = [path for path in sys.path if path.endswith("-packages")]
    (site / "borrowed.pth").write_text("\n".join(packages) + "\n")
    return folder


def run(installed, tmp_path, *command):
    return subprocess.run(
        [str(installed / "bin" / command[0]), *command[1:]],
        cwd=tmp_path,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "PROVENANCE_STORE": str(tmp_path / "s"),
        },
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.extended
def test_the_wheel_has_every_file_of_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == tracked("provenance")


@pytest.mark.extended
def test_it_needs_no_file_of_the_repository(installed, tmp_path):
    done = run(installed, tmp_path, "python", "-c", RENDER)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(installed))


@pytest.mark.extended
def test_its_command_and_its_plugin_are_there(installed, tmp_path):
    (tmp_path / "a.suite.yaml").write_text(SUITE)
    done = run(installed, tmp_path, "provenance", "suite", "check", "a.suite.yaml")
    assert (done.returncode, done.stdout) == (0, "a.suite.yaml: 1 claim on 2 models\n"), done.stderr
    done = run(
        installed, tmp_path, "python", "-m", "pytest", "-q", "--collect-only", "a.suite.yaml"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a.suite.yaml::b-vs-a[verdict]" in done.stdout
