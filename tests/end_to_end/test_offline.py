"""The guard against the network, which conftest.py sets for every test."""

import socket

import pytest


def test_another_machine_is_refused_and_this_one_is_not():
    with pytest.raises(AssertionError, match=r"socket\.getaddrinfo: a test reaches for somewhere\.invalid"):
        socket.create_connection(("somewhere.invalid", 80), timeout=1)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one, pytest.raises(AssertionError, match=r"192\.0\.2\.1"):
        one.connect(("192.0.2.1", 80))
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=9):
        pass
