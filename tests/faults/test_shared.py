"""Several runs on one store, and a store whose file system has no locks."""

import os
import subprocess
import sys
import time

import pytest

from provenance import Store

pytestmark = pytest.mark.extended


def command(folder, store, *arguments):
    return [
        *(sys.executable, "-m", "pytest", "a.suite.yaml", "-p", "no:cacheprovider"),
        *("--provenance-store", str(store), *arguments),
    ]


def test_two_runs_on_one_store_compute_everything_once(tmp_path, write_suite):
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        write_suite(folder)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""}
    runs = [
        subprocess.Popen(
            command(folder, tmp_path / "store"),
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for folder in folders
    ]
    outputs = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    computed = [(r["kind"], r["digest"]) for r in Store(tmp_path / "store").journal()]
    assert len(computed) == len(set(computed))
    assert list((tmp_path / "store" / "v1" / "tmp").iterdir()) == []


SLOW = """
import os, time
from pathlib import Path
from provenance.store import store

sealed, WORK = store.seal, Path({work!r})

def slow_seal(folder, kind, fields):
    # as a disk that takes its time over an entry: until somebody else has been seen to wait
    while kind == "activations" and not (WORK / "waited").exists():
        (WORK / "writing").touch()
        time.sleep(0.01)
    return sealed(folder, kind, fields)

def slowly(function):
    def slow(*arguments, **options):
        time.sleep(0.02)
        return function(*arguments, **options)
    return slow

store.seal = slow_seal
os.fsync, os.rename, os.replace = slowly(os.fsync), slowly(os.rename), slowly(os.replace)
"""


def test_on_a_slow_disk_the_second_run_waits_as_long_as_the_first_takes(
    tmp_path, write_suite, start, finish
):
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        write_suite(folder)
    (folders[0] / "conftest.py").write_text(SLOW.format(work=str(tmp_path)))
    first = start(folders[0], tmp_path / "store")
    while first.poll() is None and not (tmp_path / "writing").exists():
        time.sleep(0.01)
    second = start(folders[1], tmp_path / "store")
    told = []
    while not (told and "provenance: waiting for another process:" in told[-1]):
        told.append(second.stdout.readline())
        assert told[-1], "it ended without waiting:\n" + "".join(told)
    (tmp_path / "waited").touch()
    for running in (first, second):
        done = finish(running)
        assert done.returncode == 0, done.stdout + done.stderr
    computed = [(r["kind"], r["digest"]) for r in Store(tmp_path / "store").journal()]
    assert len(computed) == len(set(computed))
    assert {kind for kind, _ in computed} == {"activations", "evidence", "hashes"}
    assert list((tmp_path / "store" / "v1" / "tmp").iterdir()) == []


WITHOUT_LOCKS = """
import errno, fcntl

def flock(*arguments):
    raise OSError(errno.ENOSYS, "Function not implemented")

fcntl.flock = flock
"""


def test_a_file_system_without_locks_is_locked_by_files(tmp_path, write_suite, run):
    write_suite(tmp_path)
    (tmp_path / "conftest.py").write_text(WITHOUT_LOCKS)
    done = run(tmp_path, tmp_path / "store")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "falling back to SoftFileLock" in done.stdout
