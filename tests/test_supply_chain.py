"""What is installed, and what continuous integration runs, is what was chosen."""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading

import pytest
import yaml

from tests.support.places import ROOT

LOCKS = ROOT / "locks"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml*"))
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")


def entries(text):
    """Hashes by pin, extras and markers taken off."""
    found = {}
    for line in text.splitlines():
        if "==" in line and not line.startswith("#"):
            pin = re.sub(r"\[.*?\]", "", line).split()[0]
            hashes = found[pin] = []
        elif not line.startswith("#"):
            assert HASH.match(line), line
            hashes.append(line)
    return found


def locked(*names):
    return {
        pin: hashes for name in names for pin, hashes in entries(read(f"locks/{name}.txt")).items()
    }


def read(name):
    return (ROOT / name).read_text()


def test_every_pin_is_locked_with_hashes_and_nothing_else_is_but_what_cuda_needs():
    pins = {line for line in read("constraints.txt").splitlines() if "==" in line}
    found = locked("dev", "torch-pypi", "extras")
    assert pins <= found.keys()
    assert all(found.values())
    assert all(re.match(r"(nvidia|cuda|triton)", pin) for pin in found.keys() - pins), (
        "python locks/_make.py"
    )


def test_a_package_has_one_version_in_all_locks():
    versions = {}
    for pin in locked(*(path.stem for path in LOCKS.glob("*.txt"))):
        name, _, version = pin.partition("==")
        versions.setdefault(name, set()).add(version.partition("+")[0])
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_and_runs_actions_by_commit(path):
    workflow = yaml.safe_load(path.read_text())
    jobs = list(workflow["jobs"].values())
    for permissions in [workflow["permissions"], *(job["permissions"] for job in jobs)]:
        assert set(permissions.values()) <= {"read", "none"}
    used = [step["uses"] for job in jobs for step in job["steps"] if "uses" in step]
    assert used
    assert [use for use in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", use)] == []
    # a commit says nothing to a reader: its tag stands beside it
    lines = re.findall(r"uses: \S+(.*)", path.read_text())
    assert [line for line in lines if not re.fullmatch(r" # v\d+\.\d+\.\d+", line)] == []
    for job in jobs:
        (checkout,) = (s for s in job["steps"] if s.get("uses", "").startswith("actions/checkout"))
        assert checkout["with"]["persist-credentials"] is False


def audit(service, *arguments, path=os.environ["PATH"]):
    return subprocess.run(
        [str(ROOT / ".ci" / "audit"), *arguments],
        check=False,
        env=os.environ | {"PROVENANCE_OSV": service, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )


needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="the script needs bash")


@pytest.mark.slow
@needs_bash
def test_without_its_service_an_audit_says_so_and_fails_only_where_it_is_required():
    nobody = "http://127.0.0.1:9/v1/query"
    found = audit(nobody)
    assert found.returncode == 0
    assert found.stderr.startswith(f"not audited for known vulnerabilities: {nobody}: ")
    assert audit(nobody, "--required").returncode == 1


@pytest.fixture
def service():
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()
        thread.join()


TOOL = """\
#!/bin/sh
echo "$@" >> "$FAKES/asked"
case "$*" in *locks/extras*) exit 1;; esac
"""
PYTHON = f"""\
#!/bin/sh
[ "$1" = - ] && exec {sys.executable} "$@"
mkdir -p "$3/bin"
cp "$FAKES/tool" "$3/bin/pip"
cp "$FAKES/tool" "$3/bin/pip-audit"
"""


@pytest.mark.slow
@needs_bash
def test_what_pip_audit_finds_fails_and_it_is_installed_by_hashes(tmp_path, service, monkeypatch):
    """pip-audit itself is a stand-in here, which finds something in one of the files."""
    (tmp_path / "tool").write_text(TOOL)
    (tmp_path / "python3").write_text(PYTHON)
    for name in ("tool", "python3"):
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("FAKES", str(tmp_path))
    found = audit(service, path=f"{tmp_path}:{os.environ['PATH']}")
    assert found.returncode == 1, found.stderr
    install, *audits = (tmp_path / "asked").read_text().splitlines()
    assert "--require-hashes -r locks/audit.txt" in install
    assert [line.rpartition("/")[2] for line in audits] == [
        "dev.txt",
        "torch-pypi.txt",
        "extras.txt",
    ]
    assert all("--strict" in line and "--require-hashes" in line for line in audits)
