"""`provenance doctor`: each check says what it found, and what to do."""

import json
import shutil
from importlib import metadata
from types import SimpleNamespace

import pytest

from provenance import Store, doctor
from provenance.cli import main
from provenance.doctor import diagnose


@pytest.fixture
def checks(tmp_path):
    """Run the checks; by name."""

    def checks(store=None):
        return {check.name: check for check in diagnose(Store(store or tmp_path / "store"))}

    return checks


@pytest.fixture
def run(capfd, tmp_path):
    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["doctor", "--store", str(tmp_path / "store"), *arguments])
        out, err = capfd.readouterr()
        return stop.value.code, out, err

    return run


def test_a_machine_that_is_well_exits_0_and_leaves_nothing_behind(run, tmp_path):
    code, out, err = run("--device", "cpu")
    assert (code, err) == (0, "")
    names = [line.split()[1] for line in out.splitlines() if line[:1] != " "]
    assert names == ["packages", "extras", "device", "store"]
    assert list(tmp_path.iterdir()) == []


def test_json_has_every_check_with_its_state(run):
    found = json.loads(run("--json")[1])
    assert found["state"] in {"ok", "warning"}
    assert all(set(c) == {"name", "state", "detail", "remedy"} for c in found["checks"])


def test_a_device_that_is_not_there_is_a_problem(run):
    code, out, _ = run("--device", "cuda:77", "--json")
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
    ("free", "state"), [(50 << 30, "ok"), (5 << 30, "warning"), (1 << 20, "problem")]
)
def test_a_full_disk_is_a_problem(checks, monkeypatch, free, state):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    found = checks()["store"]
    assert found.state == state
    assert (found.remedy is None) == (state == "ok")


def test_a_store_that_cannot_be_written_is_a_problem(checks):
    found = checks(store="/proc/none")["store"]
    assert found.state == "problem"
    assert "PROVENANCE_STORE" in found.remedy
