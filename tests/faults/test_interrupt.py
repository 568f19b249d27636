"""Ctrl-C: what was measured is kept, the report is written with what there is, and a line says so."""

import os
import subprocess
import sys

import pytest

from provenance import Results

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="POSIX signals"),
    pytest.mark.extended,  # every case starts pytest twice
]

CONFTEST = """
import os, signal
from provenance.plugin.progress import Progress

told, matched = Progress.__call__, 0

def call(self, stage):
    global matched
    told(self, stage)
    matched += stage.action == "match" and stage.done == 0
    if matched == 2:
        matched += 1
        os.kill(os.getpid(), signal.SIGINT)

Progress.__call__ = call
"""


def test_a_run_that_is_interrupted_reports_what_it_has_and_the_next_goes_on(
    tmp_path, write_suite, run
):
    write_suite(tmp_path)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    stopped = run(tmp_path, tmp_path / "store", "--provenance-report", "report.html")
    assert stopped.returncode == pytest.ExitCode.INTERRUPTED, stopped.stdout + stopped.stderr
    assert "KeyboardInterrupt" in stopped.stdout
    results = Results.from_json((tmp_path / "kept" / "results.json").read_text())
    states = [result.state for result in results.claims]
    assert states == ["pass", "not run", "not run"]
    page = (tmp_path / "report.html").read_text()
    assert "not checked" in page
    assert list((tmp_path / "store" / "v1" / "tmp").iterdir()) == []
    (tmp_path / "conftest.py").unlink()
    assert run(tmp_path, tmp_path / "store").returncode == 0


def test_the_command_line_ends_with_130_and_no_traceback(tmp_path, family):
    code = (
        "import os, signal\n"
        "from provenance.cli import main\n"
        "from provenance.comparison.executor import Executor\n"
        "told = Executor._tell\n"
        "def tell(self, stage):\n"
        "    told(self, stage)\n"
        "    if stage.action == 'match':\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "Executor._tell = tell\n"
        f"main(['compare', {str(family.kin)!r}, {str(family.base)!r}, '--tokens', '512',\n"
        f"      '--sequence-length', '64', '--store', {str(tmp_path / 'store')!r}])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "store" / "v1" / "tmp").iterdir()) == []
