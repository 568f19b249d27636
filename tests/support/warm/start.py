"""Start a server of programs that need torch, and write the commands that ask it."""

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
COMMANDS = ("pytest", "provenance")


def write_client(path, address, *before):
    """Write an executable whose arguments, after ``before``, the server takes for Python's."""
    called = f"main({sys.executable!r}, {str(address)!r}, {list(map(str, before))!r})"
    text = (HERE / "client.py").read_text("utf-8")
    path.write_text(f"#!{sys.executable} -IS\n{text}\n\n{called}\n", "utf-8")
    path.chmod(0o755)


@contextmanager
def warm_commands():
    """Make a folder of ``python``, ``pytest`` and ``provenance`` that start with torch in memory.

    Elsewhere than on Linux, where a process that has torch may not be forked, they are the usual ones.
    """
    usual = Path(sys.executable).parent
    if sys.platform != "linux":
        yield usual
        return
    with tempfile.TemporaryDirectory(prefix="warm-") as name:
        folder = Path(name)
        address = folder / "socket"
        write_client(folder / "python", address)
        for command in COMMANDS:
            write_client(folder / command, address, usual / command)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        with subprocess.Popen(
            [sys.executable, HERE / "server.py", address, folder / "python"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches the clients, which pass it on
        ) as server:
            if not server.stdout.readline():
                raise RuntimeError("the server of programs did not start")
            yield folder
            server.stdin.close()
