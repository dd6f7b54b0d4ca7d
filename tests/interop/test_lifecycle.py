"""Start and end of a running Byway: signals, draining, and what a SIGKILL leaves."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.interop import socks_client
from tests.interop.byway import ANN, USERS, Byway, byway, listening
from tests.interop.conftest import Origin
from tests.interop.origin import content
from tests.interop.programs import answers, free_port, need, run, told, until
from tests.interop.raw import rest


def config(port: int, drain: str = "10m") -> dict[str, object]:
    """A mixed proxy that drains for longer than a test may take."""
    return {**listening(port), "limits": {"drain": drain}}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_ends_at_once_when_idle(number: int, tmp_path: Path) -> None:
    port = free_port()
    program = Byway(config(port), tmp_path).ready()
    program.program.signal(number)
    assert program.program.ended() == 0
    program.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_lets_flows_finish_and_takes_no_new_ones(number: int, tmp_path: Path) -> None:
    port = free_port()
    program = Byway(config(port), tmp_path).ready()
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = ("127.0.0.1", int(server.getsockname()[1]))
        with socks_client.connect(("127.0.0.1", port), place) as near:
            far, _ = server.accept()
            with far:
                program.program.signal(number)
                until(lambda: not answers("127.0.0.1", port), what="the listener to close")
                far.sendall(b"the end of the answer")
                assert near.recv(100) == b"the end of the answer"
        assert program.program.ended() == 0
    program.stop()


def test_cuts_what_does_not_finish(tmp_path: Path) -> None:
    port = free_port()
    program = Byway(config(port, "3s"), tmp_path).ready()
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = ("127.0.0.1", int(server.getsockname()[1]))
        with socks_client.connect(("127.0.0.1", port), place) as near:
            program.program.signal(signal.SIGTERM)
            assert program.program.ended() == 0
            assert rest(near) == b""
    program.stop()


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    port = free_port()
    program = Byway(config(port), tmp_path).ready()
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = ("127.0.0.1", int(server.getsockname()[1]))
        with socks_client.connect(("127.0.0.1", port), place):
            program.program.signal(signal.SIGINT)
            until(lambda: not answers("127.0.0.1", port), what="the listener to close")
            program.program.signal(signal.SIGINT)
            program.program.ended()


def test_listens_on_a_unix_socket_also_after_a_kill(origin: Origin, tmp_path: Path) -> None:
    # curl takes the path of a SOCKS proxy's unix socket after the host name.
    sock, port = tmp_path / "proxy.sock", free_port()
    both = {"door": {"type": "mixed", "listen": [f"127.0.0.1:{port}", f"unix:{sock}"]}}
    curl = (need("curl"), "-q", "-sS", "-f", "--noproxy", "", "-x", f"socks5h://localhost{sock}")
    first = Byway({"inbounds": both}, tmp_path / "first").ready()
    assert told(run(*curl, origin.url("/bytes/70000"))) == content(70_000)
    first.program.signal(signal.SIGKILL)
    first.program.ended()
    assert sock.exists()
    with byway({"inbounds": both}, tmp_path / "second"):
        assert told(run(*curl, origin.url("/bytes/70000"))) == content(70_000)
    assert not sock.exists()


def test_a_taken_port_is_said_plainly(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        inbound = {"home": {"type": "mixed", "listen": f"127.0.0.1:{port}"}}
        program = Byway({"inbounds": inbound}, tmp_path)
        assert program.program.ended() != 0
        assert f"127.0.0.1:{port}" in program.log
        assert "Traceback" not in program.log


def test_never_logs_a_secret(origin: Origin, tmp_path: Path) -> None:
    port = free_port()
    settings = {**listening(port, users=USERS), "log": {"level": "debug"}}
    with byway(settings, tmp_path) as program:
        login = (ANN[0], ANN[1])
        place = ("127.0.0.1", origin.http)
        socks_client.connect(("127.0.0.1", port), place, login).close()
        with pytest.raises((socks_client.SocksError, OSError)):
            socks_client.connect(("127.0.0.1", port), place, (ANN[0], "mistyped secret"))
        curl = (need("curl"), "-q", "-s", "--noproxy", "", "-x", f"http://127.0.0.1:{port}")
        run(*curl, "--proxy-user", "ann:another mistake", origin.url("/seen"))
        run(*curl, "--proxy-user", "bob:b", "-H", "Authorization: s3cr3t", origin.url("/seen"))
    for secret in (ANN[1], "mistyped secret", "another mistake", "s3cr3t"):
        assert secret not in program.log
