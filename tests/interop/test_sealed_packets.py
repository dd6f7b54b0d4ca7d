"""Shadowsocks' packets with real peers, both ways: each cipher, to IPv4, IPv6, a name; relays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.interop import sealed, socks_client
from tests.interop.byway import Config, byway
from tests.interop.conftest import Origin
from tests.interop.echo import udp_echo
from tests.interop.origin import content
from tests.interop.programs import free_port, need, until
from tests.interop.sealed import AEAD, HOST, NEW, secret
from tests.interop.test_sealed import CLIENTS, SERVERS, fetch, inbound, outbound
from tests.interop.test_upstreams import through
from tests.machine import LOOPBACKS

KNOCK = b"knock, knock"


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    """A port that echoes packets on every address of loopback."""
    with udp_echo("::") as port:
        yield port


def exchange(port: int, echo: int) -> None:
    """Packets by a SOCKS proxy to IPv4, IPv6 and a name; all must come back."""
    for host in (*LOOPBACKS, "localhost"):
        with socks_client.UdpSocket((HOST, port)) as client:
            knock(client, (host, echo))
            for size in (1, 64, 1200):  # shadowsocks-libev and v2ray take no larger ones
                client.send(content(size), (host, echo))
                answer, sender = client.receive()
                while answer == KNOCK:
                    answer, sender = client.receive()
                assert answer == content(size)
                assert sender[1] == echo


def knock(client: socks_client.UdpSocket, target: socks_client.Place) -> None:
    """Until something comes back: a peer's TCP port is there before its UDP port."""
    client.packets.settimeout(0.5)
    for _ in range(30):
        client.send(KNOCK, target)
        with suppress(TimeoutError):
            client.receive()
            break
    client.packets.settimeout(10)


@pytest.mark.parametrize(
    ("peer", "method"), [(peer, method) for peer, (_, known) in SERVERS.items() for method in known]
)
def test_our_client(peer: str, method: str, echo: int, tmp_path: Path) -> None:
    with (
        SERVERS[peer][0](tmp_path, method) as server,
        through({"far": outbound(method, server)}, tmp_path) as port,
    ):
        exchange(port, echo)


@pytest.mark.parametrize(
    ("peer", "method"), [(peer, method) for peer, (_, known) in CLIENTS.items() for method in known]
)
def test_our_server(peer: str, method: str, echo: int, tmp_path: Path) -> None:
    server = free_port()
    config = inbound("shadowsocks", server, method=method, password=secret(method))
    with byway(config, tmp_path), CLIENTS[peer][0](tmp_path, method, server) as port:
        exchange(port, echo)


@pytest.mark.parametrize("method", NEW[:2])
def test_several_users_of_one_port(method: str, echo: int, tmp_path: Path) -> None:
    words = [f"{secret(method)}:{secret(method, seed)}" for seed in (5, 6)]
    with sealed.sing_server(tmp_path, method, users=(5, 6)) as server:
        for at, word in enumerate(words):
            folder = tmp_path / f"client-{at}"
            folder.mkdir()
            with through({"far": outbound(method, server, password=word)}, folder) as port:
                exchange(port, echo)
    server = free_port()
    users = [{"name": f"user-{seed}", "password": secret(method, seed)} for seed in (5, 6)]
    own = {"method": method, "password": secret(method), "users": users}
    rules: Config = {"rules": [{"user": "user-6", "to": "reject"}, {"otherwise": "direct"}]}
    with byway({**inbound("shadowsocks", server, **own), **rules}, tmp_path / "server") as there:
        with sealed.sing_client(tmp_path, method, server, words[0]) as port:
            exchange(port, echo)
        with (
            sealed.sing_client(tmp_path, method, server, words[1]) as port,
            socks_client.UdpSocket((HOST, port)) as client,
        ):
            client.send(b"hello", (HOST, echo))
            until(lambda: "user=user-6" in there.log, 20.0, "a refused flow")


@pytest.mark.parametrize("method", NEW[:2])
@pytest.mark.parametrize("several", [False, True], ids=["one key", "users behind"])
def test_our_relay_before_sing_box(
    method: str, several: bool, echo: int, origin: Origin, tmp_path: Path
) -> None:
    """client -> our relay -> sing-box; the client is ours, then sing-box."""
    relay, users = free_port(), (7,) if several else ()
    keys = ":".join(secret(method, seed) for seed in (1, 4, *users))
    with ExitStack() as stack:
        there = stack.enter_context(sealed.sing_server(folder(tmp_path, "a"), method, users, 4))
        user = {"name": "ann", "password": secret(method, 4), "relay": f"{HOST}:{there}"}
        own = {"method": method, "password": secret(method), "users": [user]}
        stack.enter_context(byway(inbound("shadowsocks", relay, **own), folder(tmp_path, "b")))
        ours = {"far": outbound(method, relay, password=keys)}
        for client in (
            through(ours, folder(tmp_path, "c")),
            sealed.sing_client(folder(tmp_path, "d"), method, relay, keys),
        ):
            with client as port:
                exchange(port, echo)
                fetch(port, origin)


@pytest.mark.parametrize("method", NEW[:2])
def test_sing_boxs_relay_before_our_server(
    method: str, echo: int, origin: Origin, tmp_path: Path
) -> None:
    """our client -> sing-box's relay -> our server."""
    server = free_port()
    own = {"method": method, "password": secret(method, 4)}
    keys = ":".join(secret(method, seed) for seed in (1, 4))
    with (
        byway(inbound("shadowsocks", server, **own), folder(tmp_path, "a")),
        sealed.sing_relay(folder(tmp_path, "b"), method, {4: server}) as relay,
        through({"far": outbound(method, relay, password=keys)}, folder(tmp_path, "c")) as port,
    ):
        exchange(port, echo)
        fetch(port, origin)


def test_chains_of_two(echo: int, tmp_path: Path) -> None:
    with (
        sealed.sing_server(folder(tmp_path, "a"), NEW[0]) as first,
        sealed.ss_server(folder(tmp_path, "b"), AEAD[2]) as second,
    ):
        one, two = (NEW[0], first), (AEAD[2], second)
        for at, ((method, near), (other, far)) in enumerate(((one, two), (two, one))):
            ways = {"near": outbound(method, near), "far": outbound(other, far, via="near")}
            with through(ways, folder(tmp_path, f"c-{at}")) as port:
                exchange(port, echo)


def test_past_a_plugin(echo: int, tmp_path: Path) -> None:
    """Packets do not go by the plugin, here as in shadowsocks-libev."""
    method, options = AEAD[0], "obfs=http"
    plugin = {"plugin": need("obfs-local"), "plugin_opts": options, "network": ["tcp", "udp"]}
    with (
        sealed.ss_server(tmp_path, method, "obfs-server", options) as server,
        through({"far": outbound(method, server, **plugin)}, tmp_path) as port,
    ):
        exchange(port, echo)
    server = free_port()
    own = {"method": method, "password": secret(method), **plugin}
    own["plugin"] = need("obfs-server")
    with (
        byway(inbound("shadowsocks", server, **own), tmp_path / "server"),
        sealed.ss_local(tmp_path, method, server, "obfs-local", options) as port,
    ):
        exchange(port, echo)


def folder(above: Path, name: str) -> Path:
    """A new folder."""
    made = above / name
    made.mkdir()
    return made
