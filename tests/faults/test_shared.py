"""Several runs on one store, and a store whose file system has no locks."""

import os
import subprocess
import sys

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
