"""Packets inside streams over the real engine, Byway at both ends: trojan, and UDP over TCP."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import pytest

from byway.flow import Network, Target
from byway.protocols import trojan
from byway.protocols.trojan import Command
from tests.roads import clients
from tests.roads.conftest import Road, RunRoad, echoing
from tests.roads.test_encrypted import Site, at_server, site, word
from tests.roads.test_sealed_packets import echoed, inbounds
from tests.roads.test_udp import associated, wrapped

pytestmark = pytest.mark.usefixtures("nowhere")

__all__ = ["site"]

SMALL = "2022-blake3-aes-128-gcm"
SIZES = (b"1", b"x" * 1200, b"y" * 8192, b"z" * 60_000)  # asyncio sends no empty packets
ANY = Target.of("0.0.0.0", 0)


def over_tcp(kind: str, place: Target, more: str = "") -> str:
    """An outbound that carries its packets inside connections."""
    secret = f", method: {kind}, password: '{word(kind)}'" if kind not in ("socks", "http") else ""
    name = kind if not secret else "shadowsocks"
    return f"{{type: {name}, server: '{place}'{secret}, udp_over_tcp: true{more}}}"


def by(way: str) -> str:
    return inbounds(f"outbounds: {{out: {way}}}\nrules: [{{otherwise: out}}]\n")


async def carries(here: Road, there: Road) -> None:
    """Packets of all sizes to every kind of target, counted alike at both ends."""
    async with echoing("127.0.0.1") as four, echoing("::1") as six:
        async with associated(here.place("in")) as (sock, _):
            for target in (four, six, Target("localhost", four.port)):
                await echoed(sock, target, *SIZES)
        total = sum(len(payload) for payload in SIZES)
        for end in (here, there):
            await end.settled(3)
            past = end.app.ledger.past
            assert [p.flow.network for p in past] == [Network.UDP] * 3
            assert sum(p.up for p in past) == sum(p.down for p in past) == 3 * total


async def test_trojan_carries_packets(site: Site, road: RunRoad) -> None:
    async with road(site.client("geheim")) as here:
        await carries(here, site.there)
    assert {p.flow.user for p in site.there.app.ledger.past} == {"ann"}


@pytest.mark.parametrize("kind", ["socks", "http", SMALL, "chacha20-ietf-poly1305"])
async def test_udp_over_tcp_through_every_proxy(kind: str, road: RunRoad) -> None:
    if kind in ("socks", "http"):
        server = "inbounds: {in: {type: mixed, listen: '127.0.0.1:0'}}\n"
    else:
        server = at_server(kind, ", network: tcp")
    async with road(server) as there, road(by(over_tcp(kind, there.place("in")))) as here:
        await carries(here, there)


async def test_udp_over_tcp_of_a_known_user_inside_tls(road: RunRoad, site: Site) -> None:
    """A trojan server takes it, too; and a SOCKS server knows whose packets they are."""
    users = "users: [{name: ann, password: secret}]"
    async with road(f"inbounds: {{in: {{type: socks, listen: '127.0.0.1:0', {users}}}}}") as there:
        way = over_tcp("socks", there.place("in"), ", username: ann, password: secret")
        async with road(by(way)) as here:
            await carries(here, there)
        assert {p.flow.user for p in there.app.ledger.past} == {"ann"}


async def test_chains(site: Site, road: RunRoad, udp_echo: Target) -> None:
    """Streams inside streams, and other packets inside those."""
    async with (
        road(inbounds("")) as plain,
        road(at_server(SMALL)) as new,
        road("inbounds: {in: {type: http, listen: '127.0.0.1:0'}}\n") as web,
    ):
        tls = f"tls: {{sni: localhost, ca: '{site.chain}'}}"
        tunnel = f"{{type: trojan, server: '{site.place}', password: geheim, {tls}"
        sealed = f"{{type: shadowsocks, server: '{new.place('in')}', method: {SMALL},"
        sealed += f" password: '{word(SMALL)}'"
        socks = f"{{type: socks, server: '{plain.place('in')}'"
        http = f"{{type: http, server: '{web.place('in')}'"
        for chain in (
            f"a: {socks}}}, b: {tunnel}, via: a}}",  # trojan's stream by a proxy
            f"a: {http}}}, b: {tunnel}, via: a}}",  # which need not carry UDP itself
            f"a: {http}}}, b: {socks}, udp_over_tcp: true, via: a}}",
            f"a: {tunnel}}}, b: {http}, udp_over_tcp: true, via: a}}",
            f"a: {tunnel}}}, b: {socks}, via: a}}",  # a relay's packets inside trojan's stream
            f"a: {tunnel}}}, b: {sealed}, via: a}}",  # sealed packets inside it
            f"a: {http}, udp_over_tcp: true}}, c: {socks}, via: a}}, b: {sealed}, via: c}}",
        ):
            config = inbounds(f"outbounds: {{{chain}}}\nrules: [{{otherwise: b}}]\n")
            async with road(config) as here, associated(here.place("in")) as (sock, _):
                await echoed(sock, udp_echo, b"hello", b"x" * 1000)
                await echoed(sock, Target("localhost", udp_echo.port), b"name")


async def test_many_packets_at_once(site: Site, road: RunRoad, udp_echo: Target) -> None:
    async with road(site.client("geheim")) as here, associated(here.place("in")) as (sock, _):
        await echoed(sock, udp_echo, b"first")
        sent = {wrapped(udp_echo, bytes([number]) * 700) for number in range(100)}
        for packet in sent:
            sock.transport.sendto(packet)
        assert {await sock.next() for _ in sent} == sent


async def asked(site: Site, wire: bytes) -> clients.Link:
    """A trojan client of the test's own, which has asked for packets."""
    context = ssl.create_default_context(cafile=str(site.chain))
    link = await asyncio.open_connection(
        site.place.host, site.place.port, ssl=context, server_hostname="localhost"
    )
    link[1].write(trojan.request("geheim", Command.ASSOCIATE, ANY) + wire)
    return link


