"""Bad input and bad luck: each ends its own flow, costs little, and harms nobody else."""

from __future__ import annotations

import os
import random
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.interop import socks_client
from tests.interop.byway import Byway, byway, listening
from tests.interop.conftest import Origin
from tests.interop.origin import content
from tests.interop.programs import PATIENCE, free_port, need, run, told, until
from tests.interop.raw import dial, exchange, reset, rest, sink

LIMITS = {"handshake": "1s", "dial": "2s", "idle": "2s", "head": "16KiB", "drain": "2s"}
HELD = int(os.environ.get("BYWAY_HELD_FLOWS", "2000"))
HELD_FOR = float(os.environ.get("BYWAY_HELD_SECONDS", "0"))
"""How many flows are held, and how long; 9000 for 60 s is a test of a few minutes, not for CI."""

SLACK = 12  # descriptors that pools and the like may keep


class Victim:
    """A Byway with short limits, and a look at what it costs."""

    def __init__(self, program: Byway, port: int) -> None:
        self.program, self.port = program, port
        self.resting = program.descriptors()

    def well(self, origin: Origin) -> None:
        """It serves, and has let go of what the fault made it hold."""
        curl = (need("curl"), "-q", "-sS", "-f", "--noproxy", "", "-m", "10")
        for scheme in ("http", "socks5h"):
            proxy = f"{scheme}://127.0.0.1:{self.port}"
            assert told(run(*curl, "-x", proxy, origin.url("/bytes/50000"))) == content(50_000)
        until(
            lambda: self.program.descriptors() <= self.resting + SLACK,
            what=f"its descriptors ({self.resting} at rest) to come back",
        )
        assert "Traceback" not in self.program.log


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """One for all faults of this file: what one fault leaves, the next would show."""
    port = free_port()
    with byway({**listening(port), "limits": LIMITS}, tmp_path_factory.mktemp("victim")) as program:
        yield Victim(program, port)


