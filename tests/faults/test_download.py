"""Downloads that are killed, cut or torn: the next run completes and never takes half a file."""

import os
import signal

import pytest

from provenance import Results
from tests.support.hub_server import serve

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="POSIX signals"),
    pytest.mark.extended,  # every case starts pytest twice
]

SUITE = """\
version: 1
inputs: {{tokens: 512, sequence_length: 64}}
defaults: {{statistic: match, alpha: 1e-6}}
models:
  base: {{path: {base}}}
  kin: {{repo: org/tiny}}
  other: {{path: {other}}}
pairs:
  - {{candidate: kin, reference: base, expect: finetune}}
  - {{candidate: other, reference: base, expect: independent}}
"""

CONFTEST = """
import time
from huggingface_hub import constants

constants.DOWNLOAD_CHUNK_SIZE = 1 << 10  # what is less than one never reaches the disk
really, time.sleep = time.sleep, lambda seconds: really(min(seconds, 0.01))  # between two attempts
"""

WEIGHTS = "model.safetensors"


@pytest.fixture
def hub(tmp_path, family, monkeypatch):
    """A hub that has the weights of kin as a large file, and a suite that takes them from there."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "a.suite.yaml").write_text(SUITE.format(base=family.base, other=family.other))
    (tmp_path / "conftest.py").write_text(CONFTEST)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    files = {path.name: path.read_bytes() for path in family.kin.iterdir()}
    with serve(files) as running:
        running.large = {WEIGHTS}
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        yield running


def snapshot(folder):
    """The names that a checkpoint of the cache would be read from."""
    return {path.name for path in (folder / "cache").glob("models--*/snapshots/*/*")}


def blobs(folder):
    return list((folder / "cache").glob("models--*/blobs/*"))


def states(folder):
    results = Results.from_json((folder / "kept" / "results.json").read_text())
    return [result.state for result in results.claims], results.claims[0].evidence


def check_recovery(again, folder, hub, digest):
    """The verdicts are right, and what was measured is the model that the hub has, to the byte."""
    assert again.returncode == 0, again.stdout + again.stderr
    found, evidence = states(folder)
    assert found == ["pass", "pass"]
    assert evidence.candidate.weights_digest == digest
    (weights,) = (folder / "cache").glob(f"models--*/snapshots/*/{WEIGHTS}")
    assert weights.read_bytes() == hub.files[WEIGHTS]


@pytest.fixture(scope="module")
def weights_digest(family, tmp_path_factory):
    """The digest of kin's weights, read where they lie."""
    from provenance import Executor, ModelSpec, Store

    executor = Executor(Store(tmp_path_factory.mktemp("digest")))
    return executor.checkpoint(ModelSpec(path=str(family.kin))).weights_digest


def test_a_run_after_one_that_was_killed_in_a_download_takes_no_torn_file(
    hub, tmp_path, start, finish, run, weights_digest
):
    hub.stalls = 1
    running = start(tmp_path, tmp_path / "store")
    try:
        assert hub.stalled.wait(timeout=120)
    finally:
        running.kill()
    killed = finish(running)
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    sizes = {path.stat().st_size for path in blobs(tmp_path) if path.suffix == ".incomplete"}
    assert sizes, "nothing of the file had been written"
    assert max(sizes) < len(hub.files[WEIGHTS])
    assert WEIGHTS not in snapshot(tmp_path)
    assert not (tmp_path / "kept").exists()
    again = run(tmp_path, tmp_path / "store")
    check_recovery(again, tmp_path, hub, weights_digest)


def test_a_connection_that_is_cut_is_taken_up_again(hub, tmp_path, run, weights_digest):
    hub.cuts = 2
    check_recovery(run(tmp_path, tmp_path / "store"), tmp_path, hub, weights_digest)
    assert len(hub.ranges) == 2, "each attempt went on where the one before was cut"


def test_a_connection_that_is_always_cut_fails_its_claim_alone(hub, tmp_path, run, weights_digest):
    hub.cuts = 10**6
    hurt = run(tmp_path, tmp_path / "store")
    assert hurt.returncode == pytest.ExitCode.TESTS_FAILED, hurt.stdout + hurt.stderr
    assert "could not be checked: repo:org/tiny: the hub cannot be reached" in hurt.stdout
    assert "Traceback" not in hurt.stdout + hurt.stderr
    assert states(tmp_path) == (["fail", "pass"], None)
    assert WEIGHTS not in snapshot(tmp_path)
    hub.cuts = 0
    check_recovery(run(tmp_path, tmp_path / "store"), tmp_path, hub, weights_digest)


def test_a_file_of_the_cache_that_lost_its_end_is_downloaded_again(
    hub, tmp_path, run, weights_digest
):
    """What is left where the machine went down before the disk had all: the right name, and half."""
    assert run(tmp_path, tmp_path / "store").returncode == 0
    (weights,) = (tmp_path / "cache").glob(f"models--*/snapshots/*/{WEIGHTS}")
    with weights.resolve().open("r+b") as file:
        file.truncate(len(hub.files[WEIGHTS]) // 2)
    check_recovery(run(tmp_path, tmp_path / "store"), tmp_path, hub, weights_digest)
