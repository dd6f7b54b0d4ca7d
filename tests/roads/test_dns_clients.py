"""Byway as a DNS server, asked by the real dig: inbounds of type dns, and hijacked flows."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Sequence

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from byway.flow import Target
from byway.protocols import address
from tests.dns.authority import Asked, serving
from tests.roads.clients import closed_port, left, linked, socks5
from tests.roads.conftest import RunRoad
from tests.roads.test_udp import associated, wrapped

pytestmark = [
    pytest.mark.usefixtures("nowhere"),
    pytest.mark.skipif(not shutil.which("dig"), reason="dig is not installed"),
]

SERVER = "inbounds: {names: {type: dns, listen: '127.0.0.1:0'}}\n"


def zone(asked: Asked) -> Sequence[bytes]:
    """A few names with records of many kinds."""
    name, kind = asked.name, asked.kind
    if name == "many.example" and kind == "TXT":
        texts = [f'many.example. 60 IN TXT "{n:03d}{"x" * 200}"' for n in range(12)]
        return [asked.reply(records=texts)]
    if name == "mail.example" and kind == "MX":
        return [asked.reply(records=["mail.example. 60 IN MX 10 mx.example."])]
    if name == "web.example" and kind == "HTTPS":
        hints = "alpn=h2,h3 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1"
        return [asked.reply(records=[f"web.example. 60 IN HTTPS 1 . {hints}"])]
    if name == "alias.example":
        records = ["alias.example. 60 IN CNAME web.example.", "web.example. 60 IN A 192.0.2.1"]
        return [asked.reply(records=records)]
    if name.endswith("example") and not name.startswith("no."):
        return [asked.reply("192.0.2.1", "2001:db8::1")]
    soa = "example. 60 IN SOA a.example. b.example. 1 2 3 4 30"
    return [asked.reply(code=dns.rcode.NXDOMAIN, authority=[soa])]


async def dig(port: int, *words: str) -> str:
    """What dig prints, with no retries."""
    words = ("@127.0.0.1", "-p", str(port), "+tries=1", "+time=20", "+nocookie", *words)
    running = await asyncio.create_subprocess_exec(
        "dig", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await running.communicate()
    return out.decode()


async def exchange(port: int, wire: bytes) -> bytes:
    """A packet, and what comes back."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setblocking(False)
        own.connect(("127.0.0.1", port))
        await loop.sock_sendall(own, wire)
        async with asyncio.timeout(20):
            return await loop.sock_recv(own, 65535)


@pytest.mark.parametrize("way", [(), ("+tcp",), ("+noedns",), ("+dnssec",), ("+bufsize=4096",)])
async def test_dig_gets_records(road: RunRoad, way: tuple[str, ...]) -> None:
    async with (
        serving(zone) as names,
        road(f"{SERVER}dns: {{use: 'udp://127.0.0.1:{names.port}'}}") as going,
    ):
        port = going.place("names").port
        assert (await dig(port, "+short", *way, "www.example", "A")).split() == ["192.0.2.1"]
        assert (await dig(port, "+short", *way, "www.example", "AAAA")).split() == ["2001:db8::1"]
        assert "10 mx.example." in await dig(port, *way, "mail.example", "MX")
        alias = (await dig(port, "+short", *way, "alias.example")).split()
        assert alias == ["web.example.", "192.0.2.1"]
        said = await dig(port, *way, "no.example", "A")
        assert "NXDOMAIN" in said
        assert "SOA" in said
        assert ("flags: do" in said) is (way == ("+dnssec",))


async def test_a_long_answer_is_cut_for_udp_and_whole_over_tcp(road: RunRoad) -> None:
    async with (
        serving(zone) as names,
        road(f"{SERVER}dns: {{use: 'tcp://127.0.0.1:{names.port}'}}") as going,
    ):
        port = going.place("names").port
        cut = await dig(port, "+ignore", "many.example", "TXT")
        assert "flags: qr tc rd ra" in cut
        assert "ANSWER: 0" in cut
        whole = await dig(port, "many.example", "TXT")  # dig asks again over TCP by itself
        assert whole.count('xxxx"') == 12
        assert "(TCP)" in whole


