"""Byway's outbounds against real proxies: microsocks, dante, tinyproxy, v2ray, sing-box,
mihomo.

client -> Byway (mixed) -> http or socks outbound -> the real proxy -> the origin
"""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.interop import socks_client
from tests.interop.byway import Config, byway, listening
from tests.interop.conftest import Origin
from tests.interop.echo import udp_echo
from tests.interop.origin import content
from tests.interop.programs import free_port, need, run, told
from tests.interop.upstreams import (
    Starter,
    dante,
    microsocks,
    mihomo_upstream,
    sing_box_upstream,
    tinyproxy,
    v2ray,
)

UPSTREAMS: dict[str, Starter] = {
    "microsocks": microsocks,
    "microsocks-users": partial(microsocks, login=True),
    "dante": dante,
    "tinyproxy": tinyproxy,
    "tinyproxy-users": partial(tinyproxy, login=True),
    "v2ray-socks": partial(v2ray, kind="socks"),
    "v2ray-socks-users": partial(v2ray, kind="socks", login=True),
    "v2ray-http": partial(v2ray, kind="http"),
    "v2ray-http-users": partial(v2ray, kind="http", login=True),
    "sing-box-socks": partial(sing_box_upstream, kind="socks"),
    "sing-box-socks-users": partial(sing_box_upstream, kind="socks", login=True),
    "sing-box-http": partial(sing_box_upstream, kind="http"),
    "sing-box-http-users": partial(sing_box_upstream, kind="http", login=True),
    "mihomo-socks": partial(mihomo_upstream, kind="socks"),
    "mihomo-socks-users": partial(mihomo_upstream, kind="socks", login=True),
    "mihomo-http": partial(mihomo_upstream, kind="http"),
    "mihomo-http-users": partial(mihomo_upstream, kind="http", login=True),
}
WITH_USERS = [name for name in UPSTREAMS if name.endswith("-users")]
WITH_UDP = [
    "dante",
    *(
        f"{program}-socks{users}"
        for program in ("v2ray", "sing-box", "mihomo")
        for users in ("", "-users")
    ),
]
# dante's server knows version 4, and not 4a.
OLD = [("dante", "4"), ("sing-box-socks", "4"), ("sing-box-socks", "4a")]


@contextmanager
def through(outbounds: dict[str, Config], folder: Path) -> Iterator[int]:
    """A Byway whose every flow leaves by the last of these outbounds; the block gets its port."""
    port = free_port()
    config = {
        **listening(port),
        "outbounds": outbounds,
        "rules": [{"otherwise": list(outbounds)[-1]}],
    }
    with byway(config, folder / "byway"):
        yield port


