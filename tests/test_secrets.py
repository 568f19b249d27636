"""What a run writes and prints holds no token, no variable of the environment and no home folder."""

import os
import shutil
import subprocess
import sys

import pytest

from provenance import Results

TOKEN = "hf_plantedPlantedPlantedPlanted1234"
OTHER = "planted-and-never-to-be-printed"
SUITE = """\
version: 1
inputs: {text: ./words.txt, tokens: 512, sequence_length: 64}
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


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])
def test_a_run_tells_no_secret(home, tmp_path, workers):
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "a.suite.yaml",
        *workers,
        "--junitxml",
        out / "j.xml",
    ]
    command += ["--provenance-store", tmp_path / "store", "--provenance-evidence", out / "evidence"]
    planted = {"HF_TOKEN": TOKEN, "AWS_SECRET_ACCESS_KEY": OTHER, "HOME": str(home)}
    done = subprocess.run(
        list(map(str, command)),
        check=False,
        cwd=home / "projects",
        env=os.environ | planted,
        capture_output=True,
        text=True,
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    results = Results.from_json((out / "evidence" / "results.json").read_text())
    assert [result.state for result in results.claims] == ["fail", "fail"]
    assert results.claims[0].evidence.candidate.source == "path:~/projects/models/kin"
    assert results.suites[0].inputs.text == "~/projects/words.txt"
    assert "~/projects/models/gone" in results.claims[1].error
    told = written(out) | {"printed": (done.stdout + done.stderr).encode()}
    for secret in (TOKEN, OTHER):
        assert not [where for where, data in told.items() if secret.encode() in data]
        held = written(tmp_path / "store")
        assert not [path for path, data in held.items() if secret.encode() in data]
    private = str(home).encode()
    assert not [where for where in told if where != "printed" and private in told[where]]
