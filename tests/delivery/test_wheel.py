"""The wheel: it holds the whole package, and works where nothing of this repository is at hand."""

import subprocess
import sys
import zipfile

import pytest

from tests.support.places import ROOT

pytestmark = pytest.mark.extended

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


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(wheel):
    listed = subprocess.run(
        ["git", "ls-files", "provenance"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == set(listed.stdout.split())


def test_it_needs_no_file_of_the_repository(installed, tmp_path):
    done = run(installed, tmp_path, "python", "-c", RENDER)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(installed))


def test_its_command_and_its_plugin_are_there(installed, tmp_path):
    (tmp_path / "a.suite.yaml").write_text(SUITE)
    done = run(installed, tmp_path, "provenance", "suite", "check", "a.suite.yaml")
    assert (done.returncode, done.stdout) == (0, "a.suite.yaml: 1 claim on 2 models\n"), done.stderr
    done = run(
        installed, tmp_path, "python", "-m", "pytest", "-q", "--collect-only", "a.suite.yaml"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a.suite.yaml::b-vs-a[verdict]" in done.stdout
