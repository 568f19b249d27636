"""Stores that cannot hold what they are given: full, read-only, without locks; clocks that jump."""

import functools
import os
import subprocess

import pytest

from provenance import Results, Store

pytestmark = pytest.mark.extended


@pytest.fixture
def check(tmp_path, write_suite, run):
    """Run the suite with a store."""
    write_suite(tmp_path)
    return functools.partial(run, tmp_path)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of that many KiB, which only root can mount."""
    mounted = []

    def small_disk(kib):
        folder = tmp_path / "disk"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("there is no mount here")
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield small_disk
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("kib", [16, 300])
def test_a_full_disk_is_a_line_of_the_claim_and_leaves_nothing_half_written(
    check, small_disk, tmp_path, kib
):
    store = small_disk(kib) / "store"
    full = check(store)
    assert full.returncode == pytest.ExitCode.TESTS_FAILED, full.stdout + full.stderr
    assert "No space left on device" in full.stdout
    assert "Traceback" not in full.stdout + full.stderr
    assert "INTERNALERROR" not in full.stdout + full.stderr
    results = Results.from_json((tmp_path / "kept" / "results.json").read_text())
    assert any("No space left on device" in (result.error or "") for result in results.claims)
    again = check(tmp_path / "roomy")
    assert again.returncode == 0, again.stdout
    subprocess.run(["mount", "-o", "remount,size=64m", str(store.parent)], check=True)
    assert check(store).returncode == 0
    assert list((store / "v1" / "tmp").iterdir()) == []


@pytest.mark.parametrize("warm", [True, False])
def test_a_store_that_can_only_be_read(check, small_disk, warm):
    folder = small_disk(65536)
    if warm:
        assert check(folder / "store").returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    done = check(folder / "store")
    if warm:  # all is there: nothing needs writing
        assert done.returncode == 0, done.stdout
    else:
        assert done.returncode == pytest.ExitCode.TESTS_FAILED
        assert "Read-only file system" in done.stdout
        assert "PROVENANCE_STORE" in done.stdout
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


def test_clocks_that_jump_change_nothing(check, tmp_path, family):
    assert check(tmp_path / "store").returncode == 0
    journal = Store(tmp_path / "store").journal()
    for path in (tmp_path / "store").rglob("*"):
        os.utime(path, (4e9, 4e9))  # written in a future that has been corrected since
    assert check(tmp_path / "store").returncode == 0
    assert Store(tmp_path / "store").journal() == journal
