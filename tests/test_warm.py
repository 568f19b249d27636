"""Commands that start with torch in memory are Python's, and say and end alike."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """\
import os, sys
print(sys.argv, sys.path[0], os.getcwd(), os.environ["MARK"], __name__, sys.stdin.read())
"""


@pytest.fixture
def ran(tmp_path):
    """Run a command in a folder with a script: (status, output, last line of what it complains of)."""
    (tmp_path / "page.py").write_text(SCRIPT)
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside" / "beside_it.py").write_text("print('imported', __file__)")

    def ran(*command):
        paths = os.pathsep.join([str(tmp_path / "aside"), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [str(part) for part in command],
            cwd=tmp_path,
            env=os.environ | {"MARK": "é\n", "PYTHONPATH": paths},
            input="told",
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr.strip().rpartition("\n")[2]

    return ran


@pytest.mark.parametrize(
    ("called", "status"),
    [
        (["page.py", "a b", "-c"], 0),
        (["-c", SCRIPT, "-W", "x"], 0),
        (["-u", "-c", "print(input())"], 0),
        (["-mpage", "x"], 0),
        (["-m", "page"], 0),
        (["-c", "import beside_it"], 0),
        (["-c", "import sys; sys.exit(3)"], 3),
        (["-c", "import sys; sys.exit('no')"], 1),
        (["-c", "1 / 0"], 1),
        (["-W", "error", "-c", "import warnings; warnings.warn('w')"], 1),
        (["-c", "import os; os.kill(os.getpid(), 9)"], -signal.SIGKILL),
        (["-c", "import atexit; atexit.register(print, 'at the end')"], 0),
        (["-X", "utf8", "-c", "import sys; print(sys.flags.utf8_mode)"], 0),
        (["-m", "no_such_module"], 1),
        (["no_such_file.py"], None),
    ],
    ids=str,
)
def test_a_program_says_and_ends_as_under_python(warm, ran, called, status):
    found = ran(warm / "python", *called)
    usual = ran(sys.executable, *called)
    if status is None:  # Python has words of its own
        assert found[0] != 0
        assert usual[0] != 0
        return
    assert found[0] == status
    assert found[:2] == usual[:2]
    assert found[2].partition(": ")[2] == usual[2].partition(": ")[2]


def test_torch_is_in_memory_and_what_reads_the_environment_is_not(warm, ran):
    names = ("torch", "transformers", "huggingface_hub", "provenance")
    code = f"import sys; print([name in sys.modules for name in {names}])"
    assert ran(warm / "python", "-c", code)[1] == "[True, False, False, False]\n"


def test_a_command_is_the_one_beside_python(warm, ran):
    usual = Path(sys.executable).parent
    for command in ("pytest", "provenance"):
        found = ran(warm / command, "--help")
        assert found == ran(usual / command, "--help")
        assert found[0] == 0


WAITS = """\
import signal, time
signal.signal(signal.SIGINT, signal.SIG_DFL)  # a run in the background has it ignored
print('ready', flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_reaches_the_program(warm, number):
    command = [warm / "python", "-c", WAITS]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **piped) as running:
        assert running.stdout.readline() == b"ready\n"
        running.send_signal(number)
        assert running.wait() == -number
        assert running.stdout.read() == b"", "the program holds its output, and lives"
