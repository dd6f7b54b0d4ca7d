"""VLESS with sing-box, mihomo and v2ray, both ways: connections and packets, in every dress."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.interop.byway import Config, byway
from tests.interop.conftest import Certificate, Origin
from tests.interop.echo import udp_echo
from tests.interop.origin import content
from tests.interop.programs import free_port, need, run, told
from tests.interop.sealed import HOST, _mihomo_by, _mihomo_listener, _v2ray
from tests.interop.socks_client import UdpSocket
from tests.interop.test_framed import echoed
from tests.interop.test_sealed import fetch, inbound
from tests.interop.test_upstreams import through
from tests.interop.upstreams import mihomo, sing_box
from tests.roads.certificates import pin

UUID = "b831381d-6324-4d53-ad4f-8cda48b30811"
WS = {"type": "ws", "path": "/way"}
DRESSES = ["plain", "tls", "ws"]
"""Over TCP, inside TLS, inside a WebSocket inside TLS."""
Peer = Callable[[Path, str, Certificate], AbstractContextManager[int]]


@contextmanager
def sing_server(folder: Path, dress: str, certificate: Certificate) -> Iterator[int]:
    """sing-box as a server."""
    port = free_port()
    way: Config = {"type": "vless", "listen": HOST, "listen_port": port}
    way["users"] = [{"name": "ann", "uuid": UUID}]
    files = {"certificate_path": str(certificate.chain), "key_path": str(certificate.key)}
    if dress != "plain":
        way["tls"] = {"enabled": True, **files}
    if dress == "ws":
        way["transport"] = WS
    with sing_box(folder, [way], {"type": "direct"}):
        yield port


@contextmanager
def mihomo_server(folder: Path, dress: str, certificate: Certificate) -> Iterator[int]:
    """mihomo as a server."""
    port = free_port()
    own: Config = {"users": [{"username": "ann", "uuid": UUID}]}
    if dress != "plain":
        own |= {"certificate": certificate.chain.read_text()}
        own |= {"private-key": certificate.key.read_text()}
    if dress == "ws":
        own["ws-path"] = "/way"
    listener = _mihomo_listener("vless", port, **own)
    with mihomo(folder, {"listeners": [listener], "rules": ["MATCH,DIRECT"]}, port):
        yield port


@contextmanager
def v2ray_server(folder: Path, dress: str, _: Certificate) -> Iterator[int]:
    """v2ray as a server, without TLS."""
    port = free_port()
    way: Config = {"protocol": "vless", "listen": HOST, "port": port}
    way["settings"] = {"clients": [{"id": UUID}], "decryption": "none"}
    with _v2ray(folder, way, {"protocol": "freedom"}, port):
        yield port


@contextmanager
def sing_client(folder: Path, dress: str, server: int, certificate: Certificate) -> Iterator[int]:
    """sing-box as a client; its SOCKS port."""
    port = free_port()
    way: Config = {"type": "vless", "tag": "out", "server": HOST, "server_port": server}
    way["uuid"] = UUID
    tls = {"enabled": True, "server_name": "localhost"}
    if dress == "packets":
        way["packet_encoding"] = ""
    elif dress != "plain":
        way["tls"] = {**tls, "certificate_path": str(certificate.chain)}
    if dress == "ws":
        way["transport"] = WS
    with sing_box(folder, [{"type": "mixed", "listen": HOST, "listen_port": port}], way):
        yield port


@contextmanager
def mihomo_client(folder: Path, dress: str, server: int, certificate: Certificate) -> Iterator[int]:
    """mihomo as a client."""
    der = ssl.PEM_cert_to_DER_cert(certificate.chain.read_text())
    more: Config = {"uuid": UUID, "packet-encoding": "xudp"}
    if dress not in ("plain", "packets"):
        more |= {"tls": True, "servername": "localhost"}
        more |= {"fingerprint": hashlib.sha256(der).hexdigest()}
    if dress == "ws":
        more |= {"network": "ws", "ws-opts": {"path": "/way"}}
    with _mihomo_by(folder, "vless", server, **more) as port:
        yield port


@contextmanager
def v2ray_client(folder: Path, dress: str, server: int, _: Certificate) -> Iterator[int]:
    """v2ray as a client, without TLS; its packets have one target a stream."""
    port = free_port()
    there = {"address": HOST, "port": server, "users": [{"id": UUID, "encryption": "none"}]}
    way = {"protocol": "vless", "settings": {"vnext": [there]}}
    near = {"protocol": "socks", "listen": HOST, "port": port, "settings": {"udp": True}}
    with _v2ray(folder, near, way, port):
        yield port


def dressed(config: Config, dress: str, files: Config) -> Config:
    """A section of ours, in TLS and a transport."""
    tls = {} if dress in ("plain", "packets") else {"tls": files}
    return config | tls | ({"transport": WS} if dress == "ws" else {})


def packets(port: int, peer: str) -> None:
    """Packets that the peer carries. In XUDP sing-box drops empty ones, and v2ray's have room for
    2 KB; without it sing-box resolves no name."""
    if peer != "v2ray":
        echoed(port, "mihomo")
    else:
        with udp_echo(HOST) as four, UdpSocket((HOST, port)) as sock:
            for size in (1, 1200):
                sock.send(bytes(size), (HOST, four))
                assert sock.receive()[0] == bytes(size), size


CLIENTS = {"sing-box": sing_client, "mihomo": mihomo_client, "v2ray": v2ray_client}
SERVERS = {"sing-box": sing_server, "mihomo": mihomo_server, "v2ray": v2ray_server}


@pytest.mark.parametrize(
    ("peer", "dress"),
    [(peer, dress) for peer in ("sing-box", "mihomo") for dress in DRESSES]
    + [("sing-box", "packets"), ("v2ray", "plain")],
)
def test_our_server(
    peer: str, dress: str, origin: Origin, certificate: Certificate, tmp_path: Path
) -> None:
    server = free_port()
    files: Config = {"cert": str(certificate.chain), "key": str(certificate.key)}
    own = dressed({"users": [{"name": "ann", "uuid": UUID}]}, dress, files)
    own["fallback"] = f"{HOST}:{origin.http}"
    with (
        byway(inbound("vless", server, **own), tmp_path / "server") as there,
        CLIENTS[peer](tmp_path, dress, server, certificate) as port,
    ):
        fetch(port, origin)
        packets(port, peer)
        if peer != "v2ray":  # which keeps its connections
            assert "user=ann" in there.log
        scheme = "http" if dress in ("plain", "packets") else "https"
        curl = (need("curl"), "-q", "-sS", "--noproxy", "", "--cacert", certificate.chain)
        assert told(run(*curl, f"{scheme}://localhost:{server}/bytes/70000")) == content(70_000)


@pytest.mark.parametrize(
    ("peer", "dress"),
    [(peer, dress) for peer in ("sing-box", "mihomo") for dress in DRESSES[peer == "mihomo" :]]
    + [("v2ray", "plain")],  # mihomo serves nobody without TLS
)
def test_our_client(
    peer: str, dress: str, origin: Origin, certificate: Certificate, tmp_path: Path
) -> None:
    with SERVERS[peer](tmp_path, dress, certificate) as server:
        way: Config = {"type": "vless", "server": f"{HOST}:{server}", "uuid": UUID}
        way = dressed(way, dress, {"pin": pin(certificate.chain)})
        with through({"far": way}, tmp_path) as port:
            fetch(port, origin)
            if peer != "v2ray":  # 4.34 knows no XUDP
                packets(port, peer)
