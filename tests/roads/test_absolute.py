"""A name that was written with a final dot keeps it until somebody resolves it."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from byway.app import App
from byway.config import load_text
from byway.errors import Reason, Unreachable
from byway.flow import Target
from tests.roads import certificates, clients
from tests.roads.conftest import echoing, served
from tests.roads.test_encrypted import KEYS
from tests.roads.test_udp import associated, wrapped

pytestmark = pytest.mark.usefixtures("nowhere")

NAME = "gone.corp.test."
SMALL = "2022-blake3-aes-128-gcm"
SEALED = f"method: {SMALL}, password: '{KEYS[16]}'"
TLS = "tls: {{cert: {folder}/chain.pem, key: {folder}/key.pem}}"
SERVERS = {
    "socks": "{{type: socks, listen: '127.0.0.1:0'}}",
    "http": "{{type: http, listen: '127.0.0.1:0'}}",
    "shadowsocks": f"{{{{type: shadowsocks, listen: '127.0.0.1:0', {SEALED}}}}}",
    "trojan": "{{type: trojan, listen: '127.0.0.1:0', users: [{{name: a, password: b}}],"
    f" fallback: '127.0.0.1:9', {TLS}}}}}",
}
CLIENTS = {
    "socks": "{{type: socks, server: '{server}'}}",
    "socks4a": "{{type: socks, version: 4a, server: '{server}'}}",
    "http": "{{type: http, server: '{server}'}}",
    "shadowsocks": f"{{{{type: shadowsocks, server: '{{server}}', {SEALED}}}}}",
    "trojan": "{{type: trojan, server: '{server}', password: b, tls: {{pin: {pin}}}}}",
    "uot": "{{type: http, server: '{server}', udp_over_tcp: true}}",
}


class Recorder:
    """Knows the absolute name alone, as a resolver with a search list may."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def resolve(self, name: str) -> Sequence[bytes]:
        self.asked.append(name)
        if name == NAME:
            return [b"\x7f\0\0\1"]
        raise Unreachable(f"{name} is another host", name, Reason.NAME_UNKNOWN)


@asynccontextmanager
async def run(text: str) -> AsyncIterator[tuple[App, Target, Recorder]]:
    resolver = Recorder()
    config = load_text("log: {level: error}\n" + textwrap.dedent(text))
    async with App(config, resolver) as app:
        yield app, Target.parse(next(iter(app.addresses.values()))[0]), resolver


@asynccontextmanager
async def chain(kind: str, folder: Path) -> AsyncIterator[tuple[Target, App, Recorder]]:
    """A way in at this host, that leads by such a proxy to a second Byway."""
    certificates.write(folder)
    pin = certificates.pin(folder / "chain.pem")
    server = {"socks4a": "socks", "uot": "http"}.get(kind, kind)
    way_in = SERVERS[server].format(folder=folder)
    async with run(f"inbounds: {{in: {way_in}}}\n") as (far, place, resolver):
        way_out = CLIENTS[kind].format(server=place, pin=pin)
        near = "inbounds: {in: {type: mixed, listen: '127.0.0.1:0'}}\n"
        near += f"outbounds: {{out: {way_out}}}\nrules: [{{otherwise: out}}]\n"
        async with run(near) as (_, door, unasked):
            yield door, far, resolver
            assert unasked.asked == []


@pytest.mark.parametrize("kind", ["socks", "socks4a", "http", "shadowsocks", "trojan"])
@pytest.mark.parametrize("ask", [clients.socks5, clients.socks4a, clients.http])
async def test_streams(
    kind: str, ask: Callable[..., Awaitable[int]], tmp_path: Path, echo: Target
) -> None:
    async with chain(kind, tmp_path) as (door, far, resolver):
        link = await clients.linked(door)
        assert await ask(link, Target.of(NAME.upper(), echo.port)) == 0
        assert await clients.said(link, b"hello") == b"hello"
        (passage,) = far.ledger.live
        assert passage.flow.target.host == NAME[:-1]
        await clients.left(link)
        assert resolver.asked == [NAME]


@pytest.mark.parametrize("kind", ["socks", "shadowsocks", "trojan", "uot"])
async def test_packets(kind: str, tmp_path: Path) -> None:
    async with (
        echoing("127.0.0.1") as udp_echo,
        chain(kind, tmp_path) as (door, far, resolver),
        associated(door) as (sock, _),
    ):
        sock.transport.sendto(wrapped(Target.of(NAME, udp_echo.port), b"hello"))
        assert (await sock.next()).endswith(b"hello")
        assert NAME[:-1] in {passage.flow.target.host for passage in far.ledger.live}
        assert resolver.asked == [NAME]


async def test_a_plain_request_and_a_forward(echo: Target) -> None:
    forward = f"{{type: forward, listen: '127.0.0.1:0', target: '{NAME}:{echo.port}'}}"
    async with run(f"inbounds: {{in: {forward}}}\n") as (_, door, resolver):
        link = await clients.linked(door)
        assert await clients.said(link, b"hello") == b"hello"
        await clients.left(link)
        assert resolver.asked == [NAME]
    http = "inbounds: {in: {type: http, listen: '127.0.0.1:0'}}\n"
    async with run(http) as (_, door, resolver):
        reader, writer = link = await clients.linked(door)
        writer.write(f"GET http://{NAME}:{echo.port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readline()
        await clients.left(link)
        assert resolver.asked == [NAME]


async def test_a_server_and_the_address_rules(echo: Target) -> None:
    text = (
        "inbounds: {in: {type: mixed, listen: '127.0.0.1:0'}}\n"
        f"outbounds: {{out: {{type: socks, server: '{NAME}:{echo.port}'}}}}\n"
        "rules: [{ip: 127.0.0.0/8, to: reject}, {otherwise: out}]\n"
    )
    async with run(text) as (_, door, resolver):
        link = await clients.linked(door)
        assert await clients.socks5(link, Target.of(NAME, echo.port)) == 2
        await clients.left(link)
        assert resolver.asked == [NAME]


async def test_a_kept_connection_is_not_that_of_the_other_name() -> None:
    """One client, one connection to us, two names that differ in their dots alone."""

    def answer(data: bytes) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    http = "inbounds: {in: {type: http, listen: '127.0.0.1:0'}}\n"
    async with served(answer, "127.0.0.1") as origin, run(http) as (_, door, resolver):
        reader, writer = link = await clients.linked(door)
        for name, status in ((NAME, b"200"), (NAME, b"200"), (NAME[:-1], b"502")):
            writer.write(f"GET http://{name}:{origin.port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.split()[1] == status
        await clients.left(link)
        assert resolver.asked == [NAME, NAME[:-1]]
