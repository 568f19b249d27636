"""Settings of the tests alone."""

import sys

import numpy.fft  # noqa: F401 - as rich below; it cannot be imported twice
import pytest
import rich.console
import rich.table  # noqa: F401 - pytester forgets what is first imported in its test
from hypothesis import HealthCheck, settings
from pytest_socket import socket_allow_hosts

from tests.support.warm.start import warm_commands

# the same examples in every run: a red test is then about the change that made it red
settings.register_profile(
    "fixed",
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # of a busy machine
)
settings.load_profile("fixed")


def pytest_ignore_collect(collection_path, config):
    """Import no file that the inner loop would deselect as a whole."""
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    return "\npytestmark = pytest.mark.slow\n" in collection_path.read_text("utf-8") or None


def pytest_collection_modifyitems(items):
    """What CI leaves out, the inner loop leaves out as well: ``-m "not slow"`` replaces CI's ``-m``."""
    for item in items:
        if item.get_closest_marker("extended") is not None:
            item.add_marker(pytest.mark.slow)


AROUND = (
    # a CI system's log is told of progress, and GitHub of failures
    *("CI", "BUILD_NUMBER"),
    *("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE", "GITHUB_SERVER_URL"),
    # what a user set for terminals of his own
    *("FORCE_COLOR", "NO_COLOR", "PY_COLORS", "COLUMNS"),
)


@pytest.fixture(autouse=True)
def wherever_tests_run(monkeypatch):
    """Let no test depend on the CI system or the terminal around it."""
    for name in AROUND:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def only_loopback():
    """No test talks to another machine: pytest-socket refuses it, and lifts that when the test ends."""
    socket_allow_hosts(["127.0.0.1", "::1"], allow_unix_socket=True)


@pytest.fixture(scope="session")
def warm():
    """The folder of commands that start with torch in memory; the usual ones import it for seconds."""
    with warm_commands() as folder:
        yield folder


@pytest.fixture
def warm_python(warm, monkeypatch):
    """Have the processes that a test starts, and xdist's workers, start with torch in memory."""
    monkeypatch.setattr(sys, "executable", str(warm / "python"))


@pytest.fixture(scope="module")
def browser():
    """A Chromium; it ends with its module, since other tests cannot run beside its event loop."""
    from tests.support.browser import chromium

    with chromium() as found:
        yield found
