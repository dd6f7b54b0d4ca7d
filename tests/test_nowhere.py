"""The network in which hostile tests run."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys

import pytest

from tests.nowhere import entered, links

UNROUTED = (errno.ENETUNREACH, errno.EHOSTUNREACH)


def test_there_is_nothing_but_loopback(nowhere: None) -> None:
    assert links() == ["lo"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()[:2], 5).close()
    for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with (
            socket.socket(family, socket.SOCK_DGRAM) as probe,
            pytest.raises(OSError, match="nreachable") as caught,
        ):
            probe.connect((address, 9))
        assert caught.value.errno in UNROUTED


def test_one_comes_back(nowhere: None) -> None:
    inside = os.readlink("/proc/thread-self/ns/net")
    with entered():
        assert os.readlink("/proc/thread-self/ns/net") != inside
    assert os.readlink("/proc/thread-self/ns/net") == inside


def test_a_command_runs_there(nowhere: None) -> None:
    asked = "import socket; print([name for _, name in socket.if_nameindex()])"
    words = [sys.executable, "tests/nowhere.py", sys.executable, "-c", asked]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "['lo']\n"