async def test_what_a_query_may_be(road: RunRoad) -> None:
    async with (
        serving(zone) as names,
        road(f"{SERVER}dns: {{use: 'udp://127.0.0.1:{names.port}'}}") as going,
    ):
        port = going.place("names").port
        said = await dig(port, "+qr", "wWw.ExAmPlE", "A")
        assert said.count("wWw.ExAmPlE.") >= 3  # asked, in the question and in the answer
        assert "RFC8482" in await dig(port, "www.example", "ANY")
        assert "REFUSED" in await dig(port, "CH", "TXT", "version.bind")
        assert "BADVERS" in await dig(port, "+edns=7", "+noednsneg", "www.example")
        two = dns.message.make_query("www.example.", "A")
        two.question.extend(dns.message.make_query("www.example.", "AAAA").question)
        assert dns.message.from_wire(await exchange(port, two.to_wire())).rcode() == 1
        bad = dns.message.make_query("www.example.", "A").to_wire()[:-3]
        reply = await exchange(port, bad)
        assert (reply[:2], reply[2] & 0x80, reply[3] & 15) == (bad[:2], 0x80, 1)
        status = dns.message.make_query("www.example.", "A")
        status.set_opcode(dns.opcode.STATUS)
        assert (await exchange(port, status.to_wire()))[3] & 15 == 4
        # an answer, or what is shorter than a head, gets nothing: the next query does
        answer = dns.message.make_response(dns.message.make_query("www.example.", "A"))
        good = dns.message.make_query("www.example.", "A").to_wire()
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.setblocking(False)
            own.connect(("127.0.0.1", port))
            for wire in (answer.to_wire(), b"short", good):
                await loop.sock_sendall(own, wire)
            async with asyncio.timeout(20):
                assert (await loop.sock_recv(own, 4096))[:2] == good[:2]


async def test_rules_answer(road: RunRoad) -> None:
    async with (
        serving(zone) as names,
        road(
            f"""
inbounds:
  names: {{type: dns, listen: '127.0.0.1:0'}}
  other: {{type: dns, listen: '127.0.0.1:0'}}
dns:
  use: udp://127.0.0.1:{names.port}
  hosts: {{box.example: [192.0.2.7, '2001:db8::7'], also.example: box.example}}
  rules:
  - {{domain_suffix: ads.example, answer: nxdomain}}
  - {{domain: refused.example, answer: refuse}}
  - {{query_type: [HTTPS, 64], answer: empty}}
  - {{domain: fixed.example, answer: [192.0.2.9, '2001:db8::9']}}
  - {{domain: www.example, inbound: other, answer: 192.0.2.10}}
  - {{domain: www.example, source: 192.0.2.0/24, answer: refuse}}
"""
        ) as going,
    ):
        port, other = going.place("names").port, going.place("other").port
        assert "NXDOMAIN" in await dig(port, "x.ads.example")
        assert "REFUSED" in await dig(port, "refused.example")
        said = await dig(port, "web.example", "HTTPS")
        assert "NOERROR" in said
        assert "ANSWER: 0" in said
        assert (await dig(port, "+short", "fixed.example")).split() == ["192.0.2.9"]
        assert (await dig(port, "+short", "fixed.example", "AAAA")).split() == ["2001:db8::9"]
        assert (await dig(other, "+short", "www.example")).split() == ["192.0.2.10"]
        assert (await dig(port, "+short", "www.example")).split() == ["192.0.2.1"]
        assert (await dig(port, "+short", "also.example")).split() == ["192.0.2.7"]
        assert (await dig(port, "+short", "localhost")).split() == ["127.0.0.1"]
        assert "NXDOMAIN" in await dig(port, "something.onion")
        assert "NOERROR" in await dig(port, "_dns.resolver.arpa", "SVCB")
        assert {asked.name for asked in names.asked} == {"www.example"}
        told = await going.app.names.inquire("fixed.example")
        assert set(told.addresses) == {bytes((192, 0, 2, 9)), socket.inet_pton(10, "2001:db8::9")}
        assert "nxdomain" in (await going.app.names.inquire("y.ads.example")).error


async def test_a_server_that_is_away(road: RunRoad) -> None:
    async with road(f"{SERVER}dns: {{use: 'tcp://{closed_port()}', timeout: 1s}}") as going:
        assert "SERVFAIL" in await dig(going.place("names").port, "www.example")


HIJACK = """
inbounds: {{home: {{type: mixed, listen: '127.0.0.1:0'}}}}
dns:
  use: udp://127.0.0.1:{port}
  hijack: true
"""


async def test_a_hijacked_flow_is_answered_as_whoever_was_asked(road: RunRoad) -> None:
    query = dns.message.make_query("www.example.", "A").to_wire()
    async with serving(zone) as names, road(HIJACK.format(port=names.port)) as going:
        place = going.place("home")
        link = await linked(place)
        assert await socks5(link, Target.of("203.0.113.53", 53)) == 0
        reader, writer = link
        writer.write(len(query).to_bytes(2) + query)
        size = int.from_bytes(await reader.readexactly(2))
        answer = dns.message.from_wire(await reader.readexactly(size))
        assert [record.address for record in answer.answer[0]] == ["192.0.2.1"]
        await left(link)
        asked = Target.of("203.0.113.53", 53)
        async with associated(place) as (sock, _):
            sock.transport.sendto(wrapped(asked, query))
            data = await sock.next()
            found = address.unpack(data, 3)
            assert found is not None
            assert found[0] == asked
            assert dns.message.from_wire(data[found[1] :]).answer[0][0].address == "192.0.2.1"
        why = going.app.ledger.past
        assert all(p.verdict is not None and "dns.hijack" in str(p.verdict.rule) for p in why)


