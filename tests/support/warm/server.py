"""A process that has imported torch, and becomes the programs that clients ask it for.

Importing torch takes most of the time of a short command. This process imports torch once, and forks for
each program: the program finds torch in memory, and imports all else by itself. Nothing is imported here
that reads the environment, which each program brings along: transformers would keep this process's folders
of the hub.

Usage: ``python server.py SOCKET EXECUTABLE``. An empty line says that the socket is there. The process ends
when its standard input does.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import types
import warnings
from pathlib import Path
from typing import NamedTuple

IMPORTED = (
    # torch, and what transformers' models import of it
    *("torch", "torch._dynamo", "torch.distributed.tensor"),
    *("scipy.optimize", "scipy.stats"),
)


class Program(NamedTuple):
    """What a client was called with: Python's arguments, a folder, an environment, three streams."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    streams: list[int]


def received(link: socket.socket) -> Program:
    """Read what a client sends: eight bytes of length, with three streams, and then JSON."""
    head, streams, _, _ = socket.recv_fds(link, 8, 3)
    with link.makefile("rb") as stream:
        asked = json.loads(stream.read(int.from_bytes(head, "big")))
    return Program(*asked, streams)


def serve(listening: socket.socket) -> Program | None:
    """Fork for each client; return its program in the fork, and None here when the input ends."""
    forks: list[int] = []
    while True:
        ready, _, _ = select.select([listening, 0], [], [])
        if 0 in ready:
            for fork in forks:
                os.waitpid(fork, 0)
            return None
        link, _ = listening.accept()
        fork = os.fork()
        if fork == 0:
            listening.close()
            return attend(link)
        link.close()
        forks = [fork, *(one for one in forks if os.waitpid(one, os.WNOHANG)[0] == 0)]


def attend(link: socket.socket) -> Program:
    """Return a client's program in a fork, and end this process after it, telling the client its status."""
    program = received(link)
    child = os.fork()
    if child == 0:
        link.close()
        return program
    for stream in program.streams:
        os.close(stream)
    threading.Thread(target=pass_signals, args=(link, child), daemon=True).start()
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(BrokenPipeError):  # the client was killed
        link.sendall(status.to_bytes(4, "big"))
    os._exit(0)


def pass_signals(link: socket.socket, child: int) -> None:
    """Send on what signals the client gets. A client that is gone was killed, and so is its program."""
    while number := link.recv(1):
        os.kill(child, number[0])
    os.kill(child, signal.SIGKILL)


def become(program: Program, executable: str, installed: list[str]) -> None:
    """Run a program as Python would, up to its end or its exception."""
    for number, stream in enumerate(program.streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(program.folder)
    os.environ.clear()
    os.environ.update(program.environment)
    sys.executable = executable
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    ahead = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    sys.path[:] = [*ahead, *installed]
    what, *rest = program.arguments
    if what == "-u":
        sys.stdout.reconfigure(write_through=True)
        what, *rest = rest
    if what == "-W":
        action, what, *rest = rest
        sys.warnoptions.append(action)
        warnings.simplefilter(action)
    if what == "-c":
        code, *rest = rest
        run_code(code, rest)
    elif what == "-m":
        run_module(rest)
    else:
        sys.path.insert(0, str(Path(what).absolute().parent))
        sys.argv[:] = [what, *rest]
        runpy.run_path(what, run_name="__main__")


def run_code(code: str, arguments: list[str]) -> None:
    """Run ``python -c``."""
    sys.path.insert(0, "")
    sys.argv[:] = ["-c", *arguments]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(code, "<string>", "exec"), vars(main))


def run_module(called: list[str]) -> None:
    """Run ``python -m``."""
    sys.path.insert(0, str(Path.cwd()))
    sys.argv[:] = called
    runpy.run_module(called[0], run_name="__main__", alter_sys=True)


def main() -> None:
    """Import torch, then serve."""
    address, executable = sys.argv[1:]
    del sys.path[0]  # this file's folder
    installed = [*sys.path]
    for name in IMPORTED:
        importlib.import_module(name)
    if threading.active_count() > 1:
        sys.exit("a process with threads is not forked")
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(64)
        os.write(1, b"\n")
        program = serve(listening)
    if program is not None:
        become(program, executable, installed)


if __name__ == "__main__":
    main()
