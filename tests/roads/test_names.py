"""Whole Apps whose names come from servers that lie, are slow, cut, die and change their minds."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import dns.rcode
import pytest

from byway.api.views import degraded, status_view
from byway.app import App
from byway.config import load_text
from byway.dns import SystemResolver
from byway.dns.hostdns import HostDns
from byway.dns.hostfiles import HostFiles
from byway.errors import Unreachable
from byway.flow import Target
from tests.dns.authority import Asked, serving
from tests.roads import certificates
from tests.roads.clients import closed_port, left, linked, said, socks5
from tests.roads.conftest import RunRoad, served

pytestmark = pytest.mark.usefixtures("nowhere")

HOME = "inbounds: {home: {type: mixed, listen: '127.0.0.1:0'}}\nlog: {level: error}\n"


def zone(asked: Asked) -> Sequence[bytes]:
    """Everything below `loop` is this host."""
    if asked.name.endswith("loop"):
        return [asked.reply("127.0.0.1")]
    return [asked.reply(code=dns.rcode.NXDOMAIN)]


@asynccontextmanager
async def app(text: str) -> AsyncIterator[App]:
    home = HOME.splitlines()[0] if "log:" in text else HOME
    async with App(load_text(f"{home}\n{textwrap.dedent(text)}")) as running:
        yield running


def dns_of(server: str, more: str = "") -> str:
    return f"dns: {{use: '{server}', addresses: ipv4, timeout: 2s{more}}}\n"


async def test_a_flow_to_a_name(road: RunRoad, echo: Target) -> None:
    async with serving(zone) as names:
        text = HOME.splitlines()[0] + "\n" + dns_of(f"udp://127.0.0.1:{names.port}")
        async with road(text) as going:
            for _ in range(2):
                link = await linked(going.place("home"))
                assert await socks5(link, Target.of("www.loop", echo.port)) == 0
                assert await said(link, b"hello") == b"hello"
                await left(link)
            assert names.count("www.loop") == 1
            assert [asked.way for asked in names.asked] == ["udp"]


@pytest.mark.parametrize("way", ["udp", "tcp", "tls", "https"])
async def test_each_way_to_ask(way: str, tmp_path: Path) -> None:
    certificates.write(tmp_path)
    pin = certificates.pin(tmp_path / "chain.pem")
    async with serving(zone, tmp_path) as names:
        port = {"tls": names.tls, "https": names.https}.get(way, names.port)
        tls = f", tls: {{pin: {pin}}}" if way in ("tls", "https") else ""
        async with app(f"""
            dns:
              servers: {{box: {{address: '{way}://127.0.0.1:{port}'{tls}}}}}
              use: box
              addresses: ipv4
            """) as running:
            for name in ("a.loop", "b.loop"):
                assert tuple(await running.names.resolve(name)) == (b"\x7f\0\0\1",)
            assert {asked.way for asked in names.asked} == {way}
            assert names.connections == (0 if way == "udp" else 1)  # kept between the two


@pytest.mark.parametrize("code", [dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS])
@pytest.mark.parametrize("way", ["udp", "tcp", "tls", "https"])
async def test_a_server_of_before_edns(way: str, code: dns.rcode.Rcode, tmp_path: Path) -> None:
    """RFC 6891, section 7; and it is not asked with EDNS again."""
    certificates.write(tmp_path)
    pin = certificates.pin(tmp_path / "chain.pem")

    def old(asked: Asked) -> Sequence[bytes]:
        if asked.message.edns < 0:
            return zone(asked)
        if code is dns.rcode.FORMERR:  # a bare header: some do not even repeat the question
            return [asked.wire[:2] + b"\x81\x81" + bytes(8)]
        return [asked.reply(code=code)]

    async with serving(old, tmp_path) as names:
        port = {"tls": names.tls, "https": names.https}.get(way, names.port)
        tls = f", tls: {{pin: {pin}}}" if way in ("tls", "https") else ""
        async with app(f"""
            dns:
              servers: {{box: {{address: '{way}://127.0.0.1:{port}'{tls}}}}}
              use: box
              addresses: ipv4
            """) as running:
            for name in ("a.loop", "b.loop", "c.loop"):
                assert tuple(await running.names.resolve(name)) == (b"\x7f\0\0\1",)
        assert [asked.message.edns for asked in names.asked] == [0, -1, -1, -1]


async def test_what_edns_is_not_to_blame_for_is_no_reason_to_forgo_it() -> None:
    def broken(asked: Asked) -> Sequence[bytes]:
        code = dns.rcode.FORMERR if asked.name == "bad.loop" else dns.rcode.NOERROR
        return [asked.reply("127.0.0.1", code=code)]

    async with serving(broken) as names:
        text = dns_of(f"udp://127.0.0.1:{names.port}")
        async with app(text) as running:
            with pytest.raises(Unreachable, match="FORMERR"):
                await running.names.resolve("bad.loop")
            await running.names.resolve("good.loop")
        assert [asked.message.edns for asked in names.asked] == [0, -1, 0]


async def test_lies_and_garbage_are_passed_over() -> None:
    def lying(asked: Asked) -> Sequence[bytes]:
        good = asked.reply("127.0.0.1")
        other = asked.reply("6.6.6.6")
        number = bytes([other[0] ^ 1]) + other[1:]
        name = other.replace(b"\x03www", b"\x03xxx")
        return [b"", b"garbage", number, name, other[:20], asked.wire, good]

    for way in ("udp", "tcp"):
        async with serving(lying) as names, app(dns_of(f"{way}://127.0.0.1:{names.port}")) as it:
            assert tuple(await it.names.resolve("www.loop")) == (b"\x7f\0\0\1",)


async def test_a_flood_of_lies_is_left_for_tcp() -> None:
    def flooding(asked: Asked) -> Sequence[bytes]:
        if asked.way == "udp":
            return [bytes([asked.wire[0] ^ 1]) + asked.reply("6.6.6.6")[1:]] * 64
        return [asked.reply("127.0.0.1")]

    async with serving(flooding) as names, app(dns_of(f"udp://127.0.0.1:{names.port}")) as it:
        assert tuple(await it.names.resolve("www.loop")) == (b"\x7f\0\0\1",)
        assert [asked.way for asked in names.asked] == ["udp", "tcp"]


async def test_what_was_cut_comes_by_tcp() -> None:
    def cutting(asked: Asked) -> Sequence[bytes]:
        return [asked.reply("127.0.0.1", cut=asked.way == "udp")]

    async with serving(cutting) as names, app(dns_of(f"udp://127.0.0.1:{names.port}")) as it:
        assert tuple(await it.names.resolve("www.loop")) == (b"\x7f\0\0\1",)
        assert [asked.way for asked in names.asked] == ["udp", "tcp"]


async def test_a_lost_packet_is_sent_again() -> None:
    heard: list[str] = []

    def forgetful(asked: Asked) -> Sequence[bytes]:
        heard.append(asked.name)
        return [asked.reply("127.0.0.1")] if len(heard) > 1 else []

    async with serving(forgetful) as names:
        text = dns_of(f"udp://127.0.0.1:{names.port}").replace("2s", "500ms")
        async with app(text) as it:
            assert tuple(await it.names.resolve("www.loop")) == (b"\x7f\0\0\1",)
            assert len(names.asked) == 2


async def test_an_alias_is_followed_where_the_server_does_not() -> None:
    def lazy(asked: Asked) -> Sequence[bytes]:
        if asked.name == "www.loop":
            return [asked.reply(records=["www.loop. 60 IN CNAME cdn.loop."])]
        if asked.name == "ring.loop":
            return [asked.reply(records=["ring.loop. 60 IN CNAME gnir.loop."])]
        if asked.name == "gnir.loop":
            return [asked.reply(records=["gnir.loop. 60 IN CNAME ring.loop."])]
        return [asked.reply("127.0.0.1")]

    async with serving(lazy) as names, app(dns_of(f"udp://127.0.0.1:{names.port}")) as it:
        assert tuple(await it.names.resolve("www.loop")) == (b"\x7f\0\0\1",)
        told = await it.names.inquire("ring.loop")
        assert "too many aliases" in told.error
        assert len(names.asked) < 20


async def test_a_silent_server_is_left_in_time_and_told_of() -> None:
    async with serving(lambda _: []) as dead, serving(zone) as good:
        text = f"""
            log: {{level: warning}}
            dns:
              servers: {{dead: 'udp://127.0.0.1:{dead.port}', good: 'udp://127.0.0.1:{good.port}'}}
              use: [dead, good]
              addresses: ipv4
              timeout: 200ms
              rules: [{{domain_suffix: only.loop, use: dead}}]
            """
        async with app(text) as it:
            assert tuple(await it.names.resolve("www.loop")) == (b"\x7f\0\0\1",)
            for at in range(2):
                told = await it.names.inquire(f"n{at}.only.loop")
                assert "dead: no answer in time" in told.error
            (found,) = [thing for thing in degraded(it) if "name server" in str(thing["what"])]
            assert found == {"what": "name server dead", "why": "no answer in time"}
            names = status_view(it, "0")["names"]
            assert isinstance(names, dict)
            states = {server["name"]: server["failing"] for server in names["servers"]}
            assert states == {"dead": True, "good": False}
            before = len(dead.asked)
            assert tuple(await it.names.resolve("other.loop")) == (b"\x7f\0\0\1",)
            assert len(dead.asked) == before  # asked last now, and the other was quick
            lines = [line for line in it.log.recent if "name server fails" in line]
            assert len(lines) == 1
            assert "server=dead" in lines[0]


async def test_a_server_that_others_overtake_is_failing_too() -> None:
    async with serving(lambda _: []) as dead, serving(zone) as good:
        text = f"""
            dns:
              use: ['udp://127.0.0.1:{dead.port}', 'udp://127.0.0.1:{good.port}']
              addresses: ipv4
            """
        async with app(text) as it:
            for at in range(3):
                assert tuple(await it.names.resolve(f"n{at}.loop")) == (b"\x7f\0\0\1",)
            assert len(dead.asked) == 2
            assert [server.is_failing for server in it.names.servers] == [True, False]


async def test_a_way_out_with_a_server_of_its_own(road: RunRoad, echo: Target) -> None:
    async with serving(zone) as names, serving(lambda _: []) as other:
        text = f"""
            inbounds: {{home: {{type: mixed, listen: '127.0.0.1:0'}}}}
            outbounds: {{lab: {{type: direct, dns: box}}}}
            dns:
              use: 'udp://127.0.0.1:{other.port}'
              servers: {{box: 'udp://127.0.0.1:{names.port}'}}
              addresses: ipv4
            rules: [{{otherwise: lab}}]
            """
        async with road(textwrap.dedent(text)) as going:
            link = await linked(going.place("home"))
            assert await socks5(link, Target.of("www.loop", echo.port)) == 0
            await left(link)
        assert (names.count("www.loop"), other.asked) == (1, [])


async def test_a_server_that_says_no_is_not_the_end() -> None:
    def refusing(asked: Asked) -> Sequence[bytes]:
        return [asked.reply(code=dns.rcode.SERVFAIL)]

    async with serving(refusing) as bad, serving(zone) as good:
        text = f"dns: {{use: ['tcp://127.0.0.1:{bad.port}', 'tcp://127.0.0.1:{good.port}']}}"
        async with app(text) as it:
            assert (await it.names.resolve("www.loop"))[0] == b"\x7f\0\0\1"


async def test_a_connection_that_the_server_closed_is_opened_anew() -> None:
    async with serving(zone) as names, app(dns_of(f"tcp://127.0.0.1:{names.port}")) as it:
        await it.names.resolve("a.loop")
        (server,) = it.names.servers
        server.close()  # as if it had been idle for too long
        await it.names.resolve("b.loop")
        assert names.connections == 2
        assert server.failed == 0


async def test_through_a_proxy_the_way_is_resolved_by_the_bootstrap(
    road: RunRoad, tmp_path: Path
) -> None:
    """DoH through two proxies of ours, the first known by a name that the DoH server must not be
    asked for: nobody could reach it then."""
    certificates.write(tmp_path)
    pin = certificates.pin(tmp_path / "chain.pem")
    async with (
        serving(zone, tmp_path) as far,
        serving(zone) as near,
        road("inbounds: {a: {type: socks, listen: '127.0.0.1:0', allow_local: true}}") as first,
        road("inbounds: {b: {type: http, listen: '127.0.0.1:0', allow_local: true}}") as second,
    ):
        text = f"""
            dns:
              servers:
                far:
                  address: https://127.0.0.1:{far.https}/dns-query
                  via: chain
                  bootstrap: near
                  tls: {{pin: {pin}}}
                near: udp://127.0.0.1:{near.port}
              use: far
              addresses: ipv4
            outbounds:
              first: {{type: socks, server: 'proxy.loop:{first.place("a").port}'}}
              chain: {{type: http, server: '127.0.0.1:{second.place("b").port}', via: first}}
            """
        async with app(text) as it:
            assert tuple(await it.names.resolve("www.loop")) == (b"\x7f\0\0\1",)
            assert {asked.name for asked in far.asked} == {"www.loop"}
            assert {asked.name for asked in near.asked} == {"proxy.loop"}
            # a flow by the same chain needs the same name, whatever the rules say
            assert tuple(await it.names.resolve("proxy.loop")) == (b"\x7f\0\0\1",)
            assert far.count("proxy.loop") == 0


async def test_packets_by_way_of_a_proxy(road: RunRoad) -> None:
    async with (
        serving(zone) as names,
        road("inbounds: {a: {type: socks, listen: '127.0.0.1:0', allow_local: true}}") as proxy,
    ):
        text = f"""
            dns:
              servers: {{far: {{address: 'udp://127.0.0.1:{names.port}', via: proxy}}}}
              use: far
              addresses: ipv4
            outbounds: {{proxy: {{type: socks, server: '{proxy.place("a")}'}}}}
            """
        async with app(text) as it:
            found = await asyncio.gather(*(it.names.resolve(f"n{at}.loop") for at in range(30)))
            assert {tuple(one) for one in found} == {(b"\x7f\0\0\1",)}
            assert {asked.way for asked in names.asked} == {"udp"}
            (server,) = it.names.servers
            server.close()  # a session that is gone is opened anew
            assert tuple(await it.names.resolve("more.loop")) == (b"\x7f\0\0\1",)


@pytest.mark.parametrize("way", ["udp", "tcp"])
async def test_by_way_of_a_group_whose_first_member_is_dead(road: RunRoad, way: str) -> None:
    async with (
        serving(zone) as names,
        road("inbounds: {a: {type: socks, listen: '127.0.0.1:0', allow_local: true}}") as proxy,
    ):
        text = f"""
            dns:
              servers: {{far: {{address: '{way}://127.0.0.1:{names.port}', via: any}}}}
              use: far
              addresses: ipv4
            outbounds: {{dead: 'socks5://{closed_port()}', up: 'socks5://{proxy.place("a")}'}}
            groups: {{any: {{type: fallback, members: [dead, up]}}}}
            """
        async with app(text) as it:
            assert tuple(await it.names.resolve("www.loop")) == (b"\x7f\0\0\1",)
            assert {asked.way for asked in names.asked} == {way}


async def test_what_stays_the_same_in_a_reload_keeps_its_answers() -> None:
    async with serving(zone) as one, serving(zone) as two:

        def text(use: str, more: str = "") -> str:
            return (
                HOME
                + textwrap.dedent(f"""
                dns:
                  servers: {{one: 'tcp://127.0.0.1:{one.port}', two: 'tcp://127.0.0.1:{two.port}'}}
                  use: {use}
                  addresses: ipv4
                """)
                + more
            )

        async with App(load_text(text("one"))) as it:
            await it.names.resolve("www.loop")
            told = await it.reload(load_text(text("one", "rules: [{otherwise: direct}]\n")))
            assert told == ("+ rule otherwise: direct",)
            await it.names.resolve("www.loop")
            await it.names.resolve("other.loop")
            assert (one.count("www.loop"), one.connections) == (1, 1)
            assert await it.reload(load_text(text("two", "rules: [{otherwise: direct}]\n"))) == (
                "~ dns.use",
            )
            await it.names.resolve("www.loop")
            assert two.count("www.loop") == 1
            assert await it.reload(load_text(HOME)) == ("- dns", "- rule otherwise: direct")
            assert set(await it.names.resolve("localhost")) <= {b"\x7f\0\0\1", bytes(15) + b"\1"}
            assert it.names.servers == ()


async def test_a_name_that_leads_inside_is_closed_to_those_from_beyond(
    road: RunRoad, echo: Target
) -> None:
    def mapped(asked: Asked) -> Sequence[bytes]:
        return [asked.reply("::ffff:127.0.0.1")]

    async with serving(mapped) as names:
        text = (
            "inbounds: {home: {type: socks, listen: '127.0.0.1:0', allow_local: false}}\n"
            + dns_of(f"udp://127.0.0.1:{names.port}").replace("ipv4", "ipv6")
        )
        async with road(text) as going:
            link = await linked(going.place("home"))
            assert await socks5(link, Target.of("www.loop", echo.port)) == 2  # not allowed
            await left(link)
            await going.settled(1)
            assert "resolves only to addresses of this host" in going.ended()[0]


async def test_nothing_is_imported_for_who_has_no_servers() -> None:
    code = (
        "import asyncio, sys\n"
        "from byway.app import App\nfrom byway.config import load_text\n"
        "async def main():\n"
        f"    async with App(load_text({HOME!r})): pass\n"
        "asyncio.run(main())\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('dns', 'h2')])\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert said.decode().splitlines()[-1] == "[]"


@pytest.mark.parametrize("own", [True, False])
async def test_one_client_does_not_stop_names_for_everybody(own: bool, tmp_path: Path) -> None:
    """Hundreds of names in a silent zone, by one source: first left, then waited for."""

    def says(asked: Asked) -> Sequence[bytes]:
        return [] if asked.name.endswith("silent.test") else [asked.reply("127.0.0.1")]

    async def connected(source: str, name: str) -> int:
        _, writer = link = await asyncio.open_connection(
            door.host, door.port, local_addr=(source, 0)
        )
        try:
            return await socks5(link, Target.of(name, echo.port))
        finally:
            writer.close()

    async with served(lambda data: data, "127.0.0.1") as echo, serving(says) as names:
        (tmp_path / "resolv.conf").write_text(
            "nameserver 127.0.0.1\noptions timeout:1 attempts:5\n"  # a burst may find no room
        )
        system = SystemResolver(files=HostFiles(tmp_path), dns=HostDns(names.port))
        text = HOME + (dns_of(f"udp://127.0.0.1:{names.port}") if own else "")
        async with App(load_text(text), system) as running, asyncio.TaskGroup() as group:
            door = Target.parse(running.addresses["home"][0])
            for burst in range(2):
                asking = [
                    group.create_task(connected("127.0.0.66", f"n{burst}-{at}.silent.test"))
                    for at in range(300)
                ]
                while len(names.asked) < 250 * (burst + 1):
                    await asyncio.sleep(0.01)
                assert await connected("127.0.0.1", f"a{burst}.known.test") == 0
                for task in asking:
                    task.cancel()
            assert await connected("127.0.0.66", "b.known.test") == 0
        system.close()