STARTS = {
    "nothing": b"",
    "http-line": b"GET http://127.0.0.1/ HT",
    "http-head": b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow",
    "connect": b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n",
    "socks5-greeting": b"\x05\x02\x00",
    "socks5-request": b"\x05\x01\x00\x05\x01\x00\x03\x09local",
    "socks4-userid": b"\x04\x01\x00\x50\x7f\x00\x00\x01some",
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_who_stops_in_mid_handshake_is_left_behind(
    start: bytes, victim: Victim, origin: Origin
) -> None:
    lines = victim.program.log.count("handshake failed")
    crowd = [dial(victim.port) for _ in range(30)]
    try:
        for sock in crowd:
            sock.sendall(start)
        victim_serves = origin.url("/bytes/9")
        assert told(run(need("curl"), "-sSx", f"127.0.0.1:{victim.port}", victim_serves))
        for sock in crowd:
            rest(sock)
    finally:
        for sock in crowd:
            sock.close()
    victim.well(origin)
    # One line for each; who never said a word gets none.
    lines += 30 if start else 0
    until(lambda: victim.program.log.count("handshake failed") == lines, what="30 log lines")


def test_who_drips_bytes_is_left_behind(victim: Victim, origin: Origin) -> None:
    # A byte now and then must not renew the handshake's time.
    began = time.monotonic()
    with dial(victim.port) as sock:
        sock.sendall(b"GET http://127.0.0.1/ HTTP/1.1\r\nX: ")
        sock.settimeout(0.2)
        while time.monotonic() - began < PATIENCE:
            try:
                sock.sendall(b"y")
                if not sock.recv(1000):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
    assert time.monotonic() - began < PATIENCE  # with each byte, the time would begin anew
    victim.well(origin)


@pytest.mark.parametrize(
    "flood",
    [
        b"GET http://127.0.0.1/" + b"a" * 4_000_000,
        b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"a" * 4_000_000,
        b"GET http://127.0.0.1/ HTTP/1.1\r\n" + b"X: y\r\n" * 700_000,
        b"CONNECT " + b"a" * 4_000_000,
        b"\x04\x01\x00\x50\x7f\x00\x00\x01" + b"u" * 4_000_000,
        b"\x04\x01\x00\x50\x00\x00\x00\x01\x00" + b"d" * 4_000_000,
    ],
    ids=["line", "field", "fields", "connect", "userid", "domain"],
)
def test_oversized_heads_are_cut_short(flood: bytes, victim: Victim, origin: Origin) -> None:
    before = victim.program.resident()
    for _ in range(10):
        answer = exchange(victim.port, flood)
        assert not answer.startswith((b"HTTP/1.1 2", b"\x00\x5a"))
    assert victim.program.resident() - before < 30 << 20
    victim.well(origin)


def test_garbage_ends_its_own_flow(victim: Victim, origin: Origin) -> None:
    dice = random.Random(20261122)
    for n in range(150):
        # The first byte chooses the protocol: every protocol gets its share of garbage.
        first = (b"\x05\x01\x00", b"\x05", b"\x04\x01", b"G", b"CONNECT ", b"\x16\x03", b"")[n % 7]
        with dial(victim.port) as sock:
            with suppress(OSError):
                sock.sendall(first + dice.randbytes(dice.randrange(1, 3000)))
                sock.shutdown(socket.SHUT_WR)
            rest(sock)
    victim.well(origin)


HOST = "127.0.0.1:%d"
SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
SHAPES = {
    "length-and-chunked": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two-lengths": "Content-Length: 0\r\nContent-Length: 44\r\n\r\n",
    "length-list": "Content-Length: 0, 44\r\n\r\n",
    "signed-length": "Content-Length: +0\r\n\r\n",
    "length-with-space": "Content-Length : 0\r\n\r\n",
    "hex-length": "Content-Length: 0x2\r\n\r\nab",
    "chunked-not-last": "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked-twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "odd-coding": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "hidden-coding": "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "folded": "X: 1\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare-lf": "X: 1\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "nul": "X: a\x00b\r\n\r\n",
    "bare-cr": "X: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}
BODIES = {
    "bad-size": "zz\r\nabc\r\n0\r\n\r\n",
    "negative-size": "-1\r\nabc\r\n0\r\n\r\n",
    "huge-size": "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "prefixed-size": "0x3\r\nabc\r\n0\r\n\r\n",
    "no-crlf-after": "3\r\nabcX\r\n0\r\n\r\n",
    "bare-lf-size": "3\nabc\n0\n\n",
    "endless-extension": "3;" + "x" * 100_000 + "\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_smuggling_shapes_are_refused(shape: str, victim: Victim, origin: Origin) -> None:
    with sink(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as far:
        host = HOST % far.port
        head = f"POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\n"
        answer = exchange(victim.port, (head + shape + SMUGGLED).encode("latin-1"))
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), answer[:200]
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"smuggled" not in far.seen
    victim.well(origin)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bad_chunks_end_the_connection(body: str, victim: Victim, origin: Origin) -> None:
    with sink() as far:
        host = HOST % far.port
        head = f"POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = exchange(victim.port, (head + body + SMUGGLED).encode("latin-1"))
        assert not answer.startswith(b"HTTP/1.1 2"), answer[:200]
        until(lambda: far.ends, what="the origin's connection to end")
        assert b"smuggled" not in far.seen
    victim.well(origin)


def test_an_answer_that_breaks_http_becomes_502(victim: Victim, origin: Origin) -> None:
    for reply in (b"hello there\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"):
        with sink(reply) as far:
            host = HOST % far.port
            request = f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            answer = exchange(victim.port, request.encode())
            assert answer.startswith(b"HTTP/1.1 502 "), answer[:200]
    victim.well(origin)


def test_resets_in_mid_handshake(victim: Victim, origin: Origin) -> None:
    for _ in range(30):
        for start in STARTS.values():
            sock = dial(victim.port)
            sock.sendall(start)
            reset(sock)
    victim.well(origin)


def test_a_reset_passes_to_the_other_side(victim: Victim, origin: Origin) -> None:
    with sink() as far:
        sock = socks_client.connect(("127.0.0.1", victim.port), ("127.0.0.1", far.port))
        sock.sendall(b"hello")
        until(lambda: bytes(far.seen) == b"hello")
        reset(sock)
        until(lambda: far.ends)
    victim.well(origin)


def test_half_close_lets_the_answer_come(victim: Victim, origin: Origin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = ("127.0.0.1", int(server.getsockname()[1]))
        with socks_client.connect(("127.0.0.1", victim.port), place) as near:
            near.sendall(b"question")
            near.shutdown(socket.SHUT_WR)
            far, _ = server.accept()
            with far:
                far.settimeout(10)
                assert rest(far) == b"question"
                far.sendall(content(3_000_000))
                far.shutdown(socket.SHUT_WR)
                assert rest(near) == content(3_000_000)
    victim.well(origin)


def test_a_flow_that_idles_is_ended(victim: Victim, origin: Origin) -> None:
    with (
        sink() as far,
        socks_client.connect(("127.0.0.1", victim.port), ("127.0.0.1", far.port)) as near,
    ):
        assert rest(near) == b""
        until(lambda: far.ends)
    victim.well(origin)


def test_refused_targets_are_told_apart(victim: Victim, origin: Origin) -> None:
    proxy = ("127.0.0.1", victim.port)
    with pytest.raises(socks_client.SocksError) as refused:
        socks_client.connect(proxy, ("127.0.0.1", free_port()))
    assert refused.value.code == 5
    with pytest.raises(socks_client.SocksError) as unknown:
        socks_client.connect(proxy, ("nowhere.invalid", 80))
    assert unknown.value.code == 4
    victim.well(origin)


def test_upstreams_that_are_down_or_silent_or_mad(origin: Origin, tmp_path: Path) -> None:
    with sink() as silent, sink(b"\xff" * 600) as mad:
        ports = {name: free_port() for name in ("down", "silent", "mad")}
        places = {"down": free_port(), "silent": silent.port, "mad": mad.port}
        for kind in ("socks", "http"):
            config = {
                "limits": LIMITS,
                "inbounds": {
                    name: {"type": "mixed", "listen": f"127.0.0.1:{port}"}
                    for name, port in ports.items()
                },
                "outbounds": {
                    f"to-{name}": {"type": kind, "server": f"127.0.0.1:{port}"}
                    for name, port in places.items()
                },
                "rules": [
                    *({"inbound": name, "to": f"to-{name}"} for name in ports),
                    {"otherwise": "direct"},
                ],
            }
            with byway(config, tmp_path / kind):
                for port in ports.values():
                    with pytest.raises(socks_client.SocksError):
                        socks_client.connect(("127.0.0.1", port), ("192.0.2.1", 80))
                    plain = (need("curl"), "-q", "-sS", "-o", "/dev/null", "-w", "%{http_code}")
                    proxy = ("--noproxy", "", "-x", f"http://127.0.0.1:{port}")
                    status = run(*plain, *proxy, "http://192.0.2.1/").stdout
                    assert status in {b"502", b"503", b"504"}


def test_runs_out_of_descriptors_and_recovers(origin: Origin, tmp_path: Path) -> None:
    port = free_port()
    small = ["sh", "-c", 'ulimit -n 80; exec "$@"', "sh"]
    config = {**listening(port), "limits": {"handshake": "5s", "flows": 1000}}
    with byway(config, tmp_path, before=small) as program, sink(read=False) as far:
        crowd: list[socket.socket] = []
        for _ in range(150):
            with suppress(ConnectionResetError):  # for whom there is no descriptor
                crowd.append(dial(port))
        try:
            for sock in crowd:
                with suppress(OSError):  # reset meanwhile
                    sock.sendall(b"\x05\x01\x00")
            served = [sock for sock in crowd[:20] if sock.recv(2) == b"\x05\x00"]
            assert served
            assert len(far.held) == 0
        finally:
            for sock in crowd:
                sock.close()
        curl = (need("curl"), "-q", "-sS", "-f", "--noproxy", "", "-m", "5")
        command = (*curl, "-x", f"socks5h://127.0.0.1:{port}", origin.url("/bytes/9"))
        until(lambda: run(*command).returncode == 0, 20, "it to serve again")
        assert len(program.log.splitlines()) < 1000


def test_one_source_cannot_take_all(origin: Origin, tmp_path: Path) -> None:
    port = free_port()
    config = {**listening(port), "limits": {"flows_per_source": 8, "handshake": "30s"}}
    with byway(config, tmp_path):
        crowd = [dial(port) for _ in range(40)]
        try:
            for sock in crowd:
                sock.sendall(b"\x05\x01\x00")
            answers = []
            for sock in crowd:
                try:
                    answers.append(sock.recv(2))
                except ConnectionError:
                    answers.append(b"")
            assert 1 <= answers.count(b"\x05\x00") <= 8
        finally:
            for sock in crowd:
                sock.close()
        curl = (need("curl"), "-q", "-sS", "-f", "--noproxy", "", "-m", "5")
        command = (*curl, "-x", f"socks5h://127.0.0.1:{port}", origin.url("/bytes/9"))
        until(lambda: run(*command).returncode == 0, 10, "it to serve again")


def test_holds_many_flows_while_it_serves_new_ones(origin: Origin, tmp_path: Path) -> None:
    flows = HELD
    port = free_port()
    config = {**listening(port), "limits": {"flows_per_source": 20_000, "flows": 20_000}}
    room = _descriptors(2 * flows + 500)
    with room, byway(config, tmp_path) as program, sink(read=False) as far:
        _fetch(port, origin)
        resting, files = program.resident(), program.descriptors()
        held: list[socket.socket] = []
        try:
            while len(held) < flows:
                held.append(socks_client.connect(("127.0.0.1", port), ("127.0.0.1", far.port)))
            until(lambda: len(far.held) == flows)
            each = (program.resident() - resting) / flows
            served, ends = 0, time.monotonic() + HELD_FOR
            while served < 20 or time.monotonic() < ends:
                _fetch(port, origin)
                served += 1
            # They all still work, both ways.
            for near, end in zip(held, far.held, strict=True):
                near.sendall(b"!")
                assert end.recv(2) == b"!"
                end.sendall(b"?")
                assert near.recv(2) == b"?"
        finally:
            for near in held:
                near.close()
        far.hang_up()
        until(lambda: program.descriptors() <= files + SLACK, 20, "descriptors to come back")
        assert each < 16_000, f"{each:.0f} bytes for each idle flow"
        assert program.resident() - resting < max(16 << 20, flows * 8_000)
        _fetch(port, origin)


@contextmanager
def _descriptors(count: int) -> Iterator[None]:
    """Let this process, whose children inherit nothing of it, hold so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"needs {count} open files, and the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _fetch(port: int, origin: Origin) -> None:
    curl = (need("curl"), "-q", "-sS", "-f", "--noproxy", "", "-m", "10")
    proxy = ("-x", f"socks5h://127.0.0.1:{port}")
    assert told(run(*curl, *proxy, origin.url("/bytes/9"))) == content(9)
