"""Output that cannot be written: one line and exit code 2, whatever the command."""

import subprocess
import sys
from pathlib import Path

import pytest

from provenance.plugin.outputs.write import write

FULL = Path("/dev/full")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here"),
]


def call(*arguments, out, err=subprocess.PIPE):
    command = [sys.executable, "-m", "provenance", *map(str, arguments)]
    return subprocess.run(command, stdout=out, stderr=err, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    ["schema", "--help", "--version", "doctor", "compare --help", "completion bash", "store ls"],
)
def test_stdout_on_a_full_disk_is_one_line(arguments, tmp_path):
    store = ["--store", tmp_path] if arguments in {"doctor", "store ls"} else []
    with FULL.open("w") as full:
        done = call(*arguments.split(), *store, out=full)
    assert done.stderr == "provenance: the output cannot be written: No space left on device\n"
    assert done.returncode == 2


@pytest.mark.parametrize("how", [(), ("--json",), ("--expect", "derived")], ids=str)
def test_a_pair_is_not_said_to_be_kin_where_nobody_can_read_it(family, shared_store, how):
    quick = ("--tokens", "512", "--sequence-length", "64", "--store", shared_store)
    with FULL.open("w") as full:
        done = call("compare", family.kin, family.base, *quick, *how, out=full)
    assert done.stderr == "provenance: the output cannot be written: No space left on device\n"
    assert done.returncode == 2


def test_both_streams_on_a_full_disk_end_with_the_exit_code_of_a_mistake():
    with FULL.open("w") as full:
        assert call("schema", out=full, err=full).returncode == 2
        assert call("nonsense", out=subprocess.DEVNULL, err=full).returncode == 2


def test_a_reader_that_goes_away_is_no_mistake():
    command = f"{sys.executable} -m provenance schema | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith("{")


def test_a_run_writes_to_a_device_and_never_in_its_place():
    before = FULL.stat()
    assert list(write(FULL, "x")) == [
        "provenance: /dev/full cannot be written: No space left on device"
    ]
    assert FULL.stat().st_rdev == before.st_rdev
    assert list(write(Path("/dev/null"), "x")) == []
    assert not Path("/dev/null").is_file()
