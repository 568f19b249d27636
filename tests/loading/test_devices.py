"""A GPU belongs to one holder at a time, and to nobody once its holder is gone."""

import re
import signal
import subprocess
import sys
import threading

import pytest
import torch
from filelock import FileLock

from provenance.errors import DeviceError
from provenance.loading import devices
from provenance.loading.devices import devices_for, lease

pytestmark = pytest.mark.slow

PATIENCE = 60.0
"""Seconds after which a test gives up on what should happen at once."""

HOLDER = """\
import sys, time
from pathlib import Path
import torch
torch.cuda.is_available, torch.cuda.device_count = (lambda: True), (lambda: 2)
from provenance.loading.devices import lease
with lease("auto", Path(sys.argv[1])) as device:
    print(device, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.fixture
def two_gpus(monkeypatch):
    """Two GPUs, as far as torch says; what was emptied is counted."""
    emptied = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(1))
    monkeypatch.setattr(devices, "POLL_SECONDS", 0.01)
    return emptied


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the first free of two GPUs until it is ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with process:
        process.held = process.stdout.readline().strip()
        assert process.held == "cuda:0"
        yield process
        process.kill()


class Waiter(threading.Thread):
    """Another holder in this process: takes a lease, and keeps it until told to let go."""

    def __init__(self, requested, locks):
        super().__init__(daemon=True)
        self.requested, self.locks = requested, locks
        self.device = None
        self.got, self.let_go = threading.Event(), threading.Event()

    def run(self):
        with lease(self.requested, self.locks) as self.device:
            self.got.set()
            self.let_go.wait(PATIENCE)


def is_free(locks, device):
    """Whether the device could be leased now."""
    lock = FileLock(locks / devices.lock_name(device), blocking=False)
    try:
        with lock:
            return True
    except TimeoutError:
        return False


def test_who_sees_other_gpus_under_the_same_number_has_a_lock_of_its_own(monkeypatch):
    """As Ray does for its tasks: each sees its own GPU as the first."""
    names = set()
    for visible in (None, "1", "GPU-2a5b", "3,2"):
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        names.add(devices.lock_name("cuda:0"))
    assert len(names) == 4
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,0")
    assert devices.lock_name("cuda:1") in names  # the first, by another number
    monkeypatch.setattr(devices.socket, "gethostname", lambda: "another")
    assert devices.lock_name("cuda:1") not in names


# candidates


@pytest.mark.parametrize("requested", ["auto", "cpu"])
def test_without_a_gpu_the_cpu_serves(no_gpu, requested):
    assert devices_for(requested) == ("cpu",)


@pytest.mark.parametrize("requested", ["cuda", "cuda:0", "cuda:7"])
def test_a_gpu_that_was_asked_for_is_never_replaced_by_the_cpu(no_gpu, requested):
    with pytest.raises(
        DeviceError,
        match=f"^device '{requested}' was asked for and this machine has no usable GPU$",
    ):
        devices_for(requested)


@pytest.mark.parametrize("requested", ["", "gpu", "CUDA", "mps", "cpu:0", "cuda:x", "cuda:-1", "1"])
def test_a_word_that_is_no_device_is_refused_with_those_that_are(no_gpu, requested):
    expected = f"there is no device {requested!r}: use auto, cpu, cuda or cuda:N"
    with pytest.raises(DeviceError, match=f"^{re.escape(expected)}$"):
        devices_for(requested)


@pytest.mark.parametrize(
    ("requested", "found"),
    [
        ("cpu", ("cpu",)),
        ("auto", ("cuda:0", "cuda:1")),
        ("cuda", ("cuda:0", "cuda:1")),
        ("cuda:0", ("cuda:0",)),
        ("cuda:1", ("cuda:1",)),
    ],
)
def test_with_gpus_each_request_has_its_candidates(two_gpus, requested, found):
    assert devices_for(requested) == found


def test_a_gpu_beyond_the_last_is_refused_with_how_many_there_are(two_gpus):
    with pytest.raises(DeviceError, match=r"^device 'cuda:2' was asked for .* only 2 usable GPU"):
        devices_for("cuda:2")


def test_gpus_that_torch_cannot_use_are_not_counted(two_gpus, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices_for("auto") == ("cpu",)


# lease


@pytest.mark.parametrize("requested", ["auto", "cpu"])
def test_the_cpu_is_shared_and_needs_no_lock(no_gpu, tmp_path, requested):
    with lease(requested, tmp_path / "locks") as one, lease(requested, tmp_path / "locks") as two:
        assert (one, two) == ("cpu", "cpu")
    assert not (tmp_path / "locks").exists()


def test_a_device_that_is_not_there_is_refused_before_anything_is_locked(no_gpu, tmp_path):
    with (
        pytest.raises(DeviceError, match="this machine has no usable GPU"),
        lease("cuda", tmp_path / "locks"),
    ):
        pass
    assert not (tmp_path / "locks").exists()


@pytest.mark.parametrize("requested", ["auto", "cuda"])
def test_the_first_lease_gets_the_first_gpu(two_gpus, tmp_path, requested):
    with lease(requested, tmp_path / "new" / "locks") as device:
        assert device == "cuda:0"


def test_a_second_lease_gets_the_second_gpu(two_gpus, tmp_path):
    with lease("auto", tmp_path) as first, lease("auto", tmp_path) as second:
        assert (first, second) == ("cuda:0", "cuda:1")


def test_a_lease_is_held_against_other_threads(two_gpus, tmp_path):
    other = Waiter("auto", tmp_path)
    with lease("auto", tmp_path):
        other.start()
        assert other.got.wait(PATIENCE)
        assert other.device == "cuda:1"
        other.let_go.set()
        other.join(PATIENCE)


def test_a_lease_is_held_against_other_processes(two_gpus, holder, tmp_path):
    assert holder.held == "cuda:0"
    with lease("auto", tmp_path) as device:
        assert device == "cuda:1"


def test_a_third_lease_waits_until_one_is_let_go(two_gpus, tmp_path):
    third = Waiter("auto", tmp_path)
    with lease("auto", tmp_path):
        with lease("auto", tmp_path):
            third.start()
            assert not third.got.wait(0.2)
        assert third.got.wait(PATIENCE)
        assert third.device == "cuda:1"
        third.let_go.set()
        third.join(PATIENCE)


def test_a_gpu_asked_for_by_number_is_waited_for_though_another_is_free(two_gpus, tmp_path):
    other = Waiter("cuda:0", tmp_path)
    with lease("cuda:0", tmp_path):
        other.start()
        assert not other.got.wait(0.2)
    assert other.got.wait(PATIENCE)
    assert other.device == "cuda:0"
    other.let_go.set()
    other.join(PATIENCE)


def test_a_lease_ends_with_the_with(two_gpus, tmp_path):
    with lease("auto", tmp_path):
        assert not is_free(tmp_path, "cuda:0")
    assert is_free(tmp_path, "cuda:0")


def test_a_lease_is_let_go_when_the_body_raises(two_gpus, tmp_path):
    with pytest.raises(RuntimeError, match="out of memory"), lease("auto", tmp_path):
        raise RuntimeError("out of memory")
    assert is_free(tmp_path, "cuda:0")


def test_a_lease_is_let_go_by_a_process_that_is_killed(two_gpus, holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait(PATIENCE)
    with lease("cuda:0", tmp_path) as device:
        assert device == "cuda:0"


def test_memory_is_given_back_before_the_gpu_is_let_go(two_gpus, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: seen.append(is_free(tmp_path, "cuda:0")))
    with lease("auto", tmp_path):
        pass
    assert seen == [False]


def test_emptying_the_cache_is_harmless_where_no_gpu_was_used():
    torch.cuda.empty_cache()
