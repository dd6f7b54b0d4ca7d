"""Shadowsocks and trojan over the real engine: Byway at both ends, and a web server behind it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from byway.flow import Target
from byway.protocols.shadowsocks import METHODS
from tests.machine import HAS_IPV6
from tests.roads import certificates, clients
from tests.roads.conftest import Road, RunRoad

pytestmark = pytest.mark.usefixtures("nowhere")

KEYS = {16: base64.b64encode(bytes(range(16))).decode(), 32: base64.b64encode(bytes(32)).decode()}
USER = base64.b64encode(bytes([7]) * 16).decode()


def word(method: str) -> str:
    """A password that the method takes."""
    known = METHODS[method]
    return KEYS[known.size] if known.is_2022 else "a secret: änn"


ANYWHERE = ["127.0.0.1:0", *(["[::1]:0"] if HAS_IPV6 else [])]


def at_server(method: str, more: str = "") -> str:
    return (
        f"inbounds: {{in: {{type: shadowsocks, listen: {ANYWHERE},"
        f" method: {method}, password: '{word(method)}'{more}}}}}\n"
    )


def at_client(method: str, server: Target, password: str | None = None) -> str:
    return (
        "inbounds: {in: {type: socks, listen: '127.0.0.1:0'}}\n"
        f"outbounds: {{out: {{type: shadowsocks, server: '{server}', method: {method},"
        f" password: '{password or word(method)}'}}}}\n"
        "rules: [{otherwise: out}]\n"
    )


@pytest.mark.parametrize("method", METHODS)
async def test_every_cipher(method: str, road: RunRoad, echo: Target, echo6: Target) -> None:
    async with road(at_server(method)) as there:
        for at in (0, 1):
            async with road(at_client(method, there.place("in", at))) as here:
                for target in (echo, echo6, Target("localhost", echo.port)):
                    link = await clients.linked(here.place("in"))
                    assert await clients.socks5(link, target) == 0
                    assert await clients.said(link, b"hello") == b"hello"
                    body = bytes(range(256)) * 2000
                    assert await clients.said(link, body) == body
                    await clients.left(link)
                await here.settled(3)
        assert {passage.flow.user for passage in there.app.ledger.past} == {None}


async def test_several_users_and_rules_for_one(road: RunRoad, echo: Target) -> None:
    method = "2022-blake3-aes-128-gcm"
    users = f", users: [{{name: ann, password: '{USER}'}}, {{name: bob, password: '{KEYS[16]}'}}]"
    rules = "rules: [{user: bob, to: reject}, {otherwise: direct}]\n"
    async with road(at_server(method, users) + rules) as there:
        place = there.place("in")
        for key, answered in ((USER, True), (KEYS[16], False)):
            async with road(at_client(method, place, f"{KEYS[16]}:{key}")) as here:
                link = await clients.linked(here.place("in"))
                assert await clients.socks5(link, echo) == 0
                link[1].write(b"hello")
                if answered:
                    assert await link[0].readexactly(5) == b"hello"
                else:
                    with contextlib.suppress(ConnectionError):
                        assert await link[0].read() == b""
                await clients.left(link)
        await there.settled(2)
        assert {passage.flow.user for passage in there.app.ledger.past} == {"ann", "bob"}


async def test_a_server_that_talks_first(road: RunRoad) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        target = Target.of(*server.sockets[0].getsockname())
        for method in ("aes-256-gcm", "2022-blake3-chacha20-poly1305"):
            async with (
                road(at_server(method)) as there,
                road(at_client(method, there.place("in"))) as here,
            ):
                link = await clients.linked(here.place("in"))
                assert await clients.socks5(link, target) == 0
                assert await link[0].read() == b"220 hello\r\n"
                await clients.left(link)


async def test_a_wrong_password_is_heard_out_in_silence(road: RunRoad, echo: Target) -> None:
    limits = "limits: {handshake: 300ms}\n"
    method = "chacha20-ietf-poly1305"
    async with (
        road(limits + at_server(method)) as there,
        road(at_client(method, there.place("in"), "falsches")) as here,
    ):
        link = await clients.linked(here.place("in"))
        assert await clients.socks5(link, echo) == 0
        link[1].write(b"hello")
        with contextlib.suppress(ConnectionError):
            assert await link[0].read() == b""
        await clients.left(link)
        await here.settled(1)
    assert "not authentic" in there.log.read_text()
    assert "falsches" not in there.log.read_text() + here.log.read_text()


async def test_a_refused_target_is_an_early_end(road: RunRoad) -> None:
    method = "2022-blake3-aes-256-gcm"
    async with (
        road(at_server(method)) as there,
        road(at_client(method, there.place("in"))) as here,
    ):
        link = await clients.linked(here.place("in"))
        assert await clients.socks5(link, clients.closed_port()) == 0
        with contextlib.suppress(ConnectionError):
            assert await link[0].read() == b""
        await clients.left(link)


class Site:
    """A trojan server in front of a web site, and how to reach it."""

    def __init__(self, there: Road, folder: Path) -> None:
        self.place = there.place("in")
        self.there = there
        self.chain = folder / "chain.pem"

    def client(self, password: str, more: str = "") -> str:
        return (
            "inbounds: {in: {type: socks, listen: '127.0.0.1:0'}}\n"
            f"outbounds: {{out: {{type: trojan, server: '{self.place}', password: {password},"
            f" tls: {{sni: localhost, ca: '{self.chain}'{more}}}}}}}\n"
            "rules: [{otherwise: out}]\n"
        )

    async def visited(self, *said: bytes, tls: bool = True, alpn: tuple[str, ...] = ()) -> bytes:
        """What a visitor is answered that says these things, a moment between them."""
        context = ssl.create_default_context(cafile=str(self.chain)) if tls else None
        if context is not None and alpn:
            context.set_alpn_protocols(list(alpn))
        reader, writer = await asyncio.open_connection(
            self.place.host,
            self.place.port,
            ssl=context,
            server_hostname="localhost" if tls else None,
        )
        for part in said:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        answer = await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
        return answer


@pytest.fixture
async def site(road: RunRoad, tmp_path: Path) -> AsyncIterator[Site]:
    """A trojan server with two users, a site for all and one for HTTP/2."""
    certificates.write(tmp_path)

    def page(name: bytes) -> Callable[[Reader, Writer], Awaitable[None]]:
        async def answer(reader: Reader, writer: Writer) -> None:
            with contextlib.suppress(ConnectionError):
                came = await reader.read(65536)
                writer.write(name + b":" + came)
                await writer.drain()
            writer.close()

        return answer

    async with contextlib.AsyncExitStack() as stack:
        ports = []
        for name in (b"web", b"h2"):
            server = await asyncio.start_server(page(name), "127.0.0.1", 0)
            await stack.enter_async_context(server)
            ports.append(server.sockets[0].getsockname()[1])
        there = await stack.enter_async_context(
            road(
                "inbounds: {in: {type: trojan, listen: '127.0.0.1:0',"
                " users: [{name: ann, password: geheim}, {name: bob, password: other}],"
                f" tls: {{cert: '{tmp_path}/chain.pem', key: '{tmp_path}/key.pem',"
                " alpn: [h2, http/1.1]},"
                f" fallback: '127.0.0.1:{ports[0]}',"
                f" fallback_by_alpn: {{h2: '127.0.0.1:{ports[1]}'}}}}}}\n"
            )
        )
        yield Site(there, tmp_path)


async def test_trojan_carries(site: Site, road: RunRoad, echo: Target, echo6: Target) -> None:
    for more in ("", ", alpn: [h2, http/1.1]"):
        async with road(site.client("geheim", more)) as here:
            for target in (echo, echo6, Target("localhost", echo.port)):
                link = await clients.linked(here.place("in"))
                assert await clients.socks5(link, target) == 0
                body = bytes(range(256)) * 4000
                assert await clients.said(link, b"hello") == b"hello"
                assert await clients.said(link, body) == body
                await clients.left(link)
            await here.settled(3)
    assert {passage.flow.user for passage in site.there.app.ledger.past} == {"ann"}


async def test_everybody_else_sees_the_web_site(site: Site) -> None:
    get = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert await site.visited(get) == b"web:" + get
    assert await site.visited(get, tls=False) == b"web:" + get
    assert await site.visited(get, alpn=("h2",)) == b"h2:" + get
    assert await site.visited(get, alpn=("http/1.1",)) == b"web:" + get
    assert await site.visited(b"\x16") == b"web:\x16"
    for wire in (b"0" * 56 + b"\r\n\1\1" + bytes(6) + b"\r\n", bytes(300), b"\x05\x01\x00"):
        assert await site.visited(wire) == b"web:" + wire
        assert await site.visited(wire, tls=False) == b"web:" + wire


async def test_a_web_site_that_is_gone_is_told(road: RunRoad, tmp_path: Path) -> None:
    certificates.write(tmp_path)
    gone = clients.closed_port()
    text = (
        "inbounds: {in: {type: trojan, listen: '127.0.0.1:0', users: [{name: ann, password: p}],"
        f" tls: {{cert: '{tmp_path}/chain.pem', key: '{tmp_path}/key.pem'}},"
        f" fallback: '{gone}'}}}}\n"
    )
    async with road(text) as there:
        assert await Site(there, tmp_path).visited(b"GET /", tls=False) == b""
    [line] = [line for line in there.log.read_text().splitlines() if "did not answer" in line]
    assert (
        " warning the fallback web site did not answer, so the server can be recognised inbound=in"
        in line
    )
    assert f"site={gone}" in line


async def test_a_client_with_a_wrong_password_sees_it_too(
    site: Site, road: RunRoad, echo: Target
) -> None:
    async with road(site.client("falsch")) as here:
        link = await clients.linked(here.place("in"))
        assert await clients.socks5(link, echo) == 0
        link[1].write(b"hello")
        assert (await link[0].read()).startswith(b"web:")
        await clients.left(link)


@pytest.mark.parametrize(
    ("trust", "works"),
    [("", False), ("insecure: true", True), ("pin: '{pin}'", True), ("pin: '{wrong}'", False)],
)
async def test_whom_a_client_trusts(
    trust: str, works: bool, site: Site, road: RunRoad, echo: Target
) -> None:
    pin = certificates.pin(site.chain)
    settings = trust.format(pin=pin, wrong="00" * 32)
    text = site.client("geheim").replace(f"ca: '{site.chain}'", settings or "alpn: []")
    async with road(text) as here:
        link = await clients.linked(here.place("in"))
        assert await clients.socks5(link, echo) == (0 if works else 1)
        await clients.left(link)


@pytest.mark.parametrize("kind", ["http", "socks"])
async def test_plain_proxies_inside_tls(
    kind: str, road: RunRoad, echo: Target, tmp_path: Path
) -> None:
    certificates.write(tmp_path)
    files = f"cert: '{tmp_path}/chain.pem', key: '{tmp_path}/key.pem'"
    async with road(
        f"inbounds: {{in: {{type: {kind}, listen: '127.0.0.1:0', tls: {{{files}}}}}}}\n"
    ) as there:
        text = (
            "inbounds: {in: {type: socks, listen: '127.0.0.1:0'}}\n"
            f"outbounds: {{out: {{type: {kind}, server: '{there.place('in')}',"
            f" tls: {{sni: localhost, ca: '{tmp_path}/chain.pem'}}}}}}\n"
            "rules: [{otherwise: out}]\n"
        )
        async with road(text) as here:
            link = await clients.linked(here.place("in"))
            assert await clients.socks5(link, echo) == 0
            assert await clients.said(link, b"hello") == b"hello"
            await clients.left(link)


async def test_a_chain_of_both(site: Site, road: RunRoad, echo: Target) -> None:
    method = "2022-blake3-aes-128-gcm"
    async with road(at_server(method)) as inner:
        text = (
            "inbounds: {in: {type: socks, listen: '127.0.0.1:0'}}\n"
            "outbounds:\n"
            f"  one: {{type: trojan, server: '{site.place}', password: other,"
            f" tls: {{sni: localhost, ca: '{site.chain}'}}}}\n"
            f"  two: {{type: shadowsocks, server: '{inner.place('in')}', method: {method},"
            f" password: '{word(method)}', via: one}}\n"
            "rules: [{otherwise: two}]\n"
        )
        async with road(text) as here:
            link = await clients.linked(here.place("in"))
            assert await clients.socks5(link, echo) == 0
            assert await clients.said(link, b"hello") == b"hello"
            await clients.left(link)
            await here.settled(1)
            assert here.app.ledger.past[0].chain == ("one", "two")


async def test_links_are_ways_out(site: Site, road: RunRoad, echo: Target) -> None:
    method = "aes-128-gcm"
    async with road(at_server(method).replace(word(method), "secret")) as there:
        secret = base64.urlsafe_b64encode(b"aes-128-gcm:secret").decode().rstrip("=")
        text = (
            "inbounds: {in: {type: socks, listen: '127.0.0.1:0'}}\n"
            f"rules: [{{otherwise: 'ss://{secret}@{there.place('in')}'}}]\n"
        )
        async with road(text) as here:
            link = await clients.linked(here.place("in"))
            assert await clients.socks5(link, echo) == 0
            assert await clients.said(link, b"hello") == b"hello"
            await clients.left(link)


async def test_a_new_certificate_is_taken_without_a_restart(
    site: Site, road: RunRoad, echo: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("byway.inbounds.tls.LOOK", 0.0)
    old = certificates.pin(site.chain)

    async def trusted(pin: str) -> int:
        text = site.client("geheim").replace(f"ca: '{site.chain}'", f"pin: '{pin}'")
        async with road(text) as here:
            link = await clients.linked(here.place("in"))
            answer = await clients.socks5(link, echo)
            await clients.left(link)
            return answer

    assert await trusted(old) == 0
    (tmp_path / "key.pem").write_text("no key")
    assert await trusted(old) == 0  # a bad file leaves the old certificate
    certificates.write(tmp_path)
    assert await trusted(certificates.pin(site.chain)) == 0
    assert await trusted(old) == 1
    log = site.there.log.read_text()
    assert "the new certificate is invalid" in log
    assert "loaded a new certificate" in log
