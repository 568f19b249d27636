"""A plan on a real Ray cluster: two nodes on this machine, one of which may die, and an interrupt."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from importlib.util import find_spec

import pytest

from provenance import Store
from tests.support.suite_runs import PATIENCE, count, finish, found, journal, write_suite
from tests.support.suite_runs import start as begin

pytestmark = [
    pytest.mark.extended,  # a cluster takes half a minute to start, and what runs on it as long again
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed"),
    pytest.mark.skipif(os.name == "nt", reason="POSIX signals"),
]

MODELS = 8


@pytest.fixture(scope="module")
def cluster():
    """A cluster in a process of its own: its ``address``, and ``kill``, which ends one of two nodes."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-m", "tests.support.ray_cluster"]
    piped = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **piped) as process:

        def hear(word):
            for line in process.stdout:
                if line.startswith(word):
                    return line.removeprefix(word).strip()
            raise AssertionError(f"the cluster ended before it said {word!r}")

        process.address = hear("address")

        def kill():
            process.stdin.write("\n")
            process.stdin.flush()
            hear("killed")

        process.kill_node = kill
        process.hear = hear
        yield process
        process.stdin.close()
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_suite(tmp_path_factory.mktemp("suite"), MODELS)


@pytest.fixture(scope="module")
def start(folder):
    return partial(begin, folder)


def wait_for(out, kind, number, running):
    end = time.monotonic() + PATIENCE
    while count(out, kind) < number:
        assert running.poll() is None, running.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def alone(start, tmp_path_factory):
    """What a run without a cluster finds, and how much it computes."""
    out = tmp_path_factory.mktemp("alone")
    running = start(out)
    text = finish(running)
    assert running.returncode == 0, text
    return found(out), Counter(kind for kind, _ in journal(out))


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_run_on_a_cluster_finds_what_one_without_finds(cluster, start, alone, tmp_path, workers):
    running = start(tmp_path, "--provenance-executor", cluster.address, *workers)
    text = finish(running)
    assert running.returncode == 0, text
    assert found(tmp_path) == alone[0]
    computed = journal(tmp_path)
    assert Counter(kind for kind, _ in computed) == alone[1]
    assert max(computed.values()) == 1
    by = {r["pid"] for r in Store(tmp_path / "store").journal()}
    assert running.pid not in by
    assert len(by) == 2, "one process on each node"


def test_a_node_that_dies_takes_nothing_with_it(cluster, start, alone, tmp_path):
    running = start(tmp_path, "--provenance-executor", cluster.address)
    wait_for(tmp_path, "evidence", 3, running)
    cluster.kill_node()
    done = count(tmp_path, "evidence")
    text = finish(running)
    cluster.hear("begun")
    assert done < alone[1]["evidence"], "all was done before the node died"
    assert running.returncode == 0, text
    assert found(tmp_path) == alone[0]


def test_an_interrupt_ends_the_tasks(cluster, start, alone, tmp_path):
    running = start(tmp_path, "--provenance-executor", cluster.address)
    wait_for(tmp_path, "evidence", 2, running)
    running.send_signal(signal.SIGINT)
    text = finish(running)
    assert running.returncode == pytest.ExitCode.INTERRUPTED, text
    assert "KeyboardInterrupt" in text
    done = journal(tmp_path)
    assert sum(kind == "evidence" for kind, _ in done) < alone[1]["evidence"]
    time.sleep(5)
    assert journal(tmp_path) == done, "a task went on"
    assert list((tmp_path / "store" / "v1" / "tmp").iterdir()) == []
    assert Store(tmp_path / "store").notes.names("cluster") == []
    again = start(tmp_path, "--provenance-executor", cluster.address)
    text = finish(again)
    assert again.returncode == 0, text
    assert found(tmp_path) == alone[0]
    assert max(journal(tmp_path).values()) == 1


def test_an_audit_on_a_cluster_finds_what_one_without_finds(cluster, folder, tmp_path):
    found = {}
    for where in ("local", cluster.address):
        out = tmp_path / where.replace(":", "-")
        command = [sys.executable, "-m", "provenance", "audit", ".", "--json"]
        command += ["--history", str(out / "h.sqlite"), "--store", str(out / "store")]
        out.mkdir()
        done = subprocess.run(
            [*command, "--executor", where],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        fields = json.loads(done.stdout)
        found[where] = (fields["models"], fields["pairs"])
        assert max(journal(out).values()) == 1
    assert found["local"] == found[cluster.address]
    assert len(found["local"][1]) == MODELS * (MODELS - 1) // 2
