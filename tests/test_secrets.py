"""What a run writes and prints holds no token, no variable of the environment and no home folder."""

import os
import shutil
import subprocess
import sys

import pytest

from provenance import Results

pytestmark = pytest.mark.slow

TOKEN = "hf_plantedPlantedPlantedPlanted1234"
OTHER = "planted-and-never-to-be-printed"
SUITE = """\
version: 1
inputs: {text: ./words.txt, tokens: 512, sequence_length: 256}  # longer than they take
models:
  base: {path: ./models/base}
  kin: {path: ./models/kin}
  gone: {path: ./models/gone, blocks: 1}
pairs:
  - {candidate: kin, reference: base, expect: independent}
  - {candidate: gone, reference: base, expect: finetune}
"""


@pytest.fixture
def home(tmp_path, family):
    """A home folder with models, a text and a suite below it."""
    home = tmp_path / "alice"
    for name in ("base", "kin"):
        shutil.copytree(getattr(family, name), home / "projects" / "models" / name)
    (home / "projects" / "words.txt").write_text("one two three four five six " * 400)
    (home / "projects" / "a.suite.yaml").write_text(SUITE)
    (home / "projects" / "pytest.ini").write_text("[pytest]\n")
    return home


def written(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def ours(home, tmp_path):
    """Run a module in the projects of that home, with secrets in the environment."""
    planted = {
        "HF_TOKEN": TOKEN,
        "AWS_SECRET_ACCESS_KEY": OTHER,
        "HOME": str(home),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "out" / "summary.md"),
        "PROVENANCE_STORE": str(tmp_path / "store"),
        "PROVENANCE_HISTORY": str(tmp_path / "out" / "history.sqlite"),
        "NO_COLOR": "1",
    }
    (tmp_path / "out").mkdir()

    def ours(module, *arguments, code=0):
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            check=False,
            cwd=home / "projects",
            env=os.environ | planted,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return ours


def check_told(told, home, *, by_pytest=()):
    """No secret is in what was told; no home is, save where pytest itself names its root."""
    assert all(told.values()), "something is empty, and holds nothing for that reason"
    for secret in (TOKEN, OTHER):
        assert not [where for where, data in told.items() if secret.encode() in data]
    private = str(home).encode()
    assert not [where for where in told.keys() - set(by_pytest) if private in told[where]]


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])
def test_a_run_tells_no_secret(home, tmp_path, ours, workers):
    out = tmp_path / "out"
    names = ["evidence", "report", "sarif", "attestation", "lock"]
    options = [f"--provenance-{name}={out / name}" for name in names]
    options += ["--provenance-github=on", "--update-lock", f"--junitxml={out / 'junit.xml'}"]
    printed = ours("pytest", "a.suite.yaml", *workers, *options, code=1)
    results = Results.from_json((out / "evidence" / "results.json").read_text())
    assert [result.state for result in results.claims] == ["fail", "fail"]
    assert results.claims[0].evidence.candidate.source == "path:~/projects/models/kin"
    assert results.claims[0].evidence.inputs.note.endswith("~/projects/models/base takes")
    assert results.suites[0].inputs.text == "~/projects/words.txt"
    assert "~/projects/models/gone" in results.claims[1].error
    told = written(out) | {"printed": printed.encode()}
    assert {path.name for path in told if path != "printed"} >= {*names[1:], "summary.md"}
    check_told(told, home, by_pytest=["printed"])
    lines = [line for line in printed.splitlines() if not line.startswith("rootdir: ")]
    assert not [line for line in lines if str(home) in line]
    held = written(tmp_path / "store")
    for secret in (TOKEN, OTHER):
        assert not [path for path, data in held.items() if secret.encode() in data]


def test_what_is_made_of_results_tells_no_secret(home, tmp_path, ours):
    kept = tmp_path / "kept"
    options = ["--provenance-evidence", kept, "--provenance-report", tmp_path / "report"]
    ours("pytest", "a.suite.yaml", *options, code=1)
    results = kept / "results.json"
    test = "a.suite.yaml::kin-vs-base"
    commands = {
        "report": ("report", kept, "--output", "-"),
        "json": ("graph", kept, "--format", "json"),
        "dot": ("graph", kept, "--format", "dot"),
        "mermaid": ("graph", kept, "--format", "mermaid"),
        "summary": ("summary", kept),
        "bom": ("bom", kept),
        "attestation": ("attest", "make", kept),
        "attestation of folders": ("attest", "make", results, "--model", "kin=models/kin"),
        "explanation": ("explain", test),
        "fields": ("explain", test, "--json"),
        "of what is gone": ("explain", "a.suite.yaml::gone-vs-base"),
        "doctor": ("doctor",),
        "checks": ("doctor", "--json"),
    }
    told = {name: ours("provenance", *command).encode() for name, command in commands.items()}
    check_told(told, home)


def test_an_audit_tells_no_secret(home, tmp_path, ours):
    out = tmp_path / "out"
    told = {
        "printed": ours("provenance", "audit", "a.suite.yaml", code=1),  # a model is gone
        "as json": ours("provenance", "audit", "models", "--json"),
        "planned": ours("provenance", "audit", "models", "--dry-run"),
    }
    ours("provenance", "audit", "models", "--results", out / "audit.json")
    told = written(out) | {name: text.encode() for name, text in told.items()}
    assert {path.name for path in out.iterdir()} == {"audit.json", "history.sqlite"}
    check_told(told, home)
