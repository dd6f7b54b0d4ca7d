"""Shadowsocks and trojan with real peers, both ways, each cipher, to IPv4, IPv6 and a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop import sealed
from tests.interop.byway import byway, command
from tests.interop.conftest import Certificate, Origin
from tests.interop.origin import content
from tests.interop.programs import free_port, need, run, told
from tests.interop.sealed import AEAD, HOST, NEW, Client, Server, secret
from tests.interop.test_upstreams import through
from tests.machine import LOOPBACKS
from tests.roads.certificates import pin

SERVERS: dict[str, tuple[Server, tuple[str, ...]]] = {
    "ss-server": (sealed.ss_server, AEAD),
    "v2ray": (sealed.v2ray_server, AEAD),
    "sing-box": (sealed.sing_server, (*AEAD, *NEW)),
    "mihomo": (sealed.mihomo_server, (*AEAD, *NEW)),
}
CLIENTS: dict[str, tuple[Client, tuple[str, ...]]] = {
    "ss-local": (sealed.ss_local, AEAD),
    "v2ray": (sealed.v2ray_client, AEAD),
    "sing-box": (sealed.sing_client, (*AEAD, *NEW)),
    "mihomo": (sealed.mihomo_client, (*AEAD, *NEW)),
}
TROJAN_SERVERS = {
    "trojan": sealed.trojan_server,
    "sing-box": sealed.sing_trojan_server,
    "mihomo": sealed.mihomo_trojan_server,
}
TROJAN_CLIENTS = {
    "trojan": sealed.trojan_client,
    "sing-box": sealed.sing_trojan_client,
    "mihomo": sealed.mihomo_trojan_client,
}


def fetch(port: int, origin: Origin) -> None:
    """Fetch by a SOCKS proxy from IPv4, IPv6 and a name, and send; all must come whole."""
    curl = (need("curl"), "-q", "-sS", "-f", "--noproxy", "", "-m", "30")
    proxy = ("-x", f"socks5h://{HOST}:{port}")
    for host in (*LOOPBACKS, "localhost"):
        url = origin.url("/bytes/1000003", host)
        assert told(run(*curl, *proxy, "-g", url)) == content(1_000_003)
    sent = told(run(*curl, *proxy, "-T", "-", origin.url("/up"), data=content(1_000_003)))
    assert b"1000003" in sent


def outbound(method: str, port: int, **more: object) -> dict[str, object]:
    """Our way to a server."""
    base = {"type": "shadowsocks", "server": f"{HOST}:{port}"}
    return {**base, "method": method, "password": secret(method), **more}


def inbound(kind: str, port: int, **more: object) -> dict[str, object]:
    """Our server."""
    return {"inbounds": {"in": {"type": kind, "listen": f"{HOST}:{port}", **more}}}


@pytest.mark.parametrize(
    ("peer", "method"), [(peer, method) for peer, (_, known) in SERVERS.items() for method in known]
)
def test_our_client(peer: str, method: str, origin: Origin, tmp_path: Path) -> None:
    with (
        SERVERS[peer][0](tmp_path, method) as server,
        through({"far": outbound(method, server)}, tmp_path) as port,
    ):
        fetch(port, origin)


@pytest.mark.parametrize(
    ("peer", "method"), [(peer, method) for peer, (_, known) in CLIENTS.items() for method in known]
)
def test_our_server(peer: str, method: str, origin: Origin, tmp_path: Path) -> None:
    server = free_port()
    config = inbound("shadowsocks", server, method=method, password=secret(method))
    with byway(config, tmp_path), CLIENTS[peer][0](tmp_path, method, server) as port:
        fetch(port, origin)


@pytest.mark.parametrize("method", NEW[:2])
def test_several_users_of_one_port(method: str, origin: Origin, tmp_path: Path) -> None:
    words = [f"{secret(method)}:{secret(method, seed)}" for seed in (5, 6)]
    with sealed.sing_server(tmp_path, method, users=(5, 6)) as server:
        for at, word in enumerate(words):
            folder = tmp_path / f"client-{at}"
            folder.mkdir()
            with through({"far": outbound(method, server, password=word)}, folder) as port:
                fetch(port, origin)
    server = free_port()
    users = [{"name": f"user-{seed}", "password": secret(method, seed)} for seed in (5, 6)]
    own = {"method": method, "password": secret(method), "users": users}
    with byway(inbound("shadowsocks", server, **own), tmp_path / "server") as there:
        for word in words:
            with sealed.sing_client(tmp_path, method, server, word) as port:
                fetch(port, origin)
        assert "user=user-5" in there.log
        assert "user=user-6" in there.log


@pytest.mark.parametrize("mode", ["http", "tls"])
def test_simple_obfs_both_ways(mode: str, origin: Origin, tmp_path: Path) -> None:
    method, theirs = "chacha20-ietf-poly1305", f"obfs={mode};obfs-host=www.example.com"
    ours = {"plugin": need("obfs-local"), "plugin_opts": theirs}
    with (
        sealed.ss_server(tmp_path, method, "obfs-server", f"obfs={mode}") as server,
        through({"far": outbound(method, server, **ours)}, tmp_path) as port,
    ):
        fetch(port, origin)
    server = free_port()
    own = {"method": method, "password": secret(method)}
    plugin = {"plugin": need("obfs-server"), "plugin_opts": f"obfs={mode}"}
    with (
        byway(inbound("shadowsocks", server, **own, **plugin), tmp_path / "server"),
        sealed.ss_local(tmp_path, method, server, "obfs-local", theirs) as port,
    ):
        fetch(port, origin)


@pytest.mark.parametrize("peer", TROJAN_SERVERS)
def test_our_trojan_client(
    peer: str, origin: Origin, certificate: Certificate, tmp_path: Path
) -> None:
    tls = {"pin": pin(certificate.chain)}
    with TROJAN_SERVERS[peer](tmp_path, certificate, origin.http) as server:
        ours = {"type": "trojan", "server": f"{HOST}:{server}", "password": "correct horse"}
        with through({"far": {**ours, "tls": tls}}, tmp_path) as port:
            fetch(port, origin)


def trojan_inbound(port: int, origin: Origin, certificate: Certificate) -> dict[str, object]:
    """Our trojan server, with the origin as its web site."""
    files = {"cert": str(certificate.chain), "key": str(certificate.key), "alpn": "http/1.1"}
    users = {"name": "ann", "password": "correct horse"}
    return inbound("trojan", port, users=users, tls=files, fallback=f"{HOST}:{origin.http}")


@pytest.mark.parametrize("peer", TROJAN_CLIENTS)
def test_our_trojan_server(
    peer: str, origin: Origin, certificate: Certificate, tmp_path: Path
) -> None:
    server = free_port()
    with (
        byway(trojan_inbound(server, origin, certificate), tmp_path),
        TROJAN_CLIENTS[peer](tmp_path, certificate, server) as port,
    ):
        fetch(port, origin)


def test_browsers_and_scanners_see_the_web_site(
    origin: Origin, certificate: Certificate, tmp_path: Path
) -> None:
    port = free_port()
    with byway(trojan_inbound(port, origin, certificate), tmp_path):
        curl = (need("curl"), "-q", "-sS", "-f", "--noproxy", "", "--cacert", certificate.chain)
        for url in (f"https://localhost:{port}", f"http://localhost:{port}"):
            assert told(run(*curl, f"{url}/bytes/70000")) == content(70_000)
        probe = (need("openssl"), "s_client", "-quiet", "-ign_eof", "-connect", f"{HOST}:{port}")
        get = b"GET /bytes/10 HTTP/1.0\r\n\r\n"
        for version in ("-tls1_2", "-tls1_3"):
            assert told(run(*probe, version, data=get)).endswith(content(10))
            wrong = run(*probe, version, data=b"0" * 56 + b"\r\n\1\1" + bytes(6) + b"\r\n")
            assert b"Error code" in wrong.stdout  # the web server's own complaint


def test_a_chain_of_two(origin: Origin, certificate: Certificate, tmp_path: Path) -> None:
    with (
        sealed.sing_trojan_server(tmp_path, certificate, origin.http) as first,
        sealed.ss_server(tmp_path, AEAD[2]) as second,
    ):
        tls = {"pin": pin(certificate.chain)}
        one = {"type": "trojan", "server": f"{HOST}:{first}", "password": "correct horse"}
        two = outbound(AEAD[2], second, via="one")
        with through({"one": {**one, "tls": tls}, "two": two}, tmp_path) as port:
            fetch(port, origin)


def test_a_link_is_all_that_a_client_needs(origin: Origin, tmp_path: Path) -> None:
    method, server = NEW[0], free_port()
    config = inbound("shadowsocks", server, method=method, password=secret(method))
    with byway(config, tmp_path / "server"):
        file = tmp_path / "server" / "byway.yaml"
        link = told(run(*command(), "link", "in", "-c", file)).decode().strip()
        assert link.startswith("ss://2022-")
        with through({"far": link}, tmp_path) as port:  # type: ignore[dict-item]
            fetch(port, origin)
