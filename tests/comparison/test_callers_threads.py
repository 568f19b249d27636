"""Executors that the caller's own threads use: they take turns, and get what one thread gets."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import provenance
from provenance import Executor, InputsSpec, ProvenanceError, Store
from provenance.comparison.executor import as_spec
from provenance.comparison.plan import Comparison

pytestmark = pytest.mark.slow

INPUTS = InputsSpec(tokens=512, sequence_length=64)
NAMES = ("kin", "other", "short", "base", "broken", "kin")

COLD = """
import sys
from concurrent.futures import ThreadPoolExecutor
import provenance
from provenance import Executor, InputsSpec, Store

*pairs, base, store = sys.argv[1:]
def ask(job):
    number, model = job
    executor = Executor(Store(f"{store}/{number}"), "cpu")
    inputs = InputsSpec(tokens=512, sequence_length=64)
    return provenance.compare(model, base, inputs=inputs, executor=executor).log10_p
with ThreadPoolExecutor(4) as pool:
    print(*pool.map(ask, enumerate(pairs)))
"""


def asked(executor, family, name):
    """The p-value of one pair, or the line that says why there is none."""
    try:
        candidate, reference = getattr(family, name), family.base
        return provenance.compare(candidate, reference, inputs=INPUTS, executor=executor).log10_p
    except ProvenanceError as error:
        return str(error)


@pytest.fixture(scope="module")
def one_by_one(family, tmp_path_factory):
    """What one thread gets, a new executor and store for each pair."""
    return [
        asked(Executor(Store(tmp_path_factory.mktemp("store")), "cpu"), family, name)
        for name in NAMES
    ]


def test_threads_that_share_an_executor_get_what_one_thread_gets(family, tmp_path, one_by_one):
    shared = Executor(Store(tmp_path), "cpu")
    with ThreadPoolExecutor(len(NAMES)) as pool:
        together = list(pool.map(lambda name: asked(shared, family, name), NAMES))
    assert together == one_by_one
    assert [
        asked(shared, family, name) for name in NAMES
    ] == one_by_one  # nothing wrong is remembered
    kinds = [line["kind"] for line in Store(tmp_path).journal()]
    assert kinds.count("evidence") == len({*NAMES} - {"broken"})  # each pair was measured once


def test_threads_with_an_executor_each_get_what_one_thread_gets(family, tmp_path, one_by_one):
    shared = Store(tmp_path)
    with ThreadPoolExecutor(len(NAMES)) as pool:
        jobs = [(Executor(shared, "cpu"), family, name) for name in NAMES]
        assert list(pool.map(lambda job: asked(*job), jobs)) == one_by_one


def test_threads_of_a_fresh_process_get_what_one_thread_gets(family, tmp_path, one_by_one):
    good = [name for name in NAMES if name != "broken"]
    models = [str(getattr(family, name)) for name in good]
    command = [sys.executable, "-c", COLD, *models, str(family.base), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [float(text) for text in done.stdout.split()]
    assert found == [p for p in one_by_one if not isinstance(p, str)]


def test_threads_may_open_models_compare_them_and_write_fingerprints_at_once(family, tmp_path):
    shared = Executor(Store(tmp_path / "store"), "cpu")
    kin, base = as_spec(family.kin), as_spec(family.base)
    pair = Comparison.of(kin, base, INPUTS, "match")

    def fingerprint(number):
        file = tmp_path / f"{number}.safetensors"
        provenance.fingerprint(family.base, file, inputs=INPUTS, executor=shared)
        return Path(file).is_file()

    jobs = [
        lambda: shared.checkpoint(kin).digest,
        lambda: fingerprint(1),
        lambda: shared.ensure(pair),
        lambda: fingerprint(2),
        lambda: shared.captures(pair),
        lambda: shared.evidence(pair).log10_p,
    ]
    with ThreadPoolExecutor(len(jobs)) as pool:
        digest, first, _, second, captures, log10_p = pool.map(lambda job: job(), jobs)
    assert digest == Executor(Store(tmp_path / "store")).checkpoint(kin).digest
    assert first
    assert second
    assert len(captures) == 2
    assert log10_p < -100