@pytest.fixture(scope="module", params=UPSTREAMS)
def far_port(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """The port of a Byway whose every flow leaves by one of the real proxies, each in turn."""
    folder = tmp_path_factory.mktemp(request.param)
    start = UPSTREAMS[request.param]
    with start(folder) as upstream, through({"far": upstream.outbound}, folder) as port:
        yield port


def test_fetches_and_sends_through(far_port: int, origin: Origin, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(content(8_000_001))
    curl = (need("curl"), "-q", "-sS", "-f", "--noproxy", "", "--cacert", origin.certificate)
    for scheme in ("http", "socks5h", "socks4a"):
        to = ("-x", f"{scheme}://127.0.0.1:{far_port}")
        for host in ("127.0.0.1", "localhost"):
            url = origin.url("/bytes/8000001", host)
            assert told(run(*curl, *to, url)) == content(8_000_001)
        secure = origin.url("/up", tls=True)
        assert b"8000001" in told(run(*curl, *to, "-T", body, secure))


def test_is_told_that_the_target_refuses(far_port: int) -> None:
    # Some of these proxies say yes before they have dialled, and hang up after: 52, 55 or 56.
    curl = (need("curl"), "-q", "-sS", "-f", "--noproxy", "", "-m", "20")
    proxy = ("-x", f"socks5h://127.0.0.1:{far_port}")
    assert run(*curl, *proxy, "http://127.0.0.1:1/").returncode in {52, 55, 56, 97}


@pytest.mark.parametrize("name", WITH_USERS)
def test_is_told_that_the_password_is_wrong(name: str, origin: Origin, tmp_path: Path) -> None:
    with (
        UPSTREAMS[name](tmp_path) as upstream,
        through({"far": upstream.wrong}, tmp_path) as port,
    ):
        curl = (need("curl"), "-q", "-sS", "-f", "--noproxy", "", "-m", "20")
        assert run(*curl, "-x", f"socks5h://127.0.0.1:{port}", origin.url("/seen")).returncode == 97
        assert run(*curl, "-x", f"http://127.0.0.1:{port}", origin.url("/seen")).returncode == 22


@pytest.mark.parametrize(("name", "version"), OLD)
def test_speaks_the_old_versions(name: str, version: str, origin: Origin, tmp_path: Path) -> None:
    with (
        UPSTREAMS[name](tmp_path) as upstream,
        through({"far": {**upstream.outbound, "version": version}}, tmp_path) as port,
    ):
        curl = (need("curl"), "-q", "-sS", "-f", "--noproxy", "")
        host = "127.0.0.1" if version == "4" else "localhost"
        url = origin.url("/bytes/70000", host)
        assert told(run(*curl, "-x", f"socks5h://127.0.0.1:{port}", url)) == content(70_000)


@pytest.mark.parametrize("name", WITH_UDP)
def test_carries_packets(name: str, tmp_path: Path) -> None:
    with (
        UPSTREAMS[name](tmp_path) as upstream,
        through({"far": upstream.outbound}, tmp_path) as port,
        udp_echo() as first,
        udp_echo() as second,
        socks_client.UdpSocket(("127.0.0.1", port)) as client,
    ):
        # v2ray cuts what is longer than its buffer of 2 KiB.
        for size in (0, 1, 64, 1200, *(() if "v2ray" in name else (8000,))):
            for echo in (first, second):
                client.send(content(size), ("127.0.0.1", echo))
                if size:
                    assert client.receive() == (content(size), ("127.0.0.1", echo))
                else:
                    # An empty packet may be carried or not; if it is, it comes back.
                    client.send(b"after", ("127.0.0.1", echo))
                    data, _ = client.receive()
                    if not data:
                        data, _ = client.receive()
                    assert data == b"after"


def test_binds_through_dante(tmp_path: Path) -> None:
    with (
        dante(tmp_path) as upstream,
        through({"far": upstream.outbound}, tmp_path) as port,
        socket.create_server(("127.0.0.1", 0)) as server,
        # As FTP does: a connection to the peer first, then a port for one from it.
        socks_client.connect(("127.0.0.1", port), ("127.0.0.1", server.getsockname()[1])),
    ):
        waiting, place = socks_client.bind(("127.0.0.1", port), ("127.0.0.1", 0))
        with waiting, socket.create_connection(place, timeout=10) as visitor:
            assert socks_client.accepted(waiting)[0] == "127.0.0.1"
            visitor.sendall(b"from outside")
            assert waiting.recv(100) == b"from outside"
            waiting.sendall(b"from inside")
            assert visitor.recv(100) == b"from inside"


def test_chains_three_of_them(origin: Origin, tmp_path: Path) -> None:
    with (
        microsocks(tmp_path) as first,
        tinyproxy(tmp_path, login=True) as second,
        dante(tmp_path) as third,
    ):
        chain = {
            "one": first.outbound,
            "two": {**second.outbound, "via": "one"},
            "three": {**third.outbound, "via": "two"},
        }
        with through(chain, tmp_path) as port:
            curl = (need("curl"), "-q", "-sS", "-f", "--noproxy", "")
            got = io.BytesIO()
            for scheme in ("http", "socks5h"):
                url = origin.url("/bytes/500000", "localhost")
                got.write(told(run(*curl, "-x", f"{scheme}://127.0.0.1:{port}", url)))
            assert got.getvalue() == content(500_000) * 2