def framed(target: Target, payload: bytes) -> bytes:
    return clients.packed(target) + len(payload).to_bytes(2) + b"\r\n" + payload


async def test_a_client_of_the_tests_own(site: Site) -> None:
    async with echoing("127.0.0.1") as one:
        link = await asked(site, framed(one, b"one") + framed(one, b"two"))
        answer = framed(one, b"one") + framed(one, b"two")
        assert await link[0].readexactly(len(answer)) == answer
        assert len(site.there.app.ledger.live) == 1
        await clients.left(link)
        await site.there.settled(1)
        (past,) = site.there.app.ledger.past
        assert (past.up, past.down, past.flow.user) == (6, 6, "ann")


@pytest.mark.parametrize(
    "wire", [b"\x02", b"\1\x7f\0\0\1\0\x35\0\1\n\n1", b"\1\x7f\0\0\1\0\x35\0\1\r1", bytes(100)]
)
async def test_bad_framing_ends_that_stream_alone(
    wire: bytes, site: Site, udp_echo: Target
) -> None:
    other = await asked(site, framed(udp_echo, b"x"))
    await other[0].readexactly(len(framed(udp_echo, b"x")))
    link = await asked(site, framed(udp_echo, b"y"))
    await link[0].readexactly(len(framed(udp_echo, b"y")))
    link[1].write(wire)
    with contextlib.suppress(ConnectionError):
        assert await link[0].read() == b""
    await clients.left(link)
    await site.there.settled(1)
    assert site.there.ended() == ["near side: it broke its protocol"]
    other[1].write(framed(udp_echo, b"still"))
    await other[0].readexactly(len(framed(udp_echo, b"still")))
    await clients.left(other)


@pytest.mark.parametrize("rest", [b"\2\1" + bytes(6) + b"\r\n", b"\3\t", b"\3\1" + bytes(6) + b"x"])
async def test_a_known_password_before_a_broken_request_sees_the_web_site(
    rest: bytes, site: Site
) -> None:
    wire = trojan.hash_of("geheim") + b"\r\n" + rest
    assert await site.visited(wire) == b"web:" + wire


async def test_a_stream_without_flows_is_closed(road: RunRoad) -> None:
    text = "limits: {idle: 1s}\ninbounds: {in: {type: socks, listen: '127.0.0.1:0'}}\n"
    async with road(text) as there:
        link = await clients.linked(there.place("in"))
        assert await clients.socks5(link, Target("sp.v2.udp-over-tcp.arpa", 0)) == 0
        link[1].write(b"\0\1" + bytes(6))
        async with asyncio.timeout(60):
            assert await link[0].read() == b""
        await clients.left(link)


@pytest.mark.parametrize(
    ("host", "head", "frame"),
    [
        ("sp.v2.udp-over-tcp.arpa", b"\0\1" + bytes(6), None),
        ("sp.udp-over-tcp.arpa", b"", None),
        ("sp.v2.udp-over-tcp.arpa", b"\1", b""),
    ],
)
async def test_what_a_client_of_each_kind_says(
    host: str, head: bytes, frame: bytes | None, road: RunRoad, udp_echo: Target
) -> None:
    assert udp_echo.packed is not None
    where = udp_echo.packed + udp_echo.port.to_bytes(2)
    address = b"\0" + where if frame is None else frame
    if frame is not None:
        head += b"\1" + where
    async with road("inbounds: {in: {type: mixed, listen: '127.0.0.1:0'}}\n") as there:
        for ask in (clients.socks5, clients.http):
            link = await clients.linked(there.place("in"))
            assert await ask(link, Target(host, 0)) == 0
            packets = address + b"\0\2hi"
            link[1].write(head)
            assert await clients.said(link, packets) == packets
            await clients.left(link)
        await there.settled(2)
        assert [p.flow.target for p in there.app.ledger.past] == [udp_echo] * 2


async def test_bad_words_before_the_packets(road: RunRoad) -> None:
    async with road("inbounds: {in: {type: mixed, listen: '127.0.0.1:0'}}\n") as there:
        link = await clients.linked(there.place("in"))
        assert await clients.socks5(link, Target("sp.v2.udp-over-tcp.arpa", 0)) == 0
        link[1].write(b"\7\1" + bytes(6))
        with contextlib.suppress(ConnectionError):
            assert await link[0].read() == b""
        await clients.left(link)
    assert "UDP over TCP began with 0x07" in there.log.read_text()


async def test_a_guarded_server_keeps_packets_off_this_host(
    road: RunRoad, udp_echo: Target
) -> None:
    text = "inbounds: {in: {type: mixed, listen: '127.0.0.1:0', allow_local: false}}\n"
    async with road(text) as there, road(by(over_tcp("socks", there.place("in")))) as here:
        async with associated(here.place("in")) as (sock, _):
            for host in ("127.0.0.1", "localhost"):
                sock.transport.sendto(wrapped(Target.of(host, udp_echo.port), b"x"))
            await there.settled(2)
        assert all("this host" in why or "loopback" in why for why in there.ended())
