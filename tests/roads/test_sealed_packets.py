"""Packets by shadowsocks over the real engine: Byway at both ends, in chains, and as a relay."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from byway.config import load_text
from byway.flow import Network, Target
from byway.protocols.shadowsocks import METHODS
from tests.machine import needs_ipv6
from tests.roads import clients
from tests.roads.conftest import Road, RunRoad, echoing
from tests.roads.test_encrypted import at_client, at_server, word
from tests.roads.test_udp import Packets, associated, wrapped

pytestmark = pytest.mark.usefixtures("nowhere")

SMALL = "2022-blake3-aes-128-gcm"


def key(seed: int, method: str = SMALL) -> str:
    """A key of a 2022 method."""
    return base64.b64encode(bytes([seed]) * METHODS[method].size).decode()


async def echoed(sock: Packets, target: Target, *payloads: bytes) -> None:
    """Send and get back, with the echo's address before it."""
    for payload in payloads:
        sock.transport.sendto(wrapped(target, payload))
        answer = await sock.next()
        assert answer.endswith(payload)
        if not target.is_name:
            assert answer == wrapped(target, payload)


def inbounds(text: str) -> str:
    return "inbounds: {in: {type: socks, listen: '127.0.0.1:0'}}\n" + text


def way(name: str, method: str, server: Target, password: str = "", more: str = "") -> str:
    """An outbound."""
    password = password or word(method)
    return (
        f"{name}: {{type: shadowsocks, server: '{server}', method: {method},"
        f" password: '{password}'{more}}}"
    )


@pytest.mark.parametrize("method", METHODS)
async def test_every_cipher(method: str, road: RunRoad) -> None:
    async with echoing("127.0.0.1") as four, echoing("::1") as six, road(at_server(method)) as far:
        for at in (0, 1):
            async with road(at_client(method, far.place("in", at))) as here:
                async with associated(here.place("in")) as (sock, _):
                    for target in (four, six, Target("localhost", four.port)):
                        await echoed(sock, target, b"hello", b"x" * 1200, b"y" * 9000)
                await here.settled(3)
                past = here.app.ledger.past  # the name's answers come from the first one's address
                assert sum(p.up for p in past) == sum(p.down for p in past) == 3 * 10205
    assert {p.flow.network for p in far.app.ledger.past} == {Network.UDP}


@pytest.mark.parametrize("method", ["aes-256-gcm", SMALL, "2022-blake3-chacha20-poly1305"])
async def test_many_packets_at_once(method: str, road: RunRoad, udp_echo: Target) -> None:
    async with (
        road(at_server(method)) as far,
        road(at_client(method, far.place("in"))) as here,
        associated(here.place("in")) as (sock, _),
    ):
        await echoed(sock, udp_echo, b"first")
        sent = {wrapped(udp_echo, bytes([number]) * 700) for number in range(100)}
        for packet in sent:
            sock.transport.sendto(packet)
        assert {await sock.next() for _ in sent} == sent


async def test_users_are_known_to_rules(road: RunRoad, udp_echo: Target) -> None:
    users = f", users: [{{name: ann, password: '{key(7)}'}}, {{name: bob, password: '{key(8)}'}}]"
    rules = "rules: [{user: bob, to: reject}, {otherwise: direct}]\n"
    async with road(at_server(SMALL, users) + rules) as far:
        place = far.place("in")
        for seed in (7, 8):
            text = at_client(SMALL, place, f"{word(SMALL)}:{key(seed)}")
            async with road(text) as here, associated(here.place("in")) as (sock, _):
                if seed == 7:
                    await echoed(sock, udp_echo, b"hello")
                else:
                    sock.transport.sendto(wrapped(udp_echo, b"hello"))
                    await far.settled(1)
        await far.settled(1)
        past, live = far.app.ledger.past, far.app.ledger.live
        assert {p.flow.user for p in (*past, *live)} == {"ann", "bob"}
        assert [p.flow.user for p in past] == ["bob"]


async def test_chains_of_every_kind(road: RunRoad, udp_echo: Target) -> None:
    """Shadowsocks by shadowsocks, by SOCKS, and SOCKS by shadowsocks."""
    text = at_server(SMALL)
    async with (
        road(text) as new,
        road(at_server("aes-128-gcm")) as old,
        road(inbounds("")) as plain,
    ):
        one, two = way("a", SMALL, new.place("in")), "aes-128-gcm"
        socks = f"{{type: socks, server: '{plain.place('in')}'"
        last = way("b", SMALL, new.place("in"), more=", via: a")
        chains = (
            f"{one}, {way('b', two, old.place('in'), more=', via: a')}",
            f"{way('a', two, old.place('in'))}, {last}",
            f"a: {socks}}}, {last}",
            f"{one}, b: {socks}, via: a}}",
            f"{one}, c: {socks}, via: a}}, {way('b', two, old.place('in'), more=', via: c')}",
        )
        for chain in chains:
            config = inbounds(f"outbounds: {{{chain}}}\nrules: [{{otherwise: b}}]\n")
            async with road(config) as here, associated(here.place("in")) as (sock, _):
                await echoed(sock, udp_echo, b"hello", b"x" * 1000)
                await echoed(sock, Target("localhost", udp_echo.port), b"name")


