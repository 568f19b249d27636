"""Have a program run by a `server`, as if this process were it: its streams, signals and exit status.

An option of Python that the server does not read is left to Python. `start` makes commands of this text: it
adds a call of `main`.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def is_known(arguments):
    """Whether the server reads these arguments of Python."""
    if arguments[:1] == ["-u"]:
        arguments = arguments[1:]
    if arguments[:2] == ["-W", "error"]:
        arguments = arguments[2:]
    return bool(arguments) and (arguments[0] in {"-c", "-m"} or not arguments[0].startswith("-"))


def main(python, address, before):
    """End as the program of ``before`` and of this process's arguments ends."""
    arguments = [*before, *sys.argv[1:]]
    if arguments and arguments[0].startswith("-m") and arguments[0] != "-m":
        arguments[:1] = ["-m", arguments[0][2:]]
    if not is_known(arguments):
        os.execv(python, [python, *arguments])
    link = socket.socket(socket.AF_UNIX)
    link.connect(address)
    for number in SIGNALS:
        signal.signal(number, lambda number, _: link.send(bytes([number])))
    asked = json.dumps([arguments, str(Path.cwd()), dict(os.environ)]).encode()
    socket.send_fds(link, [len(asked).to_bytes(8, "big")], [0, 1, 2])
    link.sendall(asked)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(
        3
    ):  # the program alone has them now: whoever reads it learns when it closes them
        os.dup2(nothing, number)
    status = int.from_bytes(link.recv(4, socket.MSG_WAITALL), "big")
    if os.WIFSIGNALED(status):
        if os.WTERMSIG(status) in SIGNALS:
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    sys.exit(os.waitstatus_to_exitcode(status))
