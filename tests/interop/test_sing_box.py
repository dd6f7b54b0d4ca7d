"""sing-box as a client of ours: its socks and http outbounds against our inbounds, TCP and UDP.

curl -> sing-box (mixed) -> socks or http outbound -> Byway -> the origin
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interop import socks_client
from tests.interop.byway import ANN, Config
from tests.interop.conftest import Origin
from tests.interop.echo import udp_echo
from tests.interop.origin import content
from tests.interop.programs import free_port, need, run, told
from tests.interop.upstreams import sing_box


@contextmanager
def client_of(port: int, folder: Path, **outbound: object) -> Iterator[int]:
    """A sing-box whose flows all go to the proxy at `port`; the block gets its own port."""
    own = free_port()
    inbound: Config = {"type": "mixed", "listen": "127.0.0.1", "listen_port": own}
    with sing_box(
        folder, [inbound], {"server": "127.0.0.1", "server_port": port, "tag": "out", **outbound}
    ):
        yield own


OUTBOUNDS: dict[str, dict[str, object]] = {
    "socks5": {"type": "socks", "version": "5"},
    "socks4": {"type": "socks", "version": "4"},
    "socks4a": {"type": "socks", "version": "4a"},
    "http": {"type": "http"},
}


@pytest.mark.parametrize("kind", OUTBOUNDS)
def test_fetches(kind: str, port: int, origin: Origin, tmp_path: Path) -> None:
    with client_of(port, tmp_path, **OUTBOUNDS[kind]) as own:
        _fetch(own, origin)


@pytest.mark.parametrize("kind", ["socks5", "http"])
def test_fetches_with_a_password(kind: str, guarded: int, origin: Origin, tmp_path: Path) -> None:
    login = {"username": ANN[0], "password": ANN[1]}
    with client_of(guarded, tmp_path, **OUTBOUNDS[kind], **login) as own:
        _fetch(own, origin)


def test_sends_packets(guarded: int, tmp_path: Path) -> None:
    login = {"username": ANN[0], "password": ANN[1]}
    with (
        client_of(guarded, tmp_path, **OUTBOUNDS["socks5"], **login) as own,
        udp_echo() as echo,
        socks_client.UdpSocket(("127.0.0.1", own)) as client,
    ):
        for size in (1, 64, 1200):
            client.send(content(size), ("127.0.0.1", echo))
            assert client.receive()[0] == content(size)


def _fetch(port: int, origin: Origin) -> None:
    curl = (need("curl"), "-q", "-sS", "-f", "--noproxy", "", "--cacert", origin.certificate)
    proxy = ("-x", f"socks5h://127.0.0.1:{port}")
    for tls in (False, True):
        url = origin.url("/bytes/2000000", tls=tls)
        assert told(run(*curl, *proxy, url)) == content(2_000_000)