async def test_answers_are_kept_and_found_by_the_engine(road: RunRoad) -> None:
    """What was asked once is answered without Python: for every spelling, with and without EDNS,
    over UDP and TCP; signatures are asked for anew."""
    async with (
        serving(zone) as names,
        road(f"{SERVER}dns: {{use: 'udp://127.0.0.1:{names.port}'}}") as going,
    ):
        port = going.place("names").port
        for words in ((), ("+noedns",), ("+tcp",), ("+bufsize=600",)):
            assert (await dig(port, "+short", *words, "wWw.example")).split() == ["192.0.2.1"]
        assert names.count("www.example") == 1
        before = going.app.names.messages.counts[0]
        query = dns.message.make_query("www.example.", "A").to_wire()
        answers = [await exchange(port, query) for _ in range(3)]
        assert {dns.message.from_wire(one).answer[0][0].address for one in answers} == {"192.0.2.1"}
        assert going.app.names.messages.counts[0] == before + 3
        assert "NXDOMAIN" in await dig(port, "no.example")
        assert "NXDOMAIN" in await dig(port, "no.example")
        assert names.count("no.example") == 1
        await dig(port, "+dnssec", "www.example")
        assert names.count("www.example") == 2
        await going.app.reload(going.app.now.config)
        await dig(port, "www.example")


async def test_a_stale_answer_is_given_and_renewed(road: RunRoad) -> None:
    def short(asked: Asked) -> Sequence[bytes]:
        return [asked.reply("192.0.2.1", ttl=1)]

    async with (
        serving(short) as names,
        road(f"{SERVER}dns: {{use: 'udp://127.0.0.1:{names.port}'}}") as going,
    ):
        port = going.place("names").port
        query = dns.message.make_query("www.example.", "A").to_wire()
        await exchange(port, query)
        async with asyncio.timeout(30):
            while names.count("www.example") < 2:  # fresh for a second; each answer comes at once
                message = dns.message.from_wire(await exchange(port, query))
                assert message.answer[0][0].address == "192.0.2.1"
                await asyncio.sleep(0.01)


async def test_an_answer_that_is_not_believed_is_asked_for_elsewhere(road: RunRoad) -> None:
    """A bogus address, or no answer at all: the other servers are asked, by clients and by Byway
    itself; an answer that is believed stays."""

    def liar(asked: Asked) -> Sequence[bytes]:
        if asked.name == "silent.example":
            return [asked.reply(code=dns.rcode.SERVFAIL)]
        return [asked.reply("192.0.2.1" if asked.name == "good.example" else "203.0.113.66")]

    def honest(asked: Asked) -> Sequence[bytes]:
        return [asked.reply("192.0.2.7")]

    async with (
        serving(liar) as first,
        serving(honest) as other,
        road(
            f"""{SERVER}
dns:
  use: udp://127.0.0.1:{first.port}
  fallback: {{use: 'udp://127.0.0.1:{other.port}', bogus: 203.0.113.0/24}}
  addresses: ipv4
"""
        ) as going,
    ):
        port = going.place("names").port
        for name, wanted in (
            ("good.example", "192.0.2.1"),
            ("bad.example", "192.0.2.7"),
            ("silent.example", "192.0.2.7"),
        ):
            assert (await dig(port, "+short", name)).split() == [wanted]
            told = await going.app.names.inquire(name)
            assert [Target.from_packed(one, 0).host for one in told.addresses] == [wanted]
        assert {asked.name for asked in other.asked} == {"bad.example", "silent.example"}


@pytest.mark.parametrize("way", ["udp", "tcp"])
@pytest.mark.parametrize("subnet", ["203.0.113.0/24", "2001:db8:1::/56"])
async def test_a_server_is_told_of_a_subnet(road: RunRoad, way: str, subnet: str) -> None:
    """RFC 7871: what the config says, and never what a client says."""
    async with (
        serving(zone) as names,
        road(
            f"""{SERVER}
dns:
  servers: {{up: {{address: '{way}://127.0.0.1:{names.port}', client_subnet: '{subnet}'}}}}
  use: up
"""
        ) as going,
    ):
        await dig(going.place("names").port, "+subnet=192.0.2.0/24", "www.example")
        (asked,) = names.asked
        (option,) = [one for one in asked.message.options if one.otype == 8]
        assert option.to_text() == f"ECS {subnet} scope/0"
