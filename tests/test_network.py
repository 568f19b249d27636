"""No test reaches another machine."""

import socket

import pytest
from pytest_socket import SocketConnectBlockedError


def test_another_machine_is_refused():
    refusals = (
        SocketConnectBlockedError,
        UserWarning,
    )  # the warning comes first, and is an error here
    with pytest.raises(refusals, match=r"192\.0\.2\.1"), socket.socket() as outside:
        outside.connect(("192.0.2.1", 80))  # TEST-NET-1: nobody's


def test_this_machine_is_not():
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
