"""Fake addresses and told ones: flows to them are flows to names, by whatever inbound they come."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

import dns.rcode
import pytest

from byway.app import App
from byway.config import load_text
from byway.flow import Target
from tests.dns.authority import Asked, serving
from tests.roads.clients import left, linked, said, socks5
from tests.roads.conftest import RunRoad
from tests.roads.test_dns_clients import dig
from tests.roads.test_udp import associated, wrapped

pytestmark = [
    pytest.mark.usefixtures("nowhere"),
    pytest.mark.skipif(not shutil.which("dig"), reason="dig is not installed"),
]

CONFIG = """
inbounds:
  names: {{type: dns, listen: '127.0.0.1:0'}}
  home: {{type: mixed, listen: '127.0.0.1:0'}}
dns:
  use: udp://127.0.0.1:{port}
  addresses: ipv4
  fake_ip: {fake}
  rules:
  - {{domain: real.loop, answer: real}}
  - {{domain: ads.loop, answer: nxdomain}}
rules:
- {{domain: refused.loop, to: reject}}
- {{ip: 198.18.0.0/15, to: reject}}
- {{otherwise: direct}}
"""


def zone(asked: Asked) -> Sequence[bytes]:
    """Everything below `loop` is this host."""
    if asked.name.endswith("loop") or asked.name.endswith("lan"):
        hints = f"{asked.name}. 60 IN HTTPS 1 . alpn=h2 ipv4hint=127.0.0.1 ipv6hint=::1"
        if asked.kind == "HTTPS":
            return [asked.reply(records=[hints])]
        return [asked.reply("127.0.0.1", "::1")]
    return [asked.reply(code=dns.rcode.NXDOMAIN)]


async def fake(port: int, name: str, kind: str = "A") -> str:
    """The one address that a name is said to have."""
    (found,) = (await dig(port, "+short", name, kind)).split()
    return found


async def test_a_flow_to_a_fake_address_is_one_to_its_name(road: RunRoad, echo: Target) -> None:
    async with serving(zone) as names, road(CONFIG.format(port=names.port, fake="true")) as going:
        port = going.place("names").port
        v4, v6 = await fake(port, "www.loop"), await fake(port, "www.loop", "AAAA")
        assert v4.startswith("198.1")
        assert v6.startswith("fc00:")
        assert names.asked == []  # nobody was asked
        for host in (v4, v6):
            link = await linked(going.place("home"))
            assert await socks5(link, Target.of(host, echo.port)) == 0
            assert await said(link, b"hello") == b"hello"
            await left(link)
        await going.settled(2)
        flow = going.app.ledger.past[0].flow
        assert str(flow.target) == f"www.loop:{echo.port}"
        assert str(flow.known) == "www.loop (fake-ip)"
        await going.logged('known="www.loop (fake-ip)"')
        # by udp too, and it answers as the fake address
        assert (await dig(port, "+short", "-x", v4)).split() == ["www.loop."]
        assert (await dig(port, "+short", "-x", v6)).split() == ["www.loop."]


async def test_packets_to_a_fake_address(road: RunRoad, udp_echo: Target) -> None:
    async with serving(zone) as names, road(CONFIG.format(port=names.port, fake="true")) as going:
        host = await fake(going.place("names").port, "www.loop")
        target = Target.of(host, udp_echo.port)
        async with associated(going.place("home")) as (sock, _):
            sock.transport.sendto(wrapped(target, b"one"))
            assert await sock.next() == wrapped(target, b"one")


async def test_rules_see_the_name_and_stale_ones_are_refused(road: RunRoad, echo: Target) -> None:
    async with serving(zone) as names, road(CONFIG.format(port=names.port, fake="true")) as going:
        port = going.place("names").port
        for host in (await fake(port, "refused.loop"), "198.18.77.77", "fc00::1:2345"):
            link = await linked(going.place("home"))
            assert await socks5(link, Target.of(host, echo.port)) != 0
            await left(link)
        await going.settled(3)
        first, second, third = going.ended()
        assert first == "rejected by a rule"
        assert "stands for no name" in second
        assert "stands for no name" in third
        assert "NXDOMAIN" in await dig(port, "-x", "198.18.77.77")
        assert names.asked == []


async def test_which_names_are_faked(road: RunRoad) -> None:
    fakes = "{ranges: 198.18.0.0/15, exclude: ['*.real.loop', one.loop], ttl: 5s}"
    async with serving(zone) as names, road(CONFIG.format(port=names.port, fake=fakes)) as going:
        port = going.place("names").port
        for name in ("real.loop", "a.real.loop", "one.loop", "printer.lan"):
            assert await fake(port, name) == "127.0.0.1", name
        assert (await fake(port, "two.loop")).startswith("198.1")
        assert " 5 IN A 198.1" in " ".join((await dig(port, "two.loop")).split())
        assert "NXDOMAIN" in await dig(port, "ads.loop")
        answer = await dig(port, "two.loop", "AAAA")  # there is no range of IPv6
        assert "NOERROR" in answer
        assert "ANSWER: 0" in answer
        service = await dig(port, "+short", "two.loop", "HTTPS")
        assert "h2" in service
        assert "hint" not in service
        assert "hint" in await dig(port, "+short", "one.loop", "HTTPS")
        assert (await going.app.names.resolve("two.loop"))[0] == bytes((127, 0, 0, 1))


async def test_a_name_keeps_its_address_after_a_restart(tmp_path: Path) -> None:
    async with serving(zone) as names:
        text = f"log: {{level: error}}\n{CONFIG.format(port=names.port, fake='true')}"
        seen: list[dict[str, str]] = []
        for order in (("a.loop", "b.loop", "c.loop"), ("c.loop", "b.loop", "a.loop")):
            async with App(load_text(text), memory=tmp_path) as app:
                port = Target.parse(app.addresses["names"][0]).port
                seen.append({name: await fake(port, name) for name in order})
        assert seen[0] == seen[1]
        async with App(load_text(text), memory=tmp_path) as app:  # known before anybody asks
            packed = Target.of(seen[0]["a.loop"], 0).packed
            assert packed is not None
            assert app.names.fakes is not None
            assert app.names.fakes.name(packed) == "a.loop"


@pytest.mark.parametrize("use", ["off", "judge", "dial"])
async def test_an_address_that_was_told_has_its_name(road: RunRoad, echo: Target, use: str) -> None:
    config = f"""
