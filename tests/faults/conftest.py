"""A suite over the small family, and a pytest of its own that runs it."""

import os
import subprocess
import sys

import pytest

SUITE = """\
version: 1
inputs: {{tokens: 512, sequence_length: 64}}
defaults: {{statistic: match, alpha: 1e-6}}
models:
  base: {{path: {base}}}
  kin: {{path: {kin}}}
  other: {{path: {other}}}
pairs:
  - {{candidate: kin, reference: base, expect: finetune}}
  - {{candidate: other, reference: base, expect: independent}}
  - {{candidate: other, reference: kin, expect: independent}}
"""


@pytest.fixture(scope="session")
def write_suite(family):
    """Write the suite and an ini file into a folder."""

    def write_suite(folder):
        paths = {name: getattr(family, name) for name in ("base", "kin", "other")}
        (folder / "pytest.ini").write_text("[pytest]\n")
        (folder / "a.suite.yaml").write_text(SUITE.format(**paths))

    return write_suite


@pytest.fixture(scope="session")
def run():
    """Run the suite of a folder in a process of its own; evidence is kept beside it."""

    def run(folder, store, *arguments):
        command = [sys.executable, "-m", "pytest", "a.suite.yaml", *arguments]
        command += ["--provenance-store", str(store), "--provenance-evidence", "kept"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""}
        return subprocess.run(
            command,
            check=False,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run
