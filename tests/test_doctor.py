"""`provenance doctor`: each check says what it found, and a secret is never among it."""

import json
import shutil
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

from provenance import Store, doctor
from provenance.cli import main
from provenance.doctor import diagnose
from tests.support.hub_server import serve

SECRET = "hf_" + "abcdefghijklmnopqrstuvwxyzABCDEFGH"


@pytest.fixture
def checks(tmp_path):
    """Run the checks that need no network; by name."""

    def checks(store=None, **how):
        found = diagnose(Store(store or tmp_path / "store"), **{"offline": True, **how})
        return {check.name: check for check in found}

    return checks


@pytest.fixture
def run(capfd, tmp_path):
    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["doctor", "--store", str(tmp_path / "store"), *arguments])
        out, err = capfd.readouterr()
        return stop.value.code, out, err

    return run


def in_a_process(tmp_path, **environment):
    """The checks of a fresh process, as the hub's library reads its variables when it is imported."""
    command = [sys.executable, "-m", "provenance.cli", "doctor", "--json"]
    command += ["--store", str(tmp_path / "store")]
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=clean | environment
    )
    assert "Traceback" not in done.stderr
    return done, {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def test_a_machine_that_is_well_exits_0_and_leaves_nothing_behind(run, tmp_path):
    code, out, err = run("--offline", "--device", "cpu")
    assert (code, err) == (0, "")
    names = [line.split()[1] for line in out.splitlines() if line[:1] != " "]
    assert names[:4] == ["packages", "extras", "pytest", "device"]
    assert {"memory", "store", "disk", "hub"} <= set(names)
    assert list(tmp_path.iterdir()) == []


def test_json_has_every_check_with_its_state(run):
    found = json.loads(run("--offline", "--json")[1])
    assert found["state"] in {"ok", "warning"}
    assert all(set(c) == {"name", "state", "detail", "remedy"} for c in found["checks"])


def test_a_device_that_is_not_there_is_a_problem(run):
    code, out, _ = run("--offline", "--device", "cuda:77", "--json")
    assert code == 1
    found = json.loads(out)
    assert found["state"] == "problem"
    (device,) = [check for check in found["checks"] if check["name"] == "device"]
    assert "'cuda:77'" in device["detail"]
    assert "nvidia-smi" in device["remedy"]


def test_a_gpu_that_torch_does_not_see_is_warned_of(checks, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = checks()["device"]
    assert found.state == "warning"
    assert found.detail.endswith("but nvidia-smi is here")


def test_a_requirement_that_is_not_met_is_a_problem(checks, monkeypatch):
    needs = ["click>=99", "no-such-package", "torch; extra == 'x'", "numpy; python_version < '3'"]
    monkeypatch.setattr(doctor, "requires", lambda _: needs)
    found = checks()["packages"]
    assert found.state == "problem"
    assert found.detail == (
        f"click {metadata.version('click')} is not >=99; no-such-package is not installed"
    )
    assert found.remedy == "pip install --upgrade pytest-provenance"


def test_an_optional_library_is_told_of_with_what_to_install(checks, monkeypatch):
    needs = [
        "click",
        "numpy; extra == 's3'",
        "no-such-package; extra == 'gguf'",
        "no-such-package; extra == 'dev'",
    ]
    monkeypatch.setattr(doctor, "requires", lambda _: needs)
    found = checks()["extras"]
    assert (found.state, found.detail) == (
        "ok",
        "installed: s3; not installed: gguf (pip install 'pytest-provenance[gguf]')",
    )


@pytest.mark.parametrize(
    ("names", "environment", "state", "words"),
    [
        (["provenance", "xdist"], {}, "ok", "the plugin is registered; xdist"),
        (["provenance"], {}, "warning", "pytest-xdist is not"),
        ([], {}, "problem", "not registered"),
        (["provenance", "xdist"], {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, "warning", "AUTOLOAD"),
    ],
)
def test_the_plugin_is_looked_for_where_pytest_looks(
    checks, monkeypatch, names, environment, state, words
):
    found = [SimpleNamespace(name=name) for name in names]
    monkeypatch.setattr(doctor, "entry_points", lambda group: found)
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    found = checks()["pytest"]
    assert found.state == state
    assert words in found.detail


@pytest.mark.parametrize(
    ("free", "state"), [(50 << 30, "ok"), (5 << 30, "warning"), (1 << 20, "problem")]
)
def test_a_full_disk_is_a_problem(checks, monkeypatch, free, state):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    found = checks()["disk"]
    assert found.state == state
    assert (found.remedy is None) == (state == "ok")


def test_little_memory_is_warned_of(checks, monkeypatch):
    from provenance.loading import devices

    monkeypatch.setattr(devices, "free_bytes", lambda _: 1 << 30)
    assert (checks()["memory"].state, checks()["memory"].detail) == ("warning", "1.0 GiB free")


def test_a_store_that_cannot_be_written_is_a_problem(checks):
    found = checks(store="/proc/none")["store"]
    assert found.state == "problem"
    assert "PROVENANCE_STORE" in found.remedy


def test_a_store_on_a_file_system_without_locks_is_a_problem(checks, monkeypatch):
    def refuse(*_, **__):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(doctor.FileLock, "acquire", refuse)
    found = checks()["store"]
    assert found.state == "problem"
    assert "without locks" in found.detail


def test_what_killed_processes_left_is_warned_of_and_gc_removes_it(checks, tmp_path):
    store = Store(tmp_path / "store")
    store.get_or_create("hashes", {"a": 1}, lambda folder: (folder / "x").write_text("x"))
    (store.root / "v1" / "tmp" / f"hashes-{'0' * 64}.abc").mkdir()
    found = checks()["store"]
    assert found.state == "warning"
    assert "left 1 unfinished entries" in found.detail
    store.prune(100 << 30)
    assert checks()["store"].state == "ok"


def test_what_is_being_built_is_no_leftover(tmp_path):
    store = Store(tmp_path / "store")
    seen = []
    store.get_or_create("hashes", {"a": 1}, lambda _: seen.append(Store(store.root).leftovers()))
    assert seen == [[]]


def test_a_store_of_another_version_is_warned_of(checks, tmp_path):
    (tmp_path / "store" / "v2").mkdir(parents=True)
    found = checks()["store"]
    assert found.state == "warning"
    assert "v2 of another version" in found.detail


def test_the_hub_is_reached_at_its_endpoint_and_no_secret_is_told(tmp_path):
    with serve({}) as hub:
        endpoint = hub.endpoint.replace("http://", "http://me:pass-word@")
        done, found = in_a_process(tmp_path, HF_ENDPOINT=endpoint, HF_TOKEN=SECRET)
    assert hub.requests == ["HEAD /"]
    assert found["hub token"]["detail"] == "a token is set"
    assert found["hub"]["state"] == "problem"  # this server answers 401 to what it does not know
    assert found["hub"]["detail"] == f"{hub.endpoint} answers 401"
    for text in (done.stdout, done.stderr):
        assert SECRET not in text
        assert "pass-word" not in text


def test_a_hub_that_cannot_be_reached_is_a_problem(tmp_path):
    done, found = in_a_process(tmp_path, HF_ENDPOINT="http://u:pass-word@127.0.0.1:9")
    assert done.returncode == 1
    assert found["hub"]["state"] == "problem"
    assert found["hub"]["detail"].startswith("http://127.0.0.1:9 cannot be reached")
    assert "pass-word" not in done.stdout + done.stderr
    assert found["hub token"]["detail"].startswith("no token is set")


def test_a_hub_that_is_switched_off_is_not_asked(tmp_path):
    done, found = in_a_process(tmp_path, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert done.returncode == 0
    assert "HF_HUB_OFFLINE" in found["hub"]["detail"]
