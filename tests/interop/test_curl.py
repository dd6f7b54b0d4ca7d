"""curl, the client most people try first: every proxy scheme it knows, in both directions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.interop.byway import ANN
from tests.interop.conftest import Origin
from tests.interop.origin import content, digest
from tests.interop.programs import need, run, told
from tests.interop.raw import dial
from tests.machine import needs_ipv6

MIB = 1 << 20
SCHEMES = ["http", "socks4", "socks4a", "socks5", "socks5h"]
LOGIN = f"{quote(ANN[0])}:{quote(ANN[1])}"


def curl(proxy: str, *words: str | Path, data: bytes | None = None, within: float = 40) -> bytes:
    """What curl printed; it must have succeeded."""
    return told(run(*_command(proxy), *words, data=data, within=within))


def failing(proxy: str, *words: str | Path) -> int:
    """The exit status of a curl that must have failed."""
    status = run(*_command(proxy), *words).returncode
    assert status != 0
    return status


def _command(proxy: str) -> list[str]:
    limits = ["--max-time", "50", "--connect-timeout", "10"]
    return [need("curl"), "-q", "-sS", "-f", "--noproxy", "", "-x", proxy, *limits]


def _trust(origin: Origin) -> tuple[str, Path]:
    return ("--cacert", origin.certificate)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_fetches_by_address(scheme: str, tls: bool, port: int, origin: Origin) -> None:
    url = origin.url("/bytes/300000", tls=tls)
    got = curl(f"{scheme}://127.0.0.1:{port}", *_trust(origin), url)
    assert got == content(300000)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_fetches_by_name(scheme: str, tls: bool, port: int, origin: Origin) -> None:
    url = origin.url("/bytes/5", "localhost", tls=tls)
    assert curl(f"{scheme}://127.0.0.1:{port}", *_trust(origin), url) == content(5)


@needs_ipv6
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_fetches_over_ipv6(scheme: str, tls: bool, port: int, origin: Origin) -> None:
    url = origin.url("/bytes/5", "::1", tls=tls)
    assert curl(f"{scheme}://[::1]:{port}", *_trust(origin), "-g", url) == content(5)


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_shows_its_password(scheme: str, guarded: int, origin: Origin) -> None:
    for tls in (False, True):
        url = origin.url("/bytes/5", tls=tls)
        assert curl(f"{scheme}://{LOGIN}@127.0.0.1:{guarded}", *_trust(origin), url) == content(5)


@pytest.mark.parametrize("login", ["", "ann:wrong@", "nobody:b@", "bob:@"])
@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_is_refused_without_the_right_password(
    scheme: str, login: str, guarded: int, origin: Origin
) -> None:
    proxy = f"{scheme}://{login}127.0.0.1:{guarded}"
    plain = failing(proxy, origin.url("/bytes/5"))
    tunnel = failing(proxy, *_trust(origin), origin.url("/bytes/5", tls=True))
    # 22: HTTP status of 400 and above (407 here); 56: CONNECT was refused; 97: SOCKS said no.
    said_no = {22, 56} if scheme == "http" else {97}
    assert {plain, tunnel} <= said_no


@pytest.mark.parametrize("scheme", ["socks4", "socks4a"])
def test_socks4_cannot_show_a_password(scheme: str, guarded: int, origin: Origin) -> None:
    assert failing(f"{scheme}://ann@127.0.0.1:{guarded}", origin.url("/bytes/5")) == 97


def test_is_asked_for_its_password_in_words_http_knows(guarded: int, origin: Origin) -> None:
    words = ("-o", "/dev/null", "-w", "%{http_code}", origin.url("/bytes/5"))
    done = run(*[w for w in _command(f"http://127.0.0.1:{guarded}") if w != "-f"], *words)
    assert done.stdout == b"407"


def test_proxy_anyauth_finds_basic(guarded: int, origin: Origin) -> None:
    proxy = f"http://{LOGIN}@127.0.0.1:{guarded}"
    assert curl(proxy, "--proxy-anyauth", origin.url("/bytes/5")) == content(5)


def test_keeps_the_connection_over_many_requests(port: int, origin: Origin) -> None:
    urls = [origin.url("/seen")] * 5
    lines = curl(f"http://127.0.0.1:{port}", "-w", "\n%{num_connects}\n", *urls).splitlines()
    assert [int(line) for line in lines[1::2]] == [1, 0, 0, 0, 0]
    assert all(_json(line)["line"] == "GET /seen HTTP/1.1" for line in lines[::2])


def test_tells_the_origin_nothing_of_the_proxy(guarded: int, origin: Origin) -> None:
    proxy = f"http://{LOGIN}@127.0.0.1:{guarded}"
    extra = ("-H", "Connection: X-Private, keep-alive", "-H", "X-Private: 1", "-H", "X-Public: 2")
    seen = _json(curl(proxy, *extra, origin.url("/seen?x=1")))
    assert seen["line"] == "GET /seen?x=1 HTTP/1.1"
    assert seen["headers"]["x-public"] == "2"
    for gone in ("proxy-authorization", "proxy-connection", "x-private", "keep-alive"):
        assert gone not in seen["headers"]


def test_speaks_http_1_0(port: int, origin: Origin) -> None:
    proxy = f"http://127.0.0.1:{port}"
    assert curl(proxy, "--http1.0", origin.url("/bytes/70000")) == content(70000)
    assert curl(proxy, "--http1.0", origin.url("/chunked/70000")) == content(70000)
    assert curl(proxy, "--proxy1.0", f"127.0.0.1:{port}", origin.url("/bytes/7")) == content(7)
    secure = origin.url("/bytes/7", tls=True)
    assert curl(proxy, "--proxy1.0", f"127.0.0.1:{port}", *_trust(origin), secure) == content(7)


@pytest.mark.parametrize("path", ["/chunked/500000", "/close/500000", "/bytes/500000", "/bytes/0"])
def test_fetches_each_kind_of_body(path: str, port: int, origin: Origin) -> None:
    size = int(path.rpartition("/")[2])
    assert curl(f"http://127.0.0.1:{port}", origin.url(path)) == content(size)


def test_asks_for_a_head_only(port: int, origin: Origin) -> None:
    head = curl(f"http://127.0.0.1:{port}", "-I", origin.url("/bytes/5")).lower()
    assert b" 200 " in head.splitlines()[0]
    assert b"content-length: 12345" in head


@pytest.mark.parametrize("expect", ["Expect: 100-continue", "Expect:"])
@pytest.mark.parametrize("coding", ["chunked", "length"])
def test_uploads(coding: str, expect: str, port: int, origin: Origin, tmp_path: Path) -> None:
    body = content(3 * MIB + 5)
    (tmp_path / "body").write_bytes(body)
    source: tuple[str | Path, ...] = ("-T", tmp_path / "body")
    if coding == "chunked":
        source = ("-T", tmp_path / "body", "-H", "Transfer-Encoding: chunked")
    seen = _json(curl(f"http://127.0.0.1:{port}", *source, "-H", expect, origin.url("/up")))
    assert seen["size"] == len(body)
    assert seen["sha256"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("scheme", ["http", "socks4a", "socks5h"])
def test_moves_100_mib_each_way(scheme: str, port: int, origin: Origin, tmp_path: Path) -> None:
    size, proxy, file = 100 * MIB, f"{scheme}://127.0.0.1:{port}", tmp_path / "body"
    curl(proxy, "-o", file, origin.url(f"/bytes/{size}"), within=60)
    with file.open("rb") as body:
        assert hashlib.file_digest(body, "sha256").hexdigest() == digest(size)
    seen = _json(curl(proxy, "-T", file, origin.url("/up"), within=60))
    assert (seen["size"], seen["sha256"]) == (size, digest(size))


def test_moves_100_mib_each_way_in_a_tunnel(port: int, origin: Origin, tmp_path: Path) -> None:
    size, proxy, file = 100 * MIB, f"http://127.0.0.1:{port}", tmp_path / "body"
    trust = _trust(origin)
    curl(proxy, *trust, "-o", file, origin.url(f"/bytes/{size}", tls=True), within=60)
    with file.open("rb") as body:
        assert hashlib.file_digest(body, "sha256").hexdigest() == digest(size)
    seen = _json(curl(proxy, *trust, "-T", file, origin.url("/up", tls=True), within=60))
    assert (seen["size"], seen["sha256"]) == (size, digest(size))


def test_many_at_once(port: int, origin: Origin) -> None:
    urls = [origin.url(f"/bytes/{50_000 + n}") for n in range(20)]
    outs = [word for url in urls for word in ("-o", "-", url)]
    got = curl(f"socks5h://127.0.0.1:{port}", "--parallel", "--parallel-max", "20", *outs)
    assert len(got) == sum(50_000 + n for n in range(20))


def test_switches_protocols_in_the_middle(port: int, origin: Origin) -> None:
    # What a browser does for WebSocket over a plain HTTP proxy that it may forward through.
    request = (
        f"GET {origin.url('/upgrade')} HTTP/1.1\r\nHost: 127.0.0.1:{origin.http}\r\n"
        "Connection: Upgrade\r\nUpgrade: echo\r\n\r\nsent along"
    )
    with dial(port) as sock:
        sock.sendall(request.encode())
        got = b""
        while not got.endswith(b"sent along"):
            got += sock.recv(1000)
        assert got.startswith(b"HTTP/1.1 101 ")
        sock.sendall(b"and after")
        assert sock.recv(1000) == b"and after"


@pytest.mark.parametrize("name", ["http_proxy", "all_proxy"])
def test_takes_the_proxy_from_the_environment(name: str, port: int, origin: Origin) -> None:
    env = {name: f"http://127.0.0.1:{port}", "no_proxy": ""}
    command = [need("curl"), "-q", "-sS", "-f", "-w", "%{proxy_used}", origin.url("/bytes/5")]
    got = told(run(*command[:4], command[-1], env=env))
    assert got == content(5)


def test_learns_why_the_target_cannot_be_had(port: int) -> None:
    # Port 1 of loopback refuses; the name cannot exist (RFC 6761).
    proxy = f"127.0.0.1:{port}"
    words = ("-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:1/")
    plain = [w for w in _command(f"http://{proxy}") if w != "-f"]
    assert run(*plain, *words).stdout in {b"502", b"503"}
    assert failing(f"socks5://{proxy}", "http://127.0.0.1:1/") == 97
    assert failing(f"socks4a://{proxy}", "http://127.0.0.1:1/") == 97
    assert failing(f"socks5h://{proxy}", "http://nowhere.invalid/") == 97


def _json(text: bytes) -> dict[str, Any]:
    answer = json.loads(text)
    assert isinstance(answer, dict)
    return answer