async def test_network_chooses(road: RunRoad, udp_echo: Target, echo: Target) -> None:
    async with road(at_server(SMALL, ", network: udp")) as far:
        assert [place.removesuffix("/udp") + "/udp" for place in far.app.addresses["in"]] == list(
            far.app.addresses["in"]
        )
        text = at_client(SMALL, far.place("in"))
        async with road(text) as here, associated(here.place("in")) as (sock, _):
            await echoed(sock, udp_echo, b"hello")
    async with road(at_server(SMALL, ", network: tcp")) as far:
        assert not any(place.endswith("/udp") for place in far.app.addresses["in"])
        text = at_client(SMALL, far.place("in")).replace("}}\nrules", ", network: tcp}}\nrules")
        async with road(text) as here:
            async with associated(here.place("in")) as (sock, _):
                sock.transport.sendto(wrapped(udp_echo, b"x"))
                await here.settled(1)
            assert here.ended() == ["outbound out does not support UDP"]
            link = await clients.linked(here.place("in"))
            assert await clients.socks5(link, echo) == 0
            assert await clients.said(link, b"hello") == b"hello"
            await clients.left(link)


@needs_ipv6
async def test_streams_and_packets_share_a_port(road: RunRoad, tmp_path: Path) -> None:
    text = at_server(SMALL).replace("listen: [", f"listen: ['unix:{tmp_path}/sock', ")
    async with road(text) as far:
        unix, *addresses = far.app.addresses["in"]
        assert unix.startswith("unix:")
        assert [f"{address}/udp" for address in addresses[:2]] == addresses[2:]


@pytest.mark.parametrize("method", [SMALL, "2022-blake3-aes-256-gcm"])
async def test_a_relay_for_some_users(
    method: str, road: RunRoad, udp_echo: Target, echo: Target
) -> None:
    """Client, relay, and behind it a server of one key and one with users of its own."""

    def served(more: str) -> str:
        return at_server(method, more).replace(word(method), key(1, method))

    several = f", users: [{{name: carl, password: '{key(3, method)}'}}]"
    async with road(served("")) as one, road(served(several)) as two:
        both = two.place("in")
        users = (
            f", users: [{{name: ann, password: '{key(1, method)}', relay: '{both}'}},"
            f" {{name: bob, password: '{key(5, method)}'}}]"
        )
        async with road(at_server(method, users)) as relay:
            await _passes(method, road, relay, f"{key(1, method)}:{key(3, method)}", udp_echo, echo)
            await _passes(method, road, relay, key(5, method), udp_echo, echo)
            await two.settled(1)
            flows = [p.flow for p in (*two.app.ledger.past, *two.app.ledger.live)]
            assert {flow.user for flow in flows} == {"carl"}
            flows = [p.flow for p in (*relay.app.ledger.past, *relay.app.ledger.live)]
            seen = {(flow.user, flow.network.value, str(flow.target)) for flow in flows}
            assert seen == {
                ("ann", "tcp", str(both)),
                ("ann", "udp", str(both)),
                ("bob", "tcp", str(echo)),
                ("bob", "udp", str(udp_echo)),
            }
        users = users.replace(str(both), str(one.place("in")))
        async with road(at_server(method, users)) as relay:
            await _passes(method, road, relay, key(1, method), udp_echo, echo)


async def _passes(
    method: str, road: RunRoad, relay: Road, keys: str, udp_echo: Target, echo: Target
) -> None:
    text = at_client(method, relay.place("in"), f"{word(method)}:{keys}")
    async with road(text) as here:
        async with associated(here.place("in")) as (sock, _):
            await echoed(sock, udp_echo, b"hello", b"again")
        link = await clients.linked(here.place("in"))
        assert await clients.socks5(link, echo) == 0
        assert await clients.said(link, b"x" * 3000) == b"x" * 3000
        await clients.left(link)


@pytest.mark.parametrize("method", [SMALL, "2022-blake3-aes-256-gcm"])
@pytest.mark.parametrize("relayed", [True, False])
async def test_a_cold_burst_arrives_whole(
    method: str, relayed: bool, road: RunRoad, udp_echo: Target
) -> None:
    """Fifty packets at once, of which none was before them, at every end on the way."""
    async with road(at_server(method).replace(word(method), key(1, method))) as behind:
        more = f", relay: '{behind.place('in')}'" if relayed else ""
        users = f", users: [{{name: ann, password: '{key(1, method)}'{more}}}]"
        async with (
            road(at_server(method, users)) as relay,
            road(at_client(method, relay.place("in"), f"{word(method)}:{key(1, method)}")) as here,
            associated(here.place("in")) as (sock, _),
        ):
            sent = {wrapped(udp_echo, bytes([number]) * 1200) for number in range(50)}
            for packet in sent:
                sock.transport.sendto(packet)
            assert {await sock.next() for _ in sent} == sent


async def test_sessions_outlive_a_reload(road: RunRoad, udp_echo: Target) -> None:
    """New rules about users, with the same keys: the flows on the road stay, new ones obey."""
    users = f", users: [{{name: NAME, password: '{key(7)}'}}]"
    rules = "rules: [{user: bob, to: reject}, {otherwise: direct}]\n"
    text = at_server(SMALL, users)
    async with road(text.replace("NAME", "ann")) as far, echoing("127.0.0.1") as other:
        client = at_client(SMALL, far.place("in"), f"{word(SMALL)}:{key(7)}")
        async with road(client) as here, associated(here.place("in")) as (sock, _):
            await echoed(sock, udp_echo, b"before")
            await far.app.reload(load_text(text.replace("NAME", "bob") + rules))
            await echoed(sock, udp_echo, b"after")
            sock.transport.sendto(wrapped(other, b"no"))
            await far.settled(1)
            assert [p.flow.user for p in far.app.ledger.past] == ["bob"]
            assert [p.flow.user for p in far.app.ledger.live] == ["ann"]
