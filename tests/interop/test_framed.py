"""Packets inside streams with real peers, both ways: trojan, and UDP over TCP version 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interop import sealed
from tests.interop.byway import Config, byway
from tests.interop.conftest import Certificate, Origin
from tests.interop.echo import udp_echo
from tests.interop.programs import free_port
from tests.interop.sealed import AEAD, HOST, NEW, secret
from tests.interop.socks_client import UdpSocket
from tests.interop.test_sealed import (
    TROJAN_CLIENTS,
    TROJAN_SERVERS,
    inbound,
    outbound,
    trojan_inbound,
)
from tests.interop.test_upstreams import through
from tests.interop.upstreams import sing_box
from tests.machine import LOOPBACKS
from tests.roads.certificates import pin

SIZES = (1, 0, 1200, 8000, 8192, 16_000)
"""Bytes of a payload; sing-box drops what is larger than 16 KiB, with its header."""
LIMITS = {"trojan": (0, 8000), "mihomo": (1, 8000)}
"""trojan 1.16 ends an association over a packet larger than its buffer; mihomo sends nothing
of an empty one, and cuts others at 8192 bytes."""


def echoed(port: int, peer: str = "") -> None:
    """Packets of every size to IPv4, IPv6 and a name by a SOCKS proxy, an association for each."""
    least, most = LIMITS.get(peer, (0, SIZES[-1]))
    with udp_echo(HOST) as four, udp_echo(LOOPBACKS[-1]) as six:
        places = [(HOST, four), (LOOPBACKS[-1], six), ("localhost", four)]
        for place in places[:2] if peer == "mihomo" else places:  # it asks name servers alone
            with UdpSocket((HOST, port)) as sock:
                for size in (size for size in SIZES if least <= size <= most):
                    payload = bytes([size % 251]) * size
                    sock.send(payload, place)
                    assert sock.receive()[0] == payload, (place, size)


def trojan(server: int, certificate: Certificate, **more: object) -> Config:
    """Our way to a trojan server."""
    way = {"type": "trojan", "server": f"{HOST}:{server}", "password": "correct horse"}
    return {**way, "tls": {"pin": pin(certificate.chain)}, **more}


@pytest.mark.parametrize("peer", TROJAN_SERVERS)
def test_our_trojan_client(
    peer: str, origin: Origin, certificate: Certificate, tmp_path: Path
) -> None:
    with (
        TROJAN_SERVERS[peer](tmp_path, certificate, origin.http) as server,
        through({"far": trojan(server, certificate)}, tmp_path) as port,
    ):
        echoed(port, peer)


@pytest.mark.parametrize("peer", TROJAN_CLIENTS)
def test_our_trojan_server(
    peer: str, origin: Origin, certificate: Certificate, tmp_path: Path
) -> None:
    server = free_port()
    with (
        byway(trojan_inbound(server, origin, certificate), tmp_path),
        TROJAN_CLIENTS[peer](tmp_path, certificate, server) as port,
    ):
        echoed(port, peer)


@contextmanager
def sing_over_tcp(folder: Path, kind: str, server: int, version: int = 2) -> Iterator[int]:
    """sing-box, whose packets go inside connections through a proxy; its own SOCKS port."""
    port = free_port()
    way: Config = {"type": kind, "tag": "out", "server": HOST, "server_port": server}
    if kind == "shadowsocks":
        way |= {"method": NEW[0], "password": secret(NEW[0])}
    way["udp_over_tcp"] = {"enabled": True, "version": version}
    with sing_box(folder, [{"type": "mixed", "listen": HOST, "listen_port": port}], way):
        yield port


@contextmanager
def sing_plain(folder: Path, kind: str) -> Iterator[int]:
    """sing-box as a plain proxy."""
    port = free_port()
    with sing_box(
        folder, [{"type": kind, "listen": HOST, "listen_port": port}], {"type": "direct"}
    ):
        yield port


@pytest.mark.parametrize("kind", ["socks", "http"])
def test_our_client_over_tcp_through_a_plain_proxy(kind: str, tmp_path: Path) -> None:
    with sing_plain(tmp_path, kind) as server:
        way = {"type": kind, "server": f"{HOST}:{server}", "udp_over_tcp": True}
        with through({"far": way}, tmp_path) as port:
            echoed(port)


@pytest.mark.parametrize("method", [AEAD[0], NEW[0]])
def test_our_client_over_tcp_through_shadowsocks(method: str, tmp_path: Path) -> None:
    with sealed.sing_server(tmp_path, method) as server:
        way = outbound(method, server, udp_over_tcp=True)
        with through({"far": way}, tmp_path) as port:
            echoed(port)  # of an empty answer sing-box makes an empty chunk


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("kind", ["socks", "shadowsocks"])
def test_our_server_over_tcp(kind: str, version: int, tmp_path: Path) -> None:
    server = free_port()
    own = {"method": NEW[0], "password": secret(NEW[0]), "network": "tcp"}
    config = inbound(kind, server, **(own if kind == "shadowsocks" else {}))
    with (
        byway(config, tmp_path / "server"),
        sing_over_tcp(tmp_path, kind, server, version) as port,
    ):
        echoed(port)


def test_chains_of_two(origin: Origin, certificate: Certificate, tmp_path: Path) -> None:
    with (
        sing_plain(tmp_path, "mixed") as plain,
        sealed.trojan_server(tmp_path, certificate, origin.http) as server,
    ):
        proxy = {"type": "http", "server": f"{HOST}:{plain}"}
        by_proxy = {"one": proxy, "two": trojan(server, certificate, via="one")}
        over = {**proxy, "udp_over_tcp": True, "via": "one"}
        by_trojan = {"one": trojan(server, certificate), "two": over}
        for at, ways in enumerate((by_proxy, by_trojan)):
            folder = tmp_path / f"chain-{at}"
            folder.mkdir()
            with through(ways, folder) as port:
                echoed(port, "trojan")
