"""No test, and nothing that it calls in its process or forks, reaches for the network: only this machine answers."""

import socket
import sys

LOCAL = {"localhost", "127.0.0.1", "::1", "", None, socket.gethostname()}


def forbid():
    """From now on any other address is an error, before anything is sent."""
    sys.addaudithook(_watch)


def _watch(event, arguments):
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and arguments[0].family in (socket.AF_INET, socket.AF_INET6):
        host = arguments[-1][0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host not in LOCAL:
        raise AssertionError(f"{event}: a test reaches for {host}")