inbounds:
  names: {{type: dns, listen: '127.0.0.1:0'}}
  home: {{type: mixed, listen: '127.0.0.1:0'}}
names: {{answers: {use}}}
dns: {{use: 'udp://127.0.0.1:{{port}}', addresses: ipv4}}
rules:
- {{domain: refused.loop, to: reject}}
- {{ip: 10.0.0.0/8, to: reject}}
- {{otherwise: direct}}
"""
    async with serving(zone) as names, road(config.replace("{port}", str(names.port))) as going:
        assert await fake(going.place("names").port, "refused.loop") == "127.0.0.1"
        link = await linked(going.place("home"))
        code = await socks5(link, echo)
        assert (code == 0) is (use == "off")
        await left(link)
        assert await fake(going.place("names").port, "www.loop") == "127.0.0.1"
        link = await linked(going.place("home"))
        assert await socks5(link, echo) == 0
        await left(link)
        await going.settled(2)
        flow = going.app.ledger.past[1].flow
        name = None if use == "off" else "www.loop (answer)"
        assert (None if flow.known is None else str(flow.known)) == name
        assert flow.target.host == ("www.loop" if use == "dial" else "127.0.0.1")


async def test_a_sniffed_name_is_judged(road: RunRoad, echo: Target) -> None:
    config = """
inbounds: {home: {type: mixed, listen: '127.0.0.1:0'}}
names: {sniffed: judge}
rules:
- {domain: refused.loop, to: reject}
- {otherwise: direct}
"""
    async with road(config) as going:
        for name in ("refused.loop", "free.loop"):
            link = await linked(going.place("home"))
            assert await socks5(link, echo) == 0  # it must be answered before it says a name
            link[1].write(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
            async with asyncio.timeout(20):
                got = await link[0].read(10) if name == "free.loop" else b""
            assert got == (b"GET / HTTP" if name == "free.loop" else b"")
            await left(link)
        await going.settled(2)
        ended = {str(passage.flow.known): passage.reason for passage in going.app.ledger.past}
        assert ended["refused.loop (sniffed)"] == "rejected by a rule"
        assert "free.loop (sniffed)" in ended
