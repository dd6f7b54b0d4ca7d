"""Transports with sing-box and mihomo, both ways: trojan inside TLS and a transport."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from tests.interop.byway import Config, byway
from tests.interop.conftest import Certificate, Origin
from tests.interop.origin import content
from tests.interop.programs import free_port, need, run, told
from tests.interop.sealed import HOST, _mihomo_by, _mihomo_listener
from tests.interop.test_framed import echoed, trojan
from tests.interop.test_sealed import fetch, trojan_inbound
from tests.interop.test_upstreams import through
from tests.interop.upstreams import mihomo, sing_box

WORD = "correct horse"
EARLY = {"max_early_data": 2048, "early_data_header_name": "Sec-WebSocket-Protocol"}
KINDS: dict[str, Config] = {
    "ws": {"type": "ws", "path": "/way"},
    "ws early": {"type": "ws", "path": "/way", **EARLY},
    "ws early in path": {"type": "ws", "path": "/way", "max_early_data": 2048},
    "httpupgrade": {"type": "httpupgrade", "path": "/way"},
}


def ours(kind: str) -> Config:
    """Our section."""
    made: Config = {"type": KINDS[kind]["type"], "path": "/way"}
    return made | ({"early_data_header": ""} if kind.endswith("path") else {})


def server_tls(certificate: Certificate) -> Config:
    """sing-box's side of a listener's TLS."""
    files = {"certificate_path": str(certificate.chain), "key_path": str(certificate.key)}
    return {"enabled": True, **files}


@contextmanager
def sing_client(folder: Path, kind: str, server: int, certificate: Certificate) -> Iterator[int]:
    """sing-box as a trojan client inside a transport; its SOCKS port."""
    port = free_port()
    tls = {"enabled": True, "server_name": "localhost"}
    way: Config = {
        "type": "trojan",
        "tag": "out",
        "server": HOST,
        "server_port": server,
        "password": WORD,
        "tls": {**tls, "certificate_path": str(certificate.chain)},
        "transport": KINDS[kind],
    }
    with sing_box(folder, [{"type": "mixed", "listen": HOST, "listen_port": port}], way):
        yield port


@contextmanager
def mihomo_client(folder: Path, kind: str, server: int, certificate: Certificate) -> Iterator[int]:
    """mihomo as the same."""
    der = ssl.PEM_cert_to_DER_cert(certificate.chain.read_text())
    more: Config = {"path": "/way"}
    if kind == "httpupgrade":
        more["v2ray-http-upgrade"] = True
    if kind == "ws early":
        more |= {"max-early-data": 2048, "early-data-header-name": "Sec-WebSocket-Protocol"}
    tls = {"sni": "localhost", "fingerprint": hashlib.sha256(der).hexdigest()}
    way = {"password": WORD, "network": "ws", "ws-opts": more, **tls}
    with _mihomo_by(folder, "trojan", server, **way) as port:
        yield port


@contextmanager
def sing_server(folder: Path, kind: str, certificate: Certificate) -> Iterator[int]:
    """sing-box as a trojan server inside a transport."""
    port = free_port()
    way: Config = {"type": "trojan", "listen": HOST, "listen_port": port}
    way |= {"users": [{"password": WORD}], "tls": server_tls(certificate)}
    with sing_box(folder, [way | {"transport": KINDS[kind]}], {"type": "direct"}):
        yield port


@contextmanager
def mihomo_server(folder: Path, kind: str, certificate: Certificate) -> Iterator[int]:
    """mihomo as the same; it answers upgrades at the path of its WebSockets."""
    port = free_port()
    tls = {"certificate": certificate.chain.read_text(), "private-key": certificate.key.read_text()}
    users = [{"username": "ann", "password": WORD}]
    own = {"users": users, "ws-path": "/way", **tls}
    listener = _mihomo_listener("trojan", port, **own)
    with mihomo(folder, {"listeners": [listener], "rules": ["MATCH,DIRECT"]}, port):
        yield port


# One of some eight connections behind an upgrade hangs with sing-box as the server, whose answer
# has come by then. (Go's web server may read a byte between its answer and the handing over.)
LOSING = ("sing-box", "httpupgrade")


def carried(port: int, origin: Origin, peer: str, tries: int) -> None:
    for left in reversed(range(tries)):
        try:
            fetch(port, origin)
            echoed(port, peer)
            return
        except (TimeoutError, OSError):
            if not left:
                raise


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("peer", ["sing-box", "mihomo"])
def test_our_server(
    peer: str, kind: str, origin: Origin, certificate: Certificate, tmp_path: Path
) -> None:
    if peer == "mihomo" and kind.endswith("path"):
        pytest.skip("mihomo sends early data in a field alone")
    server = free_port()
    config = trojan_inbound(server, origin, certificate)
    for section in cast("dict[str, Config]", config["inbounds"]).values():
        section["transport"] = ours(kind)
    client = {"sing-box": sing_client, "mihomo": mihomo_client}[peer]
    with (
        byway(config, tmp_path / "server"),
        client(tmp_path, kind, server, certificate) as port,
    ):
        fetch(port, origin)
        echoed(port, peer)
        curl = (need("curl"), "-q", "-sS", "--noproxy", "", "--cacert", certificate.chain)
        for path in ("/bytes/70000", "/bytes/10"):  # to everybody else, the web site
            got = told(run(*curl, f"https://localhost:{server}{path}"))
            assert got == content(int(path.rpartition("/")[2]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("peer", ["sing-box", "mihomo"])
def test_our_client(
    peer: str, kind: str, origin: Origin, certificate: Certificate, tmp_path: Path
) -> None:
    if peer == "mihomo" and "early" in kind:
        pytest.skip("mihomo has no such setting in its server")
    server = {"sing-box": sing_server, "mihomo": mihomo_server}[peer]
    with server(tmp_path, kind, certificate) as there:
        way = trojan(there, certificate, transport={"type": KINDS[kind]["type"], "path": "/way"})
        with through({"far": way}, tmp_path) as port:
            carried(port, origin, peer, tries=5 if (peer, kind) == LOSING else 1)
