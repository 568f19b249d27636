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
def start():
    """Start a run of the suite of a folder in a process of its own; evidence is kept beside it."""

    def start(folder, store, *arguments):
        command = [sys.executable, "-m", "pytest", "a.suite.yaml", *arguments]
        command += ["--provenance-store", str(store), "--provenance-evidence", "kept"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""}
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=folder, env=environment, **piped)

    return start


@pytest.fixture(scope="session")
def finish():
    """Wait for the end of a run; one that does not end is killed."""

    def finish(running):
        with running:
            try:
                out, err = running.communicate(timeout=300)
            except subprocess.TimeoutExpired:
                running.kill()
                raise
        return subprocess.CompletedProcess(running.args, running.returncode, out, err)

    return finish


@pytest.fixture(scope="session")
def run(start, finish):
    """Start a run, and wait for its end."""

    def run(folder, store, *arguments):
        return finish(start(folder, store, *arguments))

    return run
