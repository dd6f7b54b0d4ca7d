"""sing-mux with sing-box and mihomo, both ways, over several protocols: connections and packets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from tests.interop.byway import Config, byway
from tests.interop.conftest import Certificate, Origin
from tests.interop.programs import free_port
from tests.interop.sealed import HOST, NEW, _mihomo_by, secret
from tests.interop.test_framed import echoed, trojan
from tests.interop.test_sealed import fetch, inbound, outbound, trojan_inbound
from tests.interop.test_upstreams import through
from tests.interop.upstreams import sing_box

MUX = {"type": "sing-mux"}
METHOD = NEW[0]


@contextmanager
def sing_server(folder: Path, kind: str, certificate: Certificate) -> Iterator[int]:
    """sing-box as a server that takes a mux."""
    port = free_port()
    way: Config = {"type": kind, "listen": HOST, "listen_port": port}
    if kind == "shadowsocks":
        way |= {"method": METHOD, "password": secret(METHOD)}
    else:
        way |= {
            "users": [{"password": "correct horse"}],
            "tls": {
                "enabled": True,
                "certificate_path": str(certificate.chain),
                "key_path": str(certificate.key),
            },
        }
    with sing_box(folder, [way | {"multiplex": {"enabled": True}}], {"type": "direct"}):
        yield port


@contextmanager
def sing_client(folder: Path, kind: str, server: int, certificate: Certificate) -> Iterator[int]:
    """sing-box as a client with a mux; its SOCKS port."""
    port = free_port()
    mux = {"enabled": True, "protocol": "yamux", "max_connections": 2, "min_streams": 2}
    way: Config = {"type": kind, "tag": "out", "server": HOST, "server_port": server}
    if kind == "shadowsocks":
        way |= {"method": METHOD, "password": secret(METHOD)}
    else:
        tls = {"enabled": True, "server_name": "localhost"}
        way |= {
            "password": "correct horse",
            "tls": {**tls, "certificate_path": str(certificate.chain)},
        }
    listener = {"type": "mixed", "listen": HOST, "listen_port": port}
    with sing_box(folder, [listener], way | {"multiplex": mux}):
        yield port


@pytest.mark.parametrize("kind", ["shadowsocks", "trojan"])
def test_our_client(kind: str, origin: Origin, certificate: Certificate, tmp_path: Path) -> None:
    with sing_server(tmp_path, kind, certificate) as server:
        if kind == "shadowsocks":
            way = outbound(METHOD, server, mux=MUX)
        else:
            way = trojan(server, certificate, mux=MUX)
        with through({"far": way}, tmp_path) as port:
            fetch(port, origin)
            echoed(port)


@pytest.mark.parametrize("kind", ["shadowsocks", "trojan"])
def test_our_server(kind: str, origin: Origin, certificate: Certificate, tmp_path: Path) -> None:
    server = free_port()
    if kind == "shadowsocks":
        own = {"method": METHOD, "password": secret(METHOD), "network": "tcp"}
        config = inbound(kind, server, **own, mux=MUX)
    else:
        config = trojan_inbound(server, origin, certificate)
        for section in cast("dict[str, Config]", config["inbounds"]).values():
            section["mux"] = MUX
    with (
        byway(config, tmp_path / "server"),
        sing_client(tmp_path, kind, server, certificate) as port,
    ):
        fetch(port, origin)
        echoed(port)


def test_our_server_with_mihomo(origin: Origin, tmp_path: Path) -> None:
    server = free_port()
    own = {"method": METHOD, "password": secret(METHOD), "network": "tcp"}
    smux = {"enabled": True, "protocol": "yamux", "max-connections": 2, "min-streams": 2}
    more = {"cipher": METHOD, "password": secret(METHOD), "smux": smux}
    with (
        byway(inbound("shadowsocks", server, **own, mux=MUX), tmp_path / "server"),
        _mihomo_by(tmp_path, "ss", server, **more) as port,
    ):
        fetch(port, origin)
        echoed(port, "mihomo")
